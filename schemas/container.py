"""Recordings: Kafka records as they were, in an Avro container file whose rows follow ``recorded.v1.avsc``."""

from collections.abc import Iterator
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Final, Literal, Self

import msgspec
from fastavro import block_reader, parse_schema, schemaless_reader
from fastavro.types import Schema
from fastavro.write import Writer

from schemas.avro_schemas import avro_schema, schema_text
from schemas.codec import pair_headers, unpair_headers
from schemas.writer_schema import UnusableSchemaError, usable_schema

Codec = Literal["null", "deflate"]

BLOCK_BYTES: Final = 65_536  # uncompressed; what a reader holds at once, and a crash of the writer loses


class Recorded(msgspec.Struct, frozen=True):
    """One Kafka record as it was on its topic. `topic` is the logical name."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class CorruptContainer(Exception):
    """A recording that cannot be read (further). `position` is the byte at which the first unreadable block begins."""

    def __init__(self, name: str, position: int, what: str) -> None:
        super().__init__(f"{name}: {what} at byte {position}")
        self.position = position


class ContainerWriter:
    """Writes rows to a new recording. The same rows and flushes give the same bytes.

    Args:
        target: a path, which is created or overwritten and closed with the writer, or an open binary file.
        codec: how blocks are compressed.
    """

    def __init__(self, target: Path | str | IO[bytes], codec: Codec = "deflate") -> None:
        self._owned = Path(target).open("wb") if isinstance(target, Path | str) else None  # noqa: SIM115  closed by close()
        file = self._owned or target
        schema = avro_schema("recorded")
        marker = sha256(schema_text("recorded").encode()).digest()[:16]
        self._writer = Writer(file, parse_schema(schema), codec, BLOCK_BYTES, sync_marker=marker)  # type: ignore[arg-type]

    def append(self, record: Recorded) -> None:
        """Add one row; it is on its way to the disk once its block is full or `flush` was called."""
        tree = msgspec.structs.asdict(record)
        tree["headers"] = unpair_headers(record.headers)
        self._writer.write(tree)

    def flush(self) -> None:
        """End the block, and hand everything so far to the operating system."""
        self._writer.flush()

    def close(self) -> None:
        """Flush, and close the file if it was opened here."""
        try:
            self.flush()
        finally:
            if self._owned is not None:
                self._owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_container(source: Path | str | IO[bytes]) -> Iterator[Recorded]:
    """The rows of a recording, in order; one block is held at a time.

    Raises CorruptContainer where the file is no recording, is cut short, or holds a broken block, after every row of
    the whole blocks before it. Compression by deflate carries no checksum: a changed byte may show as a changed row.
    """
    name = str(source) if isinstance(source, Path | str) else str(getattr(source, "name", "recording"))
    with Path(source).open("rb") if isinstance(source, Path | str) else nullcontext(source) as file:
        try:
            blocks = block_reader(file)
        except Exception as error:  # for bytes that are not Avro the reader raises whatever it stumbles over
            raise CorruptContainer(name, 0, "no Avro container file begins") from error
        try:
            record_name, schema = usable_schema(blocks.writer_schema)
        except UnusableSchemaError as error:
            raise CorruptContainer(name, 0, f"a schema that {error} begins") from error
        if record_name != "Recorded":
            raise CorruptContainer(name, 0, f"rows of {record_name} rather than Recorded begin")
        while True:
            position = file.tell()
            try:
                block = next(blocks)
            except StopIteration:
                return
            except Exception as error:  # cut short, not compressed as said, or no marker at the end
                raise CorruptContainer(name, position, "a broken or incomplete block begins") from error
            try:
                rows = _rows(block.num_records, block.bytes_, schema)  # type: ignore[attr-defined]  # documented, not in the stub
            except Exception as error:  # as above
                raise CorruptContainer(name, position, "a block with unreadable rows begins") from error
            yield from rows


def _rows(n_rows: int, block: IO[bytes], schema: Schema) -> list[Recorded]:
    """All rows of a block, or an error: a block that breaks half-way is not to be trusted."""
    rows = []
    for _ in range(n_rows):
        tree: Any = schemaless_reader(block, schema, None)
        pair_headers(tree)
        rows.append(msgspec.convert(tree, Recorded))
    if block.read(1):
        raise ValueError("bytes are left over after the last row")
    return rows
