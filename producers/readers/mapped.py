"""A reader of a shop's own records: what they become is said by mappings, which are handed in."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from producers.readers import container, detect_format
from producers.readers.kinds import is_parquet
from producers.readers.reader import Reader
from producers.readers.records import Numbered, Record, csv_records, json_records, parquet_records
from producers.rows import NO_EVENT, BadRow, Row, UnreadableFile
from schemas.errors import InvalidRecord

GROUPED_ROWS = 100_000  # held back because more rows of their group may come


class MappedRecord(Protocol):
    """A canonical record that a record of the shop became."""

    @property
    def topic(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def key(self) -> bytes: ...  # noqa: D102
    @property
    def occurred_at(self) -> int | None: ...  # noqa: D102
    @property
    def value(self) -> bytes: ...  # noqa: D102


Becomes = Sequence[MappedRecord | InvalidRecord]


class RecordMapper(Protocol):
    """What makes canonical records of a shop's own; `consumer.inputs.mapper.Mapper` is one.

    `form` is how the shop's are written: json, csv (with or without `columns`, split by `separator`), or, as values of
    a recorded topic alone, json-registry and avro. `grouped`: rows of a file with a group in common are one record.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def form(self) -> str: ...  # noqa: D102
    @property
    def columns(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def separator(self) -> str | None: ...  # noqa: D102
    @property
    def grouped(self) -> bool: ...  # noqa: D102

    def group_of(self, row: Record) -> Hashable | None:
        """Return what rows of one record have in common, None where a row stands for itself."""

    def of_rows(self, rows: list[Record]) -> Becomes:
        """Return what the rows of one record become."""

    def of_record(self, record: Any) -> Becomes:
        """Return what a record becomes: nothing, or events, or what is wrong with them."""

    def of_value(self, value: bytes | None, key: bytes | None, timestamp_ms: int | None) -> Becomes:
        """Return what the value of a record of a topic becomes."""


def mapped_reader(mapper: RecordMapper | None, by_topic: Mapping[str, RecordMapper]) -> Reader:
    """Return the reader of files that `mapper` is for, and of containers whose topics are in `by_topic`.

    A record that becomes nothing is a `BadRow` of the reason `NO_EVENT`.
    """

    def read(path: Path) -> Iterator[Row | BadRow]:
        if detect_format(path) == container.READER.name:
            return _of_container(path, by_topic)
        if mapper is None:
            raise UnreadableFile(path, "the beginning", "no mapping is for this file: name one with --input")
        return _of_file(path, mapper)

    name = "container" if mapper is None else f"inputs.{mapper.name}"
    return Reader(name, time_ordered=False, read=read, detect=lambda _head: False)


def what_becomes(path: Path, mapper: RecordMapper) -> Iterator[tuple[int, Any, Becomes] | BadRow]:
    """Yield each record of a file: the line that it starts on, the record, and what it becomes.

    Raises `UnreadableFile`.
    """
    records = _records(path, mapper)
    if mapper.grouped:
        for found in _grouped(records, mapper):
            yield found if isinstance(found, BadRow) else (*found, mapper.of_rows(found[1]))
        return
    for numbered in records:
        yield numbered if isinstance(numbered, BadRow) else (*numbered, mapper.of_record(numbered[1]))


def _records(path: Path, mapper: RecordMapper) -> Iterator[Numbered]:
    if is_parquet(path):
        return parquet_records(path)
    if mapper.form == "csv":
        return csv_records(path, mapper.columns, mapper.separator)
    if mapper.form == "json":
        return json_records(path)
    said = f"[inputs.{mapper.name}] is for {mapper.form}, which stands in topics: make a file with `nextbest record`"
    raise UnreadableFile(path, "the beginning", said)


def _grouped(rows: Iterator[Numbered], mapper: RecordMapper) -> Iterator[tuple[int, list[Record]] | BadRow]:
    """Put rows of one group together, with the line of the first. Groups that began first go on where many are held."""
    groups: OrderedDict[Hashable, tuple[int, list[Record]]] = OrderedDict()
    held = 0
    for numbered in rows:
        if isinstance(numbered, BadRow):
            yield numbered
            continue
        line, row = numbered
        group = mapper.group_of(row)
        if group is None:
            yield line, [row]
            continue
        groups.setdefault(group, (line, []))[1].append(row)
        held += 1
        if held > GROUPED_ROWS:
            _, complete = groups.popitem(last=False)
            held -= len(complete[1])
            yield complete
    yield from groups.values()


def _of_file(path: Path, mapper: RecordMapper) -> Iterator[Row | BadRow]:
    latest_ms = 0  # for a product without a time of its own: it stands where it stands in the file
    for found in what_becomes(path, mapper):
        if isinstance(found, BadRow):
            yield found
            continue
        line, _, becomes = found
        for row in _rows(line, becomes, latest_ms):
            if isinstance(row, Row):
                latest_ms = row.occurred_at
            yield row


def _rows(line: int, becomes: Becomes, latest_ms: int) -> Iterator[Row | BadRow]:
    if not becomes:
        yield BadRow(line, NO_EVENT, "the record becomes no event by its mapping")
    for each in becomes:
        if isinstance(each, InvalidRecord):
            yield BadRow(line, each.reason, each.message)
        else:
            at_ms = latest_ms if each.occurred_at is None else each.occurred_at
            yield Row(each.topic, at_ms, each.key, each.value, line, each.kind)


def _of_container(path: Path, by_topic: Mapping[str, RecordMapper]) -> Iterator[Row | BadRow]:
    """Yield the rows of mapped topics as what they become, and those of the others as they are.

    The turn of a mapped row is the highest event time in its source partition so far, as it is for the others.
    """
    turns: dict[tuple[str, int | None], int] = {}
    for row in container.read(path):
        mapper = by_topic.get(row.topic) if isinstance(row, Row) else None
        if mapper is None or not isinstance(row, Row):
            yield row
            continue
        place = (row.topic, row.partition)
        for each in _rows(row.line, mapper.of_value(row.value, row.key, row.timestamp_ms), row.arrival_ms):
            if isinstance(each, Row):
                turns[place] = turn = max(min(each.occurred_at, row.arrival_ms), turns.get(place, 0))
                yield msgspec.structs.replace(each, timestamp_ms=row.timestamp_ms, order_ms=turn)
            else:
                yield each
