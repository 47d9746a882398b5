"""The first budgets of the design, measured in one run and told as multiples of U.

U is decoding one JSON event with orjson, and one prediction and one learning step of River's
``StandardScaler | LogisticRegression`` with 16 features. Everything else is measured on the path that a worker takes,
from the bytes of a record to the encoded records of a commit, without a broker. Rounds of U and of the stream take
turns, so that a machine that slows down slows both; a ratio is the median over the rounds.

    python benchmarks/budgets.py [FILE] [--format NAME] [--json] [--rows N]

Without a file, NEXTBEST_BENCH_FILE names one; without that the simulator's stream is taken.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any
from unittest.mock import patch

if __package__ in (None, ""):  # started as a file: the project's folder is not on the path then
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import orjson
from river import linear_model, preprocessing

from consumer.core import teaching
from consumer.core.catalogue import Catalogue
from consumer.core.customer.customer import encode_customer
from consumer.core.customer.working_set import WorkingSet
from consumer.core.intake import Rejection
from consumer.core.settings import CoreSettings
from consumer.core.shared import Core
from consumer.core.step import ScoringTask
from consumer.core.task import Task
from consumer.default_catalogue import default_catalogue
from consumer.replay.inlet import PRODUCTS, Inlet, UsableRow
from consumer.replay.options import settings_for_recording
from consumer.replay.training import Trainers
from consumer.store.memory import MemoryState
from consumer.zones import load_zone
from producers.readers import Row, detect_format, read_rows
from producers.simulate import Population
from schemas.codec import JsonEncoder
from schemas.records import TrainingExample
from schemas.topics import EVENT_TOPICS
from schemas.units import DAY_MS

ROUND_ROWS = 1_000
WARM_UP_ROUNDS = 5
UNIT_REPEATS = 400
N_FEATURES = 16
BUDGETS = {"event without a decision, all in": 1.0, "decision, all in": 10.0, "tick": 1.5}


@dataclass
class Round:
    """Seconds spent on one round of the stream, and how often each thing happened."""

    unit_s: float = 0.0  # one U
    intake_s: float = 0.0
    process_s: float = 0.0  # merge and step, decisions and ticks included
    decide_s: float = 0.0
    tick_s: float = 0.0  # without the decisions that ticks lead to
    try_s: float = 0.0  # recommendations tried on a sample of item events, to learn from
    close_s: float = 0.0  # encoding and digesting what changed, and the store's commit
    encode_decisions_s: float = 0.0
    learn_s: float = 0.0
    fold_s: float = 0.0
    n_events: int = 0
    n_decisions: int = 0
    n_ticks: int = 0
    n_tried: int = 0
    n_examples: int = 0
    n_sessions: int = 0


@dataclass
class Bench:
    """One task, fed from memory, with a clock around its parts."""

    settings: CoreSettings
    catalogue: Catalogue
    round: Round = field(default_factory=Round)

    def __post_init__(self) -> None:
        """Make the task."""
        self.core = Core.new(self.settings, self.catalogue, load_zone, build="bench")
        self.trainers = Trainers(self.settings, self.catalogue)
        self.task = Task(0, self.core, WorkingSet(MemoryState()))
        self.inlet = Inlet(1, self.settings.time.max_ahead_ms)
        self.encoder = JsonEncoder()
        self.decision_sizes: list[int] = []  # bytes of JSON

    @contextmanager
    def clocks(self) -> Iterator[None]:
        """Put clocks where the work is, which is private: around deciding, ticking and trying a recommendation."""
        decide, tick = ScoringTask._decide, ScoringTask._tick  # noqa: SLF001 - see above
        example_of_item = teaching.example_of_item

        def timed_decide(*arguments: Any) -> bool:
            started_s = perf_counter()
            made = decide(*arguments)
            if made:
                self.round.decide_s += perf_counter() - started_s
                self.round.n_decisions += 1
            return made

        def timed_tick(*arguments: Any) -> None:
            decided_s, started_s = self.round.decide_s, perf_counter()
            tick(*arguments)
            self.round.tick_s += perf_counter() - started_s - (self.round.decide_s - decided_s)
            self.round.n_ticks += 1

        def timed_try(*arguments: Any) -> list[TrainingExample]:
            started_s = perf_counter()
            examples = example_of_item(*arguments)
            if examples:
                self.round.try_s += perf_counter() - started_s
                self.round.n_tried += 1
            return examples

        with (
            patch.object(ScoringTask, "_decide", timed_decide),
            patch.object(ScoringTask, "_tick", timed_tick),
            patch.object(teaching, "example_of_item", timed_try),
        ):
            yield

    def run(self, rows: list[UsableRow]) -> None:
        """Take one round of rows through intake, merge, step and commit, and let knowledge move on."""
        now, seen, task, knowledge = self.round, perf_counter, self.task, self.core.knowledge
        started_s = seen()
        records = [self.inlet.record_of(row)[1] for row in rows if row.topic != PRODUCTS]
        now.intake_s += seen() - started_s

        started_s = seen()
        for record in records:
            task.take(record)
        for topic in EVENT_TOPICS:
            task.end_reached(topic)
        commit = task.open("live")
        while (popped := task.next()) is not None:
            commit.process(popped)
        now.process_s += seen() - started_s
        now.n_events += sum(not isinstance(record.event, Rejection) for record in records)

        started_s = seen()
        closed = commit.close()
        task.committed(closed)
        now.close_s += seen() - started_s

        started_s = seen()
        encoded = [self.encoder.encode("next-best-actions", decision) for decision in closed.outputs.decisions]
        now.encode_decisions_s += seen() - started_s
        self.decision_sizes += map(len, encoded)

        started_s = seen()
        for snapshot in self.trainers.fold(closed.outputs.examples):
            knowledge.adopt(snapshot.data)
        now.learn_s += seen() - started_s
        now.n_examples += len(closed.outputs.examples)

        started_s = seen()
        for session in closed.outputs.sessions:
            knowledge.fold_session(knowledge.sessions_offset, session)
        now.fold_s += seen() - started_s
        now.n_sessions += len(closed.outputs.sessions)


def unit_s(
    value: bytes, scaler: Any, regression: Any, vectors: list[dict[str, float]], *, repeats: int = UNIT_REPEATS
) -> float:
    """Return the seconds of one U, over a batch."""
    started_s = perf_counter()
    for i in range(repeats):
        orjson.loads(value)
        x = vectors[i % len(vectors)]
        scaler.learn_one(x)
        scaled = scaler.transform_one(x)
        regression.predict_proba_one(scaled)
        regression.learn_one(scaled, i % 3 == 0)
    return (perf_counter() - started_s) / repeats


def measure(rows: Iterator[UsableRow], settings: CoreSettings, catalogue: Catalogue) -> tuple[list[Round], Bench]:
    """Run the stream in rounds, each after a batch of U; return the rounds past the warm-up."""
    bench = Bench(settings, catalogue)
    scaler, regression = preprocessing.StandardScaler(), linear_model.LogisticRegression()
    vectors = [{f"feature_{j}": ((i * 31 + j * 17) % 97) / 97 for j in range(N_FEATURES)} for i in range(64)]
    rounds: list[Round] = []
    while batch := list(islice(rows, ROUND_ROWS)):
        value = next((row.value for row in batch if row.value), b"{}")
        bench.round = Round(unit_s=unit_s(value, scaler, regression, vectors))
        with bench.clocks():
            bench.run(batch)
        rounds.append(bench.round)
    return rounds[WARM_UP_ROUNDS:] or rounds, bench


def report(rounds: list[Round]) -> dict[str, dict[str, float]]:
    """Return what each thing costs, in U (median over the rounds) and in µs, with its budget where it has one."""

    def event_s(r: Round) -> float:
        return r.intake_s + r.process_s - r.decide_s - r.tick_s + r.close_s

    costs: dict[str, tuple[Callable[[Round], float], Callable[[Round], int]]] = {
        "event without a decision, all in": (event_s, lambda r: r.n_events),
        "  intake: decode, validate, admit": (lambda r: r.intake_s, lambda r: r.n_events),
        "  merge and step": (lambda r: r.process_s - r.decide_s - r.tick_s, lambda r: r.n_events),
        "    of which: trying a recommendation": (lambda r: r.try_s, lambda r: r.n_events),
        "  share of the commit": (lambda r: r.close_s, lambda r: r.n_events),
        "decision, all in": (lambda r: r.decide_s + r.encode_decisions_s, lambda r: r.n_decisions),
        "  predict, recommend, choose, explain": (lambda r: r.decide_s, lambda r: r.n_decisions),
        "  encode": (lambda r: r.encode_decisions_s, lambda r: r.n_decisions),
        "tick": (lambda r: r.tick_s, lambda r: r.n_ticks),
        "one recommendation tried": (lambda r: r.try_s, lambda r: r.n_tried),
        "trainer: fold one example": (lambda r: r.learn_s, lambda r: r.n_examples),
        "item index: fold one session": (lambda r: r.fold_s, lambda r: r.n_sessions),
    }
    result: dict[str, dict[str, float]] = {}
    for name, (seconds, number) in costs.items():
        having = [r for r in rounds if number(r)]
        if not having:
            continue
        result[name] = {
            "U": median(seconds(r) / number(r) / r.unit_s for r in having),
            "microseconds": median(seconds(r) / number(r) for r in having) * 1e6,
            "n": sum(number(r) for r in having),
        }
        if name in BUDGETS:
            result[name]["budget_U"] = BUDGETS[name]
    return result


def simulated_rows(n: int) -> Iterator[Row]:
    """Yield the stream of a simulated population."""
    population = Population(seed=1, n_customers=1_000)
    until_ms = population.start_ms
    while True:
        until_ms += DAY_MS
        for row in population.events_until(until_ms):
            yield row
            n -= 1
            if n <= 0:
                return


def load(arguments: argparse.Namespace) -> tuple[list[Row], str]:
    """Return the rows to measure with, in memory, and where they are from."""
    name = arguments.file or os.environ.get("NEXTBEST_BENCH_FILE")
    if not name:
        return list(simulated_rows(arguments.rows)), "the simulator's stream"
    path = Path(name)
    format_name = arguments.format or detect_format(path)
    if format_name is None:
        sys.exit(f"{path}: the format is not recognised; name it with --format")
    with tempfile.TemporaryDirectory() as spill:
        rows = (row for row in read_rows(path, format_name, spill=Path(spill)) if isinstance(row, Row))
        return list(islice(rows, arguments.rows)), str(path)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", nargs="?", help="a recording; default: NEXTBEST_BENCH_FILE, or the simulator's stream")
    parser.add_argument("--format", help="its format; recognised where it is not given")
    parser.add_argument("--rows", type=int, default=60_000, help="at most so many rows (default: 60,000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    rows, source = load(arguments)
    catalogue = default_catalogue()
    times_ms = [row.occurred_at for row in rows]
    explicit = {"preference.sample_share"}
    settings = settings_for_recording(CoreSettings(), min(times_ms), max(times_ms), explicit)
    rounds, bench = measure(iter(rows), settings, catalogue)
    customers = list(bench.task.state._cache.values())  # noqa: SLF001 - sizes of what is in memory
    sizes = sorted(len(encode_customer(customer)) for customer in customers) or [0]
    decision_sizes = sorted(bench.decision_sizes) or [0]
    result = {
        "source": source,
        "rows": len(rows),
        "rounds": len(rounds),
        "unit_microseconds": median(r.unit_s for r in rounds) * 1e6,
        "costs": report(rounds),
        "customers": len(bench.task.state),
        "state_bytes_mean": sum(sizes) / len(sizes),
        "state_bytes_p99": sizes[int(len(sizes) * 0.99)],
        "decision_bytes_mean": sum(decision_sizes) / len(decision_sizes),
        "decision_bytes_p99": decision_sizes[int(len(decision_sizes) * 0.99)],
    }
    if arguments.json:
        print(json.dumps(result))
    else:
        _print(result)


def _print(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(
        f"{result['rows']:,} rows of {result['source']}, in {result['rounds']} rounds; "
        f"U is {result['unit_microseconds']:.1f} µs here"
    )
    table = Table("what", "U", "budget, U", "µs", "n")
    for name, cost in result["costs"].items():
        budget = cost.get("budget_U")
        verdict = "" if budget is None else f"{budget:g} {'met' if cost['U'] <= budget else 'over'}"
        table.add_row(name, f"{cost['U']:.2f}", verdict, f"{cost['microseconds']:.1f}", f"{int(cost['n']):,}")
    console.print(table)
    console.print(
        f"{result['customers']:,} customers; a record of one is {result['state_bytes_mean']:,.0f} bytes on average, "
        f"{result['state_bytes_p99']:,} at the 99th percentile (budget: 3,000)"
    )
    console.print(
        f"A decision is {result['decision_bytes_mean']:,.0f} bytes of JSON on average, "
        f"{result['decision_bytes_p99']:,} at the 99th percentile (budget: 3,000)"
    )


if __name__ == "__main__":
    main()
