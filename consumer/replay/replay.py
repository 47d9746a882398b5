"""Replay: a recorded stream through the same merge, tasks, commits and trainers as live, without a broker.

Rows are taken in rounds of `commit_records`. In each round every task merges and processes what is its own, and
commits; then the trainers learn from the new examples, and the knowledge of all tasks moves on. So the order in which
examples and sessions enter their logs, and the moment at which each model comes into force, depend on the rows alone.
Stream time is moved by records only: what would mature after the last of them stays unmatured.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import perf_counter

import msgspec

from consumer.core.catalogue import Catalogue
from consumer.core.customer.segments import transitions
from consumer.core.customer.working_set import CommittedState, WorkingSet
from consumer.core.decision.budget import Budget, equal_share
from consumer.core.intake import Rejection
from consumer.core.journal import ClosedCommit, OpenCommit, TaskRecord, encode_task_record, settings_digest
from consumer.core.knowledge.knowledge import Knowledge
from consumer.core.merge import EventTimeMerge, MergeRecord
from consumer.core.settings import CoreSettings
from consumer.core.step import Outputs, ScoringTask
from consumer.replay.files import (
    DEAD_LETTERS,
    DECISIONS,
    JOURNAL,
    MODELS,
    SESSIONS,
    Manifest,
    OutputDirectory,
    Source,
    catalogue_mapping,
)
from consumer.replay.inlet import PRODUCTS, AnyRow, Inlet, ProductRecord, UnusableRow, UsableRow, is_input, usable
from consumer.replay.options import ReplayOptions
from consumer.replay.quality import Quality
from consumer.replay.summary import (
    DecisionCounts,
    EffectiveSettings,
    Segments,
    Summary,
    warnings_about,
    why_no_churn_figures,
)
from consumer.replay.training import Trainers
from schemas.codec import Decoder, JsonEncoder
from schemas.container import Recorded
from schemas.records import Session, TrainingExample
from schemas.topics import EVENT_TOPICS

NOTHING = "nothing"
LATE = "late"
OTHER_TOPIC = "other_topic"


def replay(
    rows: Iterable[AnyRow],
    out_dir: Path,
    settings: CoreSettings,
    catalogue: Catalogue,
    *,
    source: Source,
    build: str,
    new_state: Callable[[], CommittedState],
    options: ReplayOptions | None = None,
    decoder: Decoder | None = None,
    progress: Callable[[int], None] | None = None,
    unreadable: tuple[type[Exception], ...] = (),
) -> Summary:
    """Replay `rows` into `out_dir` and return what is also written there as ``summary.json``.

    `rows` are in the order of replay (event-time order, or that of a recorded topic). `settings` are used as they are:
    see `settings_for_recording`. `build` is the fingerprint that verify compares. `new_state` makes an empty committed
    state for each task. `decoder` reads the values; without one, JSON alone is read. `progress` is told the rows done
    after each commit. An exception of a kind in `unreadable` ends the stream: what came before it counts, and the
    summary says so. Raises OutputRefused before anything is read.
    """
    options = options or ReplayOptions()
    with OutputDirectory(out_dir) as output:
        inlet = Inlet(options.partitions, settings.time.max_ahead_ms, decoder, options.last_ms)
        run = _Replay(output, inlet, settings, catalogue, build, new_state, options)
        started_s = perf_counter()
        unreadable_after: str | None = None
        rest = iter(rows)
        while True:
            try:
                row = next(rest, None)
            except unreadable as error:
                if run.n_rows == 0:
                    raise
                unreadable_after = str(error)
                break
            if row is None:
                break
            run.take(row)
            if run.n_rows % options.commit_records == 0:
                run.commit()
                if progress is not None:
                    progress(run.n_rows)
        run.commit()
        if progress is not None:
            progress(run.n_rows)
        summary = run.summary(source, unreadable_after, perf_counter() - started_s)
        manifest = Manifest(
            source=source,
            options=options,
            settings=settings,
            catalogue=catalogue_mapping(catalogue),
            build=build,
            files={},
        )
        output.finish(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n", manifest)
    return summary


class _Lane:
    """One task with its merge and what it committed last."""

    def __init__(
        self,
        partition: int,
        settings: CoreSettings,
        catalogue: Catalogue,
        state: CommittedState,
        knowledge: Knowledge,
        grants: dict[str, float],
    ) -> None:
        self.state = WorkingSet(state)
        self.task = ScoringTask(
            partition,
            settings,
            catalogue,
            self.state,
            knowledge,
            settings_digest=settings_digest(settings),
            budget=Budget(grants),
        )
        self.merge = EventTimeMerge()
        self.previous = TaskRecord()
        self.changelog_offset = 0

    def records(self) -> Iterator[MergeRecord]:
        """Yield what waits, in the merge order. Rows come in order, so no topic has to hold the others back."""
        while (record := self.merge.pop()) is not None:
            yield record


class _Replay:
    """All tasks, the logs they append to, and the counts of what went through."""

    def __init__(
        self,
        output: OutputDirectory,
        inlet: Inlet,
        settings: CoreSettings,
        catalogue: Catalogue,
        build: str,
        new_state: Callable[[], CommittedState],
        options: ReplayOptions,
    ) -> None:
        self._output = output
        self._settings = settings
        self._build = build
        self._options = options
        self._inlet = inlet
        self._knowledge = Knowledge(settings, catalogue)
        self._trainers = Trainers(settings, catalogue)
        self._encoder = JsonEncoder()
        grants = equal_share(catalogue.budgets(), options.partitions)
        self._lanes = [
            _Lane(partition, settings, catalogue, new_state(), self._knowledge, grants)
            for partition in range(options.partitions)
        ]
        for lane in self._lanes:
            for topic in EVENT_TOPICS:
                lane.merge.set_caught_up(topic, True)
        self._lines: dict[tuple[str, int, int], int] = {}  # coordinates of this round → line
        self._products: list[ProductRecord] = []
        self._next_snapshot = 0
        self._quality = Quality()
        self._kinds: Counter[str] = Counter()
        self._bad: Counter[str] = Counter()
        self._actions: Counter[str] = Counter()
        self._triggers: Counter[str] = Counter()
        self._late = self._duplicate = self._n_products = self._commits = 0
        self._first_ms: int | None = None
        self.n_rows = 0

    def take(self, row: AnyRow) -> None:
        """Take one row: to its task's merge, or to the dead letters."""
        self.n_rows += 1
        record = usable(row)
        if record is None:
            self._take_unusable(row)  # type: ignore[arg-type]  # it is what `usable` says it is not
        elif not is_input(record):
            self._bad[OTHER_TOPIC] += 1
            self._bury(record.line, Rejection(OTHER_TOPIC, None, "the record is of a topic that is not read"), None)
        elif record.topic == PRODUCTS:
            self._take_product(record)
        else:
            partition, merge_record = self._inlet.record_of(record)
            self._lanes[partition].merge.push(merge_record)
            self._lines[record.topic, partition, merge_record.offset] = record.line

    def commit(self) -> None:
        """Let every task process what waits and commit, in the order of the partitions; then move knowledge on."""
        committed = [outputs for lane in self._lanes if (outputs := self._commit_task(lane)) is not None]
        self._learn([example for outputs in committed for example in outputs.examples])
        for outputs in committed:
            for session in outputs.sessions:
                self._fold(session)
        for product in self._products:
            if not isinstance(product.product, Rejection):
                self._knowledge.apply_product(product.offset, product.item_id, product.product)
        self._products.clear()
        self._lines.clear()
        self._output.flush()

    def _commit_task(self, lane: _Lane) -> Outputs | None:
        commit = OpenCommit(lane.task, lane.previous, self._build)
        for record in lane.records():
            self._process(record, lane.task, commit)
        if not commit:
            return None
        closed = commit.close()
        self._publish(closed)
        lane.changelog_offset += len(closed.changes)
        lane.state.commit(closed.changes, encode_task_record(closed.task_record), lane.changelog_offset)
        lane.previous = closed.task_record
        return closed.outputs

    def _publish(self, closed: ClosedCommit) -> None:
        journal, decisions = closed.journal, closed.outputs.decisions
        encode = self._encoder.encode
        self._output.write_lines(DECISIONS, (encode("next-best-actions", decision) for decision in decisions))
        self._actions.update(decision.action for decision in decisions)
        self._triggers.update(decision.trigger for decision in decisions)
        key, value = str(journal.task).encode(), encode("journal", journal)
        self._output.append(
            JOURNAL, Recorded("journal", journal.task, journal.sequence, journal.stream_time, key, value)
        )
        self._commits += 1

    def _learn(self, examples: list[TrainingExample]) -> None:
        for example in examples:
            self._quality.add(example)
        for snapshot in self._trainers.fold(examples):
            self._knowledge.adopt(snapshot.data)
            key = f"{snapshot.family}@{snapshot.offset}".encode()
            self._output.append(MODELS, Recorded("models", 0, self._next_snapshot, 0, key, snapshot.data))
            self._next_snapshot += 1

    def _fold(self, session: Session) -> None:
        offset, key = self._knowledge.sessions_offset, session.session_id.encode()
        value = self._encoder.encode("sessions", session)
        self._output.append(SESSIONS, Recorded("sessions", 0, offset, session.ended_at, key, value))
        self._knowledge.fold_session(offset, session)

    def _process(self, record: MergeRecord, task: ScoringTask, commit: OpenCommit) -> None:
        duplicates = task.counters["duplicates"]
        rejection = commit.process(record)
        if rejection is not None:
            self._reject(record, task.partition, rejection)
        elif task.counters["duplicates"] > duplicates:
            self._duplicate += 1
        elif not isinstance(record.event, Rejection):
            self._kinds[record.event.kind] += 1
            at_ms = record.event.occurred_at
            self._first_ms = at_ms if self._first_ms is None else min(self._first_ms, at_ms)

    def _reject(self, record: MergeRecord, partition: int, rejection: Rejection) -> None:
        if rejection.reason == LATE:
            self._late += 1
        else:
            self._bad[rejection.reason] += 1
        line = self._lines[record.topic, partition, record.offset]
        self._bury(line, rejection, {"topic": record.topic, "partition": partition, "offset": record.offset})

    def _take_unusable(self, row: UnusableRow) -> None:
        self._bad[row.reason] += 1
        self._bury(row.line, Rejection(row.reason, None, row.message), None)

    def _take_product(self, row: UsableRow) -> None:
        product = self._inlet.product_of(row)
        if isinstance(product.product, Rejection):
            self._bad[product.product.reason] += 1
            origin = {"topic": PRODUCTS, "partition": 0, "offset": product.offset}
            self._bury(row.line, product.product, origin)
        else:
            self._n_products += 1
        self._products.append(product)

    def _bury(self, line: int, why: Rejection, origin: dict[str, object] | None) -> None:
        letter = {"line": line, "reason": why.reason, "field": why.field, "message": why.message, "origin": origin}
        self._output.write_lines(DEAD_LETTERS, [msgspec.json.encode(letter)])

    def _counters(self) -> Counter[str]:
        return sum((lane.task.counters for lane in self._lanes), Counter())

    def summary(self, source: Source, unreadable_after: str | None, seconds: float) -> Summary:
        """Return what has come of everything so far; raise Unaccounted where the rows do not add up."""
        settings = self._settings
        last_ms = max((lane.task.stream_time_ms for lane in self._lanes if lane.task.stream_time_ms), default=None)
        null_because = why_no_churn_figures(self._first_ms, last_ms, settings.churn.horizon_days)
        n_decisions = self._actions.total()
        return Summary(
            rows=self.n_rows,
            accounted=True,  # checked when the summary is made
            events=self._kinds.total(),
            events_by_kind=_largest_first(self._kinds),
            late=self._late,
            duplicate=self._duplicate,
            products=self._n_products,
            bad=self._bad.total(),
            bad_by_reason=_largest_first(self._bad),
            unreadable_after=unreadable_after,
            customers=sum(len(lane.state) for lane in self._lanes),
            sessions=self._knowledge.sessions_offset,
            commits=self._commits,
            decisions=DecisionCounts(
                total=n_decisions,
                other_than_nothing=n_decisions - self._actions[NOTHING],
                by_action=_largest_first(self._actions),
                by_trigger=_largest_first(self._triggers),
            ),
            segments=Segments.of(transitions(self._counters()), self._knowledge.thresholds),
            churn=self._quality.churn(null_because),
            preference=self._quality.preference(),
            outcomes=self._quality.outcomes(),
            drifts=tuple(self._trainers.drifts),
            settings=EffectiveSettings.of(settings, self._options.partitions, self._options.commit_records),
            stream_from_ms=self._first_ms,
            stream_to_ms=last_ms,
            format=source.format,
            input=source.path,
            seconds=seconds,
            warnings=warnings_about(self.n_rows, self._late),
        )


def _largest_first(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(((name, n) for name, n in counts.items() if n), key=lambda entry: (-entry[1], entry[0])))
