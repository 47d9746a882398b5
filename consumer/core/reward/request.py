"""The request: what one decision is made from."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from consumer.core.customer.customer import Customer
from schemas.records import Tastes


class DecisionRequest(msgspec.Struct, frozen=True):
    """Everything that one decision is made from, besides the catalogue, the reward model and the settings."""

    decision_id: str
    now_ms: int  # event time
    local: datetime  # the same moment on the customer's wall clock
    trigger: str
    customer: Customer
    segment: str
    churn_probability: float | None = None
    n_recommendations: int = 0
    trouble: str = ""  # the kind of the customer's latest trouble; empty where there was none
    tastes: Tastes | None = None
    audience: Mapping[str, float] = {}  # category → probability of a purchase in it, where asked for and known
    decided_ms: int = 0  # when it is decided, which may be long after what it is about
    grants: Mapping[str, float] = {}  # contacts left, by action id or channel name; what is not in it is not limited
