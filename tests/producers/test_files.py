"""Opening recordings: every readable line comes out, and damage is told with its place."""

import gzip
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


@pytest.mark.parametrize("pack", [bytes, gzip.compress, _two_gzip_members, zstandard.compress, _two_zstd_frames])
def test_all_lines_come_out_whatever_the_compression(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """Plain, gzip and Zstandard files give the same lines, also from several members, whatever the file is called."""
    path = tmp_path / "file"
    path.write_bytes(pack(TEXT))
    lines = list(read_lines(path))
    assert [line.data for line in lines] == TEXT.splitlines()
    assert [line.number for line in lines] == list(range(1, 50_001))


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_file_cut_short_yields_what_is_there_and_then_says_so(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """The lines before the end of a truncated file come out, then the error names file and position."""
    path = tmp_path / "cut.gz"
    packed = pack(TEXT)
    path.write_bytes(packed[: len(packed) // 2])
    lines, error = _until_error(read_lines(path))
    assert 0 < len(lines) < 50_000
    assert [line.data for line in lines] == TEXT.splitlines()[: len(lines)]
    assert str(path) in str(error)
    assert f"byte {len(packed) // 2}" in str(error)


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


def test_a_zip_archive_is_recognised(tmp_path: Path) -> None:
    """Public data sets come as archives: the message says what to do, where a million bad rows would not."""
    path = tmp_path / "archive.zip"
    path.write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(UnreadableFile, match="unpack it first"):
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
