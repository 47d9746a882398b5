"""Next-item prediction: ours against the published methods, on the same sessions.

    python -m benchmarks.next_item TRAIN.csv TEST.csv [--settings-of yoochoose]
    python -m benchmarks.next_item --retailrocket FILE
    python -m benchmarks.next_item --taobao FILE

The files hold `session_id, item_id, occurred_at` (seconds), as `nextbest evaluate next-item` reads them. With
`--retailrocket` and `--taobao` the views of the published file are cut into sessions of two and more, and the last two
days are the test. Every position of every test session from the second on predicts the item that came; repeats count.
*static* learns from TRAIN only, *prequential* goes on with each test session once it has ended. The published methods
(see `session_baselines.py`) learn from TRAIN.

Where the file names customers, ours knows their earlier sessions, and so does *own history*: one's own items, the
latest first. Positions are *repeat* (an item of the customer's own past), *seen* (another item that occurs in TRAIN)
or *new*. Intervals: 95 %, paired, sessions drawn with replacement (customers where they are known).
"""

import argparse
import csv
import gzip
import sys
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from benchmarks.session_baselines import NEIGHBOURS, Method, TrainSession, published
from consumer.core.customer import updates
from consumer.core.customer.customer import Customer
from consumer.core.hashing import uniform
from consumer.core.knowledge.knowledge import Knowledge
from consumer.core.knowledge.learner import new_learner
from consumer.core.preference.preference import own_items, recommend, try_next_item
from consumer.core.settings import CoreSettings
from consumer.default_catalogue import default_catalogue
from schemas.events import ClickEvent
from schemas.records import Session, TrainingExample

TOP = 20
TEST_DAYS = 2
DAY_S = 86_400
GAP_S = 1_800  # silence that cuts a customer's events into sessions
LEARNED_POSITIONS = 50_000
DRAWS = 1_000
NOVELTY = ("repeat", "seen", "new")
_SETTINGS = CoreSettings()
SETTINGS = replace(_SETTINGS, preference=replace(_SETTINGS.preference, top=TOP))
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(slots=True)
class Visit:
    """One session; `customer` is empty where the file doesn't say."""

    session_id: str
    customer: str = ""
    items: list[str] = field(default_factory=list)
    categories: list[str | None] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)

    def add(self, item_id: str, category: str | None, at_s: float) -> None:
        """Append an event."""
        self.items.append(item_id)
        self.categories.append(category)
        self.times_s.append(at_s)


class Ours:
    """The item index and the ranker of the product, fed with visits."""

    def __init__(self, share: float) -> None:
        self._share = share  # of positions that the ranker learns from
        catalogue = default_catalogue()
        self._learner = new_learner("preference", SETTINGS, catalogue)
        self.knowledge = Knowledge(SETTINGS, catalogue)
        self.customers: dict[str, Customer] = {}
        self.index = self.knowledge.items

    def open(self, visit: Visit) -> Customer:
        """Return the customer at the start of a visit."""
        at_ms = round(visit.times_s[0] * 1000)
        customer = self.customers.get(visit.customer) if visit.customer else None
        if customer is None:
            customer = updates.new_customer(visit.customer or visit.session_id, at_ms)
        if visit.customer:
            self.customers[visit.customer] = customer
        updates.clear_session(customer)
        updates.open_session(customer, visit.session_id, at_ms)
        return customer

    def look(self, customer: Customer, visit: Visit, place: int) -> None:
        """Take one event of a visit in."""
        at_ms, category = round(visit.times_s[place] * 1000), visit.categories[place]
        event = ClickEvent("", customer.customer_id, at_ms, "item_view", item_id=visit.items[place], category=category)
        updates.apply_click(customer, event, category, SETTINGS)
        customer.session.last_ms = at_ms

    def try_position(self, customer: Customer, visit: Visit, place: int) -> list[TrainingExample]:
        """Return what can be learned from what came next, on a sample of positions."""
        if uniform("benchmark", visit.session_id, str(place)) >= self._share:
            return []
        item_id, at_ms = visit.items[place], round(visit.times_s[place] * 1000)
        ranker = self.knowledge.ranker
        return [
            try_next_item(
                self.index, ranker, customer, item_id,
                predicted_at_ms=at_ms, matured_at_ms=at_ms, settings=SETTINGS.preference,
            )
        ]  # fmt: skip

    def learn(self, visit: Visit, examples: list[TrainingExample]) -> None:
        """Learn from a session that has ended: its examples, then its items."""
        for example in examples:
            snapshot = self._learner.fold(self._learner.next_offset, example).snapshot
            if snapshot is not None:
                self.knowledge.adopt(snapshot)
        last = slice(-SETTINGS.state.session_items, None)
        items = tuple(visit.items[last])
        ended_at = round(visit.times_s[-1] * 1000)
        self.index.fold(Session(visit.session_id, ended_at, items, tuple(visit.categories[last]), (1.0,) * len(items)))

    def adopt(self) -> None:
        """Rank with the weights as they stand."""
        self.knowledge.adopt(self._learner.snapshot())


# -- measuring ---------------------------------------------------------------------------------------------------------


def measure(train: list[Visit], test: list[Visit], settings_of: str) -> tuple[dict[str, Ints], Ints, Ints]:
    """Return the rank of the item that came (0: not listed) by each method, its novelty and its cluster."""
    ranks: dict[str, list[int]] = {}
    n_positions = sum(len(visit.items) - 1 for visit in train)
    ours = Ours(max(SETTINGS.preference.sample_share, min(1.0, LEARNED_POSITIONS / max(1, n_positions))))
    for visit in train:
        customer, examples = ours.open(visit), []
        for place in range(len(visit.items)):
            if place:
                examples += ours.try_position(customer, visit, place)
            ours.look(customer, visit, place)
        ours.learn(visit, examples)
    ours.adopt()
    after_training = deepcopy(ours.customers)
    known = {item_id for visit in train for item_id in visit.items}
    sessions = [TrainSession(tuple(visit.items), visit.times_s[-1]) for visit in train]
    methods = published(settings_of, sessions)
    past: dict[str, set[str]] = {}
    for visit in train:
        past.setdefault(visit.customer or visit.session_id, set()).update(visit.items)
    novelty, clusters = _novelty(test, known, past)
    for visit in test:
        customer = ours.open(visit)
        for place, came in enumerate(visit.items):
            if place:
                found = recommend(ours.index, ours.knowledge.ranker, customer, TOP)
                ranks.setdefault("ours, static", []).append(_rank(came, [one.item_id for one in found]))
                ranks.setdefault("own history", []).append(_rank(came, own_items(customer, TOP)))
                for name, ids in _published(methods, visit, place):
                    ranks.setdefault(name, []).append(_rank(came, ids))
            ours.look(customer, visit, place)
    ours.customers = after_training
    ranks["ours, prequential"] = prequential(ours, test)
    return {name: np.array(each) for name, each in ranks.items()}, novelty, clusters


def _published(methods: dict[str, Method], visit: Visit, place: int) -> Iterator[tuple[str, list[str]]]:
    for name, method in methods.items():
        yield name, method.recommend(visit.items[:place], visit.times_s[place], TOP)


def prequential(ours: Ours, test: list[Visit]) -> list[int]:
    """Return the ranks with each test session learned once it has ended, in the order of `test`."""
    events = sorted(
        (at_s, number, place) for number, visit in enumerate(test) for place, at_s in enumerate(visit.times_s)
    )
    ends = sorted((visit.times_s[-1], number) for number, visit in enumerate(test))
    visits: dict[int, tuple[Customer, list[TrainingExample]]] = {}
    ranks: dict[tuple[int, int], int] = {}
    n_ended = 0
    for at_s, number, place in events:
        while ends[n_ended][0] < at_s:
            ended = ends[n_ended][1]
            ours.learn(test[ended], visits.pop(ended)[1])
            n_ended += 1
        visit = test[number]
        if not place:
            visits[number] = ours.open(visit), []
        customer, examples = visits[number]
        if place:
            found = recommend(ours.index, ours.knowledge.ranker, customer, TOP)
            ranks[number, place] = _rank(visit.items[place], [one.item_id for one in found])
            examples += ours.try_position(customer, visit, place)
        ours.look(customer, visit, place)
    return [ranks[number, place] for number, visit in enumerate(test) for place in range(1, len(visit.items))]


def _novelty(test: list[Visit], known: set[str], past: dict[str, set[str]]) -> tuple[Ints, Ints]:
    novelty: list[int] = []
    clusters: list[int] = []
    numbers: dict[str, int] = {}
    for visit in test:
        name = visit.customer or visit.session_id
        own = past.setdefault(name, set())
        for place, item_id in enumerate(visit.items):
            if place:
                novelty.append(0 if item_id in own else 1 if item_id in known else 2)
                clusters.append(numbers.setdefault(name, len(numbers)))
            own.add(item_id)
    return np.array(novelty), np.array(clusters)


def _rank(item_id: str, listed: Sequence[str]) -> int:
    return listed.index(item_id) + 1 if item_id in listed else 0


def hits_and_reciprocals(ranks: Ints) -> Floats:
    """Return (is in the list, reciprocal of the rank), a column a position."""
    return np.array([ranks > 0, np.where(ranks > 0, 1.0 / np.maximum(ranks, 1), 0.0)])


def interval(differences: Floats, clusters: Ints) -> tuple[float, float]:
    """Return the 95 % interval of the mean of `differences`, clusters drawn with replacement."""
    _, numbers = np.unique(clusters, return_inverse=True)
    sums, sizes = np.bincount(numbers, differences), np.bincount(numbers)
    random = np.random.default_rng(1)
    means = []
    for _ in range(DRAWS):
        drawn = random.integers(len(sums), size=len(sums))
        means.append(sums[drawn].sum() / sizes[drawn].sum())
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def report(ranks: dict[str, Ints], novelty: Ints, clusters: Ints, out: IO[str]) -> None:
    """Print all tables."""
    parts = {"all": novelty >= 0, "without items unseen in TRAIN": novelty < 2}
    parts |= {name: novelty == kind for kind, name in enumerate(NOVELTY)}
    for part, rows in parts.items():
        print(f"\n{part}: {int(rows.sum())} positions", file=out)
        if not rows.any():
            continue
        for name, each in sorted(ranks.items()):
            hit_rate, mrr = hits_and_reciprocals(each[rows]).mean(axis=1)
            line = f"  {name:20} HR@{TOP} {hit_rate:.4f}  MRR@{TOP} {mrr:.4f}"
            if not name.startswith("ours"):
                for ours in ("ours, static", "ours, prequential"):
                    gains = hits_and_reciprocals(ranks[ours][rows]) - hits_and_reciprocals(each[rows])
                    told = [f"[{low:+.4f}, {high:+.4f}]" for low, high in (interval(g, clusters[rows]) for g in gains)]
                    line += f"  {ours.removeprefix('ours, ')} − this: HR {told[0]} MRR {told[1]}"
            print(line, file=out)


# -- reading -----------------------------------------------------------------------------------------------------------


def _rows(path: Path, header: list[str] | None = None) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as lines:
        yield from csv.DictReader(lines, fieldnames=header)


def read_sessions(path: Path) -> list[Visit]:
    """Return the sessions of a file with `session_id, item_id, occurred_at`."""
    visits: dict[str, Visit] = {}
    for row in _rows(path):
        visit = visits.setdefault(row["session_id"], Visit(row["session_id"]))
        visit.add(row["item_id"], None, float(row["occurred_at"]))
    return in_order(visits.values())


def read_retailrocket(path: Path) -> list[Visit]:
    """Return the sessions of views of the form with sessions and categories."""
    visits: dict[str, Visit] = {}
    for row in _rows(path):
        if row["Type"] == "view":
            visit = visits.setdefault(row["SessionId"], Visit(row["SessionId"], row["UserId"]))
            visit.add(row["ItemId"], row["CatId"], float(row["Time"]))
    return in_order(visits.values())


def read_taobao(path: Path) -> list[Visit]:
    """Return the sessions of views, cut where a customer is silent."""
    events: dict[str, list[tuple[float, str, str]]] = {}
    for row in _rows(path, ["user", "item", "category", "kind", "time"]):
        at_s = float(row["time"] or 0)
        if row["kind"] == "pv" and 1_511_539_200 <= at_s < 1_512_316_800:  # the nine days that were published
            events.setdefault(row["user"], []).append((at_s, row["item"], row["category"]))
    visits: list[Visit] = []
    for customer, own in events.items():
        own.sort(key=lambda event: event[0])
        for at_s, item_id, category in own:
            if not (visits and visits[-1].customer == customer and at_s - visits[-1].times_s[-1] <= GAP_S):
                visits.append(Visit(f"{customer} {at_s}", customer))
            visits[-1].add(item_id, category, at_s)
    return in_order(visits)


def in_order(visits: Iterable[Visit]) -> list[Visit]:
    """Return the sessions of two events and more by the time they ended."""
    return sorted(
        (visit for visit in visits if len(visit.items) > 1), key=lambda visit: (visit.times_s[-1], visit.session_id)
    )


def split(visits: list[Visit]) -> tuple[list[Visit], list[Visit]]:
    """Return what ended before the last days, and what began in them."""
    cut_s = visits[-1].times_s[-1] - TEST_DAYS * DAY_S
    return [v for v in visits if v.times_s[-1] < cut_s], [v for v in visits if v.times_s[0] >= cut_s]


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="TRAIN TEST")
    parser.add_argument("--retailrocket", type=Path)
    parser.add_argument("--taobao", type=Path)
    parser.add_argument("--test-sessions", type=int, help="so many of TEST, evenly spread; the published are slow")
    parser.add_argument("--settings-of", choices=NEIGHBOURS, default="retailrocket")
    chosen = parser.parse_args(arguments)
    if chosen.retailrocket:
        train, test = split(read_retailrocket(chosen.retailrocket))
    elif chosen.taobao:
        train, test = split(read_taobao(chosen.taobao))
    elif len(chosen.files) == 2:
        train, test = (read_sessions(path) for path in chosen.files)
    else:
        parser.error("give TRAIN.csv and TEST.csv, or --retailrocket FILE, or --taobao FILE")
    if chosen.test_sessions:
        test = test[:: max(1, len(test) // chosen.test_sessions)]
    report(*measure(train, test, chosen.settings_of), sys.stdout)


if __name__ == "__main__":
    main()
