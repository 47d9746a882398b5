"""Life-cycle segments: a name for where a customer stands, for eligibility, reports and people.

How late a customer is counts against the customer's own rhythm, so that a monthly buyer is slipping long before a
yearly one. A segment is only left when its threshold is crossed by a margin (hysteresis), so that customers at an edge
do not flap. Customers who never bought are placed by their activity. `segment_learner` fits the thresholds to the shop.
"""

from collections.abc import Mapping
from math import expm1, log1p
from typing import Literal, get_args

import msgspec

from consumer.core.customer.customer import Customer
from schemas.units import DAY_MS

Segment = Literal["new", "active", "loyal", "big_spender", "slipping", "at_risk", "lost", "won_back"]
SEGMENTS: tuple[Segment, ...] = get_args(Segment)
_LATE = ("slipping", "at_risk", "lost")
_MOVED = "segment:"


class Thresholds(msgspec.Struct, frozen=True):
    """Where segments begin. The defaults hold until enough of the shop's own customers were sampled."""

    typical_gap_days: float = 45.0  # between two orders of one customer
    slipping_gaps: float = 1.5  # times the customer's own gap without an order
    at_risk_gaps: float = 2.5
    lost_gaps: float = 4.0
    at_risk_probability: float = 0.8  # a slipping customer at or over it is at risk
    loyal_orders: int = 5
    big_spend: float = 1_000.0  # shop currency
    new_days: float = 30.0
    won_back_days: float = 60.0
    slipping_idle_days: float = 14.0  # for those who never bought
    lost_idle_days: float = 60.0
    margin: float = 0.1  # share of a threshold by which it must be crossed to leave a segment again


DEFAULT_THRESHOLDS = Thresholds()


def usual_gap_days(n_gaps: int, log_gaps: float, typical_gap_days: float) -> float:
    """Return the usual days between orders; `log_gaps` is the sum of log(1 + days), the typical gap weighs like one."""
    if n_gaps <= 0:
        return typical_gap_days
    return max(expm1((log1p(typical_gap_days) + log_gaps) / (1 + n_gaps)), 1.0)


def own_gap_days(customer: Customer, typical_gap_days: float) -> float:
    """Return the customer's usual days between orders."""
    n_gaps = customer.orders.n - 1
    return usual_gap_days(n_gaps, n_gaps * customer.orders.gap_log_mean, typical_gap_days)


def gaps_since_order(customer: Customer, now_ms: int, typical_gap_days: float) -> float:
    """Return the time since the last order in units of the customer's own gap; 0 for those who never bought."""
    if not customer.orders.n:
        return 0.0
    return max(now_ms - customer.orders.last_ms, 0) / DAY_MS / own_gap_days(customer, typical_gap_days)


def segment_of(
    customer: Customer, now_ms: int, churn_probability: float | None, thresholds: Thresholds = DEFAULT_THRESHOLDS
) -> str:
    """Return the customer's segment at `now_ms`, given the one in `customer.segment`. Changes nothing."""
    if not customer.orders.n:
        return _without_orders(customer, now_ms, thresholds)
    late = _late_buyer(customer, now_ms, churn_probability, thresholds)
    return late or _buyer_in_time(customer, now_ms, thresholds)


def update_segment(
    customer: Customer, now_ms: int, churn_probability: float | None, thresholds: Thresholds = DEFAULT_THRESHOLDS
) -> bool:
    """Put the customer into the segment of `now_ms`; return whether it is another one than before."""
    segment = segment_of(customer, now_ms, churn_probability, thresholds)
    if segment == customer.segment:
        return False
    customer.segment = segment
    customer.segment_since_ms = now_ms
    return True


def segment_words(customer: Customer, now_ms: int, thresholds: Thresholds, currency: str) -> tuple[str, float]:
    """Return why the customer is in the segment that was set at `now_ms`, for people, and the number it rests on."""
    segment, n_orders = customer.segment, customer.orders.n
    name = segment.replace("_", " ").capitalize()
    if segment == "big_spender":
        enough = f"{thresholds.big_spend:,.0f} {currency}".rstrip()
        spend = customer.orders.spend
        return f"{name}: has spent {spend:,.0f}, a big spender has {enough} or more", spend
    if segment == "loyal":
        return f"{name}: {n_orders} orders, {thresholds.loyal_orders} or more are loyal", float(n_orders)
    if segment == "won_back":
        days = (now_ms - customer.segment_since_ms) / DAY_MS
        return f"{name}: was lost, ordered again {_days(days)} ago", days
    if not n_orders:
        known_days, idle_days = ((now_ms - each) / DAY_MS for each in (customer.first_seen_ms, customer.last_seen_ms))
        if segment == "new":
            return f"{name}: first seen {_days(known_days)} ago, has not ordered yet", known_days
        return f"{name}: {_days(max(idle_days, 0.0))} without a visit, has never ordered", max(idle_days, 0.0)
    days = max(now_ms - customer.orders.last_ms, 0) / DAY_MS
    if segment == "new":
        return f"{name}: first order {_days(days)} ago", days
    gaps, usual = gaps_since_order(customer, now_ms, thresholds.typical_gap_days), thresholds.typical_gap_days
    risk = ", and a high risk of churn" if segment == "at_risk" and gaps < thresholds.at_risk_gaps else ""
    said = f"{_days(days)} without an order, {gaps:.1f} times the usual {own_gap_days(customer, usual):.0f}"
    return f"{name}: {said}{risk}", gaps


def _days(days: float) -> str:
    return "1 day" if round(days) == 1 else f"{days:.0f} days"


def transition(before: str, after: str) -> str:
    """Return the name under which a task counts a move from one segment to another."""
    return f"{_MOVED}{before}>{after}"


def transitions(counters: Mapping[str, int]) -> dict[tuple[str, str], int]:
    """Return how many customers moved, by (from, to), out of what a task counted."""
    moves: dict[tuple[str, str], int] = {}
    for name, n in sorted(counters.items()):
        if name.startswith(_MOVED):
            before, _, after = name.removeprefix(_MOVED).partition(">")
            moves[before, after] = n
    return moves


def _reached(value: float, threshold: float, *, already: bool, margin: float) -> bool:
    """Return whether `value` is at `threshold`; who is there already stays until it is under it by `margin`."""
    return value >= (threshold * (1.0 - margin) if already else threshold)


def _without_orders(customer: Customer, now_ms: int, thresholds: Thresholds) -> str:
    idle_days = max(now_ms - customer.last_seen_ms, 0) / DAY_MS
    before, margin = customer.segment, thresholds.margin
    if _reached(idle_days, thresholds.lost_idle_days, already=before == "lost", margin=margin):
        return "lost"
    if _reached(idle_days, thresholds.slipping_idle_days, already=before in _LATE, margin=margin):
        return "slipping"
    return "new" if now_ms - customer.first_seen_ms < thresholds.new_days * DAY_MS else "active"


def _late_buyer(customer: Customer, now_ms: int, churn_probability: float | None, thresholds: Thresholds) -> str | None:
    gaps = gaps_since_order(customer, now_ms, thresholds.typical_gap_days)
    before, margin = customer.segment, thresholds.margin
    at_risk_before = before in ("at_risk", "lost")
    if _reached(gaps, thresholds.lost_gaps, already=before == "lost", margin=margin):
        return "lost"
    if _reached(gaps, thresholds.at_risk_gaps, already=at_risk_before, margin=margin):
        return "at_risk"
    if not _reached(gaps, thresholds.slipping_gaps, already=before in _LATE, margin=margin):
        return None
    # A high probability alone says little: most who bought once never do again. With a late order it does.
    risk = churn_probability or 0.0
    return (
        "at_risk"
        if _reached(risk, thresholds.at_risk_probability, already=at_risk_before, margin=margin)
        else "slipping"
    )


def _buyer_in_time(customer: Customer, now_ms: int, thresholds: Thresholds) -> str:
    before, margin = customer.segment, thresholds.margin
    if before == "lost" and customer.orders.n > 1:
        return "won_back"
    if before == "won_back" and now_ms - customer.segment_since_ms < thresholds.won_back_days * DAY_MS:
        return "won_back"
    if _reached(customer.orders.spend, thresholds.big_spend, already=before == "big_spender", margin=margin):
        return "big_spender"
    if customer.orders.n >= thresholds.loyal_orders:
        return "loyal"
    if customer.orders.n == 1 and now_ms - customer.orders.first_ms < thresholds.new_days * DAY_MS:
        return "new"
    return "active"
