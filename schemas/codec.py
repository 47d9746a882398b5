"""The codec: bytes on a topic ↔ typed structs, in JSON or Avro.

The first byte tells the two apart: ``{`` begins JSON, ``00`` the wire format of schema registries (a 4-byte big-endian
schema id, then Avro, or JSON again). Both become a plain dictionary, and `msgspec.convert` turns that into the struct:
one validation path, one set of messages. An Avro record is read with the schema it was written with and then resolved
by that same conversion (a missing optional field takes its default, an unknown one is ignored), so the rules of
evolution are those of JSON, an unknown enum symbol is seen as it was written, and a record costs 4 µs rather than 10.

Input records that fail there are tried once more: see `schemas.mending`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from copy import copy
from io import BytesIO
from struct import Struct as Packed
from typing import Any, Final, Literal, Protocol, Self, TypeVar, overload

import msgspec
import orjson
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.types import Schema

from schemas.avro_schemas import STRUCTS, OtherSchemaType, SchemaSource, avro_schema
from schemas.errors import InvalidRecord, RejectionReason
from schemas.events import ClickEvent, Event, PrivacyEvent, Product, PurchaseEvent
from schemas.explain_invalid import explain
from schemas.mending import Mend, mend_fields
from schemas.mending_orders import mend_lines
from schemas.records import DeadLetter, JournalRecord, NextBestAction, Session, TrainingExample
from schemas.writer_schema import UnusableSchemaError, usable_schema

MAX_VALUE_BYTES: Final = 8 * 1_048_576
MAX_CACHED_SCHEMAS: Final = 1_000

_JSON_START: Final = ord("{")
_AVRO_START: Final = 0
_WIRE_HEADER: Final = Packed(">BI")  # the magic byte, the schema id
_INPUTS: Final = frozenset({"clickstream", "purchases", "privacy", "products"})  # written by others
_Fault = tuple[RejectionReason, str, str]  # reason, field and message of an InvalidRecord
_Known = TypeVar("_Known")
_OUR_NAMES: Final = frozenset(struct.__name__ for struct in STRUCTS.values())


class Decoder:
    """Reads values of any topic in `STRUCTS`.

    Args:
        schema_source: where the writer's schema of an Avro record is found; None reads JSON alone.
        max_value_bytes: longer values are invalid, and are not looked into.

    Attributes:
        mended: how often what was mended in input records that were not quite as they should be, by topic and `Mend`.
            Whoever reads it may clear it.
    """

    def __init__(self, schema_source: SchemaSource | None = None, max_value_bytes: int = MAX_VALUE_BYTES) -> None:
        self._schema_source = schema_source
        self._max_value_bytes = max_value_bytes
        self._writer_schemas: dict[int, tuple[str, Schema]] = {}  # schema id → record name, parsed schema
        self._unusable: dict[int, _Fault] = {}  # schema id → what is wrong with its schema
        self.mended: Counter[tuple[str, Mend]] = Counter()

    def counting_apart(self) -> Self:
        """A decoder that shares what is known of schemas, and counts for itself what it mends."""
        other = copy(self)
        other.mended = Counter()
        return other

    @overload
    def decode(self, topic: Literal["clickstream"], value: bytes | None) -> ClickEvent: ...
    @overload
    def decode(self, topic: Literal["purchases"], value: bytes | None) -> PurchaseEvent: ...
    @overload
    def decode(self, topic: Literal["privacy"], value: bytes | None) -> PrivacyEvent: ...
    @overload
    def decode(self, topic: Literal["products"], value: bytes | None) -> Product: ...
    @overload
    def decode(self, topic: Literal["next-best-actions"], value: bytes | None) -> NextBestAction: ...
    @overload
    def decode(self, topic: Literal["dead-letters"], value: bytes | None) -> DeadLetter: ...
    @overload
    def decode(self, topic: Literal["training-examples"], value: bytes | None) -> TrainingExample: ...
    @overload
    def decode(self, topic: Literal["sessions"], value: bytes | None) -> Session: ...
    @overload
    def decode(self, topic: Literal["journal"], value: bytes | None) -> JournalRecord: ...
    @overload
    def decode(self, topic: str, value: bytes | None) -> Any: ...
    def decode(self, topic: str, value: bytes | None) -> Any:
        """The record that `value` holds. `topic` is the logical name.

        Raises InvalidRecord, and nothing else for any bytes at all; KeyError where the topic is not in `STRUCTS`; and
        what the schema source raises when it cannot answer.
        """
        record_type = STRUCTS[topic]
        if not value or len(value) > self._max_value_bytes:
            raise self._unacceptable_size(value)
        if value[0] == _JSON_START:
            try:
                tree = orjson.loads(value)
            except orjson.JSONDecodeError as error:
                message = f"`value` ({len(value)} bytes) is not valid JSON from character {error.pos}"
                raise InvalidRecord("malformed_json", "value", message) from None
        elif value[0] == _AVRO_START:
            tree = self._framed_tree(record_type.__name__, value)
            if topic == "dead-letters":
                pair_headers(tree)
        else:
            raise InvalidRecord("unknown_format", "value", "`value` begins neither with `{` (JSON) nor with 00 (Avro)")
        try:
            return msgspec.convert(tree, record_type)
        except msgspec.ValidationError as error:
            if topic not in _INPUTS:
                raise explain(error, record_type, tree) from None
        return self._second_attempt(topic, record_type, tree)

    def decode_event(self, topic: str, value: bytes | None) -> Event:
        """`decode` for the topics about customers: clickstream, purchases and privacy. Raises what `decode` raises."""
        event: Event = self.decode(topic, value)
        return event

    def _unacceptable_size(self, value: bytes | None) -> InvalidRecord:
        if not value:
            return InvalidRecord("empty_value", "value", "`value` is empty: expected a record in JSON or Avro")
        size = f"{len(value)} bytes, expected at most {self._max_value_bytes}"
        return InvalidRecord("too_large", "value", f"`value` is too large: {size}")

    def _second_attempt(self, topic: str, record_type: type[msgspec.Struct], tree: dict[str, Any]) -> Any:
        found: list[Mend] = []
        tree = mend_fields(record_type, tree, found)
        if record_type is PurchaseEvent:
            tree = mend_lines(tree, found)
        try:
            record = msgspec.convert(tree, record_type)
        except msgspec.ValidationError as error:
            raise explain(error, record_type, tree) from None
        self.mended.update((topic, mend) for mend in found)
        return record

    def _framed_tree(self, record_name: str, value: bytes) -> dict[str, Any]:
        if len(value) <= _WIRE_HEADER.size:
            raise InvalidRecord("malformed_avro", "value", "`value` ends before the record begins, after its schema id")
        if value[_WIRE_HEADER.size] == _JSON_START:
            # No registry needs to be asked: what is JSON to its last byte is no Avro record by chance.
            with suppress(orjson.JSONDecodeError):
                return orjson.loads(memoryview(value)[_WIRE_HEADER.size :])  # type: ignore[no-any-return]  # of an object
        schema_id: int = _WIRE_HEADER.unpack_from(value)[1]
        written_name, schema = self._writer_schemas.get(schema_id) or self._look_up(schema_id)
        if written_name != record_name and written_name in _OUR_NAMES:
            message = f"`schema_id` {schema_id} stands for another record: expected {record_name}"
            raise InvalidRecord("unusable_schema", "schema_id", message)
        stream = BytesIO(value)
        stream.seek(_WIRE_HEADER.size)
        try:
            tree = schemaless_reader(stream, schema, None)
        except Exception as error:  # for bytes that are not Avro the reader raises whatever it stumbles over
            message = f"`value` is not an Avro record of schema id {schema_id}: cut short, or of another schema"
            raise InvalidRecord("malformed_avro", "value", message) from error
        if (n_left := len(value) - stream.tell()) > 0:
            message = f"`value` has {n_left} bytes left over after the Avro record of schema id {schema_id}"
            raise InvalidRecord("malformed_avro", "value", message)
        return tree  # type: ignore[return-value]  # only record schemas are usable

    def _look_up(self, schema_id: int) -> tuple[str, Schema]:
        if schema_id in self._unusable:
            raise InvalidRecord(*self._unusable[schema_id])
        if self._schema_source is None:
            message = f"`schema_id` {schema_id} cannot be looked up: no schema registry is configured"
            raise InvalidRecord("unknown_schema_id", "schema_id", message)
        try:
            usable = usable_schema(self._schema_source.schema_by_id(schema_id))
        except KeyError:
            message = f"`schema_id` {schema_id} is not known to the schema registry"
            raise InvalidRecord("unknown_schema_id", "schema_id", message) from None
        except OtherSchemaType as other:
            fault = _of_other_type(schema_id, other.schema_type)
            raise InvalidRecord(*_remembered(self._unusable, schema_id, fault)) from None
        except UnusableSchemaError as error:
            fault = ("unusable_schema", "schema_id", f"the schema of `schema_id` {schema_id} {error}")
            raise InvalidRecord(*_remembered(self._unusable, schema_id, fault)) from error
        return _remembered(self._writer_schemas, schema_id, usable)


def _of_other_type(schema_id: int, schema_type: str) -> _Fault:
    if schema_type == "JSON":
        message = f"`value` is not valid JSON after `schema_id` {schema_id}, whose schema is of type JSON"
        return "malformed_json", "value", message
    message = f"the schema of `schema_id` {schema_id} is of type {schema_type}; only AVRO and JSON are read"
    return "unusable_schema", "schema_id", message


def _remembered(known: dict[int, _Known], schema_id: int, what: _Known) -> _Known:
    """Keep what is known of a schema id, which means the same for ever, as one of a bounded number."""
    if len(known) >= MAX_CACHED_SCHEMAS:
        known.clear()
    known[schema_id] = what
    return what


def asks_registry(value: bytes | None) -> bool:
    """Return whether `value` is framed for a schema registry, so that how it reads may depend on the answer of one."""
    return value is not None and value[:1] == bytes([_AVRO_START])


class Encoder(Protocol):
    """Writes records of any topic in `STRUCTS`."""

    def encode(self, topic: str, record: msgspec.Struct) -> bytes:
        """The bytes of `record`; equal records give equal bytes.

        Raises TypeError where the record is not what the topic holds.
        """


class JsonEncoder:
    """Writes JSON: fields in the order of the schema, map keys sorted, bytes in base64.

    Optional fields that are at their default are left out of input records and decisions, and written out elsewhere.
    """

    def encode(self, topic: str, record: msgspec.Struct) -> bytes:
        """See `Encoder.encode`."""
        _check_type(topic, record)
        return orjson.dumps(msgspec.to_builtins(record, order="deterministic"))


class AvroEncoder:
    """Writes Avro in the wire format, with the latest schema of each topic.

    Args:
        schema_ids: topic → the id that the registry gave to the topic's latest schema.
    """

    def __init__(self, schema_ids: Mapping[str, int]) -> None:
        self._writers = {
            topic: (_WIRE_HEADER.pack(_AVRO_START, schema_id), parse_schema(avro_schema(topic)))
            for topic, schema_id in schema_ids.items()
        }

    def encode(self, topic: str, record: msgspec.Struct) -> bytes:
        """See `Encoder.encode`; KeyError where the topic has no schema id."""
        _check_type(topic, record)
        header, schema = self._writers[topic]
        tree = msgspec.to_builtins(record, builtin_types=(bytes,), order="deterministic")
        if topic == "dead-letters":
            tree["headers"] = unpair_headers(tree["headers"])
        stream = BytesIO()
        stream.write(header)
        schemaless_writer(stream, schema, tree)
        return stream.getvalue()


def _check_type(topic: str, record: msgspec.Struct) -> None:
    if type(record) is not STRUCTS[topic]:
        raise TypeError(f"a record of {topic} is a {STRUCTS[topic].__name__}, not a {type(record).__name__}")


def pair_headers(tree: dict[str, Any]) -> None:
    """Turn the headers of an Avro record into pairs, in place: Avro has no tuples, so there they are records."""
    headers = tree.get("headers")
    if headers and isinstance(headers, list):
        tree["headers"] = [(h.get("name"), h.get("value")) if isinstance(h, dict) else h for h in headers]


def unpair_headers(headers: Iterable[tuple[str, bytes | None]]) -> list[dict[str, Any]]:
    """The headers of a struct as Avro has them."""
    return [{"name": name, "value": value} for name, value in headers]
