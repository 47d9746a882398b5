"""Small mappings for tests."""

import tomllib
from typing import Any

from consumer.inputs.configure import mapping_of
from consumer.inputs.mapper import Mapper
from schemas.avro_schemas import SchemaSource
from schemas.errors import InvalidRecord

HEAD = 'files = ["*"]\n'
VIEW = """
[[events]]
kind = "item_view"
event_id = "id"
customer_id = "user"
occurred_at = "at"
item_id = "item"
"""
ORDER = """
[[events]]
kind = "order"
event_id = "id"
customer_id = "user"
occurred_at = "at"
order_id = "order"
"""
RECORD = {"id": "e", "user": "u", "at": 1_714_636_800_000, "item": "x", "order": "o"}


def section(text: str) -> dict[str, Any]:
    """Return a section `[inputs.shop]` that is written without its heading."""
    return tomllib.loads(text)


def mapper(text: str, source: SchemaSource | None = None) -> Mapper:
    return Mapper(mapping_of("shop", section(text)), source, strict=True)


def events(text: str, record: Any) -> list[Any]:
    """Return the validated events that a record becomes; fail where something is wrong with one."""
    found = mapper(text).of_record(record)
    assert not [each for each in found if isinstance(each, InvalidRecord)], found
    return [each.event for each in found if not isinstance(each, InvalidRecord)]


def fault(text: str, record: Any) -> InvalidRecord:
    """Return what is wrong with the one event that a record should become."""
    (found,) = mapper(text).of_record(record)
    assert isinstance(found, InvalidRecord), found
    return found
