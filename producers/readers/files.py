"""Files as numbered lines of UTF-8 text, in bounded memory, however they are compressed.

Byte order marks are no data; UTF-16 and UTF-32 are turned into UTF-8. A file that is no text is named for what it is.
"""

import codecs
import csv
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from producers.readers.kinds import name_of
from producers.readers.unpacking import unpacked
from producers.rows import BAD_ENCODING, BLANK_LINE, LINE_TOO_LONG, BadRow, UnreadableFile

LINE_LIMIT_BYTES = 16 * 1024 * 1024
_HEAD_BYTES = 4096  # that recognition has to go by, at least
# Longest first: that of UTF-32 begins as that of UTF-16 does.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class Line(NamedTuple):
    """One line without its line end. `data` is cut to nothing where the line is longer than the limit."""

    number: int
    data: bytes
    too_long: bool = False


def head_of(path: Path) -> bytes:
    """Return the beginning of the unpacked content, text in UTF-8; nothing of an empty file. Raises UnreadableFile."""
    return next(_in_utf8(path), b"")


def read_pieces(path: Path) -> Iterator[bytes]:
    """Yield the unpacked content of a text file in UTF-8, piece by piece.

    Raises `UnreadableFile` where the file is no text, can't be opened, is damaged, or ends in the middle of compressed
    data; everything readable before that place has been yielded by then.
    """
    pieces = _in_utf8(path)
    head = next(pieces, b"")
    if (name := name_of(head, path)) is not None:
        raise UnreadableFile(path, None, f"this is {name}")
    yield head
    yield from pieces


def _in_utf8(path: Path) -> Iterator[bytes]:
    """Yield the pieces in UTF-8, without a byte order mark. The first is large enough to recognise the file by."""
    pieces = unpacked(path)
    head = b""
    try:
        while len(head) < _HEAD_BYTES and (piece := next(pieces, None)) is not None:
            head += piece
    except UnreadableFile as error:
        pieces = _broken(error)
    mark, encoding = next((each for each in _MARKS if head.startswith(each[0])), (b"", _unmarked(head)))
    head = head[len(mark) :]
    if encoding == "utf-8":
        if head:
            yield head
        yield from pieces
        return
    # Half of a pair passes through as bytes that are no UTF-8: it costs its own line alone.
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    try:
        for piece in chain([head], pieces):
            yield decoder.decode(piece).encode(errors="surrogatepass")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise UnreadableFile(path, None, f"the text is no {encoding.upper()} to its end: save it as UTF-8") from error


def _broken(error: UnreadableFile) -> Iterator[bytes]:
    """Yield nothing, and raise what was raised while the beginning was looked at."""
    yield from ()
    raise error


def _unmarked(head: bytes) -> str:
    """Return what a text without a byte order mark is written in: in UTF-16 every other byte of Latin letters is 0."""
    start = head[: _HEAD_BYTES // 2 * 2]
    half = len(start) // 2
    even, odd = start[::2].count(0), start[1::2].count(0)
    if half and not even and odd > 0.8 * half:
        return "utf-16-le"
    return "utf-16-be" if half and not odd and even > 0.8 * half else "utf-8"


def read_lines(path: Path, limit_bytes: int = LINE_LIMIT_BYTES) -> Iterator[Line]:
    """Yield the lines of a text file, numbered from 1.

    Raises `UnreadableFile` as `read_pieces` does, after the last whole line before the damage.
    """
    number, kept, too_long = 0, b"", False
    for piece in read_pieces(path):
        lines = piece.split(b"\n")
        lines[0] = kept + lines[0]
        kept = lines.pop()
        for data in lines:
            number += 1
            yield _line(number, data, limit_bytes, too_long=too_long)
            too_long = False
        if len(kept) > limit_bytes:
            kept, too_long = b"", True
    if kept or too_long:
        yield _line(number + 1, kept, limit_bytes, too_long=too_long)


def _line(number: int, data: bytes, limit_bytes: int, *, too_long: bool) -> Line:
    if too_long or len(data) > limit_bytes:
        return Line(number, b"", too_long=True)
    # Files that were put behind each other bring their byte order marks along.
    return Line(number, data.removeprefix(codecs.BOM_UTF8).removesuffix(b"\r"))


def text_of(line: Line) -> str | BadRow:
    """Return the line as text, or why it is none: too long, blank, or not UTF-8."""
    if line.too_long:
        return BadRow(line.number, LINE_TOO_LONG, "the line is longer than the limit")
    try:
        text = line.data.decode()
    except UnicodeDecodeError as error:
        return BadRow(line.number, BAD_ENCODING, f"not UTF-8 at byte {error.start} of the line")
    if not text.strip():
        return BadRow(line.number, BLANK_LINE, "the line is blank")
    return text


def fields_of(text: str) -> list[str]:
    """Return the columns of one CSV line; quoted columns are unquoted. None at all where the quoting is broken."""
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader([text]))
    except csv.Error:  # a column longer than the reader takes, a line end inside of a line
        return []
