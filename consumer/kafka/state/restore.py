"""Bringing a task's local store to where its latest commit left it.

The store is a copy and may be older than the log, or empty; never newer. In this order:

1. Ask for the group's committed offsets. The broker answers once no open transaction holds any, so the predecessor's
   last commit is decided.
2. Ask for the end of the changelog, open transactions included: everything that commit wrote lies before it.
3. Open the store. One that is ahead of the log, or older than its beginning, belongs to another log: discard it.
4. Read the changelog from where the store stands up to that end, committed records alone.
5. The task's record (written by the same transaction that committed the offsets) must name the group's offsets.
"""

from collections.abc import Callable, Iterator

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from clients.errors import call_again, error_of
from clients.offsets import beginning_offsets, end_offsets
from consumer.core.journal import TaskRecord, decode_task_record
from consumer.kafka.cluster.cluster import Cluster
from consumer.kafka.cluster.log_reader import read_to
from consumer.kafka.failures import CannotGoOn
from consumer.kafka.state.changelog import TASK_KEY, customer_id_of
from consumer.kafka.state.stores import RestorableState, Stores
from schemas.topics import EVENT_TOPICS
from schemas.units import Seconds

_NO_OFFSET = -1001  # librdkafka's OFFSET_INVALID: the group never committed one


class Restored(msgspec.Struct, frozen=True):
    """A task's state as of its latest commit."""

    state: RestorableState
    record: TaskRecord
    start_offsets: dict[str, int]  # logical topic → next to read
    n_records: int  # read from the changelog


class Restorer:
    """Restores the tasks of one worker, one at a time."""

    def __init__(
        self,
        cluster: Cluster,
        stores: Stores,
        *,
        check_group_offsets: bool,
        timeout_s: Seconds,
        clock_s: Callable[[], Seconds],
        stop: Callable[[], bool],
    ) -> None:
        self._cluster = cluster
        self._reader = cluster.reader()
        self._stores = stores
        self._check_group_offsets = check_group_offsets
        self._timeout_s = timeout_s
        self._clock_s = clock_s
        self._stop = stop

    def restore(self, partition: int, group: Consumer, kept: RestorableState | None = None) -> Restored:
        """Return the state of a task; `kept` is its store where this worker still has it open.

        Raises CannotGoOn, and Stopping.
        """
        committed = self._group_offsets(partition, group)
        changelog = self._cluster.place("customer-state", partition)
        begin = beginning_offsets(self._cluster.admin, [changelog], self._timeout_s)[0]
        end = end_offsets(self._cluster.admin, [changelog], self._timeout_s)[0]

        state = self._stores.open(partition) if kept is None else kept
        try:
            if state.changelog_offset() > end:
                state = self._start_over(state, partition, "it is ahead of the changelog")
            elif 0 < state.changelog_offset() < begin:
                state = self._start_over(state, partition, "it is older than the beginning of the changelog")
            n_records = self._replay(state, partition, begin, end)
            difference = self._difference(state, committed)
            if difference and n_records < end - begin:  # it was not all read: perhaps the store is what is wrong
                state = self._start_over(state, partition, difference)
                n_records = self._replay(state, partition, begin, end)
                difference = self._difference(state, committed)
            self._require_same(partition, difference)
            return self._restored(state, partition, committed, n_records)
        except BaseException:
            state.close()
            raise

    def _require_same(self, partition: int, difference: str | None) -> None:
        if difference:
            raise CannotGoOn(f"task {partition}: {difference}")

    def _group_offsets(self, partition: int, group: Consumer) -> dict[str, int]:
        """Return the group's committed offsets by logical topic, where it has any."""
        names = [self._cluster.place(topic, partition) for topic in EVENT_TOPICS]

        def ask() -> list[TopicPartition]:
            found = group.committed(names, timeout=min(self._timeout_s, 5.0))
            for each in found:
                if each.error is not None:
                    raise KafkaException(each.error)
            return found

        try:
            found = call_again(ask, self._timeout_s)
        except KafkaException as raised:
            raise CannotGoOn(f"the group's offsets cannot be read: {error_of(raised).str()}") from raised
        return {self._cluster.topics.logical(each.topic): each.offset for each in found if each.offset >= 0}

    def _start_over(self, state: RestorableState, partition: int, why: str) -> RestorableState:
        state.close()
        self._stores.discard(partition, why)
        return self._stores.open(partition)

    def _replay(self, state: RestorableState, partition: int, begin: int, end: int) -> int:
        """Read the changelog from where `state` stands up to `end`; return how many records that were."""
        start = max(state.changelog_offset(), begin)
        if start >= end:
            return 0
        changelog = self._cluster.place("customer-state", partition, start)
        task_record: bytes | None = None
        n_records = 0

        def customers() -> Iterator[tuple[str, bytes | None]]:
            nonlocal task_record, n_records
            messages = read_to(
                self._reader,
                {(changelog.topic, partition): end},
                stop=self._stop,
                clock_s=self._clock_s,
                timeout_s=self._timeout_s,
            )
            for message in messages:
                key = message.key() or b""
                n_records += 1
                if key == TASK_KEY:
                    task_record = message.value()
                else:
                    yield customer_id_of(key), message.value()

        self._reader.assign([changelog])
        try:
            # The offset is moved with the task's record, below: in between, the tail would simply be read again.
            state.restore(customers(), state.changelog_offset())
        finally:
            self._reader.unassign()
        if task_record is not None:
            state.apply({}, task_record, end)
        return n_records

    def _difference(self, state: RestorableState, committed: dict[str, int]) -> str | None:
        """Return in words where the task's record and the group's offsets differ, or None."""
        data = state.task_record()
        if not self._check_group_offsets:
            return None
        if data is None:
            if committed and state.changelog_offset() == 0:
                return (
                    "the group has committed offsets and the changelog has no record of the task: it was emptied, or "
                    "the group id is another consumer's. Use a new kafka.group_id, or bring the changelog back"
                )
            return None
        for topic, offset in decode_task_record(data).next_offsets.items():
            if committed.get(topic, _NO_OFFSET) != offset:
                return (
                    f"the changelog says that {topic} was processed up to {offset}, the group's offset is "
                    f"{committed.get(topic, 'missing')}: the offsets expired or were changed by hand. "
                    f"Set them back with kafka-consumer-groups.sh --reset-offsets --to-offset {offset}, or use a new "
                    "kafka.group_id with new topics"
                )
        return None

    def _restored(self, state: RestorableState, partition: int, committed: dict[str, int], n_records: int) -> Restored:
        data = state.task_record()
        record = TaskRecord() if data is None else decode_task_record(data)
        start = committed | record.next_offsets
        missing = [topic for topic in EVENT_TOPICS if topic not in start]
        if missing:
            begin = beginning_offsets(
                self._cluster.admin, [self._cluster.place(topic, partition) for topic in missing], self._timeout_s
            )
            start |= dict(zip(missing, begin, strict=True))
        return Restored(state, record, start, n_records)

    def close(self) -> None:
        """Close the reader, and let the folder of the stores go."""
        self._reader.close()
        self._stores.close()
