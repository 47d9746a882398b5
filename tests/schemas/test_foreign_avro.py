"""Avro as others write it: logical types, Kafka Connect's habits, schemas that refer to others; and framed JSON."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest

from schemas.avro_schemas import OtherSchemaType
from schemas.codec import AvroEncoder, Decoder
from schemas.errors import InvalidRecord
from schemas.events import ClickEvent, OrderLine, Product, PurchaseEvent
from schemas.writer_schema import with_references
from tests.schemas.wire import SchemaTable, encode_with

AT_MS = 1_700_000_000_000
VIEW: dict[str, Any] = {"event_id": "e1", "customer_id": "c1", "occurred_at": AT_MS, "kind": "login"}
ORDER = PurchaseEvent("e1", "c1", AT_MS, "order", "o1", (OrderLine("i1", quantity=2, unit_price=59.9),))


def record(name: str, **types: Any) -> dict[str, Any]:
    """An Avro record schema with fields of these types."""
    return {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in types.items()]}


def click_with(occurred_at: Any, **more: Any) -> dict[str, Any]:
    """A schema of clicks whose time is of the given type."""
    return record("ClickEvent", event_id="string", customer_id="string", occurred_at=occurred_at, kind="string", **more)


def read(topic: str, schema: dict[str, Any], tree: Any, written_with: dict[str, Any] | None = None) -> Any:
    """The record of `tree`; it is written with `written_with` where the logical types would get in the way."""
    value = encode_with(written_with or schema, 1, tree)
    return Decoder(SchemaTable({1: schema})).decode(topic, value)


def without_meaning(schema: Any) -> Any:
    """The schema without its logical types, so that raw values can be written."""
    if isinstance(schema, list):
        return [without_meaning(each) for each in schema]
    if isinstance(schema, dict):
        return {key: without_meaning(value) for key, value in schema.items() if key != "logicalType"}
    return schema


@pytest.mark.parametrize(
    ("occurred_at", "raw"),
    [
        ({"type": "long", "logicalType": "timestamp-millis"}, AT_MS),
        ({"type": "long", "logicalType": "timestamp-micros"}, AT_MS * 1_000 + 999),
        ({"type": "long", "logicalType": "timestamp-nanos"}, AT_MS * 1_000_000),
        ({"type": "long", "logicalType": "local-timestamp-millis"}, AT_MS),
        ({"type": "long", "logicalType": "local-timestamp-micros"}, AT_MS * 1_000),
        ({"type": "long", "connect.name": "org.apache.kafka.connect.data.Timestamp"}, AT_MS),
        ({"type": "long", "connect.version": 1, "connect.name": "io.debezium.time.MicroTimestamp"}, AT_MS * 1_000),
        ({"type": "long", "connect.name": "io.debezium.time.NanoTimestamp"}, AT_MS * 1_000_000),
        ({"type": "string", "connect.name": "io.debezium.time.ZonedTimestamp"}, "2023-11-14T22:13:20Z"),
        (["null", {"type": "long", "logicalType": "timestamp-micros"}], AT_MS * 1_000),
        ([{"type": "long", "logicalType": "timestamp-micros"}, "null"], AT_MS * 1_000),
        (["string", {"type": "long", "logicalType": "timestamp-micros"}], AT_MS * 1_000),
        ("double", float(AT_MS)),
        ("string", str(AT_MS)),
    ],
)
def test_times_are_read_in_the_unit_that_their_type_says(occurred_at: Any, raw: Any) -> None:
    """All of them are the same instant."""
    schema = click_with(occurred_at)
    assert read("clickstream", schema, VIEW | {"occurred_at": raw}, without_meaning(schema)) == ClickEvent(**VIEW)


def test_a_date_is_its_midnight() -> None:
    """The first instant of the day, in UTC."""
    for date in ({"type": "int", "logicalType": "date"}, {"type": "int", "connect.name": "io.debezium.time.Date"}):
        schema = click_with(date)
        tree = VIEW | {"occurred_at": AT_MS // 86_400_000}
        click = read("clickstream", schema, tree, without_meaning(schema))
        assert click.occurred_at == AT_MS // 86_400_000 * 86_400_000


def decimal(**more: Any) -> dict[str, Any]:
    """A decimal of bytes."""
    return {"type": "bytes", "logicalType": "decimal", "precision": 9} | more


@pytest.mark.parametrize(
    ("price", "value"),
    [
        (decimal(scale=2), Decimal("59.90")),
        (["null", decimal(scale=4)], Decimal("59.9000")),
        (
            {"type": "fixed", "name": "F", "size": 6, "logicalType": "decimal", "precision": 9, "scale": 2},
            Decimal("59.9"),
        ),
        ("double", 59.9),
        ("string", "59.90"),
    ],
)
def test_prices_are_numbers_whatever_they_are_written_as(price: Any, value: Any) -> None:
    """Decimals come out as the number nearest to them."""
    schema = record("Product", item_id="string", price=price)
    assert read("products", schema, {"item_id": "i1", "price": value}) == Product("i1", price=59.9)


def test_whole_decimals_are_ids() -> None:
    """Databases give NUMBER columns as decimals without digits after the point, or with a scale in each value."""
    schema = record("Product", item_id=decimal(scale=0), margin=decimal(scale=2))
    tree = {"item_id": Decimal(1234567890), "margin": Decimal("-1.5")}
    schema["fields"][0]["type"]["precision"] = 38
    assert read("products", schema, tree) == Product("1234567890", margin=-1.5)
    variable = record("VariableScaleDecimal", scale="int", value="bytes") | {
        "namespace": "io.debezium.data",
        "connect.name": "io.debezium.data.VariableScaleDecimal",
    }
    schema = record("Product", item_id=variable, price=["null", "io.debezium.data.VariableScaleDecimal"])
    raw = {"item_id": {"scale": 0, "value": b"\x11"}, "price": {"scale": 2, "value": b"\x17\x66"}}
    assert read("products", schema, raw) == Product("17", price=59.9)


@pytest.mark.parametrize("scale", [-1, 1_000_000_000, "2"])
def test_a_decimal_that_would_exhaust_memory_is_not_made_a_number(scale: Any) -> None:
    """A scale of a thousand million digits is a fault of its record, not an end of the worker."""
    schema = record("Product", item_id="string", price={"type": "bytes", "logicalType": "decimal", "scale": scale})
    with pytest.raises(InvalidRecord) as caught:
        read("products", schema, {"item_id": "i", "price": b"\x01"}, without_meaning(schema))
    assert (caught.value.reason, caught.value.field) == ("wrong_type", "price")


def test_a_uuid_is_text() -> None:
    """Sixteen bytes are written as text in the usual form, text stays as it is."""
    one = UUID("0188b54e-1b2c-7def-8123-456789abcdef")
    fixed = {"type": "fixed", "name": "Uuid", "size": 16, "logicalType": "uuid"}
    schema = record("Product", item_id=fixed, category="Uuid", brand={"type": "string", "logicalType": "uuid"})
    tree = {"item_id": one.bytes, "category": one.bytes, "brand": one}
    written = record("Product", item_id={"type": "fixed", "name": "Uuid", "size": 16}, category="Uuid", brand="string")
    product = read("products", schema, tree | {"brand": str(one)}, written)
    assert product == Product(str(one), category=str(one), brand=str(one))


def test_records_as_connect_writes_them_are_read() -> None:
    """Names of its own, nullable unions in any order with defaults, enums as text, wider and narrower numbers."""
    line = record(
        "lines",
        item_id=["null", "int"],
        quantity=["float", "null"],
        unit_price=["null", {"type": "bytes", "scale": 2, "logicalType": "decimal", "precision": 8}],
        category=["null", "string"],
        sku={"type": "string", "connect.default": "?"},
    )
    schema = record(
        "Value",
        event_id="string",
        customer_id="long",
        occurred_at={"type": "long", "connect.name": "org.apache.kafka.connect.data.Timestamp"},
        kind=["string", "null"],
        order_id={"type": "int"},
        lines=["null", {"type": "array", "items": ["null", line]}],
        amount=["double", "null"],
        currency=["null", "string"],
        __deleted=["null", "string"],
    )
    schema |= {"namespace": "shop.public.purchases", "connect.name": "shop.public.purchases.Value"}
    for field in schema["fields"]:
        if isinstance(field["type"], list) and field["type"][0] == "null":
            field["default"] = None
    lines = [
        {"item_id": 7, "quantity": 2.0, "unit_price": Decimal("59.90"), "category": None, "sku": "x"},
        {"item_id": 8, "quantity": None, "unit_price": None, "category": None, "sku": "y"},
    ]
    tree = {"event_id": "e1", "customer_id": 17, "occurred_at": AT_MS, "kind": "order", "order_id": 3, "lines": lines}
    tree |= {"amount": None, "currency": "EUR", "__deleted": "false"}
    order = read("purchases", schema, tree)
    expected = (OrderLine("7", quantity=2, unit_price=59.9), OrderLine("8"))
    assert order == PurchaseEvent("e1", "17", AT_MS, "order", "3", expected, currency="EUR")
    assert read("purchases", schema, tree | {"lines": None, "amount": 5.0}).total == 5.0


def test_null_in_avro_is_as_good_as_leaving_out() -> None:
    """As in JSON, at every depth."""
    schema = record("Product", item_id="string", available=["null", "boolean"], restricted=["boolean", "null"])
    assert read("products", schema, {"item_id": "i1", "available": None, "restricted": None}) == Product("i1")
    schema["fields"][1]["type"] = ["null", "int"]
    assert read("products", schema, {"item_id": "i1", "available": 0, "restricted": True}) == Product(
        "i1", available=False, restricted=True
    )


def test_a_record_of_another_topic_of_ours_is_still_told_apart() -> None:
    """A name of our own that stands on the wrong topic is a mix-up, whatever its fields would fit."""
    value = AvroEncoder({"clickstream": 1}).encode("clickstream", ClickEvent(**VIEW))
    schema = click_with("long", item_id="string")
    with pytest.raises(InvalidRecord, match="stands for another record: expected Product") as caught:
        Decoder(SchemaTable({1: schema})).decode("products", value)
    assert caught.value.reason == "unusable_schema"


# Schemas that refer to others


def test_types_that_are_registered_elsewhere_are_put_in_where_they_are_named_first() -> None:
    """By full name or within the namespace, used several times, and one within the other."""
    money = {"type": "fixed", "name": "Money", "namespace": "shop", "size": 4, "logicalType": "decimal", "scale": 2}
    line = record("OrderLine", item_id="string", quantity="int", unit_price="Money") | {"namespace": "shop"}
    kind = {"type": "enum", "name": "shop.Kind", "symbols": ["order", "refund"]}
    order = record(
        "PurchaseEvent",
        event_id="string",
        customer_id="string",
        occurred_at="long",
        kind="Kind",
        order_id="string",
        lines={"type": "array", "items": "shop.OrderLine"},
        shipping=["null", "Money"],
    ) | {"namespace": "shop"}
    complete = with_references(order, [line, kind, money])
    tree = {"event_id": "e1", "customer_id": "c1", "occurred_at": AT_MS, "kind": "order", "order_id": "o1"}
    tree |= {"lines": [{"item_id": "i1", "quantity": 2, "unit_price": b"\x00\x00\x17\x66"}], "shipping": None}
    assert read("purchases", complete, tree, without_meaning(complete)) == ORDER


def test_a_referred_type_without_namespace_is_found() -> None:
    """Some registries hold types that never had one."""
    line = record("OrderLine", item_id="string", quantity="int", unit_price="double")
    order = record("PurchaseEvent", order_id="string", lines={"type": "array", "items": "OrderLine"}, last="OrderLine")
    complete = with_references(order | {"namespace": "shop"}, [line])
    assert complete["fields"][1]["type"]["items"]["name"] == "shop.OrderLine"
    assert complete["fields"][2]["type"] == "OrderLine"


def test_a_type_that_nobody_defines_is_an_unusable_schema() -> None:
    """It is left as it is, and the reader says so."""
    schema = with_references(record("Product", item_id="string", price="shop.Money"), [])
    with pytest.raises(InvalidRecord) as caught:
        Decoder(SchemaTable({1: schema})).decode("products", b"\x00\x00\x00\x00\x01\x02a")
    assert caught.value.reason == "unusable_schema"


@pytest.mark.parametrize("nonsense", [None, 7, {}, {"type": "record", "name": "Product", "fields": [1]}])
def test_what_is_no_schema_is_an_unusable_schema(nonsense: Any) -> None:
    """Whatever a registry answers."""
    with pytest.raises(InvalidRecord) as caught:
        Decoder(SchemaTable({1: with_references(nonsense, [nonsense])})).decode("products", framed(1, b"\x02a"))
    assert caught.value.reason == "unusable_schema"


# Other types of schema


class Registry:
    """A registry whose schemas are of other types; counts what it is asked."""

    asked = 0

    def schema_by_id(self, schema_id: int) -> Any:
        self.asked += 1
        raise OtherSchemaType({1: "JSON", 2: "PROTOBUF"}[schema_id])


def framed(schema_id: int, value: bytes) -> bytes:
    """The value behind a registry's framing."""
    return b"\x00" + schema_id.to_bytes(4, "big") + value


def test_json_behind_a_schema_id_is_read() -> None:
    """With a registry and without one: what JSON means does not depend on its schema."""
    value = framed(1, orjson.dumps(VIEW))
    assert Decoder(Registry()).decode("clickstream", value) == ClickEvent(**VIEW)
    assert Decoder().decode("clickstream", value) == ClickEvent(**VIEW)


def test_json_that_is_cut_short_behind_its_schema_id_is_malformed_json() -> None:
    """The registry knows that it was meant to be JSON."""
    with pytest.raises(InvalidRecord, match="schema is of type JSON") as caught:
        Decoder(Registry()).decode("clickstream", framed(1, b'{"event_id": "e'))
    assert caught.value.reason == "malformed_json"


def test_a_schema_of_another_type_is_named() -> None:
    """Neither "not known" nor "malformed", which would send people to the wrong place; and it is asked for once."""
    registry = Registry()
    decoder = Decoder(registry)
    for _ in range(3):
        with pytest.raises(InvalidRecord, match="is of type PROTOBUF; only AVRO and JSON are read") as caught:
            decoder.decode("clickstream", framed(2, b"\x00\x0a\x01c"))
        assert (caught.value.reason, caught.value.field) == ("unusable_schema", "schema_id")
    assert registry.asked == 1


def test_avro_whose_first_byte_is_a_brace_is_still_avro() -> None:
    """A record may begin with any byte; JSON it is only where all of it is."""
    schema = record("Product", checksum={"type": "fixed", "name": "Sum", "size": 2}, item_id="string")
    assert read("products", schema, {"checksum": b"{}", "item_id": "i1"}) == Product("i1")
