"""What the churn model sees of a customer: recency, cadence, frequency, money, engagement, trouble. Fixed order, fixed
length.

Values are rounded to 32-bit floats before anything predicts with them, so that the vector kept for learning is the
vector that was predicted with. What a model makes of them (hinges, products) is in `churn_basis`, and is not kept.
"""

from math import log1p
from struct import Struct

from consumer.core.customer.customer import (
    CARTS,
    DISMISSALS,
    EMPTY_SEARCHES,
    FAST_HALF_LIFE_DAYS,
    N_COUNTERS,
    REFUNDS,
    RESPONSES,
    SESSIONS,
    SLOW_HALF_LIFE_DAYS,
    SUPPORT,
    TROUBLE,
    VIEWS,
    Customer,
)
from consumer.core.settings import DAY_MS

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

# Orders are counted with a fast, a slow and a long half-life, spend with the slow one, in horizons: what is recent is
# a matter of what is asked.
ORDER_HALF_LIVES: tuple[float, ...] = (1.0 / 3.0, 1.0, 3.0)
SPEND_HALF_LIFE = 1.0
_HALF_LIVES = (*ORDER_HALF_LIVES, SPEND_HALF_LIFE)  # as in `Customer.recent_orders`

_PACKED = Struct(f"<{len(CHURN_FEATURES)}f")
PACKED_SIZE = _PACKED.size
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


def new_counters() -> list[int | float]:
    """Return counters at zero."""
    return [0] * (2 * N_COUNTERS)  # a whole 0 takes less room than 0.0


def note_order_rhythm(customer: Customer, at_ms: int, amount: float, horizon_days: float) -> None:
    """Count an order and its gap to the one before, which `customer.last_order_ms` still names."""
    amounts = (1.0, 1.0, 1.0, min(max(amount, 0.0), _LARGEST))
    if not customer.n_orders:
        customer.recent_orders = list(amounts)
        return
    gap_days = (at_ms - customer.last_order_ms) / DAY_MS
    before, now = (-gap_days, 0.0) if gap_days > 0.0 else (0.0, gap_days)  # a late one counts as of its own time
    customer.recent_orders = [
        count * 2.0 ** (before / (half_life * horizon_days)) + more * 2.0 ** (now / (half_life * horizon_days))
        for count, more, half_life in zip(customer.recent_orders or (0.0,) * 4, amounts, _HALF_LIVES, strict=True)
    ]
    gap = log1p(max(0.0, gap_days))
    deviation = gap - customer.order_gap_log_mean
    customer.order_gap_log_mean += deviation / customer.n_orders
    customer.order_gap_log_squares += deviation * (gap - customer.order_gap_log_mean)  # Welford 1962
    customer.last_gap_log = gap


def churn_features(customer: Customer, at_ms: int, horizon_days: float) -> bytes:
    """Return the packed features of `customer` at `at_ms`, in the order of CHURN_FEATURES."""
    since_ms = max(0, at_ms - customer.first_seen_ms)
    counters = customer.counters
    n_orders = customer.n_orders
    order_days = max(0, at_ms - (customer.last_order_ms or customer.first_seen_ms)) / DAY_MS
    since_order = log1p(order_days)
    recent = customer.recent_orders
    if recent:
        horizons = -order_days / horizon_days
        fast, slow, long, spend = (
            log1p(min(_LARGEST, count * 2.0 ** (horizons / half_life)))
            for count, half_life in zip(recent, _HALF_LIVES, strict=True)
        )
    else:
        fast = slow = long = spend = 0.0
    gap = customer.order_gap_log_mean
    squares = customer.order_gap_log_squares
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
        customer.last_gap_log,
        since_order - gap if n_orders > 1 else 0.0,
    )
    return _PACKED.pack(*packed_orders, *_engagement(counters, since_ms))


def _engagement(counters: list[int | float], since_ms: int) -> tuple[float, ...]:
    fast = 2.0 ** (-since_ms / _FAST_MS)
    slow = 2.0 ** (-since_ms / _SLOW_MS)
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
