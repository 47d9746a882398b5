"""The backtest of churn: every customer's probability, week by week, by models that knew only what had matured.

Day 0 is the UTC date of the first order; a customer's orders of one day are one order. From day H (the horizon) on, a
customer who has bought is looked at every `every` days, on a phase of the grid that is a digest of the id. Churn is no
order in (t, t + H]. On a day, labels matured strictly before it are learned first; then come the day's orders; then
its ticks, predicted with models published after that learning: a snapshot is adopted on every day that has ticks.

It is the core that predicts, remembers, labels and learns, called in the order in which `ScoringTask` and the trainer
call it; all that is done here is to turn the calendar.

How another model is compared on the same rows: `ChurnRun.rows` holds, in order of prediction, all that a model may
know of a row (and, beside it, what came of it), and `ChurnRun.orders` the merged orders. A baseline is a function of a
`ChurnRun` that returns an array with a probability (or, to be judged by ranking alone, any score) for each row; it may
learn from the label of row i when it predicts row j only where `rows.day[i] + run.horizon_days < rows.day[j]`. The
figures are then `figures_of(run, predicted, report_from)`, which picks the rows that count.
"""

from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from math import ceil, fsum
from time import perf_counter

import msgspec
import numpy as np
import numpy.typing as npt

from consumer.core.churn import churn
from consumer.core.churn.features import CHURN_FEATURES, unpack_churn
from consumer.core.customer import updates
from consumer.core.customer.customer import Customer
from consumer.core.hashing import digest64
from consumer.core.knowledge.knowledge import Knowledge
from consumer.core.knowledge.learner import new_learner
from consumer.core.settings import CoreSettings
from consumer.default_catalogue import default_catalogue
from consumer.evaluate.metrics import Floats, Ints, RankingFigures, ranking_figures
from consumer.measure.base_rate import BaseRate
from schemas.events import PurchaseEvent
from schemas.units import DAY_MS

WARM_UP_DAYS = 28  # rows count from two horizons and this on: the first labels mature after one horizon
_CALENDAR_CYCLE_DAYS = 146_097  # 400 years: the same dates and weekdays again

Flags = npt.NDArray[np.bool_]


class TooShort(Exception):
    """The orders span too few days for a row to count; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Orders:
    """Order lines as they came, a place each: whose (an index into `customer_ids`), when (epoch ms), how much."""

    customer_ids: Sequence[str]
    customer: Sequence[int]
    occurred_at: Sequence[int]
    amount: Sequence[float]


@dataclass(frozen=True, slots=True)
class DayOrders:
    """Orders merged by customer and day, a place each, ascending by day, then by customer."""

    day: Ints  # since day 0
    customer: Ints  # an index into `ChurnRun.customer_ids`
    amount: Floats


@dataclass(frozen=True, slots=True)
class ChurnRows:
    """Predictions in the order in which they were made, a place each."""

    customer: Ints  # an index into `ChurnRun.customer_ids`
    day: Ints  # of the tick, since day 0
    tick: Ints  # rows of the same number belong to one round of `every` days
    first_order_day: Ints
    last_order_day: Ints  # up to the tick, its day included
    n_orders: Ints  # merged orders up to the tick, its day included
    features: npt.NDArray[np.float32]  # (rows, names), as the model saw them; no rows where they were not asked for
    probability: Floats  # of churn
    is_base_rate: Flags  # the model knew nothing yet, so `probability` is the share of churners known then
    is_active: Flags  # has ordered in (t − H, t]
    counts: Flags  # 2H + 28 <= t
    churned: Floats  # 1.0: no order in (t, t + H]. The label, which a model knows after day t + H only

    def __len__(self) -> int:
        return len(self.day)


@dataclass(frozen=True, slots=True)
class ChurnRun:
    """What one run of the backtest has predicted, and what it has cost."""

    customer_ids: Sequence[str]
    day_0: date
    last_day: int  # of the last order, since day 0
    horizon_days: int
    every_days: int
    orders: DayOrders
    rows: ChurnRows
    n_input: int
    seconds: float

    def date_of(self, day: int) -> date:
        """Return the date of a day since day 0."""
        return self.day_0 + timedelta(days=day)

    @property
    def last_predicted_on(self) -> date:
        """The last date whose labels have matured when the orders end."""
        return self.date_of(self.last_day - self.horizon_days)

    def n_from_base_rate(self, report_from: date | None = None) -> int:
        """Return of how many rows that count the model knew nothing."""
        return int((counted(self, report_from) & self.rows.is_base_rate).sum())


class ChurnFigures(msgspec.Struct, frozen=True):
    """The figures of all rows that count, and of the active customers among them."""

    all: RankingFigures
    active: RankingFigures


def run_churn(
    orders: Orders,
    settings: CoreSettings,
    horizon_days: int,
    every_days: int,
    *,
    keep_features: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> ChurnRun:
    """Predict and learn through all orders; `progress` is told days done and days in all.

    Raises TooShort where no row could count, and ValueError where the settings of churn don't fit the horizon.
    """
    started_s = perf_counter()
    settings = replace(
        settings, churn=replace(settings.churn, horizon_days=float(horizon_days), tick_days=float(every_days))
    )
    customer_ids, day_orders, epoch_day_0 = merge_by_day(orders)
    last_day = int(day_orders.day[-1])
    needed = 3 * horizon_days + WARM_UP_DAYS
    if last_day < needed:
        first_on = date(1970, 1, 1) + timedelta(days=epoch_day_0)
        raise TooShort(
            f"the orders span {last_day + 1} days from {first_on} on; a horizon of {horizon_days} days needs "
            f"{needed + 1} (two horizons and {WARM_UP_DAYS} days to learn in, one for labels to mature): take more "
            "orders, or a shorter --horizon"
        )
    backtest = _Backtest(customer_ids, day_orders, epoch_day_0, settings, keep_features=keep_features)
    for day in range(last_day - horizon_days + 1):
        backtest.turn_to(day)
        progress(day + 1, last_day - horizon_days + 1)
    return ChurnRun(
        customer_ids=customer_ids,
        day_0=date(1970, 1, 1) + timedelta(days=epoch_day_0),
        last_day=last_day,
        horizon_days=horizon_days,
        every_days=every_days,
        orders=day_orders,
        rows=backtest.rows(),
        n_input=len(orders.customer),
        seconds=perf_counter() - started_s,
    )


def figures_of(run: ChurnRun, predicted: Floats, report_from: date | None = None) -> ChurnFigures:
    """Return the figures of `predicted`, a place for each of `run.rows`, over the rows that count."""
    rows = run.rows
    counts = counted(run, report_from)
    active = counts & rows.is_active
    return ChurnFigures(
        all=ranking_figures(predicted[counts], rows.churned[counts], rows.tick[counts]),
        active=ranking_figures(predicted[active], rows.churned[active], rows.tick[active]),
    )


def counted(run: ChurnRun, report_from: date | None = None) -> Flags:
    """Return which rows count: those of the protocol, on `report_from` or later."""
    if report_from is None:
        return run.rows.counts
    counts: Flags = run.rows.counts & (run.rows.day >= (report_from - run.day_0).days)
    return counts


def merge_by_day(orders: Orders) -> tuple[list[str], DayOrders, int]:
    """Return customer ids, merged orders by day, and the epoch day of day 0.

    Customers are numbered by a digest of their id, so that neither the order of the file nor that of the ids shows in
    what is learned first. Raises ValueError where there are no orders.
    """
    if not len(orders.customer):
        raise ValueError("there are no orders")
    by_digest = sorted(range(len(orders.customer_ids)), key=lambda c: _place(orders.customer_ids[c]))
    number = dict(zip(by_digest, range(len(by_digest)), strict=True))
    amounts: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
    for customer, at_ms, amount in zip(orders.customer, orders.occurred_at, orders.amount, strict=True):
        amounts[at_ms // DAY_MS, number[customer]].append(amount)
    merged = sorted(amounts)
    day_0 = merged[0][0]
    return (
        [orders.customer_ids[customer] for customer in by_digest],
        DayOrders(
            day=np.array([day - day_0 for day, _ in merged], dtype=np.int64),
            customer=np.array([customer for _, customer in merged], dtype=np.int64),
            amount=np.array([fsum(amounts[key]) for key in merged]),
        ),
        day_0,
    )


def _place(customer_id: str) -> tuple[int, str]:
    return digest64("evaluate", customer_id), customer_id


class _Backtest:
    """Turns the calendar: learn what has matured, take in the day's orders, predict."""

    def __init__(
        self,
        customer_ids: list[str],
        orders: DayOrders,
        epoch_day_0: int,
        settings: CoreSettings,
        *,
        keep_features: bool,
    ) -> None:
        self._settings = settings
        self._customer_ids = customer_ids
        self._horizon = int(settings.churn.horizon_days)
        self._every = int(settings.churn.tick_days)
        # The core takes a time of 0 for never.
        self._epoch_day_0 = epoch_day_0 if epoch_day_0 > 0 else epoch_day_0 + _CALENDAR_CYCLE_DAYS
        self._orders_of_day: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
        self._order_days: list[list[int]] = [[] for _ in customer_ids]
        merged = zip(orders.day.tolist(), orders.customer.tolist(), orders.amount.tolist(), strict=True)
        for day, customer, amount in merged:
            self._orders_of_day[day].append((customer, amount))
            self._order_days[customer].append(day)
        self._on_phase: list[list[int]] = [[] for _ in range(self._every)]
        for number, customer_id in enumerate(customer_ids):
            self._on_phase[digest64("tick", customer_id) % self._every].append(number)
        self._customers: dict[int, Customer] = {}
        self._due: defaultdict[int, set[int]] = defaultdict(set)  # day → customers who may have a label to learn
        catalogue = default_catalogue()
        self._learner = new_learner("churn", settings, catalogue)
        self._knowledge = Knowledge(settings, catalogue)
        self._base_rate = BaseRate()
        # Enough for every prediction of a horizon: none may be dropped here.
        self._pending_limit = ceil(2 * self._horizon / self._every) + 16
        self._keep_features = keep_features
        self._columns: dict[str, array[int]] = {
            name: array("q") for name in ("customer", "day", "first", "last", "n", "is_base_rate", "churned")
        }
        self._probability = array("d")
        self._features = array("f")

    def turn_to(self, day: int) -> None:
        """Live through one day."""
        self._learn_matured(day)
        for number, amount in self._orders_of_day[day]:
            self._order(number, day, amount)
        if day >= self._horizon:
            self._tick(day)

    def _ms(self, day: int) -> int:
        return (self._epoch_day_0 + day) * DAY_MS

    def _learn_matured(self, day: int) -> None:
        """Learn from the labels that matured before `day`, whose last day that counts is over."""
        for number in sorted(self._due.pop(day, ())):
            customer = self._customers[number]
            for example in churn.reveal(customer, self._ms(day) - 1, self._settings.churn):
                self._learner.fold(self._learner.next_offset, example)
                if example.head == churn.HORIZON:
                    self._base_rate.add(example.matured_at, example.label)
            self._schedule(number, customer)

    def _schedule(self, number: int, customer: Customer) -> None:
        """Have the next label learned on the first day after the one on which it matures."""
        matures_ms = churn.next_maturity_ms(customer, self._settings.churn)
        if matures_ms is not None:
            self._due[matures_ms // DAY_MS - self._epoch_day_0 + 1].add(number)

    def _order(self, number: int, day: int, amount: float) -> None:
        at_ms = self._ms(day)
        customer = self._customers.get(number)
        if customer is None:
            customer = self._customers[number] = updates.new_customer(self._customer_ids[number], at_ms)
        name = f"{day}"
        event = PurchaseEvent(name, customer.customer_id, at_ms, "order", name, amount=amount)
        updates.take_order(customer, event, self._settings)
        churn.note_signal(customer, at_ms)  # an order is the signal, whether that is a purchase or any activity
        customer.last_seen_ms = at_ms

    def _tick(self, day: int) -> None:
        numbers = [n for n in self._on_phase[(day - self._horizon) % self._every] if n in self._customers]
        if not numbers:
            return
        settings, at_ms = self._settings.churn, self._ms(day)
        self._knowledge.adopt(self._learner.snapshot())
        scorer = self._knowledge.churn
        base_rate = self._base_rate.at(at_ms)
        for number in numbers:
            customer = self._customers[number]
            estimate = scorer.estimate(customer, at_ms)
            churn.remember_prediction(customer, estimate, at_ms, settings, limit=self._pending_limit)
            self._schedule(number, customer)
            probability = base_rate if estimate.probability is None else estimate.probability
            self._note_row(number, day, probability, is_base_rate=estimate.probability is None)
            if self._keep_features:
                self._features.extend(unpack_churn(estimate.features))

    def _note_row(self, number: int, day: int, probability: float, *, is_base_rate: bool) -> None:
        days = self._order_days[number]
        so_far = bisect_right(days, day)
        columns = self._columns
        columns["customer"].append(number)
        columns["day"].append(day)
        columns["first"].append(days[0])
        columns["last"].append(days[so_far - 1])
        columns["n"].append(so_far)
        columns["is_base_rate"].append(is_base_rate)
        columns["churned"].append(so_far == len(days) or days[so_far] > day + self._horizon)
        self._probability.append(probability)

    def rows(self) -> ChurnRows:
        """Return what was predicted so far."""
        columns = {name: np.array(values, dtype=np.int64) for name, values in self._columns.items()}
        day, horizon = columns["day"], self._horizon
        return ChurnRows(
            customer=columns["customer"],
            day=day,
            tick=(day - horizon) // self._every,
            first_order_day=columns["first"],
            last_order_day=columns["last"],
            n_orders=columns["n"],
            features=np.array(self._features, dtype=np.float32).reshape(-1, len(CHURN_FEATURES)),
            probability=np.array(self._probability),
            is_base_rate=columns["is_base_rate"] > 0,
            is_active=day - columns["last"] < horizon,
            counts=day >= 2 * horizon + WARM_UP_DAYS,
            churned=columns["churned"].astype(np.float64),
        )
