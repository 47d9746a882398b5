"""Named columns of a CSV file with a header: ids, numbers and the time of each row.

Plain, gzip or Zstandard; separated by commas, semicolons, tabs or bars, as the header is. Columns are found by name,
those that nobody asked for are ignored. Times are ISO 8601 (UTC where no zone is given), or seconds or milliseconds
since 1970; which of these numbers are is decided for the whole file, by what most of them can be. Where semicolons
separate, a comma may stand for the decimal point, as spreadsheets write it there.

Bad rows are left out, counted and kept for a report. Rows come out as they stand in the file, in arrays rather than an
object each: a hundred million rows have to fit.
"""

import csv
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path

from producers.readers.files import Line, read_lines, text_of
from producers.rows import BAD_ENCODING, BAD_NUMBER, BLANK_LINE, MALFORMED_ROW, MISSING_FIELD, BadRow

TIME = "occurred_at"
EXAMPLES = 5  # bad rows kept for each reason
_SEPARATORS = ",;\t|"
_RECORD_LINES = 100  # a quoted value may run over so many lines; beyond, its quote is taken for a slip
_LONGEST_ID = 256  # characters, as in the records
_LARGEST = 1e12  # of a number, as in the records
_LAST_MS = 253_402_300_799_999  # of the year 9999
_FIRST_CLEAR_MS = 10**11  # as milliseconds it is 1973, as seconds the year 5138
_TOLD_EVERY = 10_000  # lines
_SHOWN = 40  # characters of a value in a message

# What a row's time is written as, before it is known what the file's numbers mean.
_MOMENT, _NUMBER, _DATE = 0, 1, 2


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
    n_rows: int  # good and bad
    n_bad: Counter[str]  # by reason, in words
    examples: dict[str, list[BadRow]]  # the first bad rows of each reason

    def __len__(self) -> int:
        return len(self.occurred_at)


def read_table(
    path: Path,
    ids: Sequence[str],
    numbers: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
    progress: Callable[[int], None] = lambda _lines: None,
) -> Table:
    """Return the columns `ids` and `numbers` and the times of the rows.

    `names` says what a column is called in the file where that is not the name asked for. A number must lie between
    0 and 1e12. `progress` is told lines read. Raises UnusableTable where a column is missing or no row is good, and
    UnreadableFile where the file can't be read to its end.
    """
    wanted = (*ids, TIME, *numbers)
    return _Reading(path, wanted, len(ids), names or {}).read(progress)


class _Reading:
    """One file while it is being read."""

    def __init__(self, path: Path, wanted: tuple[str, ...], n_ids: int, names: Mapping[str, str]) -> None:
        self._path = path
        self._called = {column: names.get(column, column) for column in wanted}
        self._ids, self._numbers = wanted[:n_ids], wanted[n_ids + 1 :]
        self._codes: dict[str, dict[str, int]] = {column: {} for column in self._ids}
        self._rows: dict[str, array[int]] = {column: array("q") for column in self._ids}
        self._values: dict[str, array[float]] = {column: array("d") for column in self._numbers}
        self._times = array("d")  # milliseconds (exact: they have 48 bits), or a number whose unit is to be found
        self._written = bytearray()  # how each time is written
        self._lines = array("q")
        self._decimal_comma = False
        self._n_bad: Counter[str] = Counter()
        self._examples: dict[str, list[BadRow]] = {}

    def read(self, progress: Callable[[int], None]) -> Table:
        """Go through the file."""
        lines = read_lines(self._path)
        header, separator = self._header(lines)
        self._decimal_comma = separator == ";"
        places = self._places(header)
        for number, fields in _records(lines, separator):
            if number % _TOLD_EVERY == 0:
                progress(number)
            if isinstance(fields, BadRow):
                if fields.reason != BLANK_LINE:
                    self._reject(fields)
                continue
            if len(fields) <= max(places):
                said = f"{len(fields)} columns; the header has {len(header)}"
                self._reject(BadRow(number, MALFORMED_ROW, said))
                continue
            self._take(number, [fields[place].strip() for place in places])
        return self._table()

    def _header(self, lines: Iterator[Line]) -> tuple[list[str], str]:
        first = next(lines, None)
        text = None if first is None else text_of(first)
        if first is None or (isinstance(text, BadRow) and text.reason == BLANK_LINE):
            said = f"the file is empty; {_listed(self._called.values())} are needed, with a header line that names them"
            raise UnusableTable(f"{self._path}: {said}")
        if isinstance(text, BadRow) or text is None:
            said = f"{text.message}{_hint(text)}" if text else "nothing"
            raise UnusableTable(f"{self._path}: line 1 is no header: {said}")
        if "\r" in text:
            said = "lines end in carriage returns alone; save the file with line feeds (LF or CRLF)"
            raise UnusableTable(f"{self._path}: {said}")
        separator = max(_SEPARATORS, key=text.count)
        return [name.strip() for name in _split(text, separator) or []], separator

    def _places(self, header: list[str]) -> list[int]:
        """Return where each wanted column stands; names are compared as they are, then without regard to case."""
        folded = [name.casefold() for name in header]
        places: list[int] = []
        missing: list[str] = []
        for column, called in self._called.items():
            if called in header:
                places.append(header.index(called))
            elif folded.count(called.casefold()) == 1:
                places.append(folded.index(called.casefold()))
            else:
                missing.append(column)
        if missing:
            raise UnusableTable(
                f"{self._path}: no column {_listed(self._called[column] for column in missing)}; found "
                f"{_listed(header[:_SHOWN])}; needed {_listed(self._called.values())}. Say what it is called in this "
                f"file with --column {missing[0]}=NAME"
            )
        return places

    def _take(self, line: int, fields: list[str]) -> None:
        n_ids = len(self._ids)
        for column, name in zip(self._ids, fields[:n_ids], strict=True):
            if not name or len(name) > _LONGEST_ID:
                self._reject(BadRow(line, MISSING_FIELD, f"no {column}" if not name else f"{column} is too long"))
                return
        time = _time_of(fields[n_ids])
        if time is None:
            said = f"{TIME} is no time in ISO 8601, nor in seconds or milliseconds since 1970"
            self._reject(BadRow(line, BAD_NUMBER, said), fields[n_ids])
            return
        values: list[float] = []
        for column, text in zip(self._numbers, fields[n_ids + 1 :], strict=True):
            number = _number_of(self._with_point(text))
            if number is None or number > _LARGEST:
                said = "is no number of 0 or more" if number is None else f"is over {_LARGEST:,.0f}"
                self._reject(BadRow(line, BAD_NUMBER, f"{column} {said}"), text)
                return
            values.append(number)
        for column, name in zip(self._ids, fields[:n_ids], strict=True):
            codes = self._codes[column]
            self._rows[column].append(codes.setdefault(name, len(codes)))
        for column, value in zip(self._numbers, values, strict=True):
            self._values[column].append(value)
        self._times.append(time[0])
        self._written.append(time[1])
        self._lines.append(line)

    def _with_point(self, text: str) -> str:
        return text.replace(",", ".") if self._decimal_comma and "." not in text else text

    def _reject(self, bad: BadRow, value: str | None = None) -> None:
        self._n_bad[bad.message] += 1
        examples = self._examples.setdefault(bad.message, [])
        if len(examples) < EXAMPLES:
            shown = bad.message if value is None else f"{bad.message}: {value[:_SHOWN]!r}"
            examples.append(BadRow(bad.line, bad.reason, shown))

    def _table(self) -> Table:
        n_rows = len(self._times) + self._n_bad.total()
        unit = _unit_of(self._times, self._written)
        kept = array("q")  # places of the rows whose time holds
        times = array("q")
        for place, (value, written) in enumerate(zip(self._times, self._written, strict=True)):
            at_ms = int(value) if written == _MOMENT else _in_unit(value, unit)
            if isinstance(at_ms, int):
                kept.append(place)
                times.append(at_ms)
            else:
                self._reject(BadRow(self._lines[place], BAD_NUMBER, f"{TIME} {at_ms}"), f"{value:.15g}")
        if not kept:
            raise UnusableTable(f"{self._path}: {self._why_none(n_rows)}")
        if len(kept) < len(self._times):
            self._rows = {column: array("q", map(rows.__getitem__, kept)) for column, rows in self._rows.items()}
            self._values = {column: array("d", map(vs.__getitem__, kept)) for column, vs in self._values.items()}
        return Table(
            occurred_at=times,
            ids={column: Ids(list(self._codes[column]), self._rows[column]) for column in self._ids},
            numbers=self._values,
            n_rows=n_rows,
            n_bad=self._n_bad,
            examples=self._examples,
        )

    def _why_none(self, n_rows: int) -> str:
        if not n_rows:
            return f"no rows below the header; each needs {_listed(self._called.values())}"
        reason, n = self._n_bad.most_common(1)[0]
        first = self._examples[reason][0]
        return f"none of {n_rows:,} rows can be used; {n:,} of them: {first.message} (line {first.line}){_hint(first)}"


def _hint(bad: BadRow) -> str:
    return "; save the file as UTF-8" if bad.reason == BAD_ENCODING else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"


def _records(lines: Iterator[Line], separator: str) -> Iterator[tuple[int, list[str] | BadRow]]:
    """Yield the values of each record with the line it starts on. A quoted value may hold line ends."""
    waiting: list[Line] = []  # lines that were read ahead for a quote that never closed
    while True:
        line = waiting.pop(0) if waiting else next(lines, None)
        if line is None:
            return
        text = text_of(line)
        if isinstance(text, BadRow):
            yield line.number, text
            continue
        fields, n_ahead = _split(text, separator), 0
        while fields is None and n_ahead < _RECORD_LINES:
            if n_ahead == len(waiting):
                following = next(lines, None)
                if following is None:
                    break
                waiting.append(following)
            text += "\n" + waiting[n_ahead].data.decode(errors="replace")
            n_ahead += 1
            fields = _split(text, separator)
        if fields is None:
            yield line.number, BadRow(line.number, MALFORMED_ROW, "a quote is opened and not closed")
            continue
        del waiting[:n_ahead]
        if fields:
            yield line.number, fields
        else:
            said = f"a value is longer than {csv.field_size_limit():,} characters"
            yield line.number, BadRow(line.number, MALFORMED_ROW, said)


def _split(text: str, separator: str) -> list[str] | None:
    """Return the values of a record, None where it ends within quotes; none at all where one is too long."""
    if '"' not in text:
        return text.split(separator)
    lines = text.splitlines(keepends=True)
    try:
        return next(csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True))
    except csv.Error as error:
        if "unexpected end" in str(error):
            return None
    try:
        # Text after a closing quote: read it as it stands.
        return next(csv.reader(lines, delimiter=separator, skipinitialspace=True))
    except csv.Error:  # a value longer than the reader takes
        return []


def _time_of(text: str) -> tuple[float, int] | None:
    """Return a time and how it is written, None where it is none."""
    number = _number_of(text)
    if number is not None:
        is_date = len(text) == len("20101201") and text.isdigit() and _moment_ms(text) is not None
        return number, _DATE if is_date else _NUMBER
    at_ms = _moment_ms(text)
    return None if at_ms is None else (float(at_ms), _MOMENT)


def _moment_ms(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)
    except (ValueError, OverflowError):
        return None


def _number_of(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) and value >= 0.0 and "_" not in text else None


def _unit_of(times: "array[float]", written: bytearray) -> str:
    """Return what the file's numbers are: "seconds", "milliseconds", or "dates" where each is one such as 20101201."""
    n_dates, n_numbers = written.count(_DATE), written.count(_NUMBER)
    if n_dates and not n_numbers:
        return "dates"
    large = sum(1 for value, how in zip(times, written, strict=True) if how != _MOMENT and value >= _FIRST_CLEAR_MS)
    return "milliseconds" if 2 * large > n_dates + n_numbers else "seconds"


def _in_unit(value: float, unit: str) -> int | str:
    """Return the epoch milliseconds of a number, or why it can't be one of this file's."""
    if unit == "dates":
        at_ms = _moment_ms(f"{value:08.0f}")
        return "is out of range" if at_ms is None else at_ms
    if unit == "milliseconds":
        if value < _FIRST_CLEAR_MS:
            return "looks like seconds among milliseconds"
        at_ms = round(value)
    else:
        if value >= _FIRST_CLEAR_MS:
            return "looks like milliseconds among seconds"
        at_ms = round(value * 1000)
    return at_ms if at_ms <= _LAST_MS else "is out of range"
