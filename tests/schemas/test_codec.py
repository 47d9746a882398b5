"""Bytes become structs, or an InvalidRecord that says what is wrong with them."""

import base64
import json
import math
from typing import Any, get_args

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.avro_schemas import avro_schema
from schemas.codec import MAX_VALUE_BYTES, Decoder, Encoder
from schemas.errors import InvalidRecord, RejectionReason
from schemas.events import ClickEvent, Product, PurchaseEvent
from schemas.records import Coordinates, DeadLetter, JournalRecord
from tests.schemas.wire import AVRO, DECODER, IDS, JSON, SchemaTable, encode_with, invalid_or_none

CLICK: dict[str, Any] = {"event_id": "e1", "customer_id": "c1", "occurred_at": 1_700_000_000_000, "kind": "login"}
ORDER: dict[str, Any] = CLICK | {"kind": "order", "order_id": "o1", "lines": [{"item_id": "i1", "unit_price": 5.0}]}


def rejected(topic: str, value: Any) -> InvalidRecord:
    """The error for a value that must not decode; a dictionary is made JSON first."""
    with pytest.raises(InvalidRecord) as caught:
        DECODER.decode(topic, orjson.dumps(value) if isinstance(value, dict) else value)
    assert caught.value.reason in get_args(RejectionReason)
    return caught.value


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300)
@given(
    topic=st.sampled_from(["clickstream", "purchases", "privacy", "products"]),
    changes=st.dictionaries(
        st.sampled_from(["event_id", "occurred_at", "kind", "lines", "context", "amount"]), json_values
    ),
)
def test_any_json_value_in_any_field_gives_a_record_or_an_invalid_record(topic: str, changes: dict[str, Any]) -> None:
    """Wrong values are rejected with a reason and a field, whatever they are."""
    value = json.dumps(ORDER | {"kind": "erasure", "item_id": "i"} | changes).encode()
    invalid = invalid_or_none(topic, value)
    assert invalid is None or (invalid.reason in get_args(RejectionReason) and invalid.field)


@pytest.mark.parametrize(
    ("topic", "value", "reason", "field"),
    [
        ("clickstream", None, "empty_value", "value"),
        ("clickstream", b"", "empty_value", "value"),
        ("clickstream", b'{"event_id": "e1", "custo', "malformed_json", "value"),
        ("clickstream", b'{"event_id": "\xff"}', "malformed_json", "value"),
        ("clickstream", b'{"price": NaN}', "malformed_json", "value"),
        ("clickstream", b'{"price": 1e999}', "malformed_json", "value"),
        ("clickstream", orjson.dumps(CLICK) + b"{}", "malformed_json", "value"),
        ("clickstream", b'{"a":' * 100_000, "malformed_json", "value"),
        ("clickstream", b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "malformed_json", "value"),
        ("clickstream", b"[]", "unknown_format", "value"),
        ("clickstream", b"hello", "unknown_format", "value"),
        ("clickstream", b"{" + b" " * MAX_VALUE_BYTES + b"}", "too_large", "value"),
        ("clickstream", {}, "missing_field", "event_id"),
        ("clickstream", CLICK | {"kind": "dance"}, "unknown_value", "kind"),
        ("clickstream", CLICK | {"kind": 3}, "wrong_type", "kind"),
        ("clickstream", CLICK | {"occurred_at": True}, "wrong_type", "occurred_at"),
        ("clickstream", CLICK | {"occurred_at": "2023-11-14"}, "wrong_type", "occurred_at"),
        ("clickstream", CLICK | {"occurred_at": -1}, "out_of_range", "occurred_at"),
        ("clickstream", CLICK | {"occurred_at": 2**63}, "out_of_range", "occurred_at"),
        ("clickstream", CLICK | {"customer_id": ""}, "out_of_range", "customer_id"),
        ("clickstream", CLICK | {"price": False}, "wrong_type", "price"),
        ("clickstream", CLICK | {"context": {"device": [7]}}, "wrong_type", "context.device"),
        ("clickstream", CLICK | {"query": "x" * 5_000}, "out_of_range", "query"),
        ("clickstream", CLICK | {"kind": "item_view"}, "missing_field", "item_id"),
        ("clickstream", CLICK | {"kind": "search"}, "missing_field", "n_results"),
        ("clickstream", CLICK | {"kind": "action_click"}, "missing_field", "decision_id"),
        (
            "purchases",
            ORDER | {"lines": [{"item_id": "i", "unit_price": -0.01}]},
            "out_of_range",
            "lines[0].unit_price",
        ),
        ("purchases", ORDER | {"lines": [{}, {}]}, "missing_field", "lines[0].item_id"),
        ("purchases", ORDER | {"lines": [{}] * 1001}, "out_of_range", "lines"),
        ("purchases", ORDER | {"lines": []}, "missing_field", "lines"),
        ("purchases", ORDER | {"lines": [{"item_id": "i", "quantity": 0}]}, "out_of_range", "lines[0].quantity"),
        ("privacy", CLICK | {"kind": "consent"}, "missing_field", "granted"),
    ],
)
def test_what_is_wrong_is_named(topic: str, value: Any, reason: str, field: str) -> None:
    """Each fault has its fixed reason, the field at fault, and a message that names both field and expectation."""
    invalid = rejected(topic, value)
    assert (invalid.reason, invalid.field) == (reason, field)
    assert f"`{field.rpartition('.')[2]}`" in invalid.message or f"`{field}`" in invalid.message


def test_messages_say_what_is_expected() -> None:
    """A producer's developer can mend the record from the message alone."""
    assert rejected("clickstream", CLICK | {"price": "nine"}).message == (
        "`price` has the wrong type: expected number or null, got string"
    )
    assert rejected("clickstream", CLICK | {"price": -1}).message == "`price` is out of range: expected number >= 0.0"
    assert "expected one of order, refund, payment_failed" in rejected("purchases", ORDER | {"kind": "gift"}).message


@pytest.mark.parametrize("field", ["event_id", "customer_id", "occurred_at", "kind", "price", "query", "context"])
def test_messages_repeat_no_value(field: str) -> None:
    """What a customer typed never reaches a log through a message."""
    for secret in ("geheim`- at `$.x", "geheim", ["geheim"], {"geheim": "geheim"}, "geheim" * 900):
        invalid = invalid_or_none("clickstream", orjson.dumps(CLICK | {field: secret}))
        assert invalid is None or "geheim" not in f"{invalid.message}{invalid.field}{invalid.reason}"


def test_avro_is_validated_like_json() -> None:
    """A negative price, a year after 9999, NaN and infinity are rejected in Avro with the same words as in JSON."""
    schema, schema_id = avro_schema("clickstream"), IDS["clickstream"]
    for change, field in (
        ({"price": -1.0}, "price"),
        ({"price": math.nan}, "price"),
        ({"price": math.inf}, "price"),
        ({"occurred_at": 2**60}, "occurred_at"),
        ({"event_id": ""}, "event_id"),
    ):
        invalid = rejected("clickstream", encode_with(schema, schema_id, CLICK | change))
        assert (invalid.reason, invalid.field) == ("out_of_range", field)
    in_json = rejected("clickstream", CLICK | {"price": -1.0})
    in_avro = rejected("clickstream", encode_with(schema, schema_id, CLICK | {"price": -1.0}))
    assert in_json.message == in_avro.message


def test_nan_is_rejected_in_our_own_records_too() -> None:
    """A number that is none cannot get into a model by way of Avro."""
    example = {"family": "churn", "head": "horizon", "feature_set": "f", "rows": 1, "label": 1.0, "weight": 1.0}
    example |= {"predicted_at": 1, "matured_at": 2, "features": [1.0, math.nan]}
    value = encode_with(avro_schema("training-examples"), IDS["training-examples"], example)
    invalid = rejected("training-examples", value)
    assert (invalid.reason, invalid.field) == ("out_of_range", "features[1]")


def test_avro_must_be_whole_and_nothing_more() -> None:
    """A record that is cut anywhere or followed by more bytes is rejected."""
    value = AVRO.encode("purchases", DECODER.decode("purchases", orjson.dumps(ORDER)))
    for length in range(1, len(value)):
        assert rejected("purchases", value[:length]).reason in ("malformed_avro", "unknown_schema_id")
    assert rejected("purchases", value + b"\x00").reason == "malformed_avro"


def test_an_unknown_schema_id_is_rejected_and_asked_for_again_later() -> None:
    """A schema that was registered after its first record is found once it is there."""
    table: dict[int, Any] = {}

    class Growing:
        def schema_by_id(self, schema_id: int) -> Any:
            return table[schema_id]

    decoder = Decoder(Growing())
    value = AVRO.encode("products", Product("i1"))
    with pytest.raises(InvalidRecord, match="`schema_id` 4 is not known") as caught:
        decoder.decode("products", value)
    assert (caught.value.reason, caught.value.field) == ("unknown_schema_id", "schema_id")
    table[4] = avro_schema("products")
    assert decoder.decode("products", value) == Product("i1")


def test_without_a_registry_avro_is_rejected_with_the_reason() -> None:
    """The message tells that it is the configuration that lacks something."""
    with pytest.raises(InvalidRecord, match="no schema registry is configured"):
        Decoder().decode("products", AVRO.encode("products", Product("i1")))


def test_an_unreachable_registry_is_not_the_fault_of_the_record() -> None:
    """Errors other than KeyError pass through, so that the worker tries again rather than reject good records."""

    class Unreachable:
        def schema_by_id(self, schema_id: int) -> Any:
            raise ConnectionError(schema_id)

    with pytest.raises(ConnectionError):
        Decoder(Unreachable()).decode("products", AVRO.encode("products", Product("i1")))


def test_a_schema_is_looked_up_once() -> None:
    """The registry is not asked for every record."""
    asked: list[int] = []

    class Counting:
        def schema_by_id(self, schema_id: int) -> Any:
            asked.append(schema_id)
            return avro_schema("products")

    decoder = Decoder(Counting())
    for _ in range(3):
        decoder.decode("products", AVRO.encode("products", Product("i1")))
    assert asked == [IDS["products"]]


def record(name: str, *types: Any) -> dict[str, Any]:
    """An Avro record schema with fields of these types."""
    return {"type": "record", "name": name, "fields": [{"name": f"f{i}", "type": t} for i, t in enumerate(types)]}


@pytest.mark.parametrize(
    "schema",
    [
        "string",
        None,
        {},
        {"type": "record"},
        record("Product", "no_such_type"),
        record("Product", ["null", "Product"]),
        record("Product", {"type": "array", "items": "null"}),
        record("Product", {"type": "array", "items": record("Nothing")}),
        record("Product", {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}),
        record("Product"),
        avro_schema("clickstream"),
    ],
)
def test_an_unusable_schema_is_rejected(schema: Any) -> None:
    """What is no schema, stands for another topic, or could exhaust stack or memory is never read with."""
    with pytest.raises(InvalidRecord) as caught:
        Decoder(SchemaTable({1: schema})).decode("products", b"\x00\x00\x00\x00\x01" + b"\xfe\xff\xff\xff\x0f" * 4)
    assert (caught.value.reason, caught.value.field) == ("unusable_schema", "schema_id")


def test_a_schema_of_another_namespace_with_references_and_logical_types_is_usable() -> None:
    """Producers may generate their schema from their own code, as long as names and types fit."""
    fixed = {"type": "fixed", "name": "Digest", "size": 2}
    foreign = record("Product", {"type": "string", "logicalType": "uuid"}, fixed, "com.shop.Digest", {"type": "long"})
    foreign["namespace"] = "com.shop"
    foreign["fields"][0]["name"] = "item_id"
    foreign["fields"].append({"name": "sold_on", "type": {"type": "int", "logicalType": "date"}})
    value = encode_with(foreign, 1, {"item_id": "i1", "f1": b"ab", "f2": b"cd", "f3": 1, "sold_on": 3})
    assert Decoder(SchemaTable({1: foreign})).decode("products", value) == Product("i1")


def test_unknown_json_fields_are_ignored() -> None:
    """A producer may send more than we know of."""
    assert DECODER.decode("clickstream", orjson.dumps(CLICK | {"colour": {"deep": [1]}})) == ClickEvent(**CLICK)


def test_whole_numbers_do_for_prices_and_fractions_do_not_for_counts() -> None:
    """JSON writers drop `.0` from whole prices; a count of 1.5 is a mistake."""
    assert DECODER.decode("clickstream", orjson.dumps(CLICK | {"price": 5})).price == 5.0
    assert rejected("clickstream", CLICK | {"kind": "search", "n_results": 1.5}).reason == "wrong_type"


def test_json_is_deterministic() -> None:
    """Equal records give equal bytes, in whatever order a map was filled."""
    value = JSON.encode("journal", DECODER.decode("journal", JSON.encode("journal", journal({"a": 1, "b": 2}))))
    assert value == JSON.encode("journal", journal({"b": 2, "a": 1}))
    assert AVRO.encode("journal", journal({"a": 1, "b": 2})) == AVRO.encode("journal", journal({"b": 2, "a": 1}))


def journal(model_versions: dict[str, int]) -> JournalRecord:
    """A journal record of little content."""
    fields: dict[str, Any] = {each.name: "x" for each in msgspec.structs.fields(JournalRecord) if each.required}
    fields |= dict.fromkeys(("task", "sequence", "sessions_offset", "products_offset", "stream_time"), 0)
    fields |= {
        "reference_time": 1,
        "aged_before": 0,
        "mode": "live",
        "runs": (),
        "first_offsets": {},
        "next_offsets": {},
        "grants": {},
    }
    return JournalRecord(**fields | {"model_versions": model_versions})


def test_bytes_in_json_are_base64() -> None:
    """A dead letter carries bytes that are no text through JSON."""
    letter = DeadLetter(Coordinates("clickstream", 0, 1), 2, "wrong_type", None, "m", b"\xff", b"\x00\x01", 2, "00")
    tree = orjson.loads(JSON.encode("dead-letters", letter))
    assert base64.b64decode(tree["value"]) == b"\x00\x01"
    assert DECODER.decode("dead-letters", JSON.encode("dead-letters", letter)) == letter


def test_optional_fields_at_their_default_take_no_space_on_input_topics() -> None:
    """A producer of ours sends what it knows and nothing else."""
    assert orjson.loads(JSON.encode("clickstream", ClickEvent(**CLICK))) == CLICK


@pytest.mark.parametrize("encoder", [JSON, AVRO], ids=["json", "avro"])
def test_a_record_of_another_topic_is_not_encoded(encoder: Encoder) -> None:
    """A mix-up of topics is found by the one who makes it, not by the reader."""
    with pytest.raises(TypeError, match="a record of purchases is a PurchaseEvent, not a ClickEvent"):
        encoder.encode("purchases", ClickEvent(**CLICK))


def test_an_unknown_topic_is_a_mistake_of_the_caller() -> None:
    """It is not reported as the fault of a record."""
    with pytest.raises(KeyError):
        DECODER.decode("clicks", b"{}")


def test_events_decode_to_their_topic_s_struct() -> None:
    """What is read on a topic is of that topic's type."""
    assert isinstance(DECODER.decode_event("purchases", orjson.dumps(ORDER)), PurchaseEvent)
    assert msgspec.structs.asdict(DECODER.decode_event("clickstream", orjson.dumps(CLICK)))["kind"] == "login"
