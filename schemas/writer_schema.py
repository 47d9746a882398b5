"""What is done to a schema from a registry before records are read with it: made plain, and checked for traps."""

from typing import Any

from fastavro import parse_schema
from fastavro.types import Schema

_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})


class UnusableSchemaError(Exception):
    """The schema cannot be used; the message says why."""


def usable_schema(schema: Any) -> tuple[str, Schema]:
    """The record name of a schema, and the schema parsed for reading, without logical types.

    Logical types go so that times stay integers and are validated like those in JSON. Recursive types and types that
    take no bytes go with an error: a few bytes of such a record can exhaust the stack or the memory.

    Raises UnusableSchemaError.
    """
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise UnusableSchemaError("is not of type record")
    try:
        plain = _Plain().of(schema, "", frozenset())
        return str(schema["name"]).rpartition(".")[2], parse_schema(plain)
    except UnusableSchemaError:
        raise
    except Exception as error:  # what the parser raises for what is not a schema is not documented
        raise UnusableSchemaError("is not a valid Avro schema") from error


class _Plain:
    """Copies a schema without logical types, documentation and defaults."""

    def of(self, schema: Any, namespace: str, enclosing: frozenset[str]) -> Any:
        if isinstance(schema, list):
            return [self.of(branch, namespace, enclosing) for branch in schema]
        if isinstance(schema, str):
            if schema not in _PRIMITIVES and _full_name(schema, namespace) in enclosing:
                raise UnusableSchemaError("is recursive")
            return schema
        kind = schema["type"]
        if kind in ("record", "error"):
            return self._record(schema, namespace, enclosing)
        if kind == "array":
            return {"type": "array", "items": self._sized(schema["items"], namespace, enclosing)}
        if kind == "map":
            return {"type": "map", "values": self.of(schema["values"], namespace, enclosing)}
        if kind == "fixed" and schema["size"] < 1:
            raise UnusableSchemaError("holds a type that takes no bytes")
        if kind in ("enum", "fixed"):
            return {key: value for key, value in schema.items() if key != "logicalType"}
        return self.of(kind, namespace, enclosing)

    def _record(self, schema: dict[str, Any], namespace: str, enclosing: frozenset[str]) -> dict[str, Any]:
        name = _full_name(schema["name"], schema.get("namespace", namespace))
        inner = name.rpartition(".")[0]
        fields = [
            {"name": field["name"], "type": self.of(field["type"], inner, enclosing | {name})}
            for field in schema["fields"]
        ]
        if all(field["type"] == "null" for field in fields):
            raise UnusableSchemaError("holds a type that takes no bytes")
        return {"type": "record", "name": name, "fields": fields}

    def _sized(self, items: Any, namespace: str, enclosing: frozenset[str]) -> Any:
        plain = self.of(items, namespace, enclosing)
        if plain == "null":
            raise UnusableSchemaError("holds an array of a type that takes no bytes")
        return plain


def _full_name(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"
