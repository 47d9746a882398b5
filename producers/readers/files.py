"""Opening recordings: plain, gzip and Zstandard files as numbered lines, in bounded memory.

The compression is told by the first bytes of the file, not by its name.
"""

import csv
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import zstandard

from producers.rows import BAD_ENCODING, BLANK_LINE, LINE_TOO_LONG, BadRow, UnreadableFile

LINE_LIMIT_BYTES = 16 * 1024 * 1024
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZIP_MAGIC = b"PK\x03\x04"
_BOM = b"\xef\xbb\xbf"
# Small pieces bound what one of them can unpack to, and what is lost with a damaged one.
_PIECE_BYTES = 16 * 1024


class Line(NamedTuple):
    """One line without its line end. `data` is cut to nothing where the line is longer than the limit."""

    number: int
    data: bytes
    too_long: bool = False


class _Unpacker(Protocol):
    """What zlib's and zstandard's decompression objects have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def read_pieces(path: Path) -> Iterator[bytes]:
    """Yield the unpacked content of the file, piece by piece.

    Raises `UnreadableFile` where the file can't be opened, is damaged, or ends in the middle of compressed data;
    everything readable before that place has been yielded by then.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
            file.seek(0)
            if magic == _ZIP_MAGIC:
                raise UnreadableFile(path, "byte 0", "this is a zip archive: unpack it first")
            if magic.startswith(_GZIP_MAGIC):
                yield from _unpack(path, iter(lambda: file.read(_PIECE_BYTES), b""), _gzip, zlib.error)
            elif magic == _ZSTD_MAGIC:
                yield from _unpack(path, iter(lambda: file.read(_PIECE_BYTES), b""), _zstd, zstandard.ZstdError)
            else:
                yield from iter(lambda: file.read(_PIECE_BYTES), b"")
    except OSError as error:
        raise UnreadableFile(path, "opening or reading", error.strerror or str(error)) from error


def _gzip() -> _Unpacker:
    return zlib.decompressobj(wbits=31)


def _zstd() -> _Unpacker:
    return zstandard.ZstdDecompressor().decompressobj()


def _unpack(
    path: Path, pieces: Iterator[bytes], new: Callable[[], _Unpacker], damage: type[Exception]
) -> Iterator[bytes]:
    """Unpack members (gzip) or frames (Zstandard) that follow each other."""
    unpacker, used_bytes, inside = new(), 0, False
    for piece in pieces:
        rest = piece
        while rest:
            if not inside and not rest.strip(b"\0"):
                break  # padding after the last member
            before = unpacker.copy() if hasattr(unpacker, "copy") else None
            inside = True
            try:
                unpacked = unpacker.decompress(rest)
            except damage as error:
                if before is not None:
                    yield _salvage(before, rest, damage)
                place = f"byte {used_bytes + len(piece) - len(rest)} or shortly after, of the compressed file"
                raise UnreadableFile(path, place, f"the compressed data is damaged: {error}") from error
            if unpacked:
                yield unpacked
            rest = unpacker.unused_data if unpacker.eof else b""
            if unpacker.eof:
                unpacker, inside = new(), False
        used_bytes += len(piece)
    if inside:
        raise UnreadableFile(path, f"byte {used_bytes} of the compressed file", "the file ends too early")


def _salvage(unpacker: _Unpacker, piece: bytes, damage: type[Exception]) -> bytes:
    """Return what a damaged piece unpacks to before the damage, byte by byte."""
    found = bytearray()
    try:
        for at in range(len(piece)):
            found += unpacker.decompress(piece[at : at + 1])
    except damage:
        pass
    return bytes(found)


def read_lines(path: Path, limit_bytes: int = LINE_LIMIT_BYTES) -> Iterator[Line]:
    """Yield the lines of a plain, gzip or Zstandard file, numbered from 1.

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
    if number == 1:
        data = data.removeprefix(_BOM)
    return Line(number, data.removesuffix(b"\r"))


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
