"""CSV as records: the header, what separates the values, and each row's values with the line it starts on.

A quoted value may hold separators and line ends. A value that is not UTF-8 costs itself alone, not its row.
"""

import csv
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from producers.readers.files import Line, read_lines, text_of
from producers.rows import BAD_ENCODING, BLANK_LINE, MALFORMED_ROW, BadRow

SEPARATORS = ",;\t|"
_RECORD_LINES = 100  # a quoted value may run over so many lines; beyond, its quote is taken for a slip

Values = Sequence[str | None]  # of one record; None where a value is not UTF-8


class NoHeader(Exception):
    """The file does not begin with a line that names columns; the message says with what, and what to do."""


class CsvFile:
    """One CSV file. Raises NoHeader, and `UnreadableFile` where the file can't be read (on)."""

    def __init__(self, path: Path, columns: Sequence[str] = (), separator: str | None = None) -> None:
        """`columns` are those of a file without a header; `separator` is seen from the first line if not given."""
        self._lines: Iterator[Line] = read_lines(path)
        first = next(self._lines, None)
        text = None if first is None else text_of(first)
        if text is None or (isinstance(text, BadRow) and text.reason == BLANK_LINE):
            raise NoHeader(
                "the file is empty" if text is None else "line 1 is blank, where the columns should be named"
            )
        if isinstance(text, BadRow):
            raise NoHeader(f"line 1 is no header: {text.message}{utf8_hint(text)}")
        if "\r" in text:
            raise NoHeader("lines end in carriage returns alone; save the file with line feeds (LF or CRLF)")
        if text.lstrip()[:1] in ("{", "["):
            raise NoHeader("this is JSON, where a table is needed: write it as CSV, with a header line")
        self._separator = separator or max(SEPARATORS, key=text.count)
        if columns:
            self._lines = chain([first], self._lines) if first is not None else self._lines
        elif text[:-1].lower() == "sep=":  # Excel's own line above the header
            self._separator = text[-1]
            following = next(self._lines, None)
            text = "" if following is None else following.data.decode(errors="replace")
        self.columns: list[str] = list(columns) or [
            (name or "").strip() for name in _split(text, self._separator) or []
        ]

    @property
    def decimal_comma(self) -> bool:
        """Whether a comma may stand for the decimal point, as spreadsheets write it where semicolons separate."""
        return self._separator == ";"

    def records(self) -> Iterator[tuple[int, Values | BadRow]]:
        """Yield each record, with the line it starts on."""
        lines, waiting = self._lines, list[Line]()  # lines that were read ahead for a quote that never closed
        while True:
            line = waiting.pop(0) if waiting else next(lines, None)
            if line is None:
                return
            text = text_of(line)
            damaged = isinstance(text, BadRow) and text.reason == BAD_ENCODING
            if isinstance(text, BadRow):
                if not damaged:
                    yield line.number, text
                    continue
                text = line.data.decode(errors="surrogateescape")
            fields, n_ahead = _split(text, self._separator), 0
            while fields is None and n_ahead < _RECORD_LINES:
                if n_ahead == len(waiting):
                    following = next(lines, None)
                    if following is None:
                        break
                    waiting.append(following)
                text += "\n" + waiting[n_ahead].data.decode(errors="surrogateescape")
                n_ahead += 1
                fields = _split(text, self._separator)
            if fields is None:
                yield line.number, BadRow(line.number, MALFORMED_ROW, "a quote is opened and not closed")
                continue
            del waiting[:n_ahead]
            if fields:
                yield line.number, [_sound(value) for value in fields] if damaged or n_ahead else fields
            else:
                said = f"a value is longer than {csv.field_size_limit():,} characters"
                yield line.number, BadRow(line.number, MALFORMED_ROW, said)


def utf8_hint(bad: BadRow) -> str:
    """Return what to do about a row that is no text."""
    return "; save the file as UTF-8" if bad.reason == BAD_ENCODING else ""


def _sound(value: str | None) -> str | None:
    """Return a value of a line that is not UTF-8, if it is."""
    try:
        (value or "").encode()
    except UnicodeEncodeError:  # a byte that was no character came through as half a pair
        return None
    return value


def _split(text: str, separator: str) -> Values | None:
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
