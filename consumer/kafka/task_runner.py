"""One task in a worker: in which mode it commits, when it stops for bad records, and what it does between owners."""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from consumer.core.customer.working_set import WorkingSet
from consumer.core.intake import NO_EVENT, Rejection
from consumer.core.journal import ClosedCommit
from consumer.core.merge import MergeRecord
from consumer.core.shared import Core
from consumer.core.step import Reference
from consumer.core.task import Task
from consumer.kafka.dead_letters import DeadLetterLimit
from consumer.kafka.modes import ModeSwitch
from consumer.kafka.observer import CommittedTask, RejectedRecord
from consumer.kafka.product_letters import JudgedProducts
from consumer.kafka.state.restore import Restored
from consumer.kafka.worker_settings import WorkerSettings
from schemas.topics import EVENT_TOPICS
from schemas.units import Ms, Seconds, in_seconds

Phase = Literal["running", "committing", "suspended", "closed"]
Event = Literal["take", "process", "close_commit", "committed", "roll_back", "suspend", "resume", "close"]

# What may happen in which phase, and the phase that follows. A suspended task's partition is between owners: the task
# keeps its customers as of the last commit, has dropped its queue, and neither takes, processes nor commits.
_TRANSITIONS: Mapping[tuple[Phase, Event], Phase] = {
    ("running", "take"): "running",
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

    def __init__(
        self,
        partition: int,
        core: Core,
        restored: Restored,
        settings: WorkerSettings,
        *,
        let_through: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """`let_through`: logical topic → offset before which rejected records are no reason to stop."""
        self.partition = partition
        self.state = restored.state
        working_set = WorkingSet(restored.state, settings.cache_customers)
        self._task = Task(partition, core, working_set, restored.record, start_offsets=restored.start_offsets)
        self.end_reached = self._task.end_reached
        self.queued = self._task.queued
        self.offsets_to_commit = self._task.offsets_to_commit
        self._aged_after_ms = settings.catch_up_after_ms if settings.age_reference == "clock" else None
        self._modes = ModeSwitch(settings.mode, settings.catch_up_after_ms)
        self._limit = DeadLetterLimit(settings.dead_letters, partition, let_through)
        self._merge_wait_s = in_seconds(settings.merge_wait_ms)
        self._phase: Phase = "running"
        self._begin()

    def _begin(self) -> None:
        self._limit.roll_back()  # what is processed again is counted again
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

    def take(self, record: MergeRecord) -> None:
        """Queue a record; one that was taken before is left out."""
        self._on("take")
        self._task.take(record)

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
            commit = task.commit or task.open(self._modes.mode(now_ms - record.timestamp_ms), self._reference(now_ms))
            rejection = commit.process(record)
            n += 1
            if rejection is None:
                n_accepted += 1
                counts[record.topic, record.event.kind] += 1  # type: ignore[union-attr]  # a Rejection is never accepted
            elif rejection.reason == NO_EVENT:
                n_accepted += 1
                counts[record.topic, NO_EVENT] += 1
            else:
                self._limit.accepted(n_accepted)
                n_accepted = 0
                self.rejected.append((record, rejection))
                self._limit.rejected(record, rejection)
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

    def _reference(self, now_ms: int) -> Reference | None:
        """Return what the age of events is measured by: the worker's time, where the settings say so."""
        return None if self._aged_after_ms is None else Reference(now_ms, now_ms - self._aged_after_ms)

    def heartbeat(self, stream_time_ms: int, now_ms: int) -> bool:
        """Move the stream time of an idle task, so that timers fire in silence; return whether it moved."""
        self._on("process")
        task = self._task
        if not task.idle or stream_time_ms <= task.stream_time_ms:
            return False
        mode = self._modes.mode(0)
        if mode != "live":
            return False
        task.open(mode, self._reference(now_ms)).advance_to(stream_time_ms)
        return True

    def note_passed(self) -> None:
        """Open a commit where all that came is processed, and markers of transactions after it are yet to be counted.

        Otherwise the group would seem to lag behind the end of the log for as long as nothing more comes.
        """
        if not self.has_work and not self.waits and self._task.passed:
            self._task.open(self._modes.mode(0))

    @property
    def products_judged(self) -> int:
        """The offset from which the products topic is to be judged on."""
        return self._task.record.products_judged

    def take_products(self, judged: JudgedProducts) -> None:
        """Have rejected product records in the next commit. Not with records waiting and no commit open yet."""
        self._on("process")
        commit = self._task.commit
        if commit is None and judged.rejected:
            commit = self._task.open(self._modes.mode(0))
        if commit is not None:
            commit.products_judged = judged.next_offset
            self.rejected += judged.rejected

    # Committing

    def close_commit(self) -> ClosedCommit:
        """End the open commit and return what it has to write."""
        self._on("close_commit")
        commit = self._task.commit
        if commit is None:
            raise RuntimeError("there is nothing to commit")
        commit.pass_to(self._task.passed)
        return commit.close()

    def committed(self, closed: ClosedCommit, changelog_offset: int) -> CommittedTask:
        """Write to the local store what Kafka has, and be ready for the next commit."""
        self._on("committed")
        self._task.committed(closed, changelog_offset)
        self._limit.committed()
        rejected = [RejectedRecord(each.topic, self.partition, each.offset, why) for each, why in self.rejected]
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
        """Take and process nothing until `resume`: the customers are kept, as of the last commit.

        What is queued or not committed is dropped, and read again then.
        """
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
