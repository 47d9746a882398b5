"""Files as they are unpacked: plain, gzip, Zstandard, bzip2 and xz, in bounded memory.

The compression is told by the first bytes of the file, not by its name.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import zstandard

from producers.rows import UnreadableFile

# Small pieces bound what one of them can unpack to, and what is lost with a damaged one.
_PIECE_BYTES = 16 * 1024
_MAGIC_BYTES = 6
_ZSTD_WINDOW_BYTES = 1 << 31  # as `zstd --long=31` writes; memory is taken only as far as the data reach back
_NAMES_SHOWN = 3


class _Unpacker(Protocol):
    """What the decompression objects of zlib, bz2, lzma and zstandard have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class _Compression(NamedTuple):
    """One kind of compression: how to begin a member (or frame, or stream) of it, and what damage raises."""

    new: Callable[[], _Unpacker]
    damage: type[Exception]


_GZIP = _Compression(lambda: zlib.decompressobj(wbits=31), zlib.error)
_ZSTD = _Compression(
    lambda: zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).decompressobj(), zstandard.ZstdError
)
_BZIP2 = _Compression(bz2.BZ2Decompressor, OSError)
_XZ = _Compression(lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ), lzma.LZMAError)


def _compression_of(magic: bytes) -> _Compression | None:
    if magic.startswith(b"\x1f\x8b"):
        return _GZIP
    # A frame to be skipped may come first, as parallel writers have it: sixteen magic numbers end alike.
    if magic.startswith(b"\x28\xb5\x2f\xfd") or (magic[1:4] == b"\x2a\x4d\x18" and magic[0] >> 4 == 5):
        return _ZSTD
    if magic.startswith(b"BZh") and magic[3:4].isdigit():
        return _BZIP2
    return _XZ if magic == b"\xfd7zXZ\0" else None


def unpacked(path: Path) -> Iterator[bytes]:
    """Yield the unpacked content of the file, piece by piece.

    Raises `UnreadableFile` where the file can't be opened, is damaged, or ends in the middle of compressed data;
    everything readable before that place has been yielded by then.
    """
    with _opened(path) as file:
        try:
            compression = _compression_of(file.peek(_MAGIC_BYTES)[:_MAGIC_BYTES])
            pieces = iter(lambda: file.read(_PIECE_BYTES), b"")
            yield from pieces if compression is None else _unpack(path, pieces, compression)
        except OSError as error:
            raise UnreadableFile(path, "reading", error.strerror or str(error)) from error


def _opened(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except IsADirectoryError:
        names = sorted(entry.name for entry in path.iterdir() if entry.is_file() and entry.name[:1] not in "._")
        more = ", …" if len(names) > _NAMES_SHOWN else ""
        held = f" ({', '.join(names[:_NAMES_SHOWN])}{more})" if names else ""
        raise UnreadableFile(path, None, f"this is a directory: name one of the files in it{held}") from None
    except OSError as error:
        raise UnreadableFile(path, "opening", error.strerror or str(error)) from error


def _unpack(path: Path, pieces: Iterator[bytes], compression: _Compression) -> Iterator[bytes]:
    """Unpack members that follow each other."""
    unpacker, used_bytes, inside = compression.new(), 0, False
    for piece in pieces:
        rest = piece
        while rest:
            if not inside:
                rest = rest.lstrip(b"\0")  # padding between members, or after the last
                if not rest:
                    break
            before = unpacker.copy() if hasattr(unpacker, "copy") else None
            inside = True
            try:
                data = unpacker.decompress(rest)
            except compression.damage as error:
                if before is not None:
                    yield _salvage(before, rest, compression.damage)
                place = f"byte {used_bytes + len(piece) - len(rest)} or shortly after, of the compressed file"
                raise UnreadableFile(path, place, f"the compressed data is damaged: {error}") from error
            if data:
                yield data
            rest = unpacker.unused_data if unpacker.eof else b""
            if unpacker.eof:
                unpacker, inside = compression.new(), False
        used_bytes += len(piece)
    if inside:
        said = "the file ends too early, in the middle of compressed data: copy it again"
        raise UnreadableFile(path, f"byte {used_bytes} of the compressed file", said)


def _salvage(unpacker: _Unpacker, piece: bytes, damage: type[Exception]) -> bytes:
    """Return what a damaged piece unpacks to before the damage, byte by byte."""
    found = bytearray()
    try:
        for at in range(len(piece)):
            found += unpacker.decompress(piece[at : at + 1])
    except damage:
        pass
    return bytes(found)


def open_unpacked(path: Path) -> BufferedReader:
    """Return the unpacked content as a file that is read once, from its beginning; reading raises `UnreadableFile`."""
    return BufferedReader(_Raw(path), 4 * _PIECE_BYTES)


class _Raw(RawIOBase):
    """The pieces behind each other."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._pieces = unpacked(path)
        self._rest = memoryview(b"")
        self._read_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        target = memoryview(buffer)
        n_bytes = min(len(target), len(self._rest))
        target[:n_bytes] = self._rest[:n_bytes]
        self._rest = self._rest[n_bytes:]
        self._read_bytes += n_bytes
        return n_bytes

    def tell(self) -> int:
        return self._read_bytes
