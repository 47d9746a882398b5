"""One task in a worker: in which mode it commits, when it stops for bad records, and what it does between owners."""

from collections import Counter
from collections.abc import Mapping
from typing import Literal

from consumer.core.customer.working_set import WorkingSet
from consumer.core.intake import Rejection
from consumer.core.journal import ClosedCommit
from consumer.core.merge import MergeRecord
from consumer.core.shared import Core
from consumer.core.task import Task
from consumer.kafka.dead_letters import DeadLetterLimit
from consumer.kafka.modes import ModeSwitch
from consumer.kafka.observer import CommittedTask
from consumer.kafka.state.restore import Restored
from consumer.kafka.worker_settings import WorkerSettings
from schemas.topics import EVENT_TOPICS
from schemas.units import Ms, Seconds, in_seconds

Phase = Literal["running", "committing", "suspended", "closed"]
Event = Literal["process", "close_commit", "committed", "roll_back", "suspend", "resume", "close"]

# What may happen in which phase, and the phase that follows. A suspended task's partition is between owners: it keeps
# what it has decoded, and neither processes nor commits.
_TRANSITIONS: Mapping[tuple[Phase, Event], Phase] = {
    ("running", "process"): "running",
    ("running", "close_commit"): "committing",
    ("committing", "committed"): "running",
    ("committing", "roll_back"): "running",
    ("running", "roll_back"): "running",
    ("running", "suspend"): "suspended",
    ("suspended", "resume"): "running",
    ("suspended", "close"): "closed",
    ("running", "close"): "closed",
}


class InvalidTransition(RuntimeError):
    """A task was asked for what it cannot do in its phase: a fault of this program."""


class TaskRunner:
    """Takes records of one partition number in, processes them in event-time order, and hands out closed commits."""

    def __init__(self, partition: int, core: Core, restored: Restored, settings: WorkerSettings) -> None:
        self.partition = partition
        self.state = restored.state
        working_set = WorkingSet(restored.state, settings.cache_customers)
        self._task = Task(partition, core, working_set, restored.record, start_offsets=restored.start_offsets)
        self.take = self._task.take
        self.end_reached = self._task.end_reached
        self.queued = self._task.queued
        self.offsets_to_commit = self._task.offsets_to_commit
        self._modes = ModeSwitch(settings.mode, settings.catch_up_after_ms)
        self._limit = DeadLetterLimit(settings.dead_letters)
        self._merge_wait_s = in_seconds(settings.merge_wait_ms)
        self._phase: Phase = "running"
        self._begin()

    def _begin(self) -> None:
        self._waiting_since_s: float | None = None
        self._processed: Counter[tuple[str, str]] = Counter()
        self.rejected: list[tuple[MergeRecord, Rejection]] = []

    def _on(self, event: Event) -> None:
        """Enter the phase that follows; raise InvalidTransition where nothing does."""
        try:
            self._phase = _TRANSITIONS[self._phase, event]
        except KeyError:
            raise InvalidTransition(f"task {self.partition} is {self._phase}: no {event} then") from None

    # Processing

    @property
    def next_to_take(self) -> Mapping[str, int]:
        """Logical topic → offset of the next record to take in."""
        return self._task.next_to_take

    @property
    def waits(self) -> bool:
        """Return whether records wait to be processed."""
        return self._task.waits

    @property
    def has_work(self) -> bool:
        """Return whether there is something to commit."""
        return self._task.commit is not None

    def process(self, max_records: int, now_ms: Ms, now_s: Seconds) -> int:
        """Process up to `max_records` in the merge order; return how many it were. Raises TooManyRejected.

        `now_ms` is the wall clock, to know how far behind the records are; `now_s` a monotonic one.
        """
        self._on("process")
        if self._waits_for_others(now_s):
            return 0
        task, counts, n_accepted, n = self._task, self._processed, 0, 0
        while n < max_records and (record := task.next()) is not None:
            commit = task.commit or task.open(self._modes.mode(now_ms - record.timestamp_ms))
            rejection = commit.process(record)
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

    def _waits_for_others(self, now_s: Seconds) -> bool:
        """Return whether the first records after silence are still to wait for those of the other topics.

        A producer's batches for several topics arrive apart. Where events come faster than they happened (a replay, a
        simulation), that would put one topic days ahead of the others.
        """
        task = self._task
        if not task.waits:
            self._waiting_since_s = None
            return True
        if self._waiting_since_s is None:
            self._waiting_since_s = now_s
        return now_s - self._waiting_since_s < self._merge_wait_s and not all(map(task.queued, EVENT_TOPICS))

    def heartbeat(self, stream_time_ms: int) -> bool:
        """Move the stream time of an idle task, so that timers fire in silence; return whether it moved."""
        self._on("process")
        task = self._task
        if not task.idle or stream_time_ms <= task.stream_time_ms:
            return False
        mode = self._modes.mode(0)
        if mode != "live":
            return False
        task.open(mode).advance_to(stream_time_ms)
        return True

    # Committing

    def close_commit(self) -> ClosedCommit:
        """End the open commit and return what it has to write."""
        self._on("close_commit")
        if self._task.commit is None:
            raise RuntimeError("there is nothing to commit")
        return self._task.commit.close()

    def committed(self, closed: ClosedCommit, changelog_offset: int) -> CommittedTask:
        """Write to the local store what Kafka has, and be ready for the next commit."""
        self._on("committed")
        self._task.committed(closed, changelog_offset)
        rejected = [(record.topic, rejection) for record, rejection in self.rejected]
        told = CommittedTask(closed, self._processed, rejected, customers=len(self.state))
        self._processed, self.rejected = Counter(), []
        return told

    def roll_back(self) -> Mapping[str, int]:
        """Drop everything since the last commit, queues included; return the offsets to read on from."""
        self._on("roll_back")
        self._task.roll_back()
        self._begin()
        return self.next_to_take

    # Between owners

    def suspend(self) -> None:
        """Process nothing until `resume`; what is queued or not committed is dropped, and read again then."""
        self._on("suspend")
        self._task.roll_back()
        self._begin()

    def resume(self) -> None:
        """Go on: the partition came back, and nothing was committed to it meanwhile."""
        self._on("resume")

    def close(self) -> None:
        """Release the store. What is not committed is dropped."""
        self._on("close")
        self.state.close()
