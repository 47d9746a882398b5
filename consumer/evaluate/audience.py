"""The backtest of audiences: who buys in a category within N days, month by month, by models that could not know.

A customer's lines of one UTC day are one order. From the customer's first order on, ticks come each `churn.tick_days`
of the settings; at a share of them a category is predicted, kept and learned from once N days are over,
as in `ScoringTask`. On the first day of each calendar month every customer who has ordered before it is scored for
each of the reported categories: all of them, also those who never bought there. A month counts where 2N days lie
before it, so that there was something to learn from, and N days after it.

On a day, labels that matured before it are learned first; months and ticks are then predicted from what was ordered
before the day, and the day's orders come last.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from math import ceil
from time import perf_counter

import msgspec
import numpy as np

from consumer.core.customer import updates
from consumer.core.customer.customer import Customer
from consumer.core.hashing import digest64
from consumer.core.preference import audience
from consumer.core.preference.audience import customer_part
from consumer.core.preference.audience_model import AudienceLearner, AudienceScorer, predict_pair
from consumer.core.settings import CoreSettings
from consumer.evaluate.metrics import Floats, Ints, auc_within, lift, log_loss
from schemas.events import OrderLine, PurchaseEvent
from schemas.units import DAY_MS

NEVER_DAYS = 1e6  # days since a purchase that never was, to rank by
_EPOCH = date(1970, 1, 1)


class TooShort(Exception):
    """The lines span too few days for a month to count; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Order lines as they came, a place each: whose and of which category (indices into the names), when (epoch ms)."""

    customer_ids: Sequence[str]
    categories: Sequence[str]
    customer: Sequence[int]
    category: Sequence[int]
    occurred_at: Sequence[int]


@dataclass(frozen=True, slots=True)
class AudienceRun:
    """What was predicted, a place for each month, category and customer, and what it cost."""

    categories: tuple[str, ...]  # those reported, the most bought first
    months: tuple[date, ...]
    within_days: int
    month: Ints  # an index into `months`
    category: Ints  # an index into `categories`
    probability: Floats
    base_rate: Floats  # of those known one window before, the share who bought in it: the freshest rate there is
    since_bought: Floats  # days since the last order in the category, NEVER_DAYS without one
    times_bought: Floats  # days with an order in the category
    bought: Floats  # 1.0: an order in the category within the window
    n_lines: int
    seconds: float


class AudienceFigures(msgspec.Struct, frozen=True):
    """The figures of some cells (a category in a month each). Lifts: buyers in the top share / buyers in a random one.

    A figure is None where the rows can't give it.
    """

    n: int
    buyers: int
    rate: float
    auc: float | None  # within cells, weighted by rows
    log_loss: float | None
    log_loss_base_rate: float | None
    lift: float | None
    lift_by_recency: float | None
    lift_by_frequency: float | None
    auc_by_recency: float | None
    auc_by_frequency: float | None


def run_audience(
    lines: Lines,
    settings: CoreSettings,
    within_days: int,
    n_categories: int,
    *,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> AudienceRun:
    """Predict and learn through all lines; `progress` is told days done and days in all. Raises TooShort."""
    started_s = perf_counter()
    settings = replace(
        settings,
        audience=replace(settings.audience, within_days=float(within_days)),
        state=replace(
            settings.state,  # none of the predictions may be dropped here
            pending_audience=ceil(within_days / settings.churn.tick_days) + 2,
        ),
    )
    backtest = _Backtest(lines, settings, within_days, n_categories)
    first, last = backtest.first_day, backtest.last_day
    if not backtest.months:
        raise TooShort(
            f"the lines span {last - first + 1} days from {_EPOCH + timedelta(days=first)} on; no first of a month has "
            f"{2 * within_days} days before it and "
            f"{within_days} from it on: take more lines, or a shorter --within"
        )
    for day in range(first, last + 1):
        backtest.turn_to(day)
        progress(day - first + 1, last - first + 1)
    return backtest.run(len(lines.customer), perf_counter() - started_s)


def figures_of(
    run: AudienceRun, share: float, rows: "np.ndarray[tuple[int], np.dtype[np.bool_]] | None" = None
) -> AudienceFigures:
    """Return the figures of `rows` (all where None): each category in each month is a ranking of its own."""
    kept = np.ones(len(run.month), dtype=np.bool_) if rows is None else rows
    cell = (run.month * len(run.categories) + run.category)[kept]
    bought, probability = run.bought[kept], run.probability[kept]
    by_recency, by_frequency = -run.since_bought[kept], run.times_bought[kept]

    def lift_of(score: Floats) -> float | None:
        return _lift(score, bought, cell, share)

    return AudienceFigures(
        n=len(bought),
        buyers=int(bought.sum()),
        rate=float(bought.mean()) if len(bought) else 0.0,
        auc=auc_within(probability, bought, cell),
        log_loss=log_loss(probability, bought),
        log_loss_base_rate=log_loss(run.base_rate[kept], bought),
        lift=lift_of(probability),
        lift_by_recency=lift_of(by_recency),
        lift_by_frequency=lift_of(by_frequency),
        auc_by_recency=auc_within(by_recency, bought, cell),
        auc_by_frequency=auc_within(by_frequency, bought, cell),
    )


def _lift(score: Floats, bought: Floats, cell: Ints, share: float) -> float | None:
    """Return how many times more buyers the top `share` of each cell holds than a random one, over all cells."""
    found = expected = 0.0
    for each in np.unique(cell).tolist():
        rows = cell == each
        of_cell = lift(score[rows], bought[rows], share)
        if of_cell is not None:
            found += of_cell * bought[rows].sum()
            expected += bought[rows].sum()
    return float(found / expected) if expected else None


class _Backtest:
    """Turns the calendar: learn what has matured, predict, take in the day's orders."""

    def __init__(self, lines: Lines, settings: CoreSettings, within_days: int, n_categories: int) -> None:
        self._settings, self._within, self._lines = settings, within_days, lines
        self._orders: defaultdict[int, dict[int, set[int]]] = defaultdict(dict)  # day → customer → categories
        # Numbered by a digest of their id, so that the order of the file doesn't show in what is learned first.
        self._ids = sorted(lines.customer_ids, key=lambda name: (digest64("evaluate", name), name))
        number = {name: place for place, name in enumerate(self._ids)}
        numbers = [number[name] for name in lines.customer_ids]
        for customer, category, at_ms in zip(lines.customer, lines.category, lines.occurred_at, strict=True):
            self._orders[at_ms // DAY_MS].setdefault(numbers[customer], set()).add(category)
        self.first_day, self.last_day = min(self._orders), max(self._orders)
        days = range(self.first_day + 2 * within_days, self.last_day - within_days + 2)
        self.months = [day for day in days if (_EPOCH + timedelta(days=day)).day == 1]
        orders_in: Counter[int] = Counter()
        for orders in self._orders.values():
            for categories in orders.values():
                orders_in.update(categories)
        by_orders = sorted(orders_in, key=lambda category: (-orders_in[category], lines.categories[category]))
        self._reported = by_orders[:n_categories]
        self._tick_days = max(1, round(settings.churn.tick_days))
        self._on_phase: list[list[int]] = [[] for _ in range(self._tick_days)]
        for place, name in enumerate(self._ids):
            self._on_phase[digest64("tick", name) % self._tick_days].append(place)
        self._customers: dict[int, Customer] = {}
        self._due: defaultdict[int, set[int]] = defaultdict(set)
        self._learner = AudienceLearner(settings.audience, settings.learner)
        self._bought_on: defaultdict[tuple[int, int], list[int]] = defaultdict(list)  # customer, category → days
        self._cells: list[_Cell] = []

    def turn_to(self, day: int) -> None:
        """Live through one day."""
        for number in sorted(self._due.pop(day, ())):
            for example in audience.reveal(self._customers[number], day * DAY_MS, self._settings.audience):
                self._learner.learn(example)
            self._schedule(number)
        ticking = [n for n in self._on_phase[day % self._tick_days] if n in self._customers]
        is_month = day in self.months
        if ticking or is_month:
            scorer = AudienceScorer(self._settings.audience, self._learner.state())
            if is_month:
                self._score_all(day, scorer)
            for number in ticking:
                predict_pair(self._customers[number], scorer, day * DAY_MS, self._settings)
                self._schedule(number)
        for number, categories in sorted(self._orders.pop(day, {}).items()):
            self._order(number, day, categories)

    def _schedule(self, number: int) -> None:
        due_ms = audience.next_maturity_ms(self._customers[number], self._settings.audience)
        if due_ms is not None:
            self._due[due_ms // DAY_MS].add(number)

    def _order(self, number: int, day: int, categories: set[int]) -> None:
        at_ms, name = day * DAY_MS + DAY_MS // 2, f"{day}"  # after the day's predictions, within their window
        customer = self._customers.get(number)
        if customer is None:
            customer = self._customers[number] = updates.new_customer(self._ids[number], at_ms)
        names = sorted(self._lines.categories[category] for category in categories)
        event = PurchaseEvent(
            name,
            customer.customer_id,
            at_ms,
            "order",
            name,
            lines=tuple(OrderLine(each, category=each) for each in names),
        )
        updates.take_order(customer, event, self._settings)
        audience.note_purchase(customer, names, at_ms, self._settings)
        customer.last_seen_ms = at_ms
        for category in categories:
            self._bought_on[number, category].append(day)

    def _score_all(self, day: int, scorer: AudienceScorer) -> None:
        numbers = sorted(self._customers)
        known_before = [n for n in numbers if self._customers[n].first_seen_ms < (day - self._within) * DAY_MS]
        parts = [customer_part(self._customers[n], day * DAY_MS) for n in numbers]
        for category in self._reported:
            name = self._lines.categories[category]
            earlier = [self._buys(n, category, day - self._within) for n in known_before]
            cell = _Cell(day, category, numbers, base_rate=sum(earlier) / max(1, len(earlier)))
            for n, part in zip(numbers, parts, strict=True):
                estimate = scorer.estimate_with(part, self._customers[n], name, day * DAY_MS)
                cell.probability.append(cell.base_rate if estimate.probability is None else estimate.probability)
                days = self._bought_on.get((n, category))
                cell.since.append(NEVER_DAYS if days is None else float(day - days[-1]))
                cell.times.append(0.0 if days is None else float(len(days)))
            self._cells.append(cell)

    def run(self, n_lines: int, seconds: float) -> AudienceRun:
        """Return what was predicted, with what came of it."""
        bought = [np.array([self._buys(n, cell.category, cell.day) for n in cell.numbers]) for cell in self._cells]
        month_of = {day: place for place, day in enumerate(self.months)}
        place_of = {category: place for place, category in enumerate(self._reported)}
        sizes = [len(cell.numbers) for cell in self._cells]
        return AudienceRun(
            categories=tuple(self._lines.categories[category] for category in self._reported),
            months=tuple(_EPOCH + timedelta(days=day) for day in self.months),
            within_days=self._within,
            month=np.repeat([month_of[cell.day] for cell in self._cells], sizes),
            category=np.repeat([place_of[cell.category] for cell in self._cells], sizes),
            probability=np.concatenate([cell.probability for cell in self._cells]),
            base_rate=np.repeat([cell.base_rate for cell in self._cells], sizes),
            since_bought=np.concatenate([cell.since for cell in self._cells]),
            times_bought=np.concatenate([cell.times for cell in self._cells]),
            bought=np.concatenate(bought),
            n_lines=n_lines,
            seconds=seconds,
        )

    def _buys(self, number: int, category: int, day: int) -> float:
        """Return 1.0 where an order in `category` is known within the window that begins with `day`."""
        return float(any(day <= each < day + self._within for each in self._bought_on.get((number, category), ())))


class _Cell:
    """One category in one month: what was said of each customer."""

    __slots__ = ("base_rate", "category", "day", "numbers", "probability", "since", "times")

    def __init__(self, day: int, category: int, numbers: list[int], base_rate: float) -> None:
        self.day, self.category, self.numbers, self.base_rate = day, category, numbers, base_rate
        self.probability, self.since, self.times = array("d"), array("d"), array("d")
