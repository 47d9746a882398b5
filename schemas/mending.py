"""A second attempt at a record that is not as its struct asks, where it is plain what was meant.

Null is absent, ``"59.90"`` is a number, ``1.0`` is a whole number, the id ``17`` is text. What could mean two things,
such as ``"59,90"`` or a time without a zone, is left alone and so rejected. Only records that failed come here: clean
ones pay nothing.
"""

import math
import re
from functools import cache
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec import inspect

from schemas.times import milliseconds_of

# What was mended, in fixed words that are fit for a metric label. Never renamed.
MendWord = Literal[
    "number_from_text",
    "flag_from_text",  # "true" for true; 1, too
    "time_from_text",  # ISO 8601 with an offset
    "text_from_number",  # a numeric id
    "whole_number",  # 1.0 for 1
    "fraction",  # of a millisecond: dropped; of a quantity: it becomes a measure
    "empty_text",  # in place of a number, a flag or an optional id: absent
    "removed_line",  # of quantity 0: left out
    "negative_line",  # a coupon, or a return within an order: left out, its money counts
    "unreadable_line",  # left out
    "unreadable_field",  # an optional field of a line, or the amount beside usable lines: left out
    "too_many_lines",  # those after the limit: left out, their money counts
    "negative_refund",  # a refund with a minus sign: the same refund without
]


class Mend(NamedTuple):
    """One thing that was mended in a record: a `MendWord`, and the field, such as ``lines[].quantity``."""

    what: MendWord
    field: str


class Field(NamedTuple):
    """One field of a struct, as far as mending goes. `right` is the type of a value that needs no mending."""

    name: str
    holds: Literal["id", "text", "number", "whole number", "flag", "time", "record", "other"]
    right: type
    optional: bool
    struct: type[msgspec.Struct] | None = None  # of a nested record


_NUMBER: Final = re.compile(r"\s*[+-]?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?\s*")
_FLAGS: Final = {"true": True, "false": False, "1": True, "0": False}
_EXACT: Final = 2**53  # from here on a floating-point number stands for several whole ones


def mend_fields(
    record_type: type[msgspec.Struct], tree: dict[str, Any], found: list[Mend], at: str = ""
) -> dict[str, Any]:
    """A copy of `tree` with each field as `record_type` asks, where it is plain what was meant.

    Nested records are mended likewise; arrays are left as they are. What was done is added to `found`, but for nulls:
    those are as good as absent. `at` is the path of the tree within its record.
    """
    mended = dict(tree)
    for field in fields_of(record_type):
        value = mended.get(field.name)
        if type(value) is field.right and value != "":
            continue
        if value is None:
            if field.optional:
                mended.pop(field.name, None)
        elif field.struct is not None:
            if isinstance(value, dict):
                mended[field.name] = mend_fields(field.struct, value, found, f"{at}{field.name}.")
        elif value == "" and field.optional and field.holds != "text":
            del mended[field.name]
            found.append(Mend("empty_text", at + field.name))
        else:
            what, mended[field.name] = mend_value(field.holds, value)
            if what is not None:
                found.append(Mend(what, at + field.name))
    return mended


def mend_value(holds: str, value: Any) -> tuple[MendWord | None, Any]:
    """What was mended in the value of a field, None for nothing, and the value after it."""
    if isinstance(value, bool):
        return None, value
    match holds:
        case "id" | "text":
            return _text(value)
        case "flag":
            flag = _FLAGS.get(str(value).lower()) if isinstance(value, str | int) else None
            return (None, value) if flag is None else ("flag_from_text", flag)
        case "number" | "whole number":
            return _number(value, whole=holds == "whole number")
        case "time":
            return _time(value)
    return None, value


def _text(value: Any) -> tuple[MendWord | None, Any]:
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        value = int(value)
    return ("text_from_number", str(value)) if isinstance(value, int) else (None, value)


def _number(value: Any, *, whole: bool) -> tuple[MendWord | None, Any]:
    what: MendWord | None = None
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        what, value = "number_from_text", int(value) if value.strip().isdecimal() else float(value)
    if whole and isinstance(value, float) and value.is_integer():
        what, value = what or "whole_number", int(value)
    return what, value


def _time(value: Any) -> tuple[MendWord | None, Any]:
    what, value = _number(value, whole=True)
    if isinstance(value, float) and math.isfinite(value):
        return "fraction", math.floor(value)
    if isinstance(value, str) and (time_ms := milliseconds_of(value)) is not None:
        return "time_from_text", time_ms
    return what, value


@cache
def fields_of(record_type: type[msgspec.Struct]) -> tuple[Field, ...]:
    """The fields of a struct, in its order."""
    described = inspect.type_info(record_type)
    assert isinstance(described, inspect.StructType)  # noqa: S101 - of a struct it always is
    return tuple(_field(field) for field in described.fields)


def _field(field: inspect.Field) -> Field:
    holds, optional = field.type, not field.required
    if isinstance(holds, inspect.UnionType):
        (holds,) = (each for each in holds.types if not isinstance(each, inspect.NoneType))
    match holds:
        case inspect.StrType(min_length=1):
            return Field(field.name, "id", str, optional)
        case inspect.StrType():
            return Field(field.name, "text", str, optional)
        case inspect.FloatType():
            return Field(field.name, "number", float, optional)
        case inspect.IntType():
            return Field(field.name, "time" if field.name == "occurred_at" else "whole number", int, optional)
        case inspect.BoolType():
            return Field(field.name, "flag", bool, optional)
        case inspect.StructType(cls=struct):
            return Field(field.name, "record", struct, optional, struct)
    return Field(field.name, "other", object, optional)
