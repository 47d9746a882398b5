"""Turns what msgspec says of an invalid record into a reason, the field at fault, and a message for people.

Messages are built anew from the parts that are known to come from the schema: no value of a record gets into one. Of an
implausible time they say which unit it seems to be in.
"""

import re
from typing import Any, get_args, get_type_hints

import msgspec

from schemas.errors import InvalidRecord
from schemas.times import EXPECTED, looks_like

_PATH = re.compile(r" - at `\$\.?(.*)`$")
_MISSING = re.compile(r"^Object missing required field `(\w+)`")
_NEEDED = re.compile(r"^`(\w+)` is (?:missing|empty): [^`]*(?:`\w+`)?$")  # from a __post_init__ in schemas/events.py
_WRONG_TYPE = re.compile(r"^Expected `([a-z |]+)`, got `([a-z]+)`")
_OUT_OF_RANGE = re.compile(r"^Expected `([a-z |]+)` ((?:of length )?(?:>=|<=|>|<) \S+)")
_WORDS = {"int": "integer", "float": "number", "str": "string", "bool": "boolean"}


def explain(error: msgspec.ValidationError, record_type: type[msgspec.Struct], tree: Any) -> InvalidRecord:
    """The `InvalidRecord` that says what msgspec found wrong while making a `record_type` of `tree`."""
    text = str(error)
    place = _PATH.search(text)
    path = place.group(1) if place else ""
    text = text[: place.start()] if place else text
    if match := _MISSING.match(text) or _NEEDED.match(text):
        field = f"{path}.{match[1]}" if path else match[1]
        what = match[0] if match.re is _NEEDED else f"`{field}` is missing: it is required"
        return InvalidRecord("missing_field", field, what)
    field = path or "value"
    if path == "occurred_at" and type(tree[path]) is int:
        seems = looks_like(tree[path])
        because = "" if seems is None else f"it looks like {seems}, "
        return InvalidRecord("out_of_range", field, f"`{field}` is out of range: {because}expected {EXPECTED}")
    if match := _WRONG_TYPE.match(text):
        message = f"`{field}` has the wrong type: expected {_in_words(match[1])}, got {_in_words(match[2])}"
        return InvalidRecord("wrong_type", field, message)
    if match := _OUT_OF_RANGE.match(text):
        message = f"`{field}` is out of range: expected {_in_words(match[1])} {match[2]}"
        return InvalidRecord("out_of_range", field, message)
    if text.startswith("Invalid enum value"):
        allowed = _allowed(record_type, path)
        expected = f": expected one of {', '.join(allowed)}" if allowed else ""
        return InvalidRecord("unknown_value", field, f"`{field}` is not a known value{expected}")
    if text.startswith("Invalid base64"):
        return InvalidRecord("wrong_type", field, f"`{field}` has the wrong type: expected bytes in base64")
    if "out of range" in text:
        return InvalidRecord("out_of_range", field, f"`{field}` is out of range")
    return InvalidRecord("invalid", field, f"`{field}` is invalid")


def _in_words(types: str) -> str:
    return " or ".join(_WORDS.get(name, name) for name in types.split(" | "))


def _allowed(record_type: type[msgspec.Struct], field: str) -> tuple[Any, ...]:
    """The values that a field of a fixed set may take. Such fields are never nested."""
    return get_args(get_type_hints(record_type).get(field))
