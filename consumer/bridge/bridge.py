"""The bridge: one thread, one loop, from the first poll to the last commit.

What is read is mapped at once and waits in event-time order; a commit is one Kafka transaction with the records that
were taken, what could not be mapped, and the source offsets with the event time that was reached.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Final

from confluent_kafka import Consumer, Message, TopicPartition

from clients import log
from clients.errors import PARTITION_EOF
from clients.messages import headers_of, poll_batch
from consumer.bridge.becoming import Becoming, Bridged, Place
from consumer.bridge.horizon import Horizon, note_of
from consumer.bridge.observer import BridgeObserver, Tally
from consumer.bridge.order import SourceOrder
from consumer.bridge.settings import BridgeSettings
from consumer.bridge.sources import Begin, Sources
from consumer.bridge.telling import Teller
from consumer.core.intake import Rejection
from consumer.core.merge import MergeRecord
from consumer.kafka.clocks import Clocks
from consumer.kafka.cluster.cluster import Cluster
from consumer.kafka.cluster.log_reader import raise_or_log
from consumer.kafka.cluster.patience import with_patience
from consumer.kafka.dead_letters import DeadLetterLimit, dead_letter
from consumer.kafka.failures import CannotGoOn
from consumer.kafka.transactions import TransactionAborted, Transactions
from consumer.kafka.worker import WorkerStatus
from consumer.kafka.worker_settings import DeadLetterSettings
from schemas.codec import Encoder
from schemas.units import Seconds, in_seconds

_IDLE_POLL_S: Final = Seconds(0.1)
_WAITING_POLL_S: Final = Seconds(0.01)  # records wait for those of another partition
_TELL_EVERY_S = 2.0
_NOT_READ = Rejection("not_read", None, "")  # in place of an event, until the record is mapped
_WAYS_ON: Final = (
    "Correct the mapping (`nextbest inputs try --topic {topic} --sample 100` shows what is wrong), or let more become "
    "dead letters with worker.dead_letters.max_run_records and max_share"
)


@dataclass(frozen=True, slots=True)
class BridgeParts:
    """What the loop turns, put together by `run.py`."""

    cluster: Cluster
    consumer: Consumer
    sources: Sources
    becoming: Becoming
    encoder: Encoder
    transactions: Transactions


@dataclass(slots=True)
class _Source:
    """One source partition: what is committed of it, and where the next commit leaves it."""

    committed: tuple[int, int | None] | None  # offset and event time; None: nothing yet
    began_at: int  # the offset to go back to while nothing is committed
    next_offset: int
    limit: DeadLetterLimit
    end_offset: int = 0  # of the latest end that was reached; beyond the records where a marker lies last
    paused: bool = False


@dataclass(slots=True)
class _Open:
    """What was taken since the last commit."""

    records: list[tuple[Place, Bridged]] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)


class Bridge:
    """One process of the bridge. `run` returns when `stop` says so, after a last commit."""

    def __init__(
        self,
        settings: BridgeSettings,
        dead_letters: DeadLetterSettings,
        max_ahead_ms: int,
        parts: BridgeParts,
        *,
        observer: BridgeObserver,
        status: WorkerStatus,
        clocks: Clocks,
        stop: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._dead_letters = dead_letters
        self._max_ahead_ms = max_ahead_ms
        self._parts = parts
        self._consumer = parts.consumer
        self._observer = observer
        self._status = status
        self._clocks = clocks
        self._stop = stop

        idle_after_s = in_seconds(settings.idle_after_ms)
        self._order = SourceOrder(idle_after_s)
        self._horizon = Horizon(settings.max_lead_ms, idle_after_s)
        self._places: dict[Place, _Source] = {}
        self._assigned: dict[Place, Begin] = {}  # and not begun yet
        self._held = False  # whether records wait for a partition of another process
        self._open = _Open()
        self._teller = Teller(clocks.s)
        self._aborts_in_a_row = 0
        self._looked_at_s = self._told_at_s = -inf
        self._committed_at_s = clocks.s()

    # The loop

    def run(self) -> None:
        """Work until asked to stop. Raises CannotGoOn, or TooManyRejected, with everything uncommitted dropped."""
        try:
            self._parts.transactions.start()
            self._status.state = "joining"
            self._parts.sources.subscribe(self._on_assigned, self._on_revoked, self._on_lost)
            while not self._stop():
                self._read()
                self._start_assigned()
                self._look_at_the_others()
                self._take()
                if self._commit_is_due():
                    self._commit()
                self._tell()
            self._status.state = "stopping"
            self._commit(last=True)
        finally:
            self._close()

    # Reading

    def _read(self) -> None:
        """Poll once; map and queue what came."""
        for message in poll_batch(self._consumer, self._settings.batch_records, self._poll_timeout_s()):
            error, place = message.error(), Place(message.topic() or "", message.partition() or 0)
            if error is not None and error.code() != PARTITION_EOF:
                raise_or_log(error)
            elif place not in self._places:
                continue  # fetched before the partition went to another process
            elif error is None:
                self._order.push(place, self._bridged(place, message))
            else:
                self._places[place].end_offset = message.offset() or 0
                self._order.end_reached(place)
        self._regulate()

    def _poll_timeout_s(self) -> Seconds:
        if self._open.records:
            due_s = self._committed_at_s + in_seconds(self._settings.commit_interval_ms) - self._clocks.s()
            return Seconds(min(max(due_s, 0.0), _WAITING_POLL_S))
        return _WAITING_POLL_S if len(self._order) else _IDLE_POLL_S

    def _bridged(self, place: Place, message: Message) -> Bridged:
        stamp_ms = message.timestamp()[1]
        now_ms = self._clocks.ms()
        record = MergeRecord(
            topic=place.topic,
            offset=message.offset() or 0,
            timestamp_ms=stamp_ms,
            key=message.key(),
            value=message.value(),
            event=_NOT_READ,
            headers=headers_of(message),
        )
        # Nothing happens after it was recorded. A producer's own stamp may be as wrong as its clock: ours counts, too.
        latest_ms = (min(stamp_ms, now_ms) if stamp_ms > 0 else now_ms) + self._max_ahead_ms
        return with_patience(lambda: self._parts.becoming.of(place, record, latest_ms), self._stop)

    def _start_assigned(self) -> None:
        """Begin to read the partitions that the group has given to this process."""
        now_s = self._clocks.s()
        for place, begin in self._assigned.items():
            committed = (begin.offset, begin.reached_ms) if begin.committed else None
            self._places[place] = _Source(
                committed,
                begin.offset,
                begin.offset,
                DeadLetterLimit(self._dead_letters, place.partition, {}, ways_on=_WAYS_ON),
            )
            self._order.start(place, begin.reached_ms, now_s)
            self._parts.sources.start(place, begin.offset)
        if self._assigned:
            self._assigned = {}
            self._looked_at_s = -inf

    def _regulate(self) -> None:
        """Fetch no more of partitions of which much waits (backpressure), and again of those that have drained."""
        limit = self._settings.queued_records
        for place, source in self._places.items():
            queued = self._order.queued(place)
            if queued > limit and not source.paused:
                self._parts.sources.pause(place)
                source.paused = True
            elif source.paused and queued <= limit // 2:
                self._parts.sources.resume(place)
                source.paused = False

    # Order

    def _look_at_the_others(self) -> None:
        """Ask now and then what the other processes have reached; as often as they commit while we wait for one."""
        settings, now_s = self._settings, self._clocks.s()
        every_ms = (
            min(settings.look_interval_ms, settings.commit_interval_ms) if self._held else settings.look_interval_ms
        )
        if not self._places or now_s - self._looked_at_s < in_seconds(every_ms):
            return
        self._looked_at_s = now_s
        others = self._parts.sources.others(self._places.keys())
        if others is not None:  # else what was heard last holds on: the others have not gone back
            self._horizon.look(others, now_s)

    def _take(self) -> None:
        """Take what is next by event time, up to the size of a commit."""
        now_s = self._clocks.s()
        while len(self._open.records) < self._settings.commit_records:
            taken = self._order.pop(self._horizon.limit_ms, now_s)
            self._held = taken is None and self._horizon.held_by is not None and len(self._order) > 0
            if taken is None:
                return
            place, record = taken
            self._places[place].next_offset = record.offset + 1
            self._count(place, record)
            self._open.records.append(taken)

    def _count(self, place: Place, record: Bridged) -> None:
        tally, limit = self._open.tally, self._places[place].limit
        tally.read[place.topic] += 1
        tally.written.update(written.topic for written in record.written)
        if record.rejected is None or not isinstance(rejection := record.rejected.event, Rejection):
            limit.accepted(1)
            if not record.written:
                tally.skipped[place.topic] += 1
            return
        tally.rejected[place.topic, rejection.reason] += 1
        self._teller.rejected(place, record.offset, rejection)
        limit.rejected(record.rejected, rejection)

    # Committing

    def _commit_is_due(self) -> bool:
        if len(self._open.records) >= self._settings.commit_records:
            return True
        return self._clocks.s() - self._committed_at_s >= in_seconds(self._settings.commit_interval_ms)

    def _commit(self, *, last: bool = False) -> None:
        """Commit what was taken, and how far each partition has come; where that is aborted, go back.

        `last`: the partitions are about to leave, so there is less time, and nothing to read on.
        """
        began_s = self._clocks.s()
        standing = self._standing()
        moved = {place: at for place, at in standing.items() if at != self._places[place].committed}
        try:
            if moved:
                self._write(moved, in_seconds(self._settings.last_commit_budget_ms) if last else None)
                self._aborts_in_a_row = 0
                for place, at in moved.items():
                    self._places[place].committed = at
                self._teller.committed(self._open.tally)
                self._observer.committed(self._open.tally, self._clocks.s() - began_s)
            self._open = _Open()
        except TransactionAborted as aborted:
            self._observer.aborted(str(aborted))
            self._go_back(str(aborted), read_on=not last)
        self._committed_at_s = self._clocks.s()

    def _standing(self) -> dict[Place, tuple[int, int | None]]:
        """Return the offset and the event time that each partition has come to."""
        for place, source in self._places.items():
            if self._order.drained(place):
                source.next_offset = max(source.next_offset, source.end_offset)
        return {place: (source.next_offset, self._order.reached_ms(place)) for place, source in self._places.items()}

    def _write(self, moved: dict[Place, tuple[int, int | None]], budget_s: Seconds | None) -> None:
        transactions, topics = self._parts.transactions, self._parts.cluster.topics
        transactions.begin(budget_s)
        for place, record in self._open.records:
            for topic, partition, key, value, headers in record.written:
                transactions.produce(topics.prefix + topic, value, key, partition, headers=headers)
            if record.rejected is not None and isinstance(rejection := record.rejected.event, Rejection):
                letter = dead_letter(place.partition, record.rejected, rejection, self._dead_letters.max_value_bytes)
                value = self._parts.encoder.encode("dead-letters", letter)
                where = place.partition % topics.partitions
                transactions.produce(topics.name("dead-letters"), value, letter.key, where)
        transactions.flush()
        offsets = [
            TopicPartition(place.topic, place.partition, offset, note_of(reached_ms))
            for place, (offset, reached_ms) in moved.items()
        ]
        transactions.commit(offsets, self._consumer.consumer_group_metadata())

    def _go_back(self, why: str, *, read_on: bool) -> None:
        """Drop what is uncommitted, and read on from the committed offsets."""
        self._aborts_in_a_row += 1
        if self._aborts_in_a_row > self._settings.max_aborts:
            raise CannotGoOn(
                f"{self._aborts_in_a_row} commits in a row were aborted, the latest for this reason: {why}"
            )
        self._open = _Open()
        if not read_on:
            return
        now_s = self._clocks.s()
        for place, source in self._places.items():
            begin, reached_ms = source.committed or (source.began_at, None)
            source.next_offset = begin
            self._order.start(place, reached_ms, now_s)
            self._parts.sources.seek(place, begin)

    # Rebalances: called within a poll, when everything read before was taken in

    def _on_assigned(self, begun: dict[Place, Begin]) -> None:
        """Note what is ours; what the poll at hand still brings of it was fetched before, and is dropped."""
        self._assigned = begun
        self._status.state = "running"
        self._observer.rebalanced("assigned", len(begun))

    def _on_revoked(self) -> None:
        """Commit while the partitions are still ours."""
        self._observer.rebalanced("revoked", len(self._places))
        self._commit(last=True)
        self._forget_all()

    def _on_lost(self) -> None:
        """Drop everything uncommitted: another process may have the partitions already."""
        self._observer.rebalanced("lost", len(self._places))
        self._forget_all()

    def _forget_all(self) -> None:
        for place in self._places:
            self._observer.gave_up(*place)
        self._places.clear()
        self._assigned = {}
        self._order.clear()
        self._horizon.forget()
        self._open = _Open()
        if self._status.state != "stopping":
            self._status.state = "joining"

    # Telling

    def _tell(self) -> None:
        now_s = self._clocks.s()
        if now_s - self._told_at_s < _TELL_EVERY_S:
            return
        self._told_at_s = now_s
        total = 0
        for place, source in self._places.items():
            end = self._parts.sources.end(place)
            if end is not None:
                lag = 0 if self._order.drained(place) else max(end - source.next_offset, 0)
                total += lag
                self._observer.lag(*place, lag)
        self._teller.say(total, len(self._order), self._horizon.held_by if self._held else None)

    # Ending

    def _close(self) -> None:
        """Leave the group; whatever is uncommitted is dropped."""
        self._status.state = "stopping"
        self._places.clear()  # so that leaving, which calls `_on_revoked`, commits nothing more
        self._open = _Open()
        self._consumer.close()
        self._status.state = "stopped"
        log.info("the bridge has stopped")
