"""The latest records of a topic, to look at: nothing is committed, nothing is changed."""

import time
from collections.abc import Callable
from contextlib import closing

from confluent_kafka import KafkaError, TopicPartition

from producers.clients import Properties, new_admin, new_reader, reach
from producers.offsets import first_offsets, next_offsets
from producers.record import RecordFailed, places_of
from schemas.container import Recorded

_POLL_S = 0.2
_SILENT_S = 10.0  # without a record or an end of partition, where the records of a partition are gone meanwhile


def latest_records(
    bootstrap: str,
    topic: str,
    n: int,
    properties: Properties | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[Recorded]:
    """Return the latest `n` records of a topic, in the order of their timestamps.

    Raises `RecordFailed` where the topic isn't there or can't be read, `BrokerAway` where no broker answers.
    """
    admin = new_admin(bootstrap, properties)
    reach(admin, bootstrap)
    places = places_of(admin, [topic])
    first, end = first_offsets(admin, places), next_offsets(admin, places)
    start = {place: max(first[place], end[place] - n) for place in places}  # any partition may hold all of them
    left = {place for place in places if start[place] < end[place]}
    found: list[Recorded] = []
    with closing(new_reader(bootstrap, properties)) as consumer:
        consumer.assign([TopicPartition(topic, partition, start[topic, partition]) for _, partition in left])
        moved_s = clock()
        while left and clock() - moved_s < _SILENT_S:
            message = consumer.poll(_POLL_S)
            if message is None:
                continue
            moved_s = clock()
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                raise RecordFailed(f"{topic}: {error.str()}")
            partition, offset = message.partition() or 0, message.offset() or 0
            if error is None:
                key, value = message.key(), message.value()
                found.append(Recorded(topic, partition, offset, message.timestamp()[1], key, value))
            if offset + (error is None) >= end[topic, partition]:
                left.discard((topic, partition))
    found.sort(key=lambda record: (record.timestamp_ms, record.partition, record.offset))
    return found[-n:]
