"""Avro in the wire format, a registry's answers without one, and what reads and writes both formats."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from fastavro import parse_schema, schemaless_writer

from schemas.avro_schemas import STRUCTS, avro_schema
from schemas.codec import AvroEncoder, Decoder, JsonEncoder
from schemas.errors import InvalidRecord


class SchemaTable:
    """A `SchemaSource` over a fixed table."""

    def __init__(self, schemas: Mapping[int, Any]) -> None:
        self._schemas = dict(schemas)

    def schema_by_id(self, schema_id: int) -> Any:
        """The schema of this id; KeyError where the table lacks it."""
        return self._schemas[schema_id]


def encode_with(schema: dict[str, Any], schema_id: int, tree: Any) -> bytes:
    """The wire bytes of `tree`; the schema id is taken as it is."""
    stream = BytesIO()
    stream.write(b"\x00" + schema_id.to_bytes(4, "big"))
    schemaless_writer(stream, parse_schema(schema), tree)
    return stream.getvalue()


IDS = {topic: number for number, topic in enumerate(STRUCTS, 1)}
DECODER = Decoder(SchemaTable({IDS[topic]: avro_schema(topic) for topic in STRUCTS}))
JSON = JsonEncoder()
AVRO = AvroEncoder(IDS)


def invalid_or_none(topic: str, value: bytes) -> InvalidRecord | None:
    """The error for a value that may decode; any other exception fails the test."""
    try:
        DECODER.decode(topic, value)
    except InvalidRecord as invalid:
        return invalid
    return None
