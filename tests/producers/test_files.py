"""Opening recordings: every readable line comes out, and damage is told with its place."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from producers.readers.files import Line, fields_of, read_lines, text_of
from producers.rows import BadRow, UnreadableFile

TEXT = b"".join(b"line %d\n" % number for number in range(50_000))


def _two_gzip_members(data: bytes) -> bytes:
    return gzip.compress(data[:1000], mtime=0) + gzip.compress(data[1000:], mtime=0) + b"\0" * 100


def _two_zstd_frames(data: bytes) -> bytes:
    return zstandard.compress(data[:1000]) + zstandard.compress(data[1000:])


def _two_bzip2_streams(data: bytes) -> bytes:
    return bz2.compress(data[:1000]) + bz2.compress(data[1000:])


def _padded_xz_streams(data: bytes) -> bytes:
    return lzma.compress(data[:1000]) + b"\0" * 8 + lzma.compress(data[1000:]) + b"\0" * 4


def _skippable(n_bytes: int, kind: int = 0) -> bytes:
    return struct.pack("<II", 0x184D2A50 + kind, n_bytes) + b"s" * n_bytes


def _skippable_zstd_frames(data: bytes) -> bytes:
    frames = [zstandard.compress(part) for part in (data[:1000], data[1000:])]
    return _skippable(4) + _skippable(0, 15) + frames[0] + _skippable(40_000, 7) + frames[1] + _skippable(9)


PACKERS = [
    bytes,
    gzip.compress,
    _two_gzip_members,
    zstandard.compress,
    _two_zstd_frames,
    _skippable_zstd_frames,
    bz2.compress,
    _two_bzip2_streams,
    lzma.compress,
    _padded_xz_streams,
]


@pytest.mark.parametrize("pack", PACKERS)
def test_all_lines_come_out_whatever_the_compression(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """Each gives the same lines, also from several members or past frames to be skipped, whatever its name."""
    path = tmp_path / "file"
    path.write_bytes(pack(TEXT))
    lines = list(read_lines(path))
    assert [line.data for line in lines] == TEXT.splitlines()
    assert [line.number for line in lines] == list(range(1, 50_001))


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, bz2.compress, lzma.compress])
def test_a_file_cut_short_yields_what_is_there_and_then_says_so(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """The lines before the end of a truncated file come out, then the error names file and position."""
    path = tmp_path / "cut.gz"
    packed, rest = pack(TEXT[:300_000]), pack(TEXT[300_000:])
    path.write_bytes(packed + rest[: len(rest) // 2])
    lines, error = _until_error(read_lines(path))
    assert 28_000 < len(lines) < 50_000
    assert [line.data for line in lines] == TEXT.splitlines()[: len(lines)]
    assert str(path) in str(error)
    assert "ends too early" in str(error)
    assert f"byte {len(packed) + len(rest) // 2}" in str(error)


def test_damage_in_the_middle_of_a_gzip_file_yields_what_is_before_it(tmp_path: Path) -> None:
    """A flipped stretch ends the file there, with an error and not with wrong silence."""
    packed = bytearray(gzip.compress(TEXT, mtime=0))
    middle = len(packed) // 2
    packed[middle : middle + 64] = b"\xff" * 64
    path = tmp_path / "damaged.gz"
    path.write_bytes(packed)
    lines, error = _until_error(read_lines(path))
    assert len(lines) > 10_000
    assert lines[0].data == b"line 0"
    assert "damaged" in str(error)


def test_a_changed_checksum_is_an_error_after_all_lines(tmp_path: Path) -> None:
    """The last member's checksum is looked at; the lines were fine and came out."""
    packed = bytearray(gzip.compress(TEXT, mtime=0))
    packed[-8] ^= 1
    path = tmp_path / "checksum.gz"
    path.write_bytes(packed)
    lines, _ = _until_error(read_lines(path))
    assert len(lines) == 50_000


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Opening what isn't there is the same kind of error as reading what is damaged."""
    with pytest.raises(UnreadableFile, match="no-such-file"):
        next(read_lines(tmp_path / "no-such-file"))


def _zip_of(*names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, "content")
    return packed.getvalue()


def _tar() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("orders.csv"))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04 and so on", "zip archive: unpack it first"),
        (_zip_of("a.csv", "b.csv", "c.csv", "d.csv"), "zip archive with a.csv, b.csv, c.csv, …: unpack it first"),
        (_zip_of("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook: save the sheet as CSV"),
        (_zip_of("mimetype", "content.xml"), "an OpenDocument file: save the sheet as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 100, "perhaps an Excel workbook (.xls)"),
        (_tar(), "a tar archive: unpack it first"),
        (gzip.compress(_tar()), "a tar archive: unpack it first"),
        (gzip.compress(_zip_of("a.csv")), "a zip archive: unpack it first"),
        (gzip.compress(b"PAR1\x15\x04\x00" * 9), "a Parquet file within a compressed one: unpack it first"),
        (b"ORC\x08\x03\x10\x01", "an ORC file"),
        (b"\x04\x22\x4d\x18" + b"\0" * 9, "an lz4 file: unpack it first (lz4 -d)"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "a 7-Zip archive"),
        (b"SQLite format 3\0" + b"\0" * 80, "an SQLite database"),
        (b"\x80\x04\x95" + b"\0" * 50, "a Python pickle, which is not read"),
        (b"<!DOCTYPE html>\n<html><title>Sign in</title></html>", "a web page, perhaps one to sign in"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (bytes(range(256)) * 4, "binary data of a kind that is not known"),
    ],
)
def test_what_is_no_text_is_named_for_what_it_is(tmp_path: Path, content: bytes, words: str) -> None:
    """Whatever it is called; the message says what to do, where a million bad rows would not."""
    path = tmp_path / "orders.csv"
    path.write_bytes(content)
    with pytest.raises(UnreadableFile) as error:
        next(read_lines(path))
    assert f"{path}: this is " in str(error.value)
    assert words in str(error.value)


@pytest.mark.parametrize("text", [b"ORCID,name\n0000,ann\n", b"PAR1,x\n1,2\n", "größe,ORC\n".encode("latin-1")])
def test_text_that_only_begins_like_something_else_is_text(tmp_path: Path, text: bytes) -> None:
    """Letters alone may as well begin the name of a column."""
    path = tmp_path / "orders.csv"
    path.write_bytes(text)
    assert [line.data for line in read_lines(path)] == text.splitlines()


def test_a_directory_is_named_with_the_files_in_it(tmp_path: Path) -> None:
    """What Spark writes looks like a file by its name."""
    path = tmp_path / "orders.csv"
    path.mkdir()
    for name in ("part-0.csv", "part-1.csv", "part-2.csv", "part-3.csv", "_SUCCESS"):
        (path / name).touch()
    with pytest.raises(UnreadableFile, match=r"is a directory: name one of the files in it \(part-0.csv, .*, …\)"):
        next(read_lines(path))


def test_a_line_over_the_limit_is_one_bad_row_and_the_next_is_read(tmp_path: Path) -> None:
    """An endless line neither fills the memory nor hides the lines behind it."""
    path = tmp_path / "long"
    path.write_bytes(b"a\n" + b"x" * 100_000 + b"\nb\n")
    lines = list(read_lines(path, limit_bytes=1_000))
    assert [(line.number, line.data, line.too_long) for line in lines] == [
        (1, b"a", False),
        (2, b"", True),
        (3, b"b", False),
    ]


def test_line_ends_and_the_byte_order_mark_are_no_data(tmp_path: Path) -> None:
    """Files from Windows read the same, and a last line without an end counts."""
    path = tmp_path / "windows"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\r\nc")
    assert [line.data for line in read_lines(path)] == [b"a", b"b", b"c"]
    path.write_bytes(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n")  # two files put behind each other
    assert [line.data for line in read_lines(path)] == [b"a", b"b"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_text_in_utf_16_is_read(tmp_path: Path, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    """As spreadsheets save it: with a byte order mark or without, packed or not, also over many pieces."""
    text = "customer,größe\r\n" + "".join(f"c{n},{n}\r\n" for n in range(9_000))
    path = tmp_path / "windows"
    path.write_bytes(pack(text.encode(encoding)))
    assert [line.data.decode() for line in read_lines(path)] == text.splitlines()


def test_half_a_character_costs_its_own_line_alone(tmp_path: Path) -> None:
    """Half of a surrogate pair in UTF-16 is one bad row."""
    path = tmp_path / "windows"
    path.write_bytes("a\nb\ud800\nc\n".encode("utf-16", "surrogatepass"))
    texts = [text_of(line) for line in read_lines(path)]
    assert [text if isinstance(text, str) else text.reason for text in texts] == ["a", "bad_encoding", "c"]


def test_bytes_that_are_no_text_are_a_bad_row() -> None:
    """A wrong encoding is a reason, not an exception."""
    bad = text_of(Line(7, b"ab\xff\xfe"))
    assert isinstance(bad, BadRow)
    assert (bad.line, bad.reason) == (7, "bad_encoding")


def test_quoted_columns_are_unquoted() -> None:
    """A re-exported CSV file with quotes reads like the original."""
    assert fields_of('1,"a,b","c ""d"""') == ["1", "a,b", 'c "d"']


def _until_error(lines: Iterator[Line]) -> tuple[list[Line], UnreadableFile]:
    found: list[Line] = []
    try:
        found.extend(lines)
    except UnreadableFile as error:
        return found, error
    raise AssertionError("the file was read to its end")


@pytest.mark.parametrize("text", ['1,"' + "x" * 200_000 + '"', '1,"a"\rb'])
def test_a_line_whose_quoting_is_broken_has_no_columns(text: str) -> None:
    """It is a bad row like any other with the wrong number of columns, and ends nothing."""
    assert fields_of(text) == []
