"""Named columns of a table with a header, CSV or Parquet: ids, numbers and the time of each row.

However compressed; a CSV file is separated by commas, semicolons, tabs or bars, as the header is. Columns are found by
name, those that nobody asked for are ignored. How times are written is said, or shown by the file as a whole. Where
semicolons separate, a comma may stand for the decimal point, as spreadsheets write it there.

Bad rows are left out, counted and kept for a report. Rows come out as they stand in the file, in arrays rather than an
object each: a hundred million rows have to fit.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import cast

from producers.readers.csv_records import CsvFile, NoHeader, Values, utf8_hint
from producers.readers.event_kinds import EventKinds
from producers.readers.far_dates import body_of
from producers.readers.file_kinds import AVRO_MAGIC, is_parquet
from producers.readers.files import head_of
from producers.readers.parquet import ParquetFile, text_of_value
from producers.readers.times import TimeFormat, Times, UnclearTimes, number_of
from producers.rows import BAD_ENCODING, BAD_NUMBER, BLANK_LINE, FAR_OFF, MALFORMED_ROW, MISSING_FIELD, BadRow
from schemas.units import DAY_MS

TIME = "occurred_at"
EXAMPLES = 5  # bad rows kept for each reason
_LONGEST_ID = 256  # characters, as in the records
_LARGEST = 1e12  # of a number, as in the records
_TOLD_EVERY = 10_000  # lines
_SHOWN = 40  # characters of a value in a message
_VALUES_COUNTED = 1_000  # of a column that rows are picked by, for the message where none is picked


class UnusableTable(Exception):
    """The file has no such columns, or no row that can be used; the message says what was found and what to do."""


@dataclass(slots=True)
class Ids:
    """A column of ids: each row has a number, which is the place of its id in `names`."""

    names: list[str]
    rows: "array[int]"


@dataclass(slots=True)
class Table:
    """The good rows, a place each in every column, and what is said of the bad ones."""

    occurred_at: "array[int]"  # epoch milliseconds
    ids: dict[str, Ids]
    numbers: dict[str, "array[float]"]
    columns: list[str]  # all that the file has
    n_rows: int  # good and bad, without those that were not picked
    n_bad: Counter[str]  # by reason, in words
    examples: dict[str, list[BadRow]]  # the first bad rows of each reason
    kinds: str | None  # a column that looks as if it told kinds of events, with its commonest values

    def __len__(self) -> int:
        return len(self.occurred_at)


def read_table(
    path: Path,
    ids: Sequence[str],
    numbers: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
    *,
    where: Mapping[str, Sequence[str]] | None = None,
    times: TimeFormat | None = None,
    progress: Callable[[int], None] = lambda _lines: None,
) -> Table:
    """Return the columns `ids` and `numbers` and the times of the rows.

    `names` says what a column is called in the file where that is not the name asked for. `where` picks rows: those
    that have one of the values in each of its columns. A number must lie between 0 and 1e12. `progress` is told lines
    read. Raises UnusableTable where a column is missing, no row is good, or it is not clear what times mean, and
    UnreadableFile where the file can't be read to its end.
    """
    wanted = (*ids, TIME, *numbers)
    try:
        reading = _Reading(_opened(path), wanted, len(ids), names or {}, where=where or {}, times=times or TimeFormat())
        return reading.read(progress)
    except NoHeader as error:
        needed = _listed((names or {}).get(column, column) for column in wanted)
        raise UnusableTable(f"{path}: {error}; {needed} are needed, with a header line that names them") from None
    except (UnclearTimes, UnusableTable) as error:
        raise UnusableTable(f"{path}: {error}") from None


class _ParquetTable:
    """A Parquet file as if it were CSV, as far as its columns hold one value a row."""

    decimal_comma = False

    def __init__(self, path: Path) -> None:
        self._file = ParquetFile(path)
        self.columns = self._file.flat_columns

    def records(self) -> Iterator[tuple[int, Values]]:
        for number, values in enumerate(self._file.rows(self.columns), start=1):
            yield number, [text_of_value(value) for value in values]


def _opened(path: Path) -> CsvFile | _ParquetTable:
    if path.is_file() and is_parquet(path):
        return _ParquetTable(path)
    if head_of(path).startswith(AVRO_MAGIC):
        raise NoHeader("this is an Avro file, where a table is needed: write it as CSV or Parquet")
    return CsvFile(path)


class _Reading:
    """One file while it is being read."""

    def __init__(
        self,
        source: CsvFile | _ParquetTable,
        wanted: tuple[str, ...],
        n_ids: int,
        names: Mapping[str, str],
        *,
        where: Mapping[str, Sequence[str]],
        times: TimeFormat,
    ) -> None:
        self._source = source
        self._called = {column: names.get(column, column) for column in wanted}
        self._ids, self._numbers = wanted[:n_ids], wanted[n_ids + 1 :]
        self._places = self._places_of(wanted)
        self._where = self._places_where(where)
        self._values_where = Counter[str]()
        self._kinds = EventKinds(source.columns, [*self._places, *(place for place, _ in self._where)])
        self._codes: dict[str, dict[str, int]] = {column: {} for column in self._ids}
        self._rows: dict[str, array[int]] = {column: array("q") for column in self._ids}
        self._values: dict[str, array[float]] = {column: array("d") for column in self._numbers}
        self._format, self._times = times, Times(times)
        self._lines = array("q")
        self._n_bad: Counter[str] = Counter()
        self._examples: dict[str, list[BadRow]] = {}

    def _places_of(self, wanted: Iterable[str]) -> list[int]:
        """Return where each wanted column stands."""
        places = {column: self._place_of(self._called[column]) for column in wanted}
        missing = [column for column, place in places.items() if place is None]
        if missing:
            columns = self._source.columns
            more = ", …" if len(columns) > _SHOWN else ""
            raise UnusableTable(
                f"no column {_listed(self._called[column] for column in missing)}; found "
                f"{_listed(columns[:_SHOWN])}{more}; needed {_listed(self._called.values())}. Say what it is called in "
                f"this file with --column {missing[0]}=NAME"
            )
        return [place for place in places.values() if place is not None]

    def _place_of(self, called: str) -> int | None:
        """Return where a column stands; names are compared as they are, then without regard to case."""
        columns = self._source.columns
        if called in columns:
            return columns.index(called)
        folded = [name.casefold() for name in columns]
        return folded.index(called.casefold()) if folded.count(called.casefold()) == 1 else None

    def _places_where(self, where: Mapping[str, Sequence[str]]) -> list[tuple[int, frozenset[str]]]:
        found = []
        for column, values in where.items():
            place = self._place_of(column)
            if place is None and column in self._called:
                place = self._place_of(self._called[column])
            if place is None:
                columns = _listed(self._source.columns[:_SHOWN])
                raise UnusableTable(f"no column {column} to pick rows by; found {columns}: see --where")
            found.append((place, frozenset(values)))
        return found

    def read(self, progress: Callable[[int], None]) -> Table:
        """Go through the file."""
        last_place = max(*self._places, *(place for place, _ in self._where), 0)
        for number, fields in self._source.records():
            if number % _TOLD_EVERY == 0:
                progress(number)
            if isinstance(fields, BadRow):
                if fields.reason != BLANK_LINE:
                    self._reject(fields)
            elif len(fields) <= last_place:
                said = f"{len(fields)} columns; the header has {len(self._source.columns)}"
                self._reject(BadRow(number, MALFORMED_ROW, said))
            elif self._is_picked(fields):
                self._kinds.see(fields)
                self._take(number, [fields[place] for place in self._places])
        return self._table()

    def _is_picked(self, fields: Values) -> bool:
        for place, values in self._where:
            value = (fields[place] or "").strip()
            if value not in values:
                if len(self._values_where) < _VALUES_COUNTED or value in self._values_where:
                    self._values_where[f"{self._source.columns[place]}={value[:_SHOWN]}"] += 1
                return False
        return True

    def _take(self, line: int, values_of_row: Values) -> None:
        if None in values_of_row:
            column = (*self._ids, TIME, *self._numbers)[values_of_row.index(None)]
            self._reject(BadRow(line, BAD_ENCODING, f"{column} is not UTF-8"))
            return
        fields = [value.strip() for value in cast("Sequence[str]", values_of_row)]
        n_ids = len(self._ids)
        for column, name in zip(self._ids, fields[:n_ids], strict=True):
            if not name or len(name) > _LONGEST_ID:
                self._reject(BadRow(line, MISSING_FIELD, f"no {column}" if not name else f"{column} is too long"))
                return
        values: list[float] = []
        for column, text in zip(self._numbers, fields[n_ids + 1 :], strict=True):
            number = number_of(self._with_point(text))
            if number is None or number > _LARGEST:
                said = "is no number of 0 or more" if number is None else f"is over {_LARGEST:,.0f}"
                self._reject(BadRow(line, BAD_NUMBER, f"{column} {said}"), text)
                return
            values.append(number)
        if not self._times.add(fields[n_ids]):
            self._reject(BadRow(line, BAD_NUMBER, self._no_time()), fields[n_ids])
            return
        for column, name in zip(self._ids, fields[:n_ids], strict=True):
            codes = self._codes[column]
            self._rows[column].append(codes.setdefault(name, len(codes)))
        for column, value in zip(self._numbers, values, strict=True):
            self._values[column].append(value)
        self._lines.append(line)

    def _no_time(self) -> str:
        if self._format.written is not None:
            return f"{TIME} is no time as --time-format {self._format.written!r} has it"
        return f"{TIME} is no time that can be read; say how it is written with --time-format, as '%d/%m/%y %H:%M'"

    def _with_point(self, text: str) -> str:
        return text.replace(",", ".") if self._source.decimal_comma and "." not in text else text

    def _reject(self, bad: BadRow, value: str | None = None) -> None:
        self._n_bad[bad.message] += 1
        examples = self._examples.setdefault(bad.message, [])
        if len(examples) < EXAMPLES:
            shown = bad.message if value is None else f"{bad.message}: {value[:_SHOWN]!r}"
            examples.append(BadRow(bad.line, bad.reason, shown))

    def _table(self) -> Table:
        n_rows = len(self._times) + self._n_bad.total()
        resolved = array("q")
        kept = array("q")  # places of the rows whose time holds
        for place, at_ms in enumerate(self._times.resolve()):
            if isinstance(at_ms, int):
                kept.append(place)
                resolved.append(at_ms)
            else:
                self._reject(BadRow(self._lines[place], BAD_NUMBER, f"{TIME} {at_ms}"), self._times.shown(place))
        if not kept:
            raise UnusableTable(self._why_none(n_rows))
        if (why := self._times.implausible(resolved)) is not None:
            raise UnusableTable(f"{TIME}: {why}")
        kept, resolved = self._without_far(kept, resolved)
        if len(kept) < len(self._times):
            self._rows = {column: array("q", map(rows.__getitem__, kept)) for column, rows in self._rows.items()}
            self._values = {column: array("d", map(vs.__getitem__, kept)) for column, vs in self._values.items()}
        return Table(
            occurred_at=resolved,
            ids={column: Ids(list(self._codes[column]), self._rows[column]) for column in self._ids},
            numbers=self._values,
            columns=self._source.columns,
            n_rows=n_rows,
            n_bad=self._n_bad,
            examples=self._examples,
            kinds=self._kinds.found(),
        )

    def _without_far(self, kept: "array[int]", resolved: "array[int]") -> "tuple[array[int], array[int]]":
        """Leave the few rows out that are dated far from all others: a backtest lives through each day between."""
        body = body_of(resolved)
        if body is None:
            return kept, resolved
        first, last = (date(1970, 1, 1) + timedelta(days=day) for day in body)
        said = f"{TIME} is far from that of all other rows, {first} to {last}"
        near, near_ms = array("q"), array("q")
        for place, at_ms in zip(kept, resolved, strict=True):
            if body[0] <= at_ms // DAY_MS <= body[1]:
                near.append(place)
                near_ms.append(at_ms)
            else:
                on = date(1970, 1, 1) + timedelta(days=at_ms // DAY_MS)
                self._reject(BadRow(self._lines[place], FAR_OFF, said), str(on))
        return near, near_ms

    def _why_none(self, n_rows: int) -> str:
        if not n_rows and self._where:
            asked = " and ".join(f"{self._source.columns[at]}={'|'.join(sorted(values))}" for at, values in self._where)
            found = ", ".join(f"{value} ({n:,})" for value, n in self._values_where.most_common(10))
            return f"no row has {asked}; found {found or 'no rows at all'}: see --where"
        if not n_rows:
            return f"no rows below the header; each needs {_listed(self._called.values())}"
        reason, n = self._n_bad.most_common(1)[0]
        first = self._examples[reason][0]
        hint = utf8_hint(first)
        return f"none of {n_rows:,} rows can be used; {n:,} of them: {first.message} (line {first.line}){hint}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"
