"""A task: the owner of one partition number across the co-partitioned topics, from what waits to what is committed.

    take ──▶ next ──▶ open ──▶ process … ──▶ close_commit ──▶ committed
                                  └──────────────┴──▶ roll_back

The Kafka worker, the replay of a recording and verify run this same `Task`, so they cannot drift apart. It does no I/O:
the shell writes what `close_commit` returns, and says `committed` once that has happened.
"""

from collections.abc import Mapping

from consumer.core.customer.working_set import WorkingSet
from consumer.core.intake import Rejection
from consumer.core.journal import ClosedCommit, OpenCommit, TaskRecord, encode_task_record
from consumer.core.merge import INPUT_TOPICS, EventTimeMerge, MergeRecord
from consumer.core.shared import Core
from consumer.core.step import ScoringTask
from schemas.records import Mode


class Task:
    """One task. `core` may be replaced between commits; `record` says where the latest commit left the task.

    `start_offsets` (logical topic → next to read) are where to begin in topics of which `record` has no offset.
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
        self._start_offsets = dict(start_offsets or {})
        self._begin()

    def _begin(self) -> None:
        self.next_to_take = dict.fromkeys(INPUT_TOPICS, 0) | self._start_offsets | self.record.next_offsets
        self._merge = EventTimeMerge()
        self._commit: OpenCommit | None = None
        self._closed: ClosedCommit | None = None

    # Taking in

    def take(self, record: MergeRecord) -> None:
        """Queue a record behind those of its topic. One that was taken before may come again, and is left out."""
        if record.offset >= self.next_to_take[record.topic]:
            self.next_to_take[record.topic] = record.offset + 1
            self._merge.push(record)

    def end_reached(self, topic: str) -> None:
        """Note that nothing of `topic` follows what was taken, as far as is known."""
        self._merge.end_reached(topic)

    def queued(self, topic: str) -> int:
        """Return how many records of `topic` wait."""
        return self._merge.queued(topic)

    @property
    def waiting(self) -> bool:
        """Return whether records wait to be processed."""
        return bool(self._merge)

    @property
    def idle(self) -> bool:
        """Return whether all topics are known to hold nothing more, and nothing waits here or is uncommitted."""
        return self._merge.exhausted and not self.has_work

    def next(self) -> MergeRecord | None:
        """Return the next record in the merge order, which waits no more; None while nothing may be processed."""
        return self._merge.pop()

    # Processing

    def open(self, mode: Mode) -> None:
        """Open a commit. Its mode and `core` hold still until it is committed."""
        record = self.record
        scoring = ScoringTask(
            self.partition,
            self.core,
            self.state,
            mode,
            stream_time_ms=record.stream_time_ms,
            spending=record.spending,
        )
        self._commit = OpenCommit(scoring, record)

    def process(self, record: MergeRecord) -> Rejection | None:
        """Process one record in the open commit; return why it was rejected, if it was."""
        return self._opened().process(record)

    def advance_to(self, stream_time_ms: int) -> None:
        """Move stream time in the open commit without a record, so that the timers of a silent task fire."""
        self._opened().advance_to(stream_time_ms)

    def _opened(self) -> OpenCommit:
        if self._commit is None:
            raise RuntimeError("no commit is open")
        return self._commit

    @property
    def stream_time_ms(self) -> int:
        """The highest event time processed, uncommitted records included."""
        return self.record.stream_time_ms if self._commit is None else self._commit.task.stream_time_ms

    @property
    def duplicates(self) -> int:
        """How many events of the open commit had been processed before."""
        return self._opened().task.counters["duplicates"]

    # Committing

    @property
    def has_work(self) -> bool:
        """Return whether there is something to commit."""
        return self._commit is not None

    def close_commit(self) -> ClosedCommit:
        """End the open commit and return what it has to write."""
        closed = self._closed = self._opened().close()
        return closed

    def offsets_to_commit(self) -> dict[str, int]:
        """Return next-to-read by logical topic, of all topics: sending them is also what fences a former owner."""
        return self._start_offsets | self._what_was_closed().task_record.next_offsets

    def committed(self, changelog_offset: int = 0) -> ClosedCommit:
        """Write to the local state what was written elsewhere, and be ready for the next commit; return what it was.

        `changelog_offset` is the next one to read of the changelog, where there is one.
        """
        closed = self._what_was_closed()
        self.state.commit(closed.changes, encode_task_record(closed.task_record), changelog_offset)
        self.record = closed.task_record
        self._commit = self._closed = None
        return closed

    def _what_was_closed(self) -> ClosedCommit:
        if self._closed is None:
            raise RuntimeError("no commit is closed")
        return self._closed

    def roll_back(self) -> None:
        """Drop everything since the last commit, queues included; `next_to_take` says where to read on."""
        if self.has_work:
            self.state.roll_back()
        self._begin()
