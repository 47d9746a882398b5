"""Intake: from the bytes of one input record to an event that a task may process, or the reason why it may not.

The Kafka worker, the replay and verify all read their input through here, so a record is judged alike by each.
"""

from typing import Protocol

import msgspec

from schemas.errors import InvalidRecord
from schemas.events import Event
from schemas.partitioning import partition_of


class Rejection(msgspec.Struct, frozen=True):
    """Why a record was rejected. It repeats no value of the record."""

    reason: str  # one of `schemas.errors.RejectionReason`, or another short fixed word
    field: str | None
    message: str


class EventDecoder(Protocol):
    """What `read` needs of a codec; `schemas.codec.Decoder` is one."""

    def decode_event(self, topic: str, value: bytes | None) -> Event:
        """The event in `value`; raises InvalidRecord."""


def read(
    decoder: EventDecoder,
    topic: str,
    key: bytes | None,
    value: bytes | None,
    *,
    partition: int,
    partitions: int,
    timestamp_ms: int,
    max_ahead_ms: int,
) -> Event | Rejection:
    """Decode one record of an input topic and `admit` it. `topic` is the logical name; never raises for bad bytes."""
    try:
        event = decoder.decode_event(topic, value)
    except InvalidRecord as invalid:
        return Rejection(invalid.reason, invalid.field, invalid.message)
    rejection = admit(
        event, key, partition=partition, partitions=partitions, timestamp_ms=timestamp_ms, max_ahead_ms=max_ahead_ms
    )
    return event if rejection is None else rejection


def admit(
    event: Event, key: bytes | None, *, partition: int, partitions: int, timestamp_ms: int, max_ahead_ms: int
) -> Rejection | None:
    """Whether an event may be processed where it was found; None where it may.

    The key must be the customer id in UTF-8 and sit on its own partition of `partitions`: otherwise one customer would
    be split over two tasks. `occurred_at` must not be more than `max_ahead_ms` ahead of the broker's `timestamp_ms`: a
    single such event would move stream time for everyone.
    """
    if not key:
        return Rejection("missing_key", "key", "`key` is missing: expected the customer id")
    if key != event.customer_id.encode():
        return Rejection("wrong_key", "key", "`key` differs from `customer_id`: expected the same id in UTF-8")
    if (expected := partition_of(key, partitions)) != partition:
        message = (
            f"`key` is on partition {partition} and belongs on {expected} of {partitions}: "
            "set the producer's partitioner to murmur2_random"
        )
        return Rejection("wrong_partition", "key", message)
    ahead_ms = event.occurred_at - timestamp_ms
    if ahead_ms <= max_ahead_ms:
        return None
    message = (
        f"`occurred_at` is {ahead_ms} ms ahead of the broker's timestamp: expected at most {max_ahead_ms} ms "
        "(epoch milliseconds, UTC)"
    )
    return Rejection("ahead_of_time", "occurred_at", message)
