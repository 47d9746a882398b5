"""Avro in the wire format, written with any schema."""

from io import BytesIO
from typing import Any

from fastavro import parse_schema, schemaless_writer


def encode_with(schema: dict[str, Any], schema_id: int, tree: Any) -> bytes:
    """The wire bytes of `tree`; the schema id is taken as it is."""
    stream = BytesIO()
    stream.write(b"\x00" + schema_id.to_bytes(4, "big"))
    schemaless_writer(stream, parse_schema(schema), tree)
    return stream.getvalue()
