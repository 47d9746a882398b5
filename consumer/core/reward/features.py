"""What the reward model sees of a decision: its context, scaled by hand. Fixed order, fixed length."""

from collections.abc import Sequence
from functools import lru_cache
from math import cos, exp2, log, log1p, pi, sin
from struct import Struct

from consumer.core.catalogue import TRIGGERS
from consumer.core.customer.counters import (
    CARTS,
    FAST_HALF_LIFE_DAYS,
    IMPRESSIONS,
    N_COUNTERS,
    RESPONSES,
    SESSIONS,
    SUPPORT,
    TROUBLE,
    VIEWS,
)
from consumer.core.customer.customer import Customer
from consumer.core.customer.segments import DEFAULT_THRESHOLDS, gaps_since_order
from consumer.core.hashing import name_of
from consumer.core.reward.request import DecisionRequest
from schemas.units import DAY_MS

# What a decision is made with and an example carries, in this order. Scaled by hand to about [-1, 1], so that the
# model needs no scaler and a feature that is 0 leaves its weight alone.
_CONTEXT = (
    "churn_risk",
    "overdue",
    "recency",
    "never_ordered",
    "silence",
    "orders",
    "spend",
    "views",
    "carts",
    "sessions",
    "trouble",
    "responsiveness",
    "contacts",
    "cart",
    "recommendations",
    "day",
    "morning",
    "new",
    "loyal",
    "late",
)
REWARD_FEATURES: tuple[str, ...] = _CONTEXT + tuple(f"trigger_{trigger}" for trigger in TRIGGERS)
PACKED = Struct(f"<{len(REWARD_FEATURES)}e")  # 16 bits each are what is kept of them, and so what is predicted with
# The features whose effect may differ from arm to arm.
CROSS_FEATURES = ("churn_risk", "overdue", "orders", "trouble", "responsiveness", "cart", "late")
CROSSED = tuple(REWARD_FEATURES.index(name) for name in CROSS_FEATURES)

_GROUP_OF_SEGMENT = {"new": 0, "loyal": 1, "big_spender": 1, "slipping": 2, "at_risk": 2, "lost": 2}
_GROUPS = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0))
_NO_GROUP = 3
_TRIGGERS: dict[str, tuple[float, ...]] = {t: tuple(float(t == other) for other in TRIGGERS) for t in TRIGGERS}
_NO_TRIGGER = (0.0,) * len(TRIGGERS)


@lru_cache(maxsize=8)
def reward_feature_set(outcome_days: float) -> str:
    """Return what stands for features and labels: an outcome within another time is another label."""
    return name_of("policy", *REWARD_FEATURES, repr(float(outcome_days)))


def reward_features(request: DecisionRequest, n_contacts: int) -> tuple[float, ...]:
    """Return the context of a decision in the order of REWARD_FEATURES, as it is kept for learning."""
    customer, now_ms, local = request.customer, request.now_ms, request.local
    risk = request.churn_probability
    ordered = customer.orders.n > 0
    n = _decayed(customer, now_ms)
    angle = (local.hour + local.minute / 60.0) * (pi / 12.0)
    packed = PACKED.pack(
        0.0 if risk is None else _clamp(log(max(risk, 1e-4) / max(1.0 - risk, 1e-4)) / 4.0),
        min(gaps_since_order(customer, now_ms, DEFAULT_THRESHOLDS.typical_gap_days) / 4.0, 1.0),
        log1p(max(now_ms - customer.orders.last_ms, 0) / DAY_MS) / 6.0 if ordered else 0.0,
        0.0 if ordered else 1.0,
        log1p(max(now_ms - customer.last_seen_ms, 0) / DAY_MS) / 6.0,
        log1p(customer.orders.n) / 3.0,
        log1p(max(customer.orders.spend, 0.0)) / 8.0,
        log1p(n[VIEWS]) / 4.0,
        log1p(n[CARTS]) / 3.0,
        log1p(n[SESSIONS]) / 3.0,
        log1p(n[TROUBLE] + n[SUPPORT]) / 2.0,
        _clamp(log((n[RESPONSES] + 0.5) / (n[IMPRESSIONS] + 5.0) / 0.1) / 3.0),
        n_contacts / 4.0,
        log1p(len(customer.cart)) / 2.0,
        1.0 if request.n_recommendations else 0.0,
        -cos(angle),  # 1 at noon, -1 at midnight
        sin(angle),  # 1 at six in the morning, -1 at six in the evening
        *_GROUPS[_GROUP_OF_SEGMENT.get(request.segment, _NO_GROUP)],
        *_TRIGGERS.get(request.trigger, _NO_TRIGGER),
    )
    return PACKED.unpack(packed)


def _decayed(customer: Customer, now_ms: int) -> Sequence[float]:
    """Return the customer's fast counters as of `now_ms`."""
    counters = customer.counters
    if not counters:
        return _NO_COUNTS
    factor = exp2(-max(now_ms - customer.first_seen_ms, 0) / (FAST_HALF_LIFE_DAYS * DAY_MS))
    return [max(value * factor, 0.0) for value in counters[::2]]


_NO_COUNTS = (0.0,) * N_COUNTERS


def _clamp(value: float) -> float:
    return min(max(value, -1.0), 1.0)
