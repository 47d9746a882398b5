"""The Avro schemas in ``schemas/avro``, one file a topic and version, and the structs that belong to them."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Protocol

import msgspec

from schemas.events import ClickEvent, PrivacyEvent, Product, PurchaseEvent
from schemas.records import DeadLetter, JournalRecord, NextBestAction, Session, TrainingExample

STRUCTS: Mapping[str, type[msgspec.Struct]] = {
    "clickstream": ClickEvent,
    "purchases": PurchaseEvent,
    "privacy": PrivacyEvent,
    "products": Product,
    "next-best-actions": NextBestAction,
    "dead-letters": DeadLetter,
    "training-examples": TrainingExample,
    "sessions": Session,
    "journal": JournalRecord,
}
"""Logical name of each topic that the codec reads and writes → the struct of its records."""


class OtherSchemaType(Exception):
    """The schema of an id is not an Avro schema. `schema_type` is what the registry calls it: JSON, PROTOBUF."""

    def __init__(self, schema_type: str) -> None:
        super().__init__(f"is of type {schema_type}")
        self.schema_type = schema_type


class SchemaSource(Protocol):
    """Where the schema that an Avro record was written with is looked up."""

    def schema_by_id(self, schema_id: int) -> Any:
        """The Avro schema of this id, as parsed JSON, complete: see `writer_schema.with_references`.

        Raises KeyError where the id is not known, OtherSchemaType where it is known for another schema. Other errors,
        such as a registry that cannot be reached, are not about the record: they pass through the codec, and the caller
        tries again.
        """


@cache
def versions(name: str) -> tuple[int, ...]:
    """The versions of a schema that are on disk, ascending. `name` is a topic or ``recorded``; KeyError if neither."""
    found = []
    for entry in files("schemas").joinpath("avro").iterdir():
        stem, _, version = entry.name.removesuffix(".avsc").rpartition(".v")
        if stem == name:
            found.append(int(version))
    if not found:
        raise KeyError(name)
    return tuple(sorted(found))


def schema_text(name: str, version: int | None = None) -> str:
    """The text of one ``.avsc`` file, the latest version by default: what is registered with a schema registry."""
    number = versions(name)[-1] if version is None else version
    return files("schemas").joinpath("avro", f"{name}.v{number}.avsc").read_text(encoding="utf-8")


def avro_schema(name: str, version: int | None = None) -> dict[str, Any]:
    """One schema as parsed JSON, the latest version by default."""
    schema: dict[str, Any] = json.loads(schema_text(name, version))
    return schema
