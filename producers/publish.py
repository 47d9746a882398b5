"""Publishing rows: keys, partitions and event times as they are, a bounded queue, and every delivery accounted for."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from threading import Event as StopEvent

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from producers.connection import Connection
from producers.pacing import Pace
from producers.rows import NO_EVENT, BadRow, Row, UnreadableFile
from schemas.units import Seconds

PROGRESS_EVERY_S = 0.5
_SERVE_EVERY_ROWS = 1_000
_LONGEST_NAP_S = 0.1
_QUEUE_FULL_S = 60.0  # how long a full queue is waited for
_FLUSH_S = 60.0


class PublishFailed(Exception):
    """The producer can't go on: a fatal error, or nothing is taken from its queue any more."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands. `rows` were read (bad ones included); `event_time_ms` is that of the last row."""

    rows: int
    delivered: int
    failed: int
    bad: int
    event_time_ms: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PublishReport:
    """What came of a run.

    `rows` = rows published + rows `merged` into them + bad rows + those `skipped`, which become no event by their
    mapping; each row published was `delivered` or has `failed`.
    `unreadable` says where a file broke off.
    """

    rows: int
    delivered: dict[str, int]  # by logical topic
    kinds: dict[str, int]  # rows handed to the producer, by kind
    bad: dict[str, int]  # by reason
    failed: dict[str, int]  # by name of the Kafka error
    seconds: float
    unreadable: str | None = None
    skipped: int = 0
    examples_of_bad: tuple[BadRow, ...] = field(default=())  # the first of each reason
    merged: int = 0  # further rows of an order of several


class Publisher:
    """Sends rows and counts what became of them. Not for several threads."""

    def __init__(self, producer: Producer, prefix: str = "") -> None:
        """`prefix` stands before each logical topic name."""
        self._producer = producer
        self._prefix = prefix
        self._callbacks: dict[str, Callable[[KafkaError | None, Message], None]] = {}
        self.kinds: Counter[str] = Counter()
        self.delivered: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._fatal: KafkaError | None = None

    def send(self, row: Row, *, keep_partition: bool = False) -> None:
        """Hand a row to the producer; its arrival time becomes the record's timestamp.

        `keep_partition` sends it to the partition it was recorded on, which is right only where the topic has as many
        as it had then. Raises `PublishFailed` where the producer can't go on.
        """
        if self._fatal is not None:
            raise PublishFailed(self._fatal.str())
        self.kinds[row.kind] += 1
        partition = row.partition if keep_partition and row.partition is not None else -1
        deadline_s: float | None = None
        while True:
            try:
                self._produce(row, partition)
                return
            except BufferError:
                now_s = time.monotonic()
                deadline_s = now_s + _QUEUE_FULL_S if deadline_s is None else deadline_s
                if now_s >= deadline_s:
                    waited = f"the broker took nothing from the full queue for {_QUEUE_FULL_S:.0f} s"
                    raise PublishFailed(waited) from None
                self._producer.poll(_LONGEST_NAP_S)
            except KafkaException as error:
                self._refused(error.args[0])
                return

    def _produce(self, row: Row, partition: int) -> None:
        # Timestamp 0 would mean the present to the client: an event of 1970 becomes one millisecond old instead.
        self._producer.produce(
            self._prefix + row.topic,
            value=row.value,
            key=row.key,
            partition=partition,
            on_delivery=self._callbacks.get(row.topic) or self._new_callback(row.topic),
            timestamp=max(1, row.arrival_ms),
            headers=list(row.headers),
        )

    def _new_callback(self, topic: str) -> Callable[[KafkaError | None, Message], None]:
        def on_delivery(error: KafkaError | None, _: Message) -> None:
            if error is None:
                self.delivered[topic] += 1
            else:
                self._refused(error)

        self._callbacks[topic] = on_delivery
        return on_delivery

    def _refused(self, error: KafkaError) -> None:
        self.failed[error.name()] += 1
        if error.fatal():
            self._fatal = error

    def serve(self, timeout_s: Seconds = Seconds(0.0)) -> None:
        """Serve delivery reports, waiting for one at most `timeout_s`."""
        self._producer.poll(timeout_s)

    def flush(self) -> None:
        """Wait until all is delivered or has failed; what is left after a minute has failed, as `_UNDELIVERED`."""
        left = self._producer.flush(_FLUSH_S)
        if left:
            self.failed["_UNDELIVERED"] += left


def publish_rows(
    rows: Iterable[Row | BadRow],
    publisher: Publisher,
    *,
    speed: float | None = None,
    keep_partitions: bool = False,
    stop: StopEvent | None = None,
    progress: Callable[[Progress], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> PublishReport:
    """Publish all rows at recorded pace × `speed`, or (None) as fast as it goes, until they end or `stop` is set.

    Bad rows are counted, never fatal. A file that breaks off ends the run with `unreadable` in the report. Raises
    `PublishFailed` where the producer can't go on.
    """
    pace, started_s = Pace(speed), clock()
    bad: Counter[str] = Counter()
    examples: dict[str, BadRow] = {}
    count, merged, skipped, event_ms, told_s, unreadable = 0, 0, 0, 0, started_s, None

    def tell() -> None:
        if progress is not None:
            delivered, failed = publisher.delivered.total(), publisher.failed.total()
            progress(Progress(count, delivered, failed, bad.total(), event_ms, clock() - started_s))

    def wait_for(row: Row) -> bool:
        """Wait until the row is due; return False where the run was stopped before."""
        while (wait_s := pace.wait_s(row.arrival_ms, clock())) > 0:
            if stop is not None and stop.is_set():
                return False
            publisher.serve(Seconds(min(wait_s, _LONGEST_NAP_S)))
        return stop is None or not stop.is_set()

    try:
        for row in rows:
            if isinstance(row, BadRow):
                if row.reason == NO_EVENT:
                    skipped += 1
                else:
                    bad[row.reason] += 1
                    examples.setdefault(row.reason, row)
            else:
                if not wait_for(row):
                    break
                publisher.send(row, keep_partition=keep_partitions)
                event_ms, merged = row.occurred_at, merged + row.merged
            count += 1
            if count % _SERVE_EVERY_ROWS == 0 or speed is not None:
                publisher.serve()
                if clock() - told_s >= PROGRESS_EVERY_S:
                    told_s = clock()
                    tell()
    except UnreadableFile as error:
        unreadable = str(error)
    publisher.flush()
    tell()
    return PublishReport(
        rows=count + merged,
        delivered=dict(publisher.delivered),
        kinds=dict(publisher.kinds),
        bad=dict(bad),
        skipped=skipped,
        failed=dict(publisher.failed),
        seconds=clock() - started_s,
        unreadable=unreadable,
        examples_of_bad=tuple(examples.values()),
        merged=merged,
    )


def publish_to_kafka(
    rows: Iterable[Row | BadRow],
    connection: Connection,
    *,
    speed: float | None = None,
    keep_partitions: bool = False,
    stop: StopEvent | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> PublishReport:
    """Publish rows with a producer of its own; see `publish_rows`. Raises `ClusterAway` where no broker answers.

    `keep_partitions` is for recordings published to topics of as many partitions as the recorded ones had; otherwise
    the key decides.
    """
    connection.reach()
    publisher = Publisher(connection.producer(), connection.prefix)
    return publish_rows(rows, publisher, speed=speed, keep_partitions=keep_partitions, stop=stop, progress=progress)
