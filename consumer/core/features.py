"""What the churn model sees of a customer: log-RFM, cadence, engagement, trouble. Fixed order, fixed length.

Values are rounded to 32-bit floats before anything predicts with them, so that the vector kept for learning is the
vector that was predicted with.
"""

from math import log1p
from struct import Struct

from consumer.core.customer import (
    CARTS,
    DISMISSALS,
    EMPTY_SEARCHES,
    FAST_HALF_LIFE_DAYS,
    N_COUNTERS,
    ORDERS,
    REFUNDS,
    RESPONSES,
    SESSIONS,
    SLOW_HALF_LIFE_DAYS,
    SPEND,
    SUPPORT,
    TROUBLE,
    VIEWS,
    Customer,
)
from consumer.core.settings import DAY_MS

CHURN_FEATURES: tuple[str, ...] = (
    "days_since_order",
    "days_since_seen",
    "tenure_days",
    "orders",
    "orders_fast",
    "orders_slow",
    "spend_slow",
    "order_gap_days",
    "overdue",
    "one_order",
    "never_bought",
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

# What each feature is about, for explanations.
CHURN_FAMILIES: dict[str, str] = {
    "days_since_order": "recency",
    "days_since_seen": "recency",
    "tenure_days": "tenure",
    "orders": "frequency",
    "orders_fast": "frequency",
    "orders_slow": "frequency",
    "spend_slow": "money",
    "order_gap_days": "cadence",
    "overdue": "cadence",
    "one_order": "frequency",
    "never_bought": "frequency",
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
_FAST_MS = FAST_HALF_LIFE_DAYS * DAY_MS
_SLOW_MS = SLOW_HALF_LIFE_DAYS * DAY_MS
_LARGEST = 1e30  # counters are sums of what shops send; keep them finite in 32 bits
_MAX_DOUBLINGS = 900.0  # 34 years of the short half-life: beyond it a power of 2 would leave the range of a float


def add_to_counter(customer: Customer, counter: int, at_ms: int, amount: float = 1.0) -> None:
    """Count `amount` at `at_ms` in both half-lives. The order in which late events arrive makes no difference."""
    since_ms = at_ms - customer.first_seen_ms
    counters = customer.counters
    counters[2 * counter] += amount * 2.0 ** min(since_ms / _FAST_MS, _MAX_DOUBLINGS)
    counters[2 * counter + 1] += amount * 2.0 ** min(since_ms / _SLOW_MS, _MAX_DOUBLINGS)


def new_counters() -> list[float]:
    """Return counters at zero."""
    return [0.0] * (2 * N_COUNTERS)


def churn_features(customer: Customer, at_ms: int) -> bytes:
    """Return the packed features of `customer` at `at_ms`, in the order of CHURN_FEATURES."""
    since_ms = max(0, at_ms - customer.first_seen_ms)
    fast = 2.0 ** (-since_ms / _FAST_MS)
    slow = 2.0 ** (-since_ms / _SLOW_MS)
    counters = customer.counters
    n_orders = customer.n_orders
    since_order = log1p(max(0, at_ms - (customer.last_order_ms or customer.first_seen_ms)) / DAY_MS)
    gap = customer.order_gap_log_mean
    return _PACKED.pack(
        since_order,
        log1p(max(0, at_ms - customer.last_seen_ms) / DAY_MS),
        log1p(since_ms / DAY_MS),
        log1p(n_orders),
        log1p(counters[2 * ORDERS] * fast),
        log1p(counters[2 * ORDERS + 1] * slow),
        log1p(min(_LARGEST, counters[2 * SPEND + 1] * slow)),
        gap,
        since_order - gap if n_orders > 1 else 0.0,
        1.0 if n_orders == 1 else 0.0,
        0.0 if n_orders else 1.0,
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
