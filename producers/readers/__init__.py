"""Readers of recorded streams: a file in, rows out. One small file a format, one line here."""

from collections.abc import Iterator
from pathlib import Path

from producers.readers import container, jsonl, parquet, retailrocket, taobao
from producers.readers.files import head_of
from producers.readers.kinds import name_of
from producers.readers.reader import Reader
from producers.readers.sorting import sorted_rows
from producers.rows import BadRow, Row, UnreadableFile

READERS: dict[str, Reader] = {
    module.READER.name: module.READER for module in (container, jsonl, parquet, retailrocket, taobao)
}

__all__ = ["READERS", "BadRow", "Row", "UnreadableFile", "detect_format", "read_rows"]


def read_rows(path: Path, form: str | Reader, *, spill: Path | None = None) -> Iterator[Row | BadRow]:
    """Yield the rows of a recording in the order in which they are to be replayed.

    `form` is the name of a format, or a reader that has no name. Raises `KeyError` where there is no such format and
    `UnreadableFile` where the file can't be read on.
    """
    reader = READERS[form] if isinstance(form, str) else form
    rows = reader.read(path)
    return rows if reader.time_ordered else sorted_rows(rows, spill)


def detect_format(path: Path) -> str | None:
    """Return the name of the format that the file looks like, or None.

    Raises `UnreadableFile` where it can't be opened, is empty, or is something else altogether.
    """
    head = head_of(path)
    if not head:
        raise UnreadableFile(path, None, "the file is empty")
    name = next((name for name, reader in READERS.items() if reader.detect(head)), None)
    if name is None and (other := name_of(head, path)) is not None:
        raise UnreadableFile(path, None, f"this is {other}")
    return name
