"""The records of a file as they stand there, for a mapping to make events of: JSON, CSV or Parquet."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

from producers.readers.csv_records import CsvFile, NoHeader
from producers.readers.files import Line, read_lines, read_pieces, text_of
from producers.readers.parquet import ParquetFile
from producers.rows import BLANK_LINE, MALFORMED_ROW, BadRow, UnreadableFile

DOCUMENT_BYTES = 256 * 1024 * 1024  # of a file that is one JSON document, which has to be held as a whole

Record = dict[str, Any]
Numbered = tuple[int, Any] | BadRow  # the line that a record starts on, and the record


def json_records(path: Path) -> Iterator[Numbered]:
    """Yield the records of a file of JSON lines, or of one that is a single document: a list of records, or one record.

    The records of a list are numbered as if each stood on a line. Raises `UnreadableFile`.
    """
    lines = (line for line in read_lines(path) if line.data.strip() or line.too_long)
    first = next(lines, None)
    if first is None:
        return
    if _is_part_of_document(first):
        yield from _of_document(path)
        return
    for line in chain((first,), lines):
        text = text_of(line)
        try:
            yield text if isinstance(text, BadRow) else (line.number, orjson.loads(text))
        except orjson.JSONDecodeError as error:
            yield BadRow(line.number, MALFORMED_ROW, f"no JSON: {error}")


def _is_part_of_document(line: Line) -> bool:
    """Return whether the file is a list of all its records, or JSON that goes on over several lines."""
    text = line.data.decode(errors="replace").strip()
    if line.too_long or text.startswith("["):
        return True
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return text.startswith("{") and error.pos >= len(text)
    return False


def _of_document(path: Path) -> Iterator[Numbered]:
    held = bytearray()
    for piece in read_pieces(path):
        held += piece
        if len(held) > DOCUMENT_BYTES:
            said = f"one JSON document of over {DOCUMENT_BYTES >> 20} MiB: write one record a line, as jq -c '.[]' does"
            raise UnreadableFile(path, "the beginning", said)
    try:
        document = orjson.loads(bytes(held))
    except orjson.JSONDecodeError as error:
        said = f"neither JSON lines nor one JSON document: {error.msg}"
        raise UnreadableFile(path, f"line {error.lineno}", said) from None
    yield from enumerate(document if isinstance(document, list) else [document], start=1)


def csv_records(path: Path, columns: Sequence[str] = (), separator: str | None = None) -> Iterator[Numbered]:
    """Yield the records of a CSV file: column → text. Without `columns` the first line names them.

    `separator` is what stands between columns; it is seen from the first line if not given. Raises `UnreadableFile`.
    """
    try:
        file = CsvFile(path, columns, separator)
    except NoHeader as error:
        raise UnreadableFile(path, None, str(error)) from None
    for number, values in file.records():
        if isinstance(values, BadRow):
            if values.reason != BLANK_LINE:
                yield values
        elif len(values) != len(file.columns):
            said = f"{len(values)} columns, {len(file.columns)} expected: {', '.join(file.columns[:8])}"
            yield BadRow(number, MALFORMED_ROW, said)
        else:
            # A value that is not UTF-8 is nothing.
            yield number, {name: value and value.strip() for name, value in zip(file.columns, values, strict=True)}


def parquet_records(path: Path) -> Iterator[Numbered]:
    """Yield the records of a Parquet file: column → value. Raises `UnreadableFile`."""
    file = ParquetFile(path)
    for number, values in enumerate(file.rows(file.columns), start=1):
        yield number, dict(zip(file.columns, values, strict=True))
