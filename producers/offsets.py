"""Asking a broker for the first and the next offsets of partitions."""

from collections.abc import Sequence
from typing import Final

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # public, not listed as such

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


def _offsets(admin: AdminClient, places: Sequence[Place], spec: OffsetSpec) -> dict[Place, int]:
    asked = admin.list_offsets(
        {TopicPartition(*place): spec for place in places},
        isolation_level=IsolationLevel.READ_UNCOMMITTED,
        request_timeout=REQUEST_S,
    )
    return {(at.topic, at.partition): future.result().offset for at, future in asked.items()}
