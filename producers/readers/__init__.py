"""Readers of recorded streams: a file in, rows out. One small file a format, one line here."""

from collections.abc import Iterator
from pathlib import Path

from producers.readers import container, jsonl, retailrocket, taobao
from producers.readers.files import read_pieces
from producers.readers.reader import Reader
from producers.readers.sorting import sorted_rows
from producers.rows import BadRow, Row, UnreadableFile

READERS: dict[str, Reader] = {module.READER.name: module.READER for module in (container, jsonl, retailrocket, taobao)}

__all__ = ["READERS", "BadRow", "Row", "UnreadableFile", "detect_format", "read_rows"]


def read_rows(path: Path, format_name: str, *, spill: Path | None = None) -> Iterator[Row | BadRow]:
    """Yield the rows of a recording in the order in which they are to be replayed.

    Raises `KeyError` where there is no such format and `UnreadableFile` where the file can't be read on.
    """
    reader = READERS[format_name]
    rows = reader.read(path)
    return rows if reader.time_ordered else sorted_rows(rows, spill)


def detect_format(path: Path) -> str | None:
    """Return the name of the format that the file looks like, or None. Raises `UnreadableFile`."""
    head = next(read_pieces(path), b"")
    return next((name for name, reader in READERS.items() if reader.detect(head)), None)
