"""The latest records of a topic, to look at: nothing is committed, nothing is changed."""

import time
from contextlib import closing
from typing import Final

from confluent_kafka import TopicPartition

from clients.errors import PARTITION_EOF
from clients.offsets import beginning_offsets, end_offsets
from producers.connection import REQUEST_S, Connection
from producers.recorder import RecordingFailed, partitions_of
from schemas.container import Recorded
from schemas.units import Seconds

_POLL_S: Final = Seconds(0.2)
_SILENT_S: Final = 10.0  # without a record or an end of partition, where the records of a partition are gone meanwhile


def latest_records(connection: Connection, topic: str, n: int) -> list[Recorded]:
    """Return the latest `n` records of a topic, by its full name, in the order of their timestamps.

    Raises `RecordingFailed` where the topic isn't there or can't be read, `ClusterAway` where no broker answers.
    """
    partitions = partitions_of(connection.reach(), [topic])
    firsts = beginning_offsets(connection.admin, partitions, REQUEST_S)
    ends = end_offsets(connection.admin, partitions, REQUEST_S)
    # Any partition may hold all of them.
    spans = {
        each.partition: (max(first, end - n), end) for each, first, end in zip(partitions, firsts, ends, strict=True)
    }
    left = {partition for partition, (start, end) in spans.items() if start < end}
    found: list[Recorded] = []
    with closing(connection.reader()) as consumer:
        consumer.assign([TopicPartition(topic, partition, spans[partition][0]) for partition in left])
        moved_s = time.monotonic()
        while left and time.monotonic() - moved_s < _SILENT_S:
            message = consumer.poll(_POLL_S)
            if message is None:
                continue
            moved_s = time.monotonic()
            error = message.error()
            if error is not None and error.code() != PARTITION_EOF:
                raise RecordingFailed(f"{topic}: {error.str()}")
            partition, offset = message.partition() or 0, message.offset() or 0
            if error is None:
                key, value = message.key(), message.value()
                found.append(Recorded(topic, partition, offset, message.timestamp()[1], key, value))
            if offset + (error is None) >= spans[partition][1]:
                left.discard(partition)
    found.sort(key=lambda record: (record.timestamp_ms, record.partition, record.offset))
    return found[-n:]
