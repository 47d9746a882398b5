"""What the churn model sees of a customer: recency, cadence, frequency, money, engagement, trouble. Fixed order, fixed
length.

Values are rounded to 32-bit floats before anything predicts with them, so that the vector kept for learning is the
vector that was predicted with. What a model makes of them (hinges, products) is in `churn_basis`, and is not kept.
"""

from math import log1p
from struct import Struct

from consumer.core.customer.counters import (
    CARTS,
    DISMISSALS,
    EMPTY_SEARCHES,
    FAST_MS,
    RECENT_HALF_LIVES,
    REFUNDS,
    RESPONSES,
    SESSIONS,
    SLOW_MS,
    SUPPORT,
    TROUBLE,
    VIEWS,
)
from consumer.core.customer.customer import Customer
from schemas.units import DAY_MS

# Times and amounts are logarithms of 1 + days, or of 1 + an amount.
CHURN_FEATURES: tuple[str, ...] = (
    "days_since_order",  # since the customer was first seen, where there was none
    "days_since_seen",
    "tenure_days",
    "orders",
    "orders_fast",
    "orders_slow",
    "orders_long",
    "spend_slow",
    "order_gap_days",  # mean of the logarithms; 0 without a gap
    "order_gap_spread",  # their standard deviation
    "last_gap_days",
    "overdue",  # days_since_order - order_gap_days; 0 without a gap
    "views_fast",
    "views_slow",
    "sessions_fast",
    "sessions_slow",
    "carts_fast",
    "trouble_fast",
    "support_fast",
    "empty_searches_fast",
    "refunds_slow",
    "responses_slow",
    "dismissals_slow",
)
N_ORDERS_FEATURE = CHURN_FEATURES.index("orders")

# What each feature is about, for explanations.
CHURN_FAMILIES: dict[str, str] = {
    "days_since_order": "recency",
    "days_since_seen": "recency",
    "tenure_days": "tenure",
    "orders": "frequency",
    "orders_fast": "frequency",
    "orders_slow": "frequency",
    "orders_long": "frequency",
    "spend_slow": "money",
    "order_gap_days": "cadence",
    "order_gap_spread": "cadence",
    "last_gap_days": "cadence",
    "overdue": "cadence",
    "views_fast": "engagement",
    "views_slow": "engagement",
    "sessions_fast": "engagement",
    "sessions_slow": "engagement",
    "carts_fast": "engagement",
    "trouble_fast": "trouble",
    "support_fast": "trouble",
    "empty_searches_fast": "trouble",
    "refunds_slow": "trouble",
    "responses_slow": "response",
    "dismissals_slow": "response",
}

_PACKED = Struct(f"<{len(CHURN_FEATURES)}f")
PACKED_SIZE = _PACKED.size


def churn_features(customer: Customer, at_ms: int, horizon_days: float) -> bytes:
    """Return the packed features of `customer` at `at_ms`, in the order of CHURN_FEATURES."""
    since_ms = max(0, at_ms - customer.first_seen_ms)
    counters = customer.counters
    n_orders = customer.orders.n
    order_days = max(0, at_ms - (customer.orders.last_ms or customer.first_seen_ms)) / DAY_MS
    since_order = log1p(order_days)
    recent = customer.orders.recent
    if recent:
        horizons = -order_days / horizon_days
        fast, slow, long, spend = (
            log1p(count * 2.0 ** (horizons / half_life))
            for count, half_life in zip(recent, RECENT_HALF_LIVES, strict=True)
        )
    else:
        fast = slow = long = spend = 0.0
    gap = customer.orders.gap_log_mean
    squares = customer.orders.gap_log_squares
    packed_orders = (
        since_order,
        log1p(max(0, at_ms - customer.last_seen_ms) / DAY_MS),
        log1p(since_ms / DAY_MS),
        log1p(n_orders),
        fast,
        slow,
        long,
        spend,
        gap,
        (squares / (n_orders - 1)) ** 0.5 if squares > 0.0 and n_orders > 1 else 0.0,
        customer.orders.last_gap_log,
        since_order - gap if n_orders > 1 else 0.0,
    )
    return _PACKED.pack(*packed_orders, *_engagement(counters, since_ms))


def _engagement(counters: list[int | float], since_ms: int) -> tuple[float, ...]:
    fast = 2.0 ** (-since_ms / FAST_MS)
    slow = 2.0 ** (-since_ms / SLOW_MS)
    return (
        log1p(counters[2 * VIEWS] * fast),
        log1p(counters[2 * VIEWS + 1] * slow),
        log1p(counters[2 * SESSIONS] * fast),
        log1p(counters[2 * SESSIONS + 1] * slow),
        log1p(counters[2 * CARTS] * fast),
        log1p(counters[2 * TROUBLE] * fast),
        log1p(counters[2 * SUPPORT] * fast),
        log1p(counters[2 * EMPTY_SEARCHES] * fast),
        log1p(counters[2 * REFUNDS + 1] * slow),
        log1p(counters[2 * RESPONSES + 1] * slow),
        log1p(counters[2 * DISMISSALS + 1] * slow),
    )


def unpack_churn(packed: bytes) -> tuple[float, ...]:
    """Return the values in `packed`, in the order of CHURN_FEATURES."""
    return _PACKED.unpack(packed)
