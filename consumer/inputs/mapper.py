"""The seam: a mapping between the bytes of a shop's record and the canonical events that everything else works on.

What a mapping makes is judged by the structs of canonical records, and where it doesn't hold by the codec, as a record
in JSON: so there is one set of rules for what an event may be. A worker is handed a `MappedDecoder` where it would have
a plain decoder.
"""

from collections import Counter
from collections.abc import Mapping as MappingOf
from typing import Any

import msgspec
import orjson
from msgspec import ValidationError, convert

from consumer.inputs.mapping import KEY, ROWS, TIMESTAMP, Canonical, Mapping, WrongValue
from consumer.inputs.paths import names_near
from consumer.inputs.records import record_reader
from schemas.avro_schemas import STRUCTS, SchemaSource
from schemas.codec import MAX_VALUE_BYTES, Decoder
from schemas.errors import InvalidRecord
from schemas.events import Event, Product
from schemas.explain_invalid import explain
from schemas.mending import Mend

NO_EVENT = "no_event"


class NoEvent(InvalidRecord):
    """A record that becomes no event, as its mapping wants it. Not an error, and no dead letter."""

    def __init__(self) -> None:
        said = "the record becomes no event by its mapping"
        super().__init__(NO_EVENT, None, said)  # type: ignore[arg-type]  # a word of its own: nothing is rejected


class MappedEvent(msgspec.Struct, frozen=True):
    """One canonical record that a shop's record became.

    `topic` is the logical name, `occurred_at` its time in epoch milliseconds (None for a product without one), `tree`
    the record as plain data, `event` the same record, validated.
    """

    topic: str
    kind: str
    occurred_at: int | None
    tree: dict[str, Any]
    event: Event | Product

    @property
    def key(self) -> bytes:
        """What the record must be keyed by."""
        event = self.event
        return (event.item_id if isinstance(event, Product) else event.customer_id).encode()

    @property
    def value(self) -> bytes:
        """The record in JSON."""
        return orjson.dumps(self.tree)


Becomes = list[MappedEvent | InvalidRecord]


class Mapper:
    """One mapping, from a shop's records to validated events."""

    def __init__(
        self,
        mapping: Mapping,
        schema_source: SchemaSource | None = None,
        *,
        max_value_bytes: int = MAX_VALUE_BYTES,
        strict: bool = False,
    ) -> None:
        """`schema_source` is needed for Avro alone. `strict`: nothing is mended, what would be is wrong."""
        self.mapping = mapping
        self._read = record_reader(mapping.form, schema_source)
        self._strict = strict
        self.decoder = Decoder()  # judges what is not canonical at once
        self._max_value_bytes = max_value_bytes
        self._where = f"[inputs.{mapping.name}]"

    def count_mends_in(self, mended: Counter[tuple[str, Mend]]) -> None:
        """Count there, from now on, what is mended in canonical records that were not quite as they should be."""
        self.decoder.mended = mended

    @property
    def name(self) -> str:
        """The name of the section."""
        return self.mapping.name

    @property
    def form(self) -> str:
        """How records are written: json, json-registry, avro or csv."""
        return self.mapping.form.format

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of CSV without a header."""
        return self.mapping.form.columns

    @property
    def separator(self) -> str | None:
        """What stands between the columns of CSV."""
        return self.mapping.form.separator

    @property
    def grouped(self) -> bool:
        """Whether rows of a file that have a group in common are one record."""
        return bool(self.mapping.form.group_by)

    def group_of(self, row: dict[str, Any]) -> tuple[Any, ...] | None:
        """Return what rows of a file have in common that are one record; None where a row stands for itself."""
        return self.mapping.group_of(row)

    def of_value(self, value: bytes | None, key: bytes | None = None, timestamp_ms: int | None = None) -> Becomes:
        """Return what the value of a record becomes: events, and what is wrong with those that it should become.

        A value of None is a tombstone, which stands for nothing that happened. Raises what the schema source raises.
        """
        if value is None:
            return []
        try:
            self._check_size(value)
            record = self._read(value)
        except InvalidRecord as invalid:
            return [InvalidRecord(invalid.reason, invalid.field, f"{self._where} {invalid.message}")]
        return self.of_record(record, key, timestamp_ms)

    def _check_size(self, value: bytes) -> None:
        if not value:
            raise InvalidRecord("empty_value", "value", f"`value` is empty: expected {self.mapping.form.format}")
        if len(value) > self._max_value_bytes:
            said = f"`value` is too large: {len(value)} bytes, expected at most {self._max_value_bytes}"
            raise InvalidRecord("too_large", "value", said)

    def of_record(self, record: Any, key: bytes | None = None, timestamp_ms: int | None = None) -> Becomes:
        """Return what a parsed record becomes. The record is written to: hand in one of your own."""
        if isinstance(record, dict) and timestamp_ms is not None:
            record[KEY] = None if key is None else key.decode(errors="replace")
            record[TIMESTAMP] = timestamp_ms
        return [
            each if isinstance(each, InvalidRecord) else self._judged(each) for each in self.mapping.of_record(record)
        ]

    def of_rows(self, rows: list[dict[str, Any]]) -> Becomes:
        """Return what rows of a file become that are one record: it has the columns of the first, and all as `rows`."""
        if self.mapping.form.distinct:
            rows = [row for number, row in enumerate(rows) if row not in rows[:number]]
        return self.of_record({**rows[0], ROWS: rows})

    def _judged(self, canonical: Canonical) -> MappedEvent | InvalidRecord:
        plan, tree = canonical.plan, canonical.tree
        try:
            event: Event | Product = convert(tree, STRUCTS[plan.topic])  # type: ignore[assignment]  # of these topics
        except ValidationError as error:
            if self._strict:
                return canonical.complaint or self._explained(canonical, explain(error, STRUCTS[plan.topic], tree))
            try:
                event = self.decoder.decode(plan.topic, orjson.dumps(tree, default=str))
            except InvalidRecord as invalid:
                return canonical.complaint or self._explained(canonical, invalid)
            except orjson.JSONEncodeError:  # a number beyond 64 bits, or text with half a character in it
                said = f"{self._where} {plan.kind}: holds a text or a number that JSON can't hold"
                return canonical.complaint or InvalidRecord("invalid", "value", said)
        return MappedEvent(plan.topic, plan.kind, canonical.at_ms, tree, event)

    def _explained(self, canonical: Canonical, invalid: InvalidRecord) -> InvalidRecord:
        """Return the codec's error with where the mapping takes the field from, and what to change."""
        plan, field = canonical.plan, invalid.field or "value"
        source, where = plan.source_of(field), f"{self._where} {plan.kind}"
        if source is None:
            return InvalidRecord(invalid.reason, field, f"{where}: {invalid.message}; no field of the mapping gives it")
        if invalid.reason == "missing_field":
            advice = "correct the path, or leave such records out with `when`"
            said = f"{where}: `{field}`, from {source}, is missing: nothing is there; {advice}"
            return WrongValue(invalid.reason, field, said, names_near(canonical.record, source.strip("`")))
        return WrongValue(invalid.reason, field, f"{where}: {invalid.message}; it comes from {source}", None)


class MappedDecoder(Decoder):
    """A decoder of records of which some topics hold a shop's own: those become canonical as they are read."""

    def __init__(
        self,
        mappers: MappingOf[str, Mapper],
        schema_source: SchemaSource | None = None,
        max_value_bytes: int = MAX_VALUE_BYTES,
    ) -> None:
        """`mappers`: logical topic → what its records are mapped by."""
        super().__init__(schema_source, max_value_bytes)
        self._mappers = mappers
        for mapper in mappers.values():
            mapper.count_mends_in(self.mended)

    def decode_event(self, topic: str, value: bytes | None) -> Event:
        """Return the event in a value. Raises InvalidRecord, and NoEvent for a record that becomes none.

        A worker counts offsets by records, so a record that becomes several events is refused here.
        """
        mapper = self._mappers.get(topic)
        if mapper is None:
            return super().decode_event(topic, value)
        found = mapper.of_value(value)
        if not found:
            raise NoEvent
        first = found[0]
        if isinstance(first, InvalidRecord):
            raise first
        name = mapper.mapping.name
        if len(found) > 1:
            said = f"[inputs.{name}] the record becomes {len(found)} events, and a worker takes one of each"
            raise InvalidRecord("invalid", "value", said)
        if isinstance(first.event, Product):
            said = f"[inputs.{name}] the record becomes a product, which is read from the topic products alone"
            raise InvalidRecord("invalid", "kind", said)
        return first.event
