"""From the bytes of a value to the record in them: JSON, JSON behind a registry's framing, Avro, a line of CSV."""

import csv
from collections.abc import Callable
from io import BytesIO
from struct import Struct as Packed
from typing import Any, Final

import orjson
from fastavro import schemaless_reader
from fastavro.types import Schema

from consumer.inputs.mapping import Form
from schemas.avro_schemas import OtherSchemaType, SchemaSource
from schemas.errors import InvalidRecord
from schemas.writer_schema import UnusableSchemaError, usable_schema

MAX_CACHED_SCHEMAS: Final = 1_000
_FRAME: Final = Packed(">BI")  # a registry's framing: the magic byte 00, the schema id
_MAGIC: Final = 0

Read = Callable[[bytes], Any]


def record_reader(form: Form, schema_source: SchemaSource | None) -> Read:
    """Return what reads one value. It raises InvalidRecord, and what the schema source raises when it can't answer."""
    readers: dict[str, Callable[[], Read]] = {
        "json": lambda: _json,
        "json-registry": lambda: _framed_json,
        "avro": lambda: AvroRecords(schema_source).read,
        "csv": lambda: _csv_reader(form),
    }
    return readers[form.format]()


def _json(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        if value[0] == _MAGIC:
            said = 'begins with a registry\'s framing: set format = "avro", or "json-registry" where JSON is behind it'
            raise InvalidRecord("unknown_format", "value", f"`value` {said}") from None
        said = f"`value` ({len(value)} bytes) is not valid JSON from character {error.pos}"
        raise InvalidRecord("malformed_json", "value", said) from None


def _framed_json(value: bytes) -> Any:
    if value[0] != _MAGIC or len(value) <= _FRAME.size:
        hint = ': set format = "json"' if value[:1] in b"{[" else ""
        said = f"`value` does not begin with a registry's framing (00 and 4 bytes){hint}"
        raise InvalidRecord("unknown_format", "value", said)
    return _json(value[_FRAME.size :])


def _csv_reader(form: Form) -> Read:
    separator, columns = form.separator or ",", form.columns

    def read(value: bytes) -> Any:
        try:
            fields = next(csv.reader([value.decode()], delimiter=separator), [])
        except (UnicodeDecodeError, csv.Error):
            raise InvalidRecord("invalid", "value", "`value` is no line of CSV in UTF-8") from None
        if len(fields) != len(columns):
            said = f"`value` has {len(fields)} columns, expected {len(columns)}: correct `columns` or `separator`"
            raise InvalidRecord("invalid", "value", said)
        return dict(zip(columns, map(str.strip, fields), strict=True))

    return read


class AvroRecords:
    """Reads Avro behind a registry's framing, with the schema it was written with. Schemas are looked up once."""

    def __init__(self, schema_source: SchemaSource | None) -> None:
        self._schema_source = schema_source
        self._schemas: dict[int, Schema] = {}

    def read(self, value: bytes) -> Any:
        """Return the record in a value. Raises InvalidRecord."""
        if value[0] != _MAGIC or len(value) <= _FRAME.size:
            hint = ': set format = "json"' if value[:1] in b"{[" else ""
            said = f"`value` does not begin with a registry's framing (00 and 4 bytes){hint}"
            raise InvalidRecord("unknown_format", "value", said)
        schema_id: int = _FRAME.unpack_from(value)[1]
        schema = self._schemas.get(schema_id) or self._look_up(schema_id)
        stream = BytesIO(value)
        stream.seek(_FRAME.size)
        try:
            return schemaless_reader(stream, schema, None)
        except Exception as error:  # for bytes that are not Avro the reader raises whatever it stumbles over
            said = f"`value` is not an Avro record of schema id {schema_id}: cut short, or of another schema"
            raise InvalidRecord("malformed_avro", "value", said) from error

    def _look_up(self, schema_id: int) -> Schema:
        if self._schema_source is None:
            said = f"`schema_id` {schema_id} can't be looked up: set kafka.schema_registry_url"
            raise InvalidRecord("unknown_schema_id", "schema_id", said)
        try:
            schema = usable_schema(self._schema_source.schema_by_id(schema_id))[1]
        except KeyError:
            said = f"`schema_id` {schema_id} is not known to the schema registry"
            raise InvalidRecord("unknown_schema_id", "schema_id", said) from None
        except OtherSchemaType as other:
            hint = ': set format = "json-registry"' if other.schema_type == "JSON" else ""
            said = f"the schema of `schema_id` {schema_id} is of type {other.schema_type}, not Avro{hint}"
            raise InvalidRecord("unusable_schema", "schema_id", said) from None
        except UnusableSchemaError as error:
            said = f"the schema of `schema_id` {schema_id} {error}"
            raise InvalidRecord("unusable_schema", "schema_id", said) from error
        if len(self._schemas) >= MAX_CACHED_SCHEMAS:
            self._schemas.clear()
        self._schemas[schema_id] = schema
        return schema
