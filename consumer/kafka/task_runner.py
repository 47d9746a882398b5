"""One task in a worker: its queues, its open commit, and the way back to the last commit.

    running ──suspend──▶ suspended ──resume──▶ running
       │                     │
       └───────close─────────┴──────▶ closed

A suspended task (its partition is between owners) keeps what it has decoded, and takes in and processes nothing.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from consumer.core.catalogue import Catalogue
from consumer.core.customer.working_set import WorkingSet
from consumer.core.decision.budget import Budget
from consumer.core.intake import Rejection
from consumer.core.journal import ClosedCommit, OpenCommit, encode_task_record
from consumer.core.knowledge.knowledge import Knowledge
from consumer.core.merge import EventTimeMerge, MergeRecord
from consumer.core.settings import CoreSettings
from consumer.core.step import ScoringTask
from consumer.kafka.dead_letters import DeadLetterLimit
from consumer.kafka.modes import ModeSwitch
from consumer.kafka.observer import CommittedTask
from consumer.kafka.state.restore import Restored
from schemas.records import Mode
from schemas.topics import EVENT_TOPICS


@dataclass(frozen=True, slots=True)
class Core:
    """What all tasks of a process score with."""

    settings: CoreSettings
    settings_digest: str
    catalogue: Catalogue
    knowledge: Knowledge
    build: str
    cache_customers: int
    grants: Mapping[str, float] = field(default_factory=dict)  # contacts a day of each task, by action or channel


class TaskRunner:
    """Takes records of one partition number in, processes them in event-time order, and hands out closed commits."""

    def __init__(
        self,
        partition: int,
        core: Core,
        restored: Restored,
        modes: ModeSwitch,
        limit: DeadLetterLimit,
        merge_wait_s: float = 0.0,
    ) -> None:
        self.partition = partition
        self.state = restored.state
        self._core = core
        self._modes = modes
        self._limit = limit
        self._merge_wait_s = merge_wait_s
        self._record = restored.record
        self._start_offsets = restored.start_offsets
        self._working_set = WorkingSet(restored.state, core.cache_customers)
        self.suspended = False
        self._go_back_to_last_commit()

    def _go_back_to_last_commit(self) -> None:
        record, core = self._record, self._core
        self.next_to_take = dict(self._start_offsets) | record.next_offsets
        self._merge = EventTimeMerge()
        self._caught_up: set[str] = set()
        self._waiting_since_s: float | None = None
        self._task = ScoringTask(
            self.partition,
            core.settings,
            core.catalogue,
            self._working_set,
            core.knowledge,
            settings_digest=core.settings_digest,
            stream_time_ms=record.stream_time_ms,
            budget=Budget(core.grants, record.spending),
        )
        self._commit: OpenCommit | None = None
        self._closed: ClosedCommit | None = None
        self._processed: Counter[tuple[str, str]] = Counter()
        self.rejected: list[tuple[MergeRecord, Rejection]] = []

    # Taking in and processing

    def take(self, record: MergeRecord) -> None:
        """Queue a record behind those of its topic."""
        if record.offset < self.next_to_take[record.topic]:
            return  # was taken before; the client may deliver it again after a seek
        self.next_to_take[record.topic] = record.offset + 1
        if record.topic in self._caught_up:  # there may be more behind it: the end has to be reached anew
            self._caught_up.discard(record.topic)
            self._merge.set_caught_up(record.topic, False)
        self._merge.push(record)

    def end_reached(self, topic: str) -> None:
        """Note that the broker had no more of `topic` when it was last asked."""
        self._caught_up.add(topic)
        self._merge.set_caught_up(topic, True)

    def queued(self, topic: str) -> int:
        """Return how many records of `topic` wait."""
        return self._merge.queued(topic)

    def process(self, max_records: int, now_ms: int, now_s: float) -> int:
        """Process up to `max_records` in the merge order; return how many it were. Raises TooManyRejected.

        `now_ms` is the wall clock, to know how far behind the records are; `now_s` a monotonic one.
        """
        if self.suspended or self._waits(now_s):
            return 0
        pop, counts, n_accepted, n = self._merge.pop, self._processed, 0, 0
        while n < max_records and (record := pop()) is not None:
            if self._commit is None:
                self._commit = self._open(self._modes.mode(now_ms - record.timestamp_ms))
            rejection = self._commit.process(record)
            n += 1
            if rejection is None:
                n_accepted += 1
                counts[record.topic, record.event.kind] += 1  # type: ignore[union-attr]  # a Rejection is never accepted
            else:
                self._limit.accepted(n_accepted)
                n_accepted = 0
                self.rejected.append((record, rejection))
                self._limit.rejected(rejection)
        self._limit.accepted(n_accepted)
        return n

    def _waits(self, now_s: float) -> bool:
        """Return whether the first records after silence are still to wait for those of the other topics.

        A producer's batches for several topics arrive apart. Where events come faster than they happened (a replay, a
        simulation), that would put one topic days ahead of the others.
        """
        if not self._merge:
            self._waiting_since_s = None
            return True
        if self._waiting_since_s is None:
            self._waiting_since_s = now_s
        return now_s - self._waiting_since_s < self._merge_wait_s and not all(map(self._merge.queued, EVENT_TOPICS))

    def heartbeat(self, stream_time_ms: int) -> bool:
        """Move the stream time of an idle task, so that timers fire in silence; return whether it moved."""
        if not self.idle or stream_time_ms <= self._task.stream_time_ms:
            return False
        commit = self._open(self._modes.mode(0))
        if self._task.mode != "live":
            return False
        self._commit = commit
        commit.advance_to(stream_time_ms)
        return True

    @property
    def waits(self) -> bool:
        """Return whether records wait to be processed."""
        return bool(self._merge)

    @property
    def idle(self) -> bool:
        """Return whether all topics are known to hold nothing more, and nothing waits here or is uncommitted."""
        return not (self.suspended or self._merge or self._commit) and len(self._caught_up) == len(EVENT_TOPICS)

    # Committing

    @property
    def has_work(self) -> bool:
        """Return whether there is something to commit."""
        return self._commit is not None and bool(self._commit)

    def _open(self, mode: Mode) -> OpenCommit:
        self._task.mode = mode
        return OpenCommit(self._task, self._record, self._core.build)

    def close_commit(self) -> ClosedCommit:
        """End the open commit and return what it has to write."""
        if self._commit is None:
            raise RuntimeError("there is nothing to commit")
        closed = self._closed = self._commit.close()
        return closed

    def offsets_to_commit(self) -> dict[str, int]:
        """Return next-to-read by logical topic, of all topics: sending them is also what fences a former owner."""
        return dict(self._start_offsets) | self._closed_commit().task_record.next_offsets

    def _closed_commit(self) -> ClosedCommit:
        if self._closed is None:
            raise RuntimeError("the commit is not closed")
        return self._closed

    def committed(self, changelog_offset: int) -> CommittedTask:
        """Write to the local store what Kafka has, and be ready for the next commit."""
        closed = self._closed_commit()
        self._record = closed.task_record
        self._working_set.commit(closed.changes, encode_task_record(closed.task_record), changelog_offset)
        told = CommittedTask(
            commit=closed,
            processed=self._processed,
            counters=dict(self._task.counters),
            rejected=[(record.topic, rejection) for record, rejection in self.rejected],
            customers=len(self.state),
        )
        self._task.counters.clear()
        self._commit = self._closed = None
        self._processed = Counter()
        self.rejected = []
        return told

    def roll_back(self) -> Mapping[str, int]:
        """Drop everything since the last commit, queues included; return the offsets to read on from."""
        self._working_set.roll_back()
        self._go_back_to_last_commit()
        return self.next_to_take

    # Between owners

    def suspend(self) -> None:
        """Take in and process nothing until `resume`; what is queued is read again then."""
        if self.has_work:
            self._working_set.roll_back()
        self._go_back_to_last_commit()
        self.suspended = True

    def resume(self) -> None:
        """Go on: the partition came back, and nothing was committed to it meanwhile."""
        self.suspended = False

    def close(self) -> None:
        """Release the store. What is not committed is dropped."""
        self.state.close()
