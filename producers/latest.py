"""The latest records of a topic, to look at: nothing is committed, nothing is changed."""

import time
from collections.abc import Callable
from contextlib import closing
from typing import Final

from confluent_kafka import TopicPartition

from clients.errors import PARTITION_EOF
from clients.offsets import beginning_offsets, end_offsets
from producers.connection import REQUEST_S, Connection
from producers.record import RecordFailed, partitions_of
from schemas.container import Recorded
from schemas.units import Seconds

_POLL_S: Final = Seconds(0.2)
_SILENT_S = 10.0  # without a record or an end of partition, where the records of a partition are gone meanwhile


def latest_records(
    connection: Connection, topic: str, n: int, clock: Callable[[], float] = time.monotonic
) -> list[Recorded]:
    """Return the latest records of a topic in the order of their timestamps: at most `n`, as many of each partition.

    Raises `RecordFailed` where the topic isn't there or can't be read, `ClusterAway` where no broker answers.
    """
    partitions = partitions_of(connection.reach(), [topic])
    first = beginning_offsets(connection.admin, partitions, REQUEST_S)
    ends = end_offsets(connection.admin, partitions, REQUEST_S)
    share = -(-n // len(partitions))
    start = [max(begin, end - share) for begin, end in zip(first, ends, strict=True)]
    end_of = {each.partition: end for each, end in zip(partitions, ends, strict=True)}
    left = {each.partition for each, at in zip(partitions, start, strict=True) if at < end_of[each.partition]}
    found: list[Recorded] = []
    with closing(connection.reader()) as consumer:
        consumer.assign([TopicPartition(topic, each.partition, at) for each, at in zip(partitions, start, strict=True)])
        moved_s = clock()
        while left and clock() - moved_s < _SILENT_S:
            message = consumer.poll(_POLL_S)
            if message is None:
                continue
            moved_s = clock()
            error = message.error()
            if error is not None and error.code() != PARTITION_EOF:
                raise RecordFailed(f"{topic}: {error.str()}")
            partition, offset = message.partition() or 0, message.offset() or 0
            if error is None:
                key, value = message.key(), message.value()
                found.append(Recorded(topic, partition, offset, message.timestamp()[1], key, value))
            if offset + (error is None) >= end_of[partition]:
                left.discard(partition)
    found.sort(key=lambda record: (record.timestamp_ms, record.partition, record.offset))
    return found[-n:]
