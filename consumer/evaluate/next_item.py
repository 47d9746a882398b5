"""The backtest of next items: every item of a session from the second on, predicted from those before it.

Repeats count: an item looked at again is an item to predict. *Static*: the item index and its ranker learn from the
training file alone. *Prequential*: they also learn each test session once it has ended, which is when its last event
lies before the event that is predicted. Without a test file there is one stream, and all of it is prequential.

Popularity is that of the latest sessions, as the item index counts it: a harder rival than counts of all time. Own
history is the session's own items, the latest first.

It is the core that predicts, folds and learns. The ranker learns in one pass, each position from a prediction made
before its session was folded; where there are many positions, from a sample drawn by a digest.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter, perf_counter_ns

import msgspec
import numpy as np

from consumer.core.customer import updates
from consumer.core.hashing import uniform
from consumer.core.knowledge.knowledge import Knowledge
from consumer.core.knowledge.learner import new_learner
from consumer.core.preference.preference import Ranker, recommend, try_next_item
from consumer.core.settings import CoreSettings
from consumer.default_catalogue import default_catalogue
from consumer.evaluate.learning import learned_share
from consumer.evaluate.metrics import (
    Exposure,
    Ints,
    ListFigures,
    Microseconds,
    exposure,
    list_figures,
    microseconds,
)
from consumer.evaluate.sessions import SessionEvents, Sessions
from schemas.events import ClickEvent
from schemas.records import Session, TrainingExample

REPEAT, SEEN_BEFORE, NEW = range(3)  # in this session; in a session learned; in neither
NOVELTY = ("repeat", "seen_before", "new")

Progress = Callable[[int, int], None]  # events done, events in all


class Visit:
    """A session while it lasts: the customer, of whom nothing else is known, and what can be learned from it."""

    def __init__(self, session_id: str, at_ms: int) -> None:
        self.customer = updates.new_customer(session_id, at_ms)
        updates.open_session(self.customer, session_id, at_ms)
        self.items: dict[str, None] = {}  # all of them, the latest last; the customer's state keeps the last ones
        self.examples: list[TrainingExample] = []

    def look_at(self, item_id: str, at_ms: int, settings: CoreSettings) -> None:
        """Take an event in."""
        customer = self.customer
        event = ClickEvent(f"{at_ms}", customer.customer_id, at_ms, "item_view", item_id=item_id)
        updates.apply_click(customer, event, None, settings)
        customer.session.last_ms = at_ms
        self.items.pop(item_id, None)
        self.items[item_id] = None


class Predictions:
    """What was predicted, a place for each position."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._columns = {name: array("q") for name in ("session", "novelty", "ours", "popularity", "own_history")}
        self._listed: Counter[str] = Counter()
        self.recommend_ns = array("q")

    def add(self, session: int, visit: Visit, item_id: str, learned: "Learned") -> None:
        """Predict the next item of a visit, and note where `item_id`, which came, stood in each list."""
        started_ns = perf_counter_ns()
        found = recommend(learned.index, learned.ranker, visit.customer, self._top)
        self.recommend_ns.append(perf_counter_ns() - started_ns)
        ours = [each.item_id for each in found]
        self._listed.update(ours)
        columns = self._columns
        columns["session"].append(session)
        columns["novelty"].append(
            REPEAT if item_id in visit.items else SEEN_BEFORE if item_id in learned.items_seen else NEW
        )
        columns["ours"].append(_rank(item_id, ours))
        columns["popularity"].append(_rank(item_id, learned.index.popular(self._top)))
        columns["own_history"].append(_rank(item_id, list(reversed(visit.items))[: self._top]))

    def __len__(self) -> int:
        return len(self._columns["ours"])

    def __getitem__(self, column: str) -> Ints:
        return np.array(self._columns[column], dtype=np.int64)

    def by_novelty(self) -> dict[str, ListFigures]:
        """Return the figures of repeats, of items seen before in other sessions, and of new ones, apart."""
        ranks, novelty = self["ours"], self["novelty"]
        return {name: list_figures(ranks[novelty == kind]) for kind, name in enumerate(NOVELTY)}

    def exposure(self, item_ids: set[str]) -> Exposure:
        """Return how the lists were spread over `item_ids` and whatever else was in them."""
        return exposure(list(self._listed.values()), len(item_ids | self._listed.keys()))


def _rank(item_id: str, listed: Sequence[str]) -> int:
    return listed.index(item_id) + 1 if item_id in listed else 0


class Learned:
    """The index and the ranker: what they have learned, and how they go on learning."""

    def __init__(self, settings: CoreSettings, learned_share: float) -> None:
        self._settings = settings
        self._share = learned_share
        catalogue = default_catalogue()
        self._learner = new_learner("preference", settings, catalogue)
        self._knowledge = Knowledge(settings, catalogue)
        self.index = self._knowledge.items
        self.items_seen: set[str] = set()
        self.learn_ns = array("q")  # of each session folded

    @property
    def ranker(self) -> Ranker:
        """Return the ranker in force."""
        return self._knowledge.ranker

    def try_position(self, visit: Visit, item_id: str, at_ms: int) -> None:
        """Keep what the ranker can learn from what came next, predicted with what is known now; on a sample."""
        customer = visit.customer
        seed_words = (customer.customer_id, str(at_ms), str(len(customer.session.items)), item_id)
        if self._share < 1.0 and uniform("evaluate", *seed_words) >= self._share:
            return
        visit.examples.append(
            try_next_item(
                self.index,
                self.ranker,
                customer,
                item_id,
                predicted_at_ms=customer.session.last_ms,
                matured_at_ms=at_ms,
                settings=self._settings.preference,
            )
        )

    def end(self, visit: Visit) -> None:
        """Learn from a session that has ended: its examples, then its items."""
        customer = visit.customer
        for example in visit.examples:
            snapshot = self._learner.fold(self._learner.next_offset, example).snapshot
            if snapshot is not None:
                self._knowledge.adopt(snapshot)
        session = Session(
            session_id=customer.customer_id,
            ended_at=customer.session.last_ms,
            items=tuple(customer.session.items),
            categories=tuple(customer.session.categories),
            weights=tuple(customer.session.weights),
        )
        started_ns = perf_counter_ns()
        self.index.fold(session)
        self.learn_ns.append(perf_counter_ns() - started_ns)
        self.items_seen.update(visit.items)

    def adopt(self) -> None:
        """Rank with the weights as they stand."""
        self._knowledge.adopt(self._learner.snapshot())


@dataclass(frozen=True, slots=True)
class NextItemRun:
    """What one run of the backtest has predicted, and what it has cost."""

    top: int
    static: Predictions | None  # None without a test file
    prequential: Predictions
    static_items: set[str]
    all_items: set[str]
    recommend: Microseconds  # of each prequential prediction
    learn: Microseconds  # of each session folded meanwhile
    learned_share: float  # of positions, by the ranker
    n_input: int
    seconds: float


class NextItemFigures(msgspec.Struct, frozen=True):
    """The figures for machines. Where there is no test file `static` is None, and all the rest is prequential."""

    static: ListFigures | None
    prequential: ListFigures
    popularity: ListFigures
    own_history: ListFigures
    by_novelty: dict[str, ListFigures]
    recommend_us: Microseconds
    learn_us: Microseconds
    prequential_by_novelty: dict[str, ListFigures]
    prequential_popularity: ListFigures
    exposure: Exposure
    prequential_exposure: Exposure
    events_per_s: float


def run_next_item(
    train: SessionEvents,
    test: SessionEvents | None,
    settings: CoreSettings,
    top: int,
    *,
    progress: Progress = lambda _done, _total: None,
) -> NextItemRun:
    """Predict and learn through both files, or through the one."""
    started_s = perf_counter()
    settings = replace(settings, preference=replace(settings.preference, top=top))
    trained = Sessions(train)
    share = learned_share(trained.n_positions, settings.preference.sample_share)
    learned = Learned(settings, share)
    if test is None:
        prequential = _predict_in_time(trained, learned, settings, lambda n: progress(n, trained.n_events))
        static, tested = None, trained
    else:
        tested = Sessions(test)
        total = trained.n_events + 2 * tested.n_events
        _learn(trained, learned, settings, lambda n: progress(n, total))
        done = trained.n_events
        static = _predict(tested, learned, settings, lambda n: progress(done + n, total))
        learned.learn_ns = array("q")
        done += tested.n_events
        prequential = _predict_in_time(tested, learned, settings, lambda n: progress(done + n, total))
    static_items = set(train.item_ids)
    return NextItemRun(
        top=top,
        static=static,
        prequential=prequential,
        static_items=static_items,
        all_items=static_items | set(tested.item_ids),
        recommend=microseconds(prequential.recommend_ns),
        learn=microseconds(learned.learn_ns),
        learned_share=share,
        n_input=len(train.session) + (len(test.session) if test is not None else 0),
        seconds=perf_counter() - started_s,
    )


def figures_of(run: NextItemRun) -> NextItemFigures:
    """Return the figures of a run."""
    prequential = run.prequential
    first = run.static if run.static is not None else prequential
    return NextItemFigures(
        static=None if run.static is None else list_figures(run.static["ours"]),
        prequential=list_figures(prequential["ours"]),
        popularity=list_figures(first["popularity"]),
        own_history=list_figures(first["own_history"]),
        by_novelty=first.by_novelty(),
        recommend_us=run.recommend,
        learn_us=run.learn,
        prequential_by_novelty=prequential.by_novelty(),
        prequential_popularity=list_figures(prequential["popularity"]),
        exposure=first.exposure(run.static_items if run.static is not None else run.all_items),
        prequential_exposure=prequential.exposure(run.all_items),
        events_per_s=run.n_input / run.seconds,
    )


def _learn(sessions: Sessions, learned: Learned, settings: CoreSettings, progress: Callable[[int], None]) -> None:
    """Learn all sessions in the order in which they ended; predict nothing but what the ranker learns from."""
    done = 0
    for number in range(len(sessions)):
        events = sessions.events_of(number)
        visit = Visit(sessions.ids[number], events[0][1])
        for item_id, at_ms in events:
            if visit.items:
                learned.try_position(visit, item_id, at_ms)
            visit.look_at(item_id, at_ms, settings)
        learned.end(visit)
        done += len(events)
        progress(done)
    learned.adopt()


def _predict(
    sessions: Sessions, learned: Learned, settings: CoreSettings, progress: Callable[[int], None]
) -> Predictions:
    """Predict every position of all sessions, and learn nothing."""
    predictions = Predictions(settings.preference.top)
    done = 0
    for number in range(len(sessions)):
        events = sessions.events_of(number)
        visit = Visit(sessions.ids[number], events[0][1])
        for item_id, at_ms in events:
            if visit.items:
                predictions.add(number, visit, item_id, learned)
            visit.look_at(item_id, at_ms, settings)
        done += len(events)
        progress(done)
    return predictions


def _predict_in_time(
    sessions: Sessions, learned: Learned, settings: CoreSettings, progress: Callable[[int], None]
) -> Predictions:
    """Predict every position as it comes, and learn each session once it has ended."""
    predictions = Predictions(settings.preference.top)
    visits: dict[int, Visit] = {}
    n_ended = 0
    for done, (number, item_id, at_ms) in enumerate(sessions.in_time()):
        while sessions.ends[n_ended] < at_ms:
            learned.end(visits.pop(n_ended))
            n_ended += 1
        visit = visits.get(number)
        if visit is None:
            visit = visits[number] = Visit(sessions.ids[number], at_ms)
        else:
            predictions.add(number, visit, item_id, learned)
            learned.try_position(visit, item_id, at_ms)
        visit.look_at(item_id, at_ms, settings)
        progress(done + 1)
    return predictions
