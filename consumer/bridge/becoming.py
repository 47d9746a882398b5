"""What one source record becomes: records of the canonical topics, ready to be written, and what can't be mapped."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from consumer.core.intake import Rejection
from consumer.core.merge import MergeRecord
from consumer.inputs.mapper import MappedEvent, Mapper
from schemas.codec import Encoder
from schemas.errors import InvalidRecord
from schemas.partitioning import partition_of

SOURCE_HEADER = "nextbest-source"  # topic/partition/offset of the source record, and which of its events, from 0
_LENGTHS_BYTES = 16  # that the lengths around a header take at most, and an eighth of those around a record

Headers = tuple[tuple[str, bytes | None], ...]


class Place(NamedTuple):
    """One partition of a source topic, by the topic's full name."""

    topic: str
    partition: int


class Written(NamedTuple):
    """One record for a canonical topic (logical name)."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: Headers


class Bridged(msgspec.Struct, frozen=True):
    """One source record and what it becomes.

    `time_ms` is the lowest event time in it, epoch milliseconds; None where it holds none. `rejected` is the record as
    received, with the reason, where it can't be mapped: wholly, or for one of its events.
    """

    offset: int
    time_ms: int | None
    written: tuple[Written, ...]
    rejected: MergeRecord | None


class Becoming:
    """Turns source records into records of the canonical topics.

    Args:
        mappers: source topic → its mapping.
        encoder: writes the canonical records.
        partitions: how many partitions each canonical topic (logical name) has.
        max_bytes: what a canonical record may take with its key and headers; a larger one is rejected.
    """

    def __init__(
        self, mappers: Mapping[str, Mapper], encoder: Encoder, partitions: Mapping[str, int], max_bytes: int
    ) -> None:
        self._mappers = mappers
        self._encode = encoder.encode
        self._partitions = partitions
        self._max_bytes = max_bytes

    def of(self, place: Place, source: MergeRecord, latest_ms: int) -> Bridged:
        """Return what a record becomes that was read at `place`; `source.event` is not looked at.

        An event after `latest_ms` is rejected: a single clock far ahead would hold all records behind it back. Raises
        what the schema source raises when it can't answer.
        """
        written: list[Written] = []
        times_ms: list[int] = []
        first: Rejection | None = None
        found = self._mappers[place.topic].of_value(source.value, source.key, source.timestamp_ms)
        for number, each in enumerate(found):
            made = self._made(each, f"{place.topic}/{place.partition}/{source.offset}/{number}", source, latest_ms)
            if isinstance(made, Rejection):
                first = first or made
            else:
                written.append(made)
                if isinstance(each, MappedEvent) and each.occurred_at is not None:
                    times_ms.append(each.occurred_at)
        rejected = None if first is None else msgspec.structs.replace(source, event=first)
        return Bridged(source.offset, min(times_ms, default=None), tuple(written), rejected)

    def _made(
        self, each: MappedEvent | InvalidRecord, origin: str, source: MergeRecord, latest_ms: int
    ) -> Written | Rejection:
        if isinstance(each, InvalidRecord):
            return Rejection(each.reason, each.field, each.message)
        if each.occurred_at is not None and each.occurred_at > latest_ms:
            said = f"`occurred_at` is {each.occurred_at - latest_ms} ms further ahead of its record than is allowed"
            return Rejection("ahead_of_time", "occurred_at", f"{said} (time.max_ahead_ms)")
        headers = (*source.headers, (SOURCE_HEADER, origin.encode()))
        partition = partition_of(each.key, self._partitions[each.topic])
        written = Written(each.topic, partition, each.key, self._encode(each.topic, each.event), headers)
        if (size := _size_of(written)) > self._max_bytes:
            said = f"the event takes {size} bytes with key and headers, expected at most {self._max_bytes}"
            return Rejection("too_large", "value", said)
        return written


def _size_of(record: Written) -> int:
    """Return at most how many bytes a record takes on a topic."""
    headers = sum(len(name.encode()) + len(content or b"") + _LENGTHS_BYTES for name, content in record.headers)
    return len(record.key) + len(record.value) + headers + _LENGTHS_BYTES * 8
