"""Counters that fade: how much a customer did of each thing of late, without a clock and in any order of events."""

from math import log1p

from consumer.core.customer.customer import Customer, Orders
from schemas.units import DAY_MS

# Decayed counters: each with a fast and a slow half-life.
VIEWS, CARTS, ORDERS, SESSIONS, EMPTY_SEARCHES, TROUBLE, SUPPORT, IMPRESSIONS, RESPONSES, DISMISSALS, REFUNDS = range(
    11
)
N_COUNTERS = 11
FAST_HALF_LIFE_DAYS = 14.0
SLOW_HALF_LIFE_DAYS = 90.0

# Orders are counted with a fast, a slow and a long half-life, spend with the slow one, in horizons: what is recent is
# a matter of what is asked.
ORDER_HALF_LIVES: tuple[float, ...] = (1.0 / 3.0, 1.0, 3.0)
SPEND_HALF_LIFE = 1.0
RECENT_HALF_LIVES = (*ORDER_HALF_LIVES, SPEND_HALF_LIFE)  # as in `Orders.recent`

FAST_MS = FAST_HALF_LIFE_DAYS * DAY_MS
SLOW_MS = SLOW_HALF_LIFE_DAYS * DAY_MS
LARGEST = 1e30  # an order counts as no more: sums of what shops send stay finite
_MAX_DOUBLINGS = 900.0  # 34 years of the short half-life: beyond it a power of 2 would leave the range of a float


def add_to_counter(customer: Customer, counter: int, at_ms: int) -> None:
    """Count one at `at_ms` in both half-lives. The order in which late events arrive makes no difference."""
    since_ms = at_ms - customer.first_seen_ms
    counters = customer.counters
    counters[2 * counter] += 2.0 ** min(since_ms / FAST_MS, _MAX_DOUBLINGS)
    counters[2 * counter + 1] += 2.0 ** min(since_ms / SLOW_MS, _MAX_DOUBLINGS)


def take_from_counter(customer: Customer, counter: int, at_ms: int) -> None:
    """Take back what was counted at `at_ms`."""
    since_ms = at_ms - customer.first_seen_ms
    for place, half_life_ms in ((2 * counter, FAST_MS), (2 * counter + 1, SLOW_MS)):
        left = customer.counters[place] - 2.0 ** min(since_ms / half_life_ms, _MAX_DOUBLINGS)
        customer.counters[place] = max(0, left)


def count_from(customer: Customer, first_seen_ms: int) -> None:
    """Let an earlier moment be the first at which `customer` was seen: counts stay what they are at any time."""
    earlier_ms = customer.first_seen_ms - first_seen_ms
    factors = (2.0 ** min(earlier_ms / FAST_MS, _MAX_DOUBLINGS), 2.0 ** min(earlier_ms / SLOW_MS, _MAX_DOUBLINGS))
    customer.counters = [count and count * factors[place % 2] for place, count in enumerate(customer.counters)]
    customer.first_seen_ms = first_seen_ms


def new_counters() -> list[int | float]:
    """Return counters at zero."""
    return [0] * (2 * N_COUNTERS)  # a whole 0 takes less room than 0.0


def add_order(orders: Orders, at_ms: int, amount: float, horizon_days: float) -> None:
    """Count one more order at `at_ms`: how many there were, what they came to, and in which rhythm."""
    orders.spend += amount
    _note_rhythm(orders, at_ms, amount, horizon_days)
    if orders.n:
        gap_ms = max(0, at_ms - orders.last_ms)
        orders.longest_gap_days = max(orders.longest_gap_days, round(gap_ms / DAY_MS))
    orders.first_ms = min(orders.first_ms, at_ms) if orders.n else at_ms
    orders.n += 1
    orders.last_ms = max(orders.last_ms, at_ms)


def _note_rhythm(orders: Orders, at_ms: int, amount: float, horizon_days: float) -> None:
    """Note the gap to the order before, which `last_ms` still names."""
    amounts = (1.0, 1.0, 1.0, min(max(amount, 0.0), LARGEST))
    if not orders.n:
        orders.recent = list(amounts)
        return
    gap_days = (at_ms - orders.last_ms) / DAY_MS
    before, now = (-gap_days, 0.0) if gap_days > 0.0 else (0.0, gap_days)  # a late one counts as of its own time
    orders.recent = [
        count * 2.0 ** (before / (half_life * horizon_days)) + more * 2.0 ** (now / (half_life * horizon_days))
        for count, more, half_life in zip(orders.recent or (0.0,) * 4, amounts, RECENT_HALF_LIVES, strict=True)
    ]
    gap = log1p(max(0.0, gap_days))
    deviation = gap - orders.gap_log_mean
    orders.gap_log_mean += deviation / orders.n
    orders.gap_log_squares += deviation * (gap - orders.gap_log_mean)  # Welford 1962
    orders.last_gap_log = gap
