"""What is done to a schema from a registry before records are read with it: made plain, and checked for traps."""

from collections.abc import Sequence
from typing import Any

from fastavro import parse_schema
from fastavro.types import Schema

from schemas.logical_types import meaning_of

_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})


class UnusableSchemaError(Exception):
    """The schema cannot be used; the message says why."""


def usable_schema(schema: Any) -> tuple[str, Schema]:
    """The record name of a schema, and the schema parsed for reading, with no more of logical types than is needed.

    Times come out as epoch milliseconds, decimals as numbers and uuids as text, to be validated like those in JSON.
    Recursive types and types that take no bytes go with an error: a few bytes of such a record can exhaust the stack or
    the memory.

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


def with_references(schema: Any, references: Sequence[Any]) -> Any:
    """A schema with the named types that it refers to put in where each is first named.

    `references` are schemas of named types, parsed, in any order. A name that none of them defines is left as it is, as
    is what is no schema at all: `usable_schema` says so.
    """
    try:
        return _Referring(references).of(schema, "")
    except Exception:  # noqa: BLE001 - what is no schema can be wrong in any way
        return schema


class _Plain:
    """Copies a schema without documentation, defaults, and logical types that change nothing."""

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
            return {key: value for key, value in schema.items() if key != "logicalType"} | meaning_of(schema)
        meaning = meaning_of(schema)
        return {"type": kind} | meaning if meaning else self.of(kind, namespace, enclosing)

    def _record(self, schema: dict[str, Any], namespace: str, enclosing: frozenset[str]) -> dict[str, Any]:
        name = _full_name(schema["name"], schema.get("namespace", namespace))
        inner = name.rpartition(".")[0]
        fields = [
            {"name": field["name"], "type": self.of(field["type"], inner, enclosing | {name})}
            for field in schema["fields"]
        ]
        if all(field["type"] == "null" for field in fields):
            raise UnusableSchemaError("holds a type that takes no bytes")
        return {"type": "record", "name": name, "fields": fields} | meaning_of(schema)

    def _sized(self, items: Any, namespace: str, enclosing: frozenset[str]) -> Any:
        plain = self.of(items, namespace, enclosing)
        if plain == "null":
            raise UnusableSchemaError("holds an array of a type that takes no bytes")
        return plain


class _Referring:
    """Copies a schema and puts each named type of `references` in where it is named for the first time."""

    def __init__(self, references: Sequence[Any]) -> None:
        named = [each for each in references if isinstance(each, dict) and "name" in each]
        self._missing = {_full_name(each["name"], each.get("namespace", "")): each for each in named}

    def of(self, schema: Any, namespace: str) -> Any:
        if isinstance(schema, list):
            return [self.of(branch, namespace) for branch in schema]
        if isinstance(schema, str):
            name = _full_name(schema, namespace)
            found = self._missing.pop(name, None) or self._missing.pop(schema, None)  # of its namespace, or of none
            return schema if found is None else self.of({**found, "name": name}, "")
        copy = dict(schema)
        if "fields" in copy:
            inner = _full_name(copy["name"], copy.get("namespace", namespace)).rpartition(".")[0]
            copy["fields"] = [{**field, "type": self.of(field["type"], inner)} for field in copy["fields"]]
        for part in ("type", "items", "values"):
            if part in copy:
                copy[part] = self.of(copy[part], namespace)
        return copy


def _full_name(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"
