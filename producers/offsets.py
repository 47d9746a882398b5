"""Asking a broker for the first and the next offsets of partitions."""

from collections.abc import Sequence
from typing import Final

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, not listed as such
    AdminClient,
    ListOffsetsResultInfo,
    OffsetSpec,
)

Place = tuple[str, int]  # topic with its prefix, partition

REQUEST_S: Final = 15.0


def first_offsets(admin: AdminClient, places: Sequence[Place]) -> dict[Place, int]:
    """Return the offset of the first record that is kept, for each place. Raises `KafkaException`."""
    return _offsets(admin, places, OffsetSpec.earliest())  # type: ignore[no-untyped-call]


def next_offsets(admin: AdminClient, places: Sequence[Place]) -> dict[Place, int]:
    """Return the offset that comes next for each place, records of open transactions included.

    Raises `KafkaException`.
    """
    return _offsets(admin, places, OffsetSpec.latest())  # type: ignore[no-untyped-call]


def newest_ms(admin: AdminClient, places: Sequence[Place]) -> int | None:
    """Return the time of the newest record in any of the places; None where there is none. Raises `KafkaException`."""
    found = _asked(admin, places, OffsetSpec.max_timestamp())  # type: ignore[no-untyped-call]
    return max((at.timestamp for at in found.values() if at.offset >= 0), default=None)


def _offsets(admin: AdminClient, places: Sequence[Place], spec: OffsetSpec) -> dict[Place, int]:
    return {place: at.offset for place, at in _asked(admin, places, spec).items()}


def _asked(admin: AdminClient, places: Sequence[Place], spec: OffsetSpec) -> dict[Place, ListOffsetsResultInfo]:
    asked = admin.list_offsets(
        {TopicPartition(*place): spec for place in places},
        isolation_level=IsolationLevel.READ_UNCOMMITTED,
        request_timeout=REQUEST_S,
    )
    return {(at.topic, at.partition): future.result() for at, future in asked.items()}
