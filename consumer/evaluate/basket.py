"""The backtest of next baskets: what a customer who orders again orders, predicted before it is seen.

A basket is all that a customer orders on one UTC day. Every basket after a customer's first is predicted: the `top`
items, from the customer's baskets of earlier days and everybody's. A day's baskets are all predicted before any of
them is learned, and what was learned is ranked with from the next day on. Recall is the share of the basket's distinct
items that were listed, averaged over baskets; the hit rate is the share of baskets of which at least one was. *Repeat*
looks at the items that the customer had ordered before, *explore* at the others, each over the baskets that have any.

It is the core that predicts, remembers and learns. Beside it stand what everybody orders most, and what the customer
has ordered most (decayed, filled up with the former).
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from time import perf_counter

import msgspec
import numpy as np

from consumer.core.customer import updates
from consumer.core.customer.customer import Customer
from consumer.core.hashing import digest64, uniform
from consumer.core.preference.basket import BasketLearner, BasketRanker, recommend_basket, try_next_basket
from consumer.core.preference.basket_index import BasketIndex
from consumer.core.settings import CoreSettings
from consumer.evaluate.learning import learned_share
from consumer.evaluate.metrics import Floats, Ints
from schemas.events import OrderLine, PurchaseEvent
from schemas.records import Session, TrainingExample
from schemas.units import DAY_MS

FREQUENCY_HALF_LIFE_DAYS = 90.0  # of the baseline: a round number, not one that was looked for
_CALENDAR_CYCLE_DAYS = 146_097  # 400 years: the same dates and weekdays again
MODELS = ("ours", "popularity", "personal_frequency")
PARTS = ("all", "repeat", "explore")

Progress = Callable[[int, int], None]  # baskets done, baskets in all


@dataclass(frozen=True, slots=True)
class OrderLines:
    """Order lines as they came, a place each; `customer` and `item` are places in the lists of ids."""

    customer_ids: Sequence[str]
    item_ids: Sequence[str]
    customer: Sequence[int]
    item: Sequence[int]
    occurred_at: Sequence[int]


@dataclass(frozen=True, slots=True)
class Basket:
    """The distinct items that a customer ordered on one day, in the order of their ids."""

    customer_id: str
    items: tuple[str, ...]


class BasketFigures(msgspec.Struct, frozen=True):
    """`recall`: mean share of the items that were listed. `hit_rate`: share of the `n` baskets with at least one."""

    n: int
    recall: float | None
    hit_rate: float | None


class ModelFigures(BasketFigures, frozen=True):
    """Whole baskets, and beside them what of them had been ordered before and what had not."""

    repeat: BasketFigures
    explore: BasketFigures


class BasketReport(ModelFigures, frozen=True):
    """The figures for machines: ours, and those of the baselines."""

    popularity: ModelFigures
    personal_frequency: ModelFigures
    events_per_s: float


class BasketRun:
    """What one run of the backtest has predicted, and what it has cost."""

    def __init__(self, top: int) -> None:
        self.top = top
        self.n_input = 0
        self.n_baskets = 0
        self.learned_share = 1.0  # of baskets, by the ranker
        self.seconds = 0.0
        self._customer = array("q")
        self._sizes = {part: array("q") for part in PARTS}
        self._hits = {(model, part): array("q") for model in MODELS for part in PARTS}

    def add(self, number: int, basket: Basket, before: Collection[str], listed: dict[str, list[str]]) -> None:
        """Note what was listed for a basket of customer `number`, who had ordered the items `before`."""
        items = set(basket.items)
        parts = {"all": items, "repeat": items.intersection(before), "explore": items.difference(before)}
        self._customer.append(number)
        for part, wanted in parts.items():
            self._sizes[part].append(len(wanted))
            for model, ids in listed.items():
                self._hits[model, part].append(len(wanted.intersection(ids)))

    def recalls(self, model: str, part: str) -> tuple[Floats, Ints]:
        """Return the recall of each basket that has such items, and its customer."""
        sizes = np.array(self._sizes[part], dtype=np.int64)
        has = sizes > 0
        return np.array(self._hits[model, part], dtype=np.int64)[has] / sizes[has], np.array(self._customer)[has]

    def figures(self, model: str, part: str) -> BasketFigures:
        """Return the figures of one model over one part of the baskets."""
        recalls, _ = self.recalls(model, part)
        if not len(recalls):
            return BasketFigures(0, None, None)
        return BasketFigures(len(recalls), float(recalls.mean()), float((recalls > 0.0).mean()))

    def report(self) -> BasketReport:
        """Return all figures."""
        return BasketReport(
            *self._of("ours"),
            popularity=ModelFigures(*self._of("popularity")),
            personal_frequency=ModelFigures(*self._of("personal_frequency")),
            events_per_s=self.n_input / self.seconds,
        )

    def _of(self, model: str) -> tuple[int, float | None, float | None, BasketFigures, BasketFigures]:
        whole = self.figures(model, "all")
        return whole.n, whole.recall, whole.hit_rate, self.figures(model, "repeat"), self.figures(model, "explore")


def run_basket(
    lines: OrderLines, settings: CoreSettings, top: int, progress: Progress = lambda _done, _total: None
) -> BasketRun:
    """Predict and learn through all baskets."""
    started_s = perf_counter()
    run = BasketRun(top)
    by_day = baskets_by_day(lines)
    run.n_input = len(lines.customer)
    run.n_baskets = sum(map(len, by_day.values()))
    run.learned_share = learned_share(run.n_baskets, settings.preference.basket_sample_share)
    learned, counted = _Learned(settings, run.learned_share), _Counted()
    numbers: dict[str, int] = {}
    done = 0
    shift_days = _CALENDAR_CYCLE_DAYS if min(by_day) <= 0 else 0  # the core takes a time of 0 for never
    for day in sorted(by_day):
        baskets = by_day[day]
        at_ms = (day + shift_days) * DAY_MS
        popular = counted.popular(top)
        for basket in baskets:
            if basket.customer_id in numbers:
                listed = {
                    "ours": learned.predict(basket, at_ms, top),
                    "popularity": popular,
                    "personal_frequency": counted.usual(basket.customer_id, day, popular, top),
                }
                before = counted.bought(basket.customer_id)
                run.add(numbers[basket.customer_id], basket, before, listed)
            done += 1
            progress(done, run.n_baskets)
        for basket in baskets:
            numbers.setdefault(basket.customer_id, len(numbers))
            learned.learn(basket, at_ms)
            counted.count(basket, day)
        learned.adopt()
    run.seconds = perf_counter() - started_s
    return run


def baskets_by_day(lines: OrderLines) -> dict[int, list[Basket]]:
    """Return the baskets of each epoch day, in the order of a digest of the customers' ids."""
    items: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    for customer, item, at_ms in zip(lines.customer, lines.item, lines.occurred_at, strict=True):
        items[at_ms // DAY_MS, customer].add(item)
    by_day: defaultdict[int, list[Basket]] = defaultdict(list)
    for (day, customer), ordered in items.items():
        names = tuple(sorted(lines.item_ids[item] for item in ordered))
        by_day[day].append(Basket(lines.customer_ids[customer], names))
    for baskets in by_day.values():
        baskets.sort(key=lambda basket: (digest64("evaluate", basket.customer_id), basket.customer_id))
    return dict(by_day)


class _Learned:
    """The core's side: customers, the basket index, and the ranker."""

    def __init__(self, settings: CoreSettings, share: float) -> None:
        self._settings = settings
        self._share = share
        self._customers: dict[str, Customer] = {}
        self._index = BasketIndex(settings.preference)
        self._learner = BasketLearner(settings.learner)
        self._ranker = BasketRanker(self._learner.state())
        self._examples: list[TrainingExample] = []

    def predict(self, basket: Basket, at_ms: int, top: int) -> list[str]:
        """Return what the customer is to order, and keep what can be learned from what came; on a sample."""
        customer = self._customers[basket.customer_id]
        index, ranker, settings = self._index, self._ranker, self._settings.preference
        found = recommend_basket(index, ranker, customer, at_ms, limit=top)
        seed_words = (basket.customer_id, str(at_ms))
        if self._share >= 1.0 or uniform("evaluate", *seed_words) < self._share:
            example = try_next_basket(
                index, ranker, customer, basket.items, at_ms=at_ms, settings=settings, seed_words=seed_words
            )
            self._examples.append(example)
        return [each.item_id for each in found]

    def learn(self, basket: Basket, at_ms: int) -> None:
        """Take a basket in: into the customer's state, and into the index."""
        customer = self._customers.get(basket.customer_id)
        if customer is None:
            customer = self._customers[basket.customer_id] = updates.new_customer(basket.customer_id, at_ms)
        name = f"{at_ms}"
        lines = tuple(OrderLine(item_id) for item_id in basket.items)
        event = PurchaseEvent(name, basket.customer_id, at_ms, "order", name, lines, amount=0.0)
        updates.take_order(customer, event, self._settings)
        customer.last_seen_ms = at_ms
        n = len(basket.items)
        self._index.fold(Session(name, at_ms, basket.items, (None,) * n, (1.0,) * n, "basket"))

    def adopt(self) -> None:
        """Learn from the examples of the day, and rank with what was learned."""
        for example in self._examples:
            self._learner.learn(example)
        self._examples.clear()
        self._ranker = BasketRanker(self._learner.state())


class _Counted:
    """The baselines: counts of baskets by item, everybody's and each customer's."""

    def __init__(self) -> None:
        self._baskets: Counter[str] = Counter()
        self._own: defaultdict[str, dict[str, tuple[float, int]]] = defaultdict(dict)  # item → (decayed count, its day)

    def bought(self, customer_id: str) -> Collection[str]:
        """Return the items that the customer has ordered so far."""
        return self._own[customer_id].keys()

    def popular(self, n: int) -> list[str]:
        """Return the `n` items in most baskets so far, ties by id."""
        return [item for item, _ in nsmallest(n, self._baskets.items(), key=lambda entry: (-entry[1], entry[0]))]

    def usual(self, customer_id: str, day: int, popular: list[str], n: int) -> list[str]:
        """Return the `n` items that the customer has ordered most, decayed, ties by id; then popular ones."""

        def place(entry: tuple[str, tuple[float, int]]) -> tuple[float, str]:
            item_id, (count, counted_day) = entry
            return -_decayed(count, day - counted_day), item_id

        own = [item_id for item_id, _ in nsmallest(n, self._own[customer_id].items(), key=place)]
        return list(dict.fromkeys([*own, *popular]))[:n]

    def count(self, basket: Basket, day: int) -> None:
        """Take a basket in."""
        self._baskets.update(basket.items)
        own = self._own[basket.customer_id]
        for item_id in basket.items:
            count, counted_day = own.get(item_id, (0.0, day))
            own[item_id] = (_decayed(count, day - counted_day) + 1.0, day)


def _decayed(count: float, days: int) -> float:
    decayed: float = count * 0.5 ** (days / FREQUENCY_HALF_LIFE_DAYS)
    return decayed
