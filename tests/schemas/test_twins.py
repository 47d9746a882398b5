"""The .avsc files and the structs say the same."""

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from schemas.avro_schemas import STRUCTS, avro_schema, versions
from schemas.container import Recorded
from schemas.records import Mode

TWINS: dict[str, type[msgspec.Struct]] = {**STRUCTS, "recorded": Recorded}
PRIMITIVES = {str: "string", int: "long", float: "double", bool: "boolean", bytes: "bytes"}


def twin_of(hint: Any) -> Any:
    """What the Avro type of a field with this annotation must be, without names, documentation and logical types."""
    if get_origin(hint) is Annotated:
        return twin_of(get_args(hint)[0])
    if hint in PRIMITIVES:
        return PRIMITIVES[hint]
    if hint == Mode:  # its values have hyphens, which symbols cannot have
        return "string"
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ("enum", (*args, "unknown"))
    if origin in (Union, UnionType):
        (member,) = (arg for arg in args if arg is not NoneType)
        return ["null", twin_of(member)]
    if hint == tuple[str, bytes | None]:  # a header: Avro has no tuples
        return ("record", (("name", "string", False), ("value", ["null", "bytes"], True)))
    if origin is tuple:
        assert args[1] is Ellipsis
        return ("array", twin_of(args[0]))
    if origin is dict:
        assert args[0] is str
        return ("map", twin_of(args[1]))
    return twin_of_struct(hint)


def twin_of_struct(struct: type[msgspec.Struct]) -> Any:
    """What the Avro record of a struct must be: fields as (name, type, whether it has a default)."""
    hints = get_type_hints(struct, include_extras=True)
    fields = []
    for field in msgspec.structs.fields(struct):
        twin = twin_of(hints[field.name])
        fields.append((field.name, twin, not field.required or isinstance(twin, list)))
    return ("record", tuple(fields))


def bare(schema: Any) -> Any:
    """An Avro type in the same notation."""
    if isinstance(schema, list):
        return [bare(branch) for branch in schema]
    if isinstance(schema, str):
        return schema
    match schema["type"]:
        case "record":
            fields = ((f["name"], bare(f["type"]), "default" in f) for f in schema["fields"])
            return ("record", tuple(fields))
        case "enum":
            known = (symbol for symbol in schema["symbols"] if symbol != "unknown")  # which stands before later ones
            return ("enum", (*known, "unknown"))
        case "array":
            return ("array", bare(schema["items"]))
        case "map":
            return ("map", bare(schema["values"]))
        case plain:
            return plain


def records_in(schema: Any) -> Iterator[dict[str, Any]]:
    """Every named type in a schema."""
    if isinstance(schema, list):
        for branch in schema:
            yield from records_in(branch)
    elif isinstance(schema, dict):
        if schema["type"] in ("record", "enum"):
            yield schema
        for field in schema.get("fields", ()):
            yield from records_in(field["type"])
        yield from records_in(schema.get("items", schema.get("values")))


@pytest.mark.parametrize("name", TWINS)
def test_struct_and_schema_have_the_same_fields_order_types_and_optionality(name: str) -> None:
    """The latest schema of a topic and its struct are twins, nested records included."""
    assert bare(avro_schema(name)) == twin_of_struct(TWINS[name])


@pytest.mark.parametrize("name", TWINS)
def test_a_schema_is_named_like_its_struct(name: str) -> None:
    """The record name tells one topic's schema from another's, so it is the struct's name."""
    schema = avro_schema(name)
    assert (schema["namespace"], schema["name"]) == ("nextbest", TWINS[name].__name__)


@pytest.mark.parametrize("name", TWINS)
def test_defaults_of_struct_and_schema_are_equal(name: str) -> None:
    """A field that is left out means the same in JSON and in Avro."""
    defaults = {f["name"]: f["default"] for f in avro_schema(name)["fields"] if "default" in f}
    for field in msgspec.structs.fields(TWINS[name]):
        if not field.required:
            default = list(field.default) if isinstance(field.default, tuple) else field.default
            assert defaults[field.name] == default
        elif field.name in defaults:
            assert defaults[field.name] is None


@pytest.mark.parametrize("name", TWINS)
def test_every_field_and_type_is_documented(name: str) -> None:
    """Whoever reads a schema alone learns what each field means."""
    for version in versions(name):
        for schema in records_in(avro_schema(name, version)):
            assert schema["doc"].endswith(".")
            for field in schema.get("fields", ()):
                assert field["doc"][0].isupper() or field["doc"][0] == "`", field["name"]
                assert field["doc"].endswith("."), field["name"]


@pytest.mark.parametrize("name", TWINS)
def test_times_are_milliseconds_by_their_logical_type(name: str) -> None:
    """Every time says so, whatever reads the schema."""
    time = {"type": "long", "logicalType": "timestamp-millis"}
    times = {"occurred_at", "deliver_after", "deliver_before", "timestamp", "timestamp_ms", "predicted_at"}
    times |= {"matured_at", "ended_at", "stream_time", "advance_to", "reference_time", "aged_before"}
    for schema in records_in(avro_schema(name)):
        for field in schema.get("fields", ()):
            is_time = field["type"] in (time, ["null", time])
            assert is_time == (field["name"] in times), field["name"]


def test_a_name_without_schema_is_an_error() -> None:
    """A misspelled topic does not go by unnoticed."""
    with pytest.raises(KeyError):
        versions("clickstreams")
