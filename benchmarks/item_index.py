"""What the item index costs with half a million sessions in it: memory, learning a session, recommending.

The sessions are made here: about four steps each over 40,000 items of 300 categories, both drawn by Zipf's law, most
steps of a session in one category. The size is what the process grows by. Times are those of the processor, so that
waiting for it does not count, in µs and in U (see `budgets.py`), which is measured in turns with them.

    python benchmarks/item_index.py [--sessions N] [--json]
"""

import argparse
import gc
import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from time import thread_time
from typing import Any

if __package__ in (None, ""):  # started as a file: the project's folder is not on the path then
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from river import linear_model, preprocessing

from benchmarks.budgets import N_FEATURES, UNIT_REPEATS, unit_s
from consumer.core.customer.customer import Customer, OpenSession, TasteCounts
from consumer.core.preference.items import ItemIndex
from consumer.core.preference.preference import Ranker, recommend, try_next_item
from consumer.core.settings import PreferenceSettings
from schemas.records import Session

N_SESSIONS, N_ITEMS, N_CATEGORIES = 500_000, 40_000, 300
N_MEASURED = 3_000  # sessions that are folded, and visitors that are recommended to, with a clock
TOP = 20
STRAY, AGAIN = 0.15, 0.12  # shares of steps in another category, and of steps that repeat the one before
BUDGETS = {"fold, mean": 10.0, "recommend, p50": 150.0, "recommend, p99": 500.0, "bytes a session": 200.0}
EVENT = b'{"event_id": "e1", "type": "view", "customer_id": "c1", "occurred_at": 1400000000000, "item_id": "i1"}'


def sessions(n: int, seed: int) -> Iterator[Session]:
    """Yield `n` sessions, always the same for a seed."""
    random = np.random.default_rng(seed)
    ids = [str(214_500_000 + 7 * item) for item in range(N_ITEMS)]
    names = [f"category {category}" for category in range(N_CATEGORIES)]
    n_each = N_ITEMS // N_CATEGORIES

    def zipf(n_values: int, exponent: float, n_drawn: int) -> Any:
        shares = np.arange(1, n_values + 1) ** -exponent
        return (shares.cumsum() / shares.sum()).searchsorted(random.random(n_drawn)).clip(max=n_values - 1)

    for first in range(0, n, 10_000):
        lengths = np.minimum(1 + random.geometric(0.34, min(10_000, n - first)), 60)
        total = int(lengths.sum())
        strays = random.random(total) < STRAY
        categories = np.where(
            strays, zipf(N_CATEGORIES, 0.8, total), zipf(N_CATEGORIES, 0.8, len(lengths)).repeat(lengths)
        )
        items = categories * n_each + zipf(n_each, 0.9, total)
        again = (random.random(total) < AGAIN).nonzero()[0]
        again = again[again > 0]
        items[again] = items[again - 1]
        ends = lengths.cumsum().tolist()
        for number, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True), first):
            chosen = items[start:end].tolist()
            yield Session(
                session_id=str(number),
                ended_at=1_400_000_000_000 + 3_000 * number,
                items=tuple(ids[item] for item in chosen),
                categories=tuple(names[min(item // n_each, N_CATEGORIES - 1)] for item in chosen),
                weights=(1.0,) * len(chosen),
            )


def visitors(n: int) -> Iterator[tuple[Customer, Session]]:
    """Yield customers in the middle of a session, with a history, and the whole of that session."""
    history: list[str] = []
    for number, session in enumerate(sessions(n, seed=2)):
        seen = number % len(session.items) + 1
        yield (
            Customer(
                "someone",
                session=OpenSession(
                    items=list(session.items[:seen]), categories=list(session.categories[:seen]), weights=[1.0] * seen
                ),
                history=list(dict.fromkeys(history)),
                tastes=TasteCounts(categories={"category 0": 2.0, "category 7": 1.0, session.categories[0] or "": 3.0}),
                cart=[session.items[0]],
            ),
            session,
        )
        history = [*history, *session.items][-20:]


def resident_bytes() -> int:
    """Return how much memory the process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


class Unit:
    """U, in small batches."""

    def __init__(self) -> None:
        self._models = preprocessing.StandardScaler(), linear_model.LogisticRegression()
        self._vectors = [{f"feature_{j}": ((i * 31 + j * 17) % 97) / 97 for j in range(N_FEATURES)} for i in range(64)]

    def seconds(self) -> float:
        """Return the seconds of one U."""
        started = thread_time()
        unit_s(EVENT, *self._models, self._vectors)
        return (thread_time() - started) / UNIT_REPEATS


def fill(index: ItemIndex, n: int) -> float:
    """Fold `n` sessions, and return how many bytes the process grew by."""
    made = sessions(n, seed=1)
    index.fold(next(made))
    gc.collect()
    before = resident_bytes()
    for session in made:
        index.fold(session)
    del made
    gc.collect()
    return resident_bytes() - before


def measure(index: ItemIndex) -> dict[str, list[float]]:
    """Return seconds of each recommendation, trial, fold and U, in turns: a visitor comes, leaves and is learned."""
    settings, ranker, unit = PreferenceSettings(), Ranker(), Unit()
    seconds: dict[str, list[float]] = {"recommend": [], "try": [], "fold": [], "U": []}
    drawn = visitors(2 * N_MEASURED)
    for number, (customer, session) in enumerate(islice(drawn, N_MEASURED)):
        if number % 100 == 0:
            seconds["U"].append(unit.seconds())
        started = thread_time()
        recommend(index, ranker, customer, TOP)
        seconds["recommend"].append(thread_time() - started)
        started = thread_time()
        try_next_item(index, ranker, customer, session.items[-1], predicted_at_ms=1, matured_at_ms=2, settings=settings)
        seconds["try"].append(thread_time() - started)
        index.fold(session)
    for _ in range(N_MEASURED // 100):  # a hundred at a time: a clock around each would cost as much as it measures
        batch = [session for _, session in islice(drawn, 100)]
        seconds["U"].append(unit.seconds())
        started = thread_time()
        for session in batch:
            index.fold(session)
        seconds["fold"].append((thread_time() - started) / len(batch))
    return seconds


def main(words: list[str] | None = None) -> None:
    """Measure and print. `words` are those of the command line unless given."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=N_SESSIONS, help="sessions in the index (default: 500,000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args(words)
    index = ItemIndex(PreferenceSettings(index_sessions=arguments.sessions))
    grown = fill(index, arguments.sessions)
    seconds = measure(index)
    unit = float(np.median(seconds["U"]))
    costs = {
        "fold, mean": np.median(seconds["fold"]),
        "recommend, p50": np.percentile(seconds["recommend"], 50),
        "recommend, p99": np.percentile(seconds["recommend"], 99),
        "try the next item, p50": np.percentile(seconds["try"], 50),
    }
    result = {
        "sessions": index.n_sessions,
        "items": index.n_items,
        "bytes_a_session": grown / index.n_sessions,
        "unit_microseconds": unit * 1e6,
        "costs": {name: {"U": float(s) / unit, "microseconds": float(s) * 1e6} for name, s in costs.items()},
    }
    if arguments.json:
        print(json.dumps(result))
    else:
        _print(result)


def _print(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    made = f"{result['sessions']:,} made sessions over {result['items']:,} items"
    console.print(f"{made}; U is {result['unit_microseconds']:.1f} µs here")
    table = Table("what", "U", "µs or bytes", "budget")
    for name, cost in result["costs"].items():
        table.add_row(name, f"{cost['U']:.2f}", f"{cost['microseconds']:.1f}", _verdict(name, cost["microseconds"]))
    size = result["bytes_a_session"]
    table.add_row("bytes a session", "", f"{size:.0f}", _verdict("bytes a session", size))
    console.print(table)


def _verdict(name: str, value: float) -> str:
    budget = BUDGETS.get(name)
    return "" if budget is None else f"{budget:g} {'met' if value <= budget else 'over'}"


if __name__ == "__main__":
    main()
