"""Parquet: rows as plain values. It needs pyarrow, which the extra `parquet` brings.

As a recording, a row is an event whose columns are its fields (lists of order lines among them).
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from producers.readers.jsonl import row_of
from producers.readers.kinds import PARQUET_MAGIC
from producers.readers.reader import Reader
from producers.rows import BadRow, Row, UnreadableFile

_BATCH_ROWS = 10_000


class ParquetFile:
    """The rows of one file, batch by batch. Raises `UnreadableFile` where it can't be read (on)."""

    def __init__(self, path: Path) -> None:
        try:
            from pyarrow import parquet  # noqa: PLC0415 - one of an extra: most installs do without
        except ImportError as error:
            said = f"this is a Parquet file, and reading it needs pyarrow ({error}): pip install 'nextbest[parquet]'"
            raise UnreadableFile(path, None, said) from None
        self._path = path
        try:
            self._file: Any = parquet.ParquetFile(path)
        except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
            raise self._damaged(error) from error
        self.columns: list[str] = list(self._file.schema_arrow.names)
        self.flat_columns: list[str] = [field.name for field in self._file.schema_arrow if _is_flat(field.type)]

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield the values of the columns: numbers, texts, datetimes and so on, None where there is none."""
        n_done = 0
        batches = self._file.iter_batches(batch_size=_BATCH_ROWS, columns=list(columns))
        while True:
            try:
                batch = next(batches, None)
            except (OSError, ValueError) as error:
                raise self._damaged(error, n_done) from error
            if batch is None:
                return
            n_done += batch.num_rows
            yield from zip(*(_values(batch.column(name)) for name in columns), strict=True)

    def _damaged(self, error: Exception, n_done: int = 0) -> UnreadableFile:
        reason = " ".join(str(error).split())
        said = f"this is a Parquet file that is damaged or cut short: {reason}"
        return UnreadableFile(self._path, f"a row after row {n_done}" if n_done else None, said)


def _is_flat(type_: Any) -> bool:
    """Return whether a column holds one value a row."""
    return bool(type_.num_fields == 0)


def _values(column: Any) -> list[Any]:
    import pyarrow as pa  # noqa: PLC0415 - as above

    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        # datetime has no nanoseconds.
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    values: list[Any] = column.to_pylist()
    return values


def text_of_value(value: Any) -> str:
    """Return a value as it would stand in a CSV file; nothing for None, and for a number that is none."""
    if value is None or value != value:  # noqa: PLR0124 - of all values, NaN alone differs from itself
        return ""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, bool):
        return "true" if value else "false"
    # What was a whole number before a gap in its column made all of it floating: an id is no 17850.0.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def read(path: Path) -> Iterator[Row | BadRow]:
    """Yield the rows of the file in its own order; without an event id of their own they get one of the row number."""
    file = ParquetFile(path)
    for number, values in enumerate(file.rows(file.columns), start=1):
        event = _plain(dict(zip(file.columns, values, strict=True)))
        yield row_of(number, event, f"parquet-{number}")


def _plain(value: Any) -> Any:
    """Return a value as JSON would have it, times in epoch milliseconds (UTC where no zone is given)."""
    if isinstance(value, datetime):
        moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1000)
    if isinstance(value, dict):
        return {name: plain for name, each in value.items() if (plain := _plain(each)) is not None}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, float | Decimal):
        return None if value != value else float(value)  # noqa: PLR0124 - NaN, as above
    if value is None or isinstance(value, bool | int):
        return value
    return text_of_value(value)


def detect(head: bytes) -> bool:
    """Say whether the file starts as Parquet does."""
    return head.startswith(PARQUET_MAGIC)


READER = Reader("parquet", time_ordered=False, read=read, detect=detect)
