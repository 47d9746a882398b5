"""A task: the owner of one partition number across the co-partitioned topics, from what waits to what is committed.

    take ──▶ next ──▶ open ──▶ OpenCommit.process … close ──▶ committed
                                       └────────────┴───▶ roll_back

The Kafka worker, the replay of a recording and verify run this same `Task`, so they cannot drift apart. It does no I/O:
the shell writes what a closed commit holds, and says `committed` once that has happened.
"""

from collections.abc import Mapping

from consumer.core.customer.working_set import WorkingSet
from consumer.core.journal import ClosedCommit, OpenCommit, TaskRecord, encode_task_record
from consumer.core.merge import EventTimeMerge, MergeRecord
from consumer.core.shared import Core
from consumer.core.step import Reference, ScoringTask
from schemas.records import Mode
from schemas.topics import EVENT_TOPICS


class Task:
    """One task. `core` may be replaced between commits; `record` says where the latest commit left the task.

    `start_offsets` (logical topic → next to read) are where to begin in topics of which `record` has no offset. They
    name every topic (ValueError); None: each of them begins at 0, as in a recording.
    """

    def __init__(
        self,
        partition: int,
        core: Core,
        state: WorkingSet,
        record: TaskRecord | None = None,
        *,
        start_offsets: Mapping[str, int] | None = None,
    ) -> None:
        self.partition = partition
        self.core = core
        self.state = state
        self.record = record if record is not None else TaskRecord()
        self._start_offsets = dict.fromkeys(EVENT_TOPICS, 0) if start_offsets is None else dict(start_offsets)
        missing = [topic for topic in EVENT_TOPICS if topic not in self._start_offsets]
        if missing:  # else records that were never processed would count as processed, or the other way round
            raise ValueError(f"task {partition}: it is not said where to begin in {', '.join(missing)}")
        self._begin()

    def _begin(self) -> None:
        self.next_to_take = self._start_offsets | self.record.next_offsets
        self.commit: OpenCommit | None = None
        self._merge = EventTimeMerge()

    # Taking in

    def take(self, record: MergeRecord) -> None:
        """Queue a record behind those of its topic. One that was taken before may come again, and is left out."""
        if record.offset >= self.next_to_take[record.topic]:
            self.next_to_take[record.topic] = record.offset + 1
            self._merge.push(record)

    def end_reached(self, topic: str, next_offset: int | None = None) -> None:
        """Note that nothing of `topic` follows what was taken, as far as is known.

        `next_offset` is where its log ends, beyond whatever is no record, such as the markers of transactions.
        """
        self._merge.end_reached(topic)
        if next_offset is not None:
            self.next_to_take[topic] = max(self.next_to_take[topic], next_offset)

    def queued(self, topic: str) -> int:
        """Return how many records of `topic` wait."""
        return self._merge.queued(topic)

    @property
    def waits(self) -> bool:
        """Return whether records wait to be processed."""
        return bool(self._merge)

    @property
    def idle(self) -> bool:
        """Return whether all topics are known to hold nothing more, and nothing waits here or is uncommitted."""
        return self._merge.exhausted and self.commit is None

    def next(self) -> MergeRecord | None:
        """Return the next record in the merge order, which waits no more; None while nothing may be processed."""
        return self._merge.pop()

    # Committing

    @property
    def stream_time_ms(self) -> int:
        """The highest event time processed, uncommitted records included."""
        return self.record.stream_time_ms if self.commit is None else self.commit.scoring.stream_time_ms

    def open(self, mode: Mode, reference: Reference | None = None) -> OpenCommit:
        """Open a commit, to process records in. Its mode, `core` and `reference` hold still until it is committed.

        `reference` is what the age of events is measured by: None for stream time, as in recordings and simulations.
        """
        record = self.record
        scoring = ScoringTask(
            self.partition,
            self.core,
            self.state,
            mode,
            reference=reference,
            stream_time_ms=record.stream_time_ms,
            spending=record.spending,
        )
        self.commit = OpenCommit(scoring, record)
        return self.commit

    @property
    def passed(self) -> dict[str, int]:
        """What was read past without a record: next-to-read by logical topic, where that is beyond the latest record.

        Only of topics of which nothing waits: what lies before a record that waits counts once that is processed.
        """
        reached = self.record.next_offsets if self.commit is None else self.commit.next_offsets
        reached = self._start_offsets | reached
        return {
            topic: offset
            for topic, offset in self.next_to_take.items()
            if offset > reached.get(topic, 0) and not self._merge.queued(topic)
        }

    def offsets_to_commit(self, closed: ClosedCommit) -> dict[str, int]:
        """Return next-to-read by logical topic, of all topics: sending them is also what fences a former owner."""
        return self._start_offsets | closed.task_record.next_offsets

    def committed(self, closed: ClosedCommit, changelog_offset: int = 0) -> None:
        """Write to the local state what was written elsewhere, and be ready for the next commit.

        `changelog_offset` is the next one to read of the changelog, where there is one.
        """
        self.state.commit(closed.changes, encode_task_record(closed.task_record), changelog_offset)
        self.record = closed.task_record
        self.commit = None

    def roll_back(self) -> None:
        """Drop everything since the last commit, queues included; `next_to_take` says where to read on."""
        if self.commit is not None:
            self.state.roll_back()
        self._begin()
