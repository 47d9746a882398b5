"""What a file is that holds no text: named by its first bytes, with what to do about it."""

import zipfile
from pathlib import Path

PARQUET_MAGIC = b"PAR1"
AVRO_MAGIC = b"Obj\x01"

_AS_TEXT = "write it as CSV or Parquet"
_UNPACK = "unpack it first"
_EXPORT = "save the sheet as CSV (UTF-8)"
_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_KINDS: tuple[tuple[bytes, str], ...] = (
    (PARQUET_MAGIC, f"a Parquet file within a compressed one: {_UNPACK}"),
    (b"ORC", f"an ORC file: {_AS_TEXT}"),
    (b"ARROW1", f"an Arrow (Feather) file: {_AS_TEXT}"),
    (b"FEA1", f"a Feather file: {_AS_TEXT}"),
    (b"\x89HDF\r\n\x1a\n", f"an HDF5 file: {_AS_TEXT}"),
    (b"SQLite format 3\0", "an SQLite database: write the table as CSV"),
    (b"\x93NUMPY", f"a NumPy array: {_AS_TEXT}"),
    (b"RDX2\n", f"an R data file: {_AS_TEXT}"),
    (b"RDX3\n", f"an R data file: {_AS_TEXT}"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", f"an old Office document, perhaps an Excel workbook (.xls): {_EXPORT}"),
    (b"%PDF-", "a PDF document: no table can be read from it"),
    (b"7z\xbc\xaf\x27\x1c", f"a 7-Zip archive: {_UNPACK}"),
    (b"Rar!\x1a\x07", f"a RAR archive: {_UNPACK}"),
    (b"\x04\x22\x4d\x18", f"an lz4 file: {_UNPACK} (lz4 -d)"),
    (b"\xff\x06\x00\x00sNaPpY", f"a Snappy file: {_UNPACK}"),
    (b"\x1f\x9d", f"a file of compress (.Z): {_UNPACK} (uncompress)"),
    (b"LZIP", f"an lzip file: {_UNPACK} (lzip -d)"),
    (b"\x89LZO\0\r\n\x1a\n", f"an lzop file: {_UNPACK} (lzop -d)"),
    (b"]\0\0", f"an old LZMA file: {_UNPACK} (xz --format=lzma -d)"),
    (
        b"version https://git-lfs.github.com/spec/",
        "a pointer of Git LFS, not the file itself: get it with git lfs pull",
    ),
)
_MARKUP = (b"<!doctype html", b"<html", b"<?xml")
_TAR_MAGIC_AT = 257
_HEAD_BYTES = 512
_CONTROLS = bytes(sorted(set(range(32)) - set(b"\t\n\v\f\r\x1a\x1b"))) + b"\x7f"
_BINARY_SHARE = 0.05  # of control characters: text has next to none
_NAMES_SHOWN = 3


def name_of(head: bytes, path: Path | None = None) -> str | None:
    """Return what a file is and what to do, in words that go on after "this is", or None where it may be text.

    `head` is its beginning, without a byte order mark and in UTF-8 where it was text in UTF-16. `path` is where the
    names in an archive can be looked up.
    """
    if head.startswith(_ZIP_MAGICS):
        return _zip(path)
    if head[_TAR_MAGIC_AT:].startswith(b"ustar"):
        return f"a tar archive: {_UNPACK} (tar -xf)"
    if head.lstrip()[:_HEAD_BYTES].lower().startswith(_MARKUP):
        page = b"<html" in head[:_HEAD_BYTES].lower() or b"<!doctype html" in head[:_HEAD_BYTES].lower()
        return "a web page, perhaps one to sign in: get the file anew" if page else f"XML: {_AS_TEXT}"
    controls = _controls(head)
    for magic, name in _KINDS:
        # Letters alone may as well begin the name of a column.
        if head.startswith(magic) and (controls or not magic.isalnum()):
            return name
    if head.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return f"a Python pickle, which is not read, for reading it may run code: {_AS_TEXT}"
    if not head.startswith(AVRO_MAGIC) and controls > _BINARY_SHARE * min(len(head), _HEAD_BYTES):
        return f"binary data of a kind that is not known, no text: {_AS_TEXT}"
    return None


def is_parquet(path: Path) -> bool:
    """Return whether the file is Parquet and not compressed as a whole. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return head.startswith(PARQUET_MAGIC) and _controls(head) > 0


def _controls(head: bytes) -> int:
    """Return how many characters at the beginning are none of a text."""
    return sum(map(head[:_HEAD_BYTES].count, _CONTROLS))


def _zip(path: Path | None) -> str:
    names: list[str] = []
    if path is not None:
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            names = []  # cut short: what is left to say is that it is an archive
    if any(name.startswith("xl/") for name in names):
        return f"an Excel workbook: {_EXPORT}"
    if "content.xml" in names and "mimetype" in names:
        return f"an OpenDocument file: {_EXPORT}"
    if not names:
        return f"a zip archive: {_UNPACK}"
    more = ", …" if len(names) > _NAMES_SHOWN else ""
    return f"a zip archive with {', '.join(names[:_NAMES_SHOWN])}{more}: {_UNPACK}"
