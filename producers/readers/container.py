"""Our own Avro container: records as they stood on their topics, with partition, offset and timestamp."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from producers.readers.reader import Reader
from producers.rows import BadRow, Row, UnreadableFile
from schemas.container import CorruptContainer, Recorded, read_container

_MAGIC = b"Obj\x01"


class _Peek(msgspec.Struct):
    """The two fields that pacing and counting look at."""

    occurred_at: int | None = None
    kind: str | None = None


_NOTHING = _Peek()
_peek = msgspec.json.Decoder(_Peek)


def read(path: Path) -> Iterator[Row | BadRow]:
    """Yield the records as they stand in the file. Damaged values are rows too: judging them is the consumer's work.

    A recording may hold one partition after the other. The turn of a record (`order_ms`) is the highest event time in
    its topic partition so far: sorted by it, each topic partition keeps its order, and no record is later than it was
    in its own partition. An event time ahead of the broker's counts as the broker's: a wrong clock holds up nothing.
    """
    line = 0
    turns: dict[tuple[str, int], int] = {}
    try:
        for line, recorded in enumerate(read_container(path), start=1):
            yield _row(line, recorded, turns)
    except CorruptContainer as error:
        raise UnreadableFile(path, f"byte {error.position}, after row {line}", str(error)) from error
    except OSError as error:
        raise UnreadableFile(path, f"opening or reading, after row {line}", error.strerror or str(error)) from error


def _row(line: int, recorded: Recorded, turns: dict[tuple[str, int], int]) -> Row:
    peek = _look(recorded.value)
    occurred_at = recorded.timestamp_ms if peek.occurred_at is None else peek.occurred_at
    order_ms, coordinates = min(occurred_at, recorded.timestamp_ms), (recorded.topic, recorded.partition)
    turns[coordinates] = order_ms = max(order_ms, turns.get(coordinates, order_ms))
    return Row(
        topic=recorded.topic,
        occurred_at=occurred_at,
        key=recorded.key,
        value=recorded.value,
        line=line,
        kind=peek.kind or "unknown",
        partition=recorded.partition,
        offset=recorded.offset,
        timestamp_ms=recorded.timestamp_ms,
        order_ms=order_ms,
        headers=tuple(recorded.headers),
    )


def _look(value: bytes | None) -> _Peek:
    if value is None or value[:1] != b"{":
        return _NOTHING
    try:
        return _peek.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):  # the second is what msgspec raises for text that is no UTF-8
        return _NOTHING


def detect(head: bytes) -> bool:
    """Say whether the file starts as an Avro container does."""
    return head.startswith(_MAGIC)


READER = Reader("container", time_ordered=False, read=read, detect=detect)
