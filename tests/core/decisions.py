"""A small catalogue and a customer to decide about, for the tests of gates, policy and explanations."""

from typing import Any

from consumer.core.catalogue import Catalogue
from consumer.core.customer.counters import new_counters
from consumer.core.customer.customer import Customer, Orders
from consumer.core.local_time import LocalTime
from consumer.core.reward.request import DecisionRequest
from consumer.core.settings import CoreSettings, PolicySettings, PrivacySettings
from consumer.zones import load_zone
from schemas.units import DAY_MS

LOCAL_TIME = LocalTime(load_zone, "UTC")
NOON_MS = 20_000 * DAY_MS + DAY_MS // 2  # 2024-10-04, 12:00 UTC
SETTINGS = CoreSettings(policy=PolicySettings(hold_out_share=0.0), privacy=PrivacySettings(default_consent=True))


def small_mapping() -> dict[str, Any]:
    """Return a catalogue with two actions that answer to `session_end`: an offer on two channels, and a call."""
    return {
        "currency": "EUR",
        "nothing": {"prior_probability": 0.05},
        "limits": {"max_per_day": 2, "max_per_week": 4},
        "channels": {
            "email": {"words": "by email", "cost": 0.01, "quiet_from": "21:00", "quiet_until": "07:00"},
            "push": {"words": "by push message"},
            "phone": {"words": "by phone", "cost": 5.0},
            "on_site": {"words": "on the site", "intrusive": False},
        },
        "actions": {
            "offer": {
                "words": "making an offer",
                "kind": "offer",
                "purpose": "marketing",
                "channels": ["email", "push"],
                "triggers": ["session_end", "churn_risk"],
                "margin": 20.0,
                "prior_probability": 0.1,
                "variants": [
                    {"id": "small", "words": "5 % off", "weight": 3},
                    {"id": "large", "words": "10 % off"},
                ],
            },
            "call": {
                "words": "calling",
                "kind": "service",
                "purpose": "service",
                "channels": ["phone"],
                "triggers": ["session_end", "service_problem"],
                "margin": 20.0,
                "prior_probability": 0.1,
            },
        },
    }


def changed(action: str = "offer", **fields: Any) -> Catalogue:
    """Return the small catalogue with `fields` of one action set."""
    mapping = small_mapping()
    mapping["actions"][action].update(fields)
    return Catalogue.from_mapping(mapping)


def a_customer(customer_id: str = "ann", n_orders: int = 3, **fields: Any) -> Customer:
    """Return a customer who has bought `n_orders` times and was here an hour ago."""
    orders = Orders(
        n_orders,
        first_ms=NOON_MS - 190 * DAY_MS,
        last_ms=NOON_MS - 70 * DAY_MS,
        gap_log_mean=4.1,
        spend=240.0,
    )
    known: dict[str, Any] = {
        "first_seen_ms": NOON_MS - 200 * DAY_MS,
        "last_seen_ms": NOON_MS - DAY_MS // 24,
        "orders": orders,
        "counters": new_counters(),
    }
    return Customer(customer_id, **(known | fields))


def a_request(customer: Customer | None = None, **fields: Any) -> DecisionRequest:
    """Return a request at the end of a session."""
    known: dict[str, Any] = {
        "decision_id": "d1",
        "now_ms": NOON_MS,
        "trigger": "session_end",
        "segment": "slipping",
        "churn_probability": 0.6,
        "n_recommendations": 3,
    }
    told, customer = known | fields, customer or a_customer()
    return DecisionRequest(
        customer=customer, local=LOCAL_TIME.clock(told["now_ms"], customer.context.time_zone), **told
    )
