"""Recording topics to our Avro container: bytes as they are, each partition in its order."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event as StopEvent
from typing import Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin._metadata import ClusterMetadata

from clients.errors import PARTITION_EOF, error_of
from clients.messages import headers_of, poll_batch
from clients.offsets import beginning_offsets, end_offsets
from producers.connection import REQUEST_S, Connection
from schemas.container import ContainerWriter, Recorded
from schemas.units import Seconds

Place = tuple[str, int]  # topic with its prefix, partition

PROGRESS_EVERY_S = 0.5
STALLED_S = 60.0
_BATCH_MESSAGES = 2_000
_POLL_S: Final = Seconds(0.2)


class RecordingFailed(Exception):
    """The topics could not be recorded; the message says which and why. What was read is in the ``.part`` file."""


@dataclass(frozen=True, slots=True)
class RecordingProgress:
    """Where a recording stands. `expected` is an upper bound, the same for the whole run."""

    records: int
    expected: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RecordingReport:
    """What was recorded. `complete` is False where the run was stopped before the end of the log."""

    path: Path
    records: dict[str, int]  # by logical topic
    bytes: int  # of keys and values
    seconds: float
    complete: bool


def record(
    connection: Connection,
    topics: Sequence[str],
    out: Path,
    *,
    follow: bool = False,
    stop: StopEvent | None = None,
    progress: Callable[[RecordingProgress], None] | None = None,
) -> RecordingReport:
    """Write all committed records of the topics (logical names) to `out`, up to the end of the log as it is now.

    With `follow` it goes on until `stop` is set. The file grows as ``out.part`` and gets its name at the end. Raises
    `RecordingFailed` for a topic that isn't there and where nothing comes for STALLED_S, `ClusterAway` where no broker
    answers.
    """
    started_s = time.monotonic()
    partitions = partitions_of(connection.reach(), [connection.prefix + topic for topic in topics])
    places = [(each.topic, each.partition) for each in partitions]
    try:
        first = dict(zip(places, beginning_offsets(connection.admin, partitions, REQUEST_S), strict=True))
        end = dict(zip(places, end_offsets(connection.admin, partitions, REQUEST_S), strict=True))
    except KafkaException as error:
        raise RecordingFailed(f"the offsets can't be read: {error_of(error).str()}") from error
    part = out.with_name(out.name + ".part")
    with closing(connection.reader()) as consumer, ContainerWriter(part) as writer:
        consumer.assign([TopicPartition(*place, first[place]) for place in places])
        run = _Recording(consumer, writer, connection.prefix, end={} if follow else end, first=first)
        expected = sum(end[place] - first[place] for place in places)
        told_s = moved_s = started_s
        while (follow or run.left) and not (stop is not None and stop.is_set()):
            now_s = time.monotonic()
            if run.take():
                moved_s = now_s
            elif not follow and now_s - moved_s > STALLED_S:
                raise RecordingFailed(f"nothing came for {STALLED_S:.0f} s; still to be read: {run.missing()}")
            if progress is not None and now_s - told_s >= PROGRESS_EVERY_S:
                told_s = now_s
                progress(RecordingProgress(run.records.total(), expected, now_s - started_s))
    part.replace(out)
    if progress is not None:
        progress(RecordingProgress(run.records.total(), expected, time.monotonic() - started_s))
    return RecordingReport(out, dict(run.records), run.n_bytes, time.monotonic() - started_s, complete=not run.left)


class _Recording:
    """One run: from the consumer to the file. `left` holds the partitions that are not at their end yet."""

    def __init__(
        self,
        consumer: Consumer,
        writer: ContainerWriter,
        prefix: str,
        *,
        end: dict[Place, int],
        first: dict[Place, int],
    ) -> None:
        self._consumer = consumer
        self._writer = writer
        self._prefix = prefix
        self._end = end
        self._position = dict(first)
        self.left = {place for place, offset in end.items() if first[place] < offset}
        self.records: Counter[str] = Counter()
        self.n_bytes = 0

    def take(self) -> bool:
        """Write what has come; return whether anything has."""
        messages = poll_batch(self._consumer, _BATCH_MESSAGES, _POLL_S)
        for each in messages:
            self._take_one(each)
        return bool(messages)

    def _take_one(self, message: Message) -> None:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        error = message.error()
        if error is not None and error.code() != PARTITION_EOF:
            raise RecordingFailed(f"{topic or 'the broker'}: {error.str()}")
        if topic is None or partition is None or offset is None:
            return
        place = (topic, partition)
        end = self._end.get(place)
        if error is None and (end is None or offset < end):
            self._write(message, topic, partition, offset)
        # The end of partition is told with the offset that would come next: transaction markers count.
        self._position[place] = next_offset = offset + (0 if error is not None else 1)
        if end is not None and next_offset >= end:
            self.left.discard(place)

    def _write(self, message: Message, topic: str, partition: int, offset: int) -> None:
        name = topic.removeprefix(self._prefix)
        key, value, timestamp_ms = message.key(), message.value(), message.timestamp()[1]
        self._writer.append(Recorded(name, partition, offset, timestamp_ms, key, value, headers_of(message)))
        self.records[name] += 1
        self.n_bytes += len(key or b"") + len(value or b"")

    def missing(self) -> str:
        """Say where the partitions stand that are not at their end."""
        places = sorted(self.left)
        return ", ".join(f"{t}-{p} from {self._position[t, p]} to {self._end[t, p]}" for t, p in places)


def partitions_of(cluster: ClusterMetadata, names: Sequence[str]) -> list[TopicPartition]:
    """Return all partitions of the topics. Raises `RecordingFailed` where one isn't there."""
    missing = [name for name in names if name not in cluster.topics]
    if missing:
        raise RecordingFailed(f"no such topic: {', '.join(missing)}")
    return [TopicPartition(name, partition) for name in names for partition in sorted(cluster.topics[name].partitions)]
