"""Replay: a recorded stream through the same tasks, commits and trainers as live, without a broker.

Rows are taken in rounds of `commit_records`. In each round every task merges and processes what is its own, and
commits; then the trainers learn from the new examples, and the knowledge of all tasks moves on. So the order in which
examples and sessions enter their logs, and the moment at which each model comes into force, depend on the rows alone.
Stream time is moved by records only: what would mature after the last of them stays unmatured.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import msgspec

from consumer.core.customer.working_set import CommittedState, WorkingSet
from consumer.core.decision.budget import equal_share
from consumer.core.intake import Rejection
from consumer.core.journal import ClosedCommit, OpenCommit
from consumer.core.knowledge.snapshot import snapshot_key
from consumer.core.merge import MergeRecord
from consumer.core.shared import Core
from consumer.core.step import Outputs
from consumer.core.task import Task
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
from consumer.replay.summary import Summary
from consumer.replay.tally import Tally
from consumer.replay.training import Trainers
from schemas.codec import Decoder, JsonEncoder
from schemas.container import Recorded
from schemas.records import Session, TrainingExample
from schemas.topics import EVENT_TOPICS

OTHER_TOPIC = "other_topic"


@dataclass(frozen=True, slots=True)
class Stream:
    """What is replayed. `rows` are in the order of replay: event-time order, or that of a recorded topic.

    `decoder` reads their values; without one, JSON alone is read. An exception of a kind in `unreadable` ends the
    stream: what came before it counts, and the summary says so.
    """

    rows: Iterable[AnyRow]
    source: Source
    decoder: Decoder | None = None
    unreadable: tuple[type[Exception], ...] = ()


def replay(
    stream: Stream,
    out_dir: Path,
    core: Core,
    new_state: Callable[[], CommittedState],
    *,
    options: ReplayOptions | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Summary:
    """Replay `stream` into `out_dir` and return what is also written there as ``summary.json``.

    The settings of `core` are used as they are: see `settings_for_recording`; its grants are each task's share of the
    catalogue's budgets. `new_state` makes an empty committed state for each task. `progress` is told the rows done
    after each commit. Raises OutputRefused before anything is read.
    """
    options = options or ReplayOptions()
    core = replace(core, grants=equal_share(core.catalogue.budgets(), options.partitions))
    with OutputDirectory(out_dir) as output:
        run = _Replay(output, core, options, decoder=stream.decoder, new_state=new_state)
        started_s = perf_counter()
        unreadable_after: str | None = None
        try:
            for row in stream.rows:
                run.take(row)
                if run.tally.n_rows % options.commit_records == 0:
                    run.commit()
                    progress(run.tally.n_rows)
        except stream.unreadable as error:
            if run.tally.n_rows == 0:
                raise
            unreadable_after = str(error)
        run.commit()
        progress(run.tally.n_rows)
        summary = run.tally.summary(
            core,
            options,
            stream.source,
            customers=run.customers,
            last_ms=run.last_ms,
            drifts=run.trainers.drifts,
            unreadable_after=unreadable_after,
            seconds=perf_counter() - started_s,
        )
        manifest = Manifest(
            source=stream.source,
            options=options,
            settings=core.settings,
            catalogue=catalogue_mapping(core.catalogue),
            build=core.build,
            files={},
        )
        output.finish(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n", manifest)
    return summary


class _Replay:
    """All tasks, and the logs that they append to."""

    def __init__(
        self,
        output: OutputDirectory,
        core: Core,
        options: ReplayOptions,
        *,
        decoder: Decoder | None,
        new_state: Callable[[], CommittedState],
    ) -> None:
        self._output = output
        self._knowledge = core.knowledge
        self._inlet = Inlet(options.partitions, core.settings.time.max_ahead_ms, decoder, options.last_ms)
        self._encoder = JsonEncoder()
        self._tasks = [Task(number, core, WorkingSet(new_state())) for number in range(options.partitions)]
        self._lines: dict[tuple[str, int, int], int] = {}  # coordinates of this round → line
        self._products: list[ProductRecord] = []
        self._next_snapshot = 0
        self.trainers = Trainers(core.settings, core.catalogue)
        self.tally = Tally()

    @property
    def customers(self) -> int:
        """How many customers are remembered."""
        return sum(len(task.state) for task in self._tasks)

    @property
    def last_ms(self) -> int | None:
        """The highest event time of any task; None where there was no event."""
        return max((task.stream_time_ms for task in self._tasks), default=0) or None

    def take(self, row: AnyRow) -> None:
        """Take one row: to its task, or to the dead letters."""
        self.tally.n_rows += 1
        record = usable(row)
        if record is None:
            unusable: UnusableRow = row  # type: ignore[assignment]  # it is what `usable` says it is not
            self._reject(unusable.line, Rejection(unusable.reason, None, unusable.message), None)
        elif not is_input(record):
            why = Rejection(OTHER_TOPIC, None, "the record is of a topic that is not read")
            self._reject(record.line, why, None)
        elif record.topic == PRODUCTS:
            self._take_product(record)
        else:
            partition, merge_record = self._inlet.record_of(record)
            self._tasks[partition].take(merge_record)
            self._lines[record.topic, partition, merge_record.offset] = record.line

    def commit(self) -> None:
        """Let every task process what waits and commit, in the order of the partitions; then move knowledge on."""
        committed = [outputs for task in self._tasks if (outputs := self._commit_task(task)) is not None]
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

    def _commit_task(self, task: Task) -> Outputs | None:
        for topic in EVENT_TOPICS:
            task.end_reached(topic)  # rows come in order, so no topic has to hold the others back
        commit: OpenCommit | None = None
        while (record := task.next()) is not None:
            commit = commit or task.open("live")
            self._process(record, commit)
        if commit is None:
            return None
        closed = commit.close()
        self._publish(closed)
        task.committed(closed)
        return closed.outputs

    def _process(self, record: MergeRecord, commit: OpenCommit) -> None:
        counters, partition = commit.scoring.counters, commit.scoring.partition
        duplicates = counters["duplicates"]
        rejection = commit.process(record)
        if rejection is not None:
            line = self._lines[record.topic, partition, record.offset]
            self._reject(line, rejection, {"topic": record.topic, "partition": partition, "offset": record.offset})
        elif counters["duplicates"] > duplicates:
            self.tally.n_duplicates += 1
        elif not isinstance(record.event, Rejection):
            self.tally.processed(record.event)

    def _publish(self, closed: ClosedCommit) -> None:
        journal, encode = closed.journal, self._encoder.encode
        self._output.write_lines(DECISIONS, (encode("next-best-actions", each) for each in closed.outputs.decisions))
        key, value = str(journal.task).encode(), encode("journal", journal)
        self._output.append(
            JOURNAL, Recorded("journal", journal.task, journal.sequence, journal.stream_time, key, value)
        )
        self.tally.committed(closed)

    def _learn(self, examples: list[TrainingExample]) -> None:
        for snapshot in self.trainers.fold(examples):
            self._knowledge.adopt(snapshot.data)
            key = snapshot_key(snapshot.family, snapshot.offset)
            self._output.append(MODELS, Recorded("models", 0, self._next_snapshot, 0, key, snapshot.data))
            self._next_snapshot += 1

    def _fold(self, session: Session) -> None:
        offset, key = self._knowledge.sessions_offset, session.session_id.encode()
        value = self._encoder.encode("sessions", session)
        self._output.append(SESSIONS, Recorded("sessions", 0, offset, session.ended_at, key, value))
        self._knowledge.fold_session(offset, session)

    def _take_product(self, row: UsableRow) -> None:
        product = self._inlet.product_of(row)
        if isinstance(product.product, Rejection):
            self._reject(row.line, product.product, {"topic": PRODUCTS, "partition": 0, "offset": product.offset})
        else:
            self.tally.n_products += 1
        self._products.append(product)

    def _reject(self, line: int, why: Rejection, origin: dict[str, object] | None) -> None:
        """Count a row that came to nothing and put it with the dead letters, with where it would have stood."""
        self.tally.rejected(why.reason)
        letter = {"line": line, "reason": why.reason, "field": why.field, "message": why.message, "origin": origin}
        self._output.write_lines(DEAD_LETTERS, [msgspec.json.encode(letter)])
