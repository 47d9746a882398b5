"""Old records decode for ever, and a schema that would break that is caught."""

import copy
from importlib.resources import files
from itertools import combinations
from typing import Any

import msgspec
import pytest

from schemas.avro_schemas import STRUCTS, avro_schema, versions
from schemas.codec import AvroEncoder, Decoder
from schemas.container import Recorded, read_container
from schemas.errors import InvalidRecord
from schemas.events import ClickEvent
from tests.schemas.evolution import incompatibilities
from tests.schemas.wire import SchemaTable, encode_with

EXAMPLES = {entry.name: entry for entry in files("schemas").joinpath("examples").iterdir()}
TOPIC_EXAMPLES = sorted(name for name in EXAMPLES if not name.startswith("recorded."))
CLICK = ClickEvent("e1", "c1", 1_700_000_000_000, "item_view", item_id="i1", price=9.5)


def topic_of(name: str) -> str:
    """The topic of an example."""
    return name.split(".", maxsplit=1)[0]


def decode_example(name: str) -> msgspec.Struct:
    """Decode one example; in Avro the schema id is the version of the writer's schema."""
    topic = topic_of(name)
    table = SchemaTable({version: avro_schema(topic, version) for version in versions(topic)})
    record: msgspec.Struct = Decoder(table).decode(topic, EXAMPLES[name].read_bytes())
    return record


def with_field(schema: dict[str, Any], field: dict[str, Any]) -> dict[str, Any]:
    """The schema with a field added at the end."""
    changed = copy.deepcopy(schema)
    changed["fields"].append(field)
    return changed


@pytest.mark.parametrize("name", TOPIC_EXAMPLES)
def test_every_example_decodes(name: str) -> None:
    """A record that was once written can be read for ever."""
    assert type(decode_example(name)) is STRUCTS[topic_of(name)]


@pytest.mark.parametrize("name", [name for name in TOPIC_EXAMPLES if name.endswith(".json")])
def test_an_example_says_the_same_in_json_and_avro(name: str) -> None:
    """Both formats of an example become equal records, to the last bit of every number."""
    assert decode_example(name) == decode_example(name.replace(".json", ".avro"))


@pytest.mark.parametrize("topic", STRUCTS)
def test_every_version_has_examples_in_both_formats(topic: str) -> None:
    """No version is without a record that holds us to reading it."""
    for version in versions(topic):
        of_version = [name for name in EXAMPLES if name.startswith(f"{topic}.v{version}.")]
        assert {name.rpartition(".")[2] for name in of_version} == {"json", "avro"}


def test_the_recorded_example_reads_as_it_was_written() -> None:
    """A recording of the first version stays readable, its missing keys and values included."""
    with EXAMPLES["recorded.v1.two_rows.avro"].open("rb") as file:
        first, second = read_container(file)
    assert (first.topic, first.partition, first.offset, first.key) == ("clickstream", 3, 8812, b"c-17")
    assert first.headers == (("source", b"shop"), ("empty", None))
    assert second == Recorded("products", 0, 0, 1_700_000_000_001)


@pytest.mark.parametrize("name", [*STRUCTS, "recorded"])
def test_all_versions_on_disk_read_each_other(name: str) -> None:
    """Any two versions of a schema are compatible in both directions (FULL_TRANSITIVE)."""
    schemas = [avro_schema(name, version) for version in versions(name)]
    assert not incompatibilities(schemas[0], schemas[0])
    for one, other in combinations(schemas, 2):
        assert not incompatibilities(one, other)


def test_an_added_optional_field_is_compatible() -> None:
    """What the rules allow, the checker allows."""
    v1 = avro_schema("clickstream")
    v2 = with_field(v1, {"name": "colour", "type": ["null", "string"], "default": None})
    assert not incompatibilities(v1, v2)


def test_an_added_kind_is_compatible() -> None:
    """Older Avro readers see `unknown` in place of a kind that was added later."""
    v1 = avro_schema("clickstream")
    v2 = copy.deepcopy(v1)
    v2["fields"][3]["type"]["symbols"].append("item_share")
    assert not incompatibilities(v1, v2)


def test_the_checker_catches_what_the_rules_forbid() -> None:
    """A field without default, a changed type, a renamed field, a removed symbol's default: each is refused."""
    v1 = avro_schema("clickstream")
    no_default = with_field(v1, {"name": "colour", "type": "string"})
    retyped, renamed, stricter = copy.deepcopy(v1), copy.deepcopy(v1), copy.deepcopy(v1)
    retyped["fields"][2]["type"] = "string"
    renamed["fields"][1]["name"] = "user_id"
    del stricter["fields"][3]["type"]["default"]
    stricter["fields"][3]["type"]["symbols"].remove("wishlist")
    for bad in (no_default, retyped, renamed, stricter):
        assert incompatibilities(v1, bad)


def test_a_record_of_a_newer_version_is_read_without_what_it_added() -> None:
    """A worker that has not been upgraded yet reads on."""
    v2 = with_field(avro_schema("clickstream"), {"name": "colour", "type": ["null", "string"], "default": None})
    v2["fields"].insert(0, v2["fields"].pop())
    value = encode_with(v2, 2, msgspec.to_builtins(CLICK) | {"colour": "red"})
    assert Decoder(SchemaTable({2: v2})).decode("clickstream", value) == CLICK


def test_a_record_of_an_older_version_takes_the_defaults_of_what_came_later() -> None:
    """A schema from before a field was added still gives a whole record."""
    v0 = avro_schema("clickstream")
    v0["fields"] = [field for field in v0["fields"] if field["name"] not in ("brand", "context")]
    value = encode_with(v0, 7, msgspec.to_builtins(CLICK))
    assert Decoder(SchemaTable({7: v0})).decode("clickstream", value) == CLICK


def test_a_kind_added_later_is_rejected_by_name_and_not_mapped_to_another() -> None:
    """An unknown kind is never silently taken for a known one, nor for `unknown`."""
    v2 = avro_schema("clickstream")
    v2["fields"][3]["type"]["symbols"].append("item_share")
    for kind in ("item_share", "unknown"):
        value = encode_with(v2, 2, msgspec.to_builtins(CLICK) | {"kind": kind})
        with pytest.raises(InvalidRecord) as caught:
            Decoder(SchemaTable({2: v2})).decode("clickstream", value)
        assert (caught.value.reason, caught.value.field) == ("unknown_value", "kind")


def test_a_required_field_that_the_writer_lacks_is_named() -> None:
    """A writer's schema that broke the rules gives a reason that names the field."""
    bad = avro_schema("clickstream")
    bad["fields"] = [field for field in bad["fields"] if field["name"] != "customer_id"]
    value = encode_with(bad, 3, msgspec.to_builtins(CLICK))
    with pytest.raises(InvalidRecord, match="`customer_id` is missing") as caught:
        Decoder(SchemaTable({3: bad})).decode("clickstream", value)
    assert (caught.value.reason, caught.value.field) == ("missing_field", "customer_id")


def test_examples_are_what_the_encoder_writes_today() -> None:
    """The bytes that we write for a record have not changed since the example was kept."""
    for name in TOPIC_EXAMPLES:
        topic = topic_of(name)
        if name.endswith(".avro") and f".v{versions(topic)[-1]}." in name:
            encoder = AvroEncoder({topic: versions(topic)[-1]})
            assert encoder.encode(topic, decode_example(name)) == EXAMPLES[name].read_bytes(), name
