"""Recordings keep Kafka records as they were, and say where they are broken."""

import io
from collections.abc import Iterable
from pathlib import Path

import fastavro
import pytest

from schemas.container import Codec, ContainerWriter, CorruptContainer, Recorded, read_container
from tests.containers import write_container

ROWS = [
    Recorded("clickstream", 0, 0, 1_700_000_000_000, b"c1", b"{}", (("a", b"\x00"), ("a", None))),
    Recorded("products", 0, 7, 0, b"i1", None),
    Recorded("purchases", 3, 2**40, 1, None, b"\xff" * 100),
    Recorded("privacy", 1, 1, 2, b"", b""),
]


def many(n: int) -> list[Recorded]:
    """Rows that fill several blocks."""
    return [Recorded("clickstream", i % 4, i, i, b"c%d" % i, b"x%d" % i * 500) for i in range(n)]


def written(rows: Iterable[Recorded], codec: Codec = "deflate") -> bytes:
    """The bytes of a recording."""
    file = io.BytesIO()
    write_container(file, rows, codec)
    return file.getvalue()


def read_until_broken(content: bytes) -> tuple[list[Recorded], CorruptContainer | None]:
    """The rows that could be read, and the error that ended them."""
    rows = []
    try:
        for row in read_container(io.BytesIO(content)):
            rows.append(row)  # noqa: PERF402  the rows before the error count
    except CorruptContainer as error:
        return rows, error
    return rows, None


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_rows_come_back_as_they_were(tmp_path: Path, codec: Codec) -> None:
    """Missing and empty keys and values stay apart, and headers keep their order."""
    path = tmp_path / "recording.avro"
    write_container(path, ROWS, codec)
    assert list(read_container(path)) == ROWS


def test_the_same_rows_give_the_same_bytes() -> None:
    """Two recordings can be compared byte by byte."""
    assert written(many(200)) == written(many(200))


def test_any_avro_reader_reads_a_recording() -> None:
    """The file is a plain Avro container with its schema in it."""
    rows = list(fastavro.reader(io.BytesIO(written(ROWS))))
    assert [row["topic"] for row in rows] == [row.topic for row in ROWS]  # type: ignore[index,call-overload]
    assert rows[0]["headers"] == [{"name": "a", "value": b"\x00"}, {"name": "a", "value": None}]  # type: ignore[index,call-overload]


def test_what_was_flushed_can_be_read_while_writing_goes_on(tmp_path: Path) -> None:
    """A recording in progress is readable up to the last flush."""
    path = tmp_path / "recording.avro"
    with ContainerWriter(path) as writer:
        writer.append(ROWS[0])
        writer.flush()
        writer.append(ROWS[1])
        assert list(read_container(path)) == ROWS[:1]
    assert list(read_container(path)) == ROWS[:2]


def test_an_empty_recording_has_no_rows() -> None:
    """Nothing recorded is not an error."""
    assert read_until_broken(written([])) == ([], None)


def test_a_recording_cut_anywhere_gives_its_whole_blocks_and_then_an_error() -> None:
    """Nothing whole is lost, nothing broken is given out, and the position of the break is named."""
    rows = many(300)
    content = written(rows, "null")
    blocks = list(fastavro.block_reader(io.BytesIO(content)))
    assert len(blocks) > 3
    ends = [(block.offset + block.size) for block in blocks]
    for cut in (*range(ends[0] - 20, ends[0] + 20), ends[1] - 1, ends[1] + 1, len(content) - 1):
        got, error = read_until_broken(content[:cut])
        whole = [end for end in ends if end <= cut]
        assert got == rows[: sum(block.num_records for block in blocks[: len(whole)])]
        if cut in ends:
            assert error is None
        else:
            assert error is not None
            assert error.position == (whole[-1] if whole else blocks[0].offset)
            assert f"at byte {error.position}" in str(error)


def test_a_recording_cut_within_the_number_that_begins_a_block_is_cut_short() -> None:
    """One byte of a two-byte row count is not taken for the end of the file."""
    rows = [Recorded("clickstream", 0, i, i, None, b"x" * 500) for i in range(300)]
    content = written(rows, "null")
    first = next(iter(fastavro.block_reader(io.BytesIO(content))))
    assert first.num_records > 64  # more than one byte of Avro's numbers holds
    end = first.offset + first.size
    got, error = read_until_broken(content[: end + 1])
    assert got == rows[: first.num_records]
    assert error is not None
    assert error.position == end


def test_a_block_that_holds_more_than_it_says_is_broken() -> None:
    """Rows are not lost silently where the count of a block was changed."""
    content = bytearray(written(ROWS, "null"))
    start = next(iter(fastavro.block_reader(io.BytesIO(bytes(content))))).offset
    assert content[start] == 2 * len(ROWS)  # Avro writes 4 as 8
    content[start] -= 2
    got, error = read_until_broken(bytes(content))
    assert got == []
    assert error is not None
    assert error.position == start


def test_a_broken_block_ends_reading_with_its_position() -> None:
    """A block that does not decompress is found, and the blocks before it are given out."""
    rows = many(300)
    content = bytearray(written(rows))
    first, second = list(fastavro.block_reader(io.BytesIO(bytes(content))))[:2]
    for position in range(second.offset + 6, second.offset + 40):
        content[position] ^= 0xFF
    got, error = read_until_broken(bytes(content))
    assert got == rows[: first.num_records]
    assert error is not None
    assert error.position == second.offset


@pytest.mark.parametrize("content", [b"", b"Obj\x01", b"not avro at all", b"Obj\x01" + b"\xff" * 40])
def test_what_is_no_recording_is_an_error_at_the_start(content: bytes) -> None:
    """Any other file is refused in plain words."""
    _, error = read_until_broken(content)
    assert error is not None
    assert error.position == 0


def test_an_avro_file_of_another_schema_is_refused() -> None:
    """Rows of another shape are not taken for records."""
    file = io.BytesIO()
    schema = {"type": "record", "name": "Other", "fields": [{"name": "topic", "type": "string"}]}
    fastavro.writer(file, fastavro.parse_schema(schema), [{"topic": "clickstream"}])
    _, error = read_until_broken(file.getvalue())
    assert error is not None
    assert "Recorded" in str(error)


def test_every_changed_byte_gives_rows_or_a_corrupt_container() -> None:
    """No damage to a file raises anything else."""
    content = written(ROWS)
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0x55
        read_until_broken(bytes(damaged))
