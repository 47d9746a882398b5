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
    """Yield the records in recorded order. Damaged values are rows too: judging them is the consumer's work."""
    line = 0
    try:
        for line, recorded in enumerate(read_container(path), start=1):
            yield _row(line, recorded)
    except CorruptContainer as error:
        raise UnreadableFile(path, f"byte {error.position}, after row {line}", str(error)) from error
    except OSError as error:
        raise UnreadableFile(path, f"opening or reading, after row {line}", error.strerror or str(error)) from error


def _row(line: int, recorded: Recorded) -> Row:
    peek = _look(recorded.value)
    return Row(
        topic=recorded.topic,
        occurred_at=recorded.timestamp_ms if peek.occurred_at is None else peek.occurred_at,
        key=recorded.key,
        value=recorded.value,
        line=line,
        kind=peek.kind or "unknown",
        partition=recorded.partition,
        offset=recorded.offset,
        timestamp_ms=recorded.timestamp_ms,
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


READER = Reader("container", "our Avro container of recorded topics", time_ordered=True, read=read, detect=detect)
