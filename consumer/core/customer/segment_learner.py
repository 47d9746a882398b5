"""Where segments begin in this shop: thresholds from quantiles of its own customers, derived once a week of event time.

At each tick a customer is sampled: orders, spend, usual days between orders, and how late the latest order was. The
samples take the way of all examples, so that one learner sees them in one order; it counts them in histograms and
derives thresholds from quantiles when a week of event time has passed. A threshold keeps its default until there are
enough samples, and moves by a bounded step each week, so that nobody's segment jumps with it.
"""

from math import expm1, log1p

import msgspec

from consumer.core.customer.customer import Customer, Orders
from consumer.core.customer.quantiles import Histogram, add_value, flat, from_flat, halve, n_values, quantile
from consumer.core.customer.segments import DEFAULT_THRESHOLDS, Thresholds, usual_gap_days
from consumer.core.customer.tastes import UNKNOWN_BANDS, PriceBands
from consumer.core.hashing import name_of
from schemas.records import TrainingExample
from schemas.units import DAY_MS, WEEK_MS

SEGMENT = "segment"  # the head of these examples in the churn family; they have no label
SAMPLE_FIELDS = ("orders", "spend", "usual_gap_days", "lateness", "absence_days", "price")
_SAMPLE_SET = name_of("segment", *SAMPLE_FIELDS)

MIN_SAMPLES = 200  # of one kind, before what is derived from them leaves its default
# So long after their first order customers tell of rhythms, and so long after their first event of absences: earlier,
# only short ones can have been seen.
KNOWN_DAYS, SEEN_DAYS = 180, 90
HALVED_EVERY_WEEKS = 13  # so that what was sampled long ago fades
MAX_STEP = 0.2  # share by which a threshold grows in a week at most; it shrinks by 1 - 1 / (1 + this)

# Shares of orders (or returns) that came sooner than the threshold.
SLIPPING_SHARE, AT_RISK_SHARE, LOST_SHARE = 2 / 3, 0.8, 0.9
LOYAL_SHARE = 0.75  # of those who bought more than once have fewer orders
BIG_SPEND_SHARE = 0.95  # of all who bought have spent less
WON_BACK_SHARE = 0.75  # of the usual gaps are shorter: by then the next order can be expected
_FURTHER = 1.25  # each stage of being late begins at least so many times later than the one before


class SegmentState(msgspec.Struct, frozen=True):
    """Histograms and what was derived from them, as plain data."""

    thresholds: Thresholds = DEFAULT_THRESHOLDS
    price_bands: PriceBands = UNKNOWN_BANDS
    week: int = -1  # of event time since the epoch; -1 before the first sample
    n_weeks: int = 0  # derived so far
    histograms: dict[str, list[int]] = {}  # by name in SAMPLE_FIELDS; flat


def sample_of(customer: Customer, at_ms: int, thresholds: Thresholds) -> TrainingExample | None:
    """Return what `customer` tells of the shop's customers at a tick, and forget what was noted since the last one.

    None where it is nothing: who never bought and was not here since.
    """
    orders, tastes = customer.orders, customer.tastes
    gap_days, absence_days = orders.longest_gap_days, customer.longest_absence_days
    orders.longest_gap_days = customer.longest_absence_days = 0
    if not orders.n and not absence_days:
        return None
    price = expm1(tastes.price_log_mean) if tastes.n_prices else 0.0
    usual_days = lateness = 0.0
    if orders.n > 1 and at_ms - orders.first_ms >= KNOWN_DAYS * DAY_MS:
        usual_days = max(expm1(orders.gap_log_mean), 1.0)
        lateness = gap_days / _usual_before(orders, gap_days, thresholds) if gap_days else 0.0
    is_visitor = not orders.n and at_ms - customer.first_seen_ms >= SEEN_DAYS * DAY_MS
    absence = float(absence_days) if is_visitor else 0.0
    return TrainingExample(
        family="churn",
        head=SEGMENT,
        feature_set=_SAMPLE_SET,
        features=(float(orders.n), float(orders.spend), usual_days, lateness, absence, price),
        rows=1,
        label=0.0,
        weight=1.0,
        predicted_at=at_ms,
        matured_at=at_ms,
    )


def _usual_before(orders: Orders, gap_days: int, thresholds: Thresholds) -> float:
    """Return the days that were usual for the customer without the gap that ended."""
    n_gaps = orders.n - 1
    others = n_gaps * orders.gap_log_mean - log1p(gap_days)
    return usual_gap_days(n_gaps - 1, max(others, 0.0), thresholds.typical_gap_days)


class SegmentLearner:
    """The trainer's side: counts samples, and derives thresholds when a week is over."""

    def __init__(self, state: SegmentState | None = None) -> None:
        known = state or SegmentState()
        self._thresholds, self._price_bands = known.thresholds, known.price_bands
        self._week, self._n_weeks = known.week, known.n_weeks
        self._histograms = {name: from_flat(known.histograms.get(name, ())) for name in SAMPLE_FIELDS}

    def learn(self, example: TrainingExample) -> None:
        """Count one sample. An example of another head or other fields is none."""
        if example.head != SEGMENT or example.feature_set != _SAMPLE_SET:
            return
        week = example.matured_at // WEEK_MS
        if week > self._week:
            if self._week >= 0:
                self._end_week()
            self._week = week
        orders, spend, usual_days, lateness, absence_days, price = example.features
        histograms = self._histograms
        if orders >= 2.0:  # from the second order on there is a gap
            add_value(histograms["orders"], orders)
        for name, value in (
            ("spend", spend),
            ("usual_gap_days", usual_days),
            ("lateness", lateness),
            ("absence_days", absence_days),
            ("price", price),
        ):
            if value > 0.0:
                add_value(histograms[name], value)

    def _end_week(self) -> None:
        self._n_weeks += 1
        self._thresholds = derive(self._thresholds, self._histograms)
        self._price_bands = derive_bands(self._price_bands, self._histograms["price"])
        if self._n_weeks % HALVED_EVERY_WEEKS == 0:
            self._histograms = {name: halve(histogram) for name, histogram in self._histograms.items()}

    def state(self) -> SegmentState:
        """Return everything as plain data."""
        histograms = {name: flat(histogram) for name, histogram in self._histograms.items()}
        return SegmentState(self._thresholds, self._price_bands, self._week, self._n_weeks, histograms)


def derive(before: Thresholds, histograms: dict[str, Histogram]) -> Thresholds:
    """Return the thresholds that follow `before` once another week of samples is in `histograms`.

    The probability of `at_risk` stays: it means the same in every shop.
    """

    def enough(name: str) -> bool:
        return n_values(histograms[name]) >= MIN_SAMPLES

    found: dict[str, float] = {}
    if enough("usual_gap_days"):
        usual = histograms["usual_gap_days"]
        found["typical_gap_days"] = _clip(quantile(usual, 0.5), 2.0, 180.0)
        found["new_days"] = _clip(quantile(usual, 0.5), 7.0, 90.0)
        found["won_back_days"] = _clip(quantile(usual, WON_BACK_SHARE), 14.0, 180.0)
    if enough("lateness"):
        slipping = _clip(quantile(histograms["lateness"], SLIPPING_SHARE), 1.1, 8.0)
        at_risk = _clip(quantile(histograms["lateness"], AT_RISK_SHARE), slipping * _FURTHER, 16.0)
        lost = _clip(quantile(histograms["lateness"], LOST_SHARE), at_risk * _FURTHER, 24.0)
        found |= {"slipping_gaps": slipping, "at_risk_gaps": at_risk, "lost_gaps": lost}
    if enough("absence_days"):
        slipping = _clip(quantile(histograms["absence_days"], SLIPPING_SHARE), 3.0, 120.0)
        lost = _clip(quantile(histograms["absence_days"], LOST_SHARE), slipping * _FURTHER**2, 360.0)
        found |= {"slipping_idle_days": slipping, "lost_idle_days": lost}
    moved = {name: _step(getattr(before, name), target) for name, target in found.items()}
    if enough("spend"):
        big_spend = max(quantile(histograms["spend"], BIG_SPEND_SHARE), 1e-9)
        # The default is in nobody's currency: it is no place to start from.
        is_default = before.big_spend == DEFAULT_THRESHOLDS.big_spend
        moved["big_spend"] = big_spend if is_default else _step(before.big_spend, big_spend)
    loyal_orders = before.loyal_orders
    if enough("orders"):
        target = max(round(quantile(histograms["orders"], LOYAL_SHARE)), 3)
        loyal_orders += (target > loyal_orders) - (target < loyal_orders)
    return msgspec.structs.replace(before, **moved, loyal_orders=loyal_orders)


def derive_bands(before: PriceBands, prices: Histogram) -> PriceBands:
    """Return the price bands that follow `before`: a third of the customers sampled in each."""
    if n_values(prices) < MIN_SAMPLES:
        return before
    low, high = quantile(prices, 1 / 3), quantile(prices, 2 / 3)
    if before == UNKNOWN_BANDS:
        return PriceBands(low, high)
    return PriceBands(_step(before.mid_from, low), _step(before.high_from, high))


def _clip(value: float, least: float, most: float) -> float:
    return min(max(value, least), most)


def _step(before: float, target: float) -> float:
    """Return `target`, or as near to it as one week allows."""
    return _clip(target, before / (1.0 + MAX_STEP), before * (1.0 + MAX_STEP))
