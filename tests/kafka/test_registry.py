"""Schemas by id, over the client's own in-memory registry."""

import json
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient, SchemaRegistryError

from consumer.kafka.cluster.patience import with_patience
from consumer.kafka.cluster.registry import SchemaSource
from consumer.kafka.failures import CannotGoOn, RegistryUnavailable
from schemas.avro_schemas import OtherSchemaType, avro_schema
from schemas.codec import AvroEncoder, Decoder
from schemas.events import Product
from schemas.products import read_product
from schemas.units import Seconds

SCHEMA = {"type": "record", "name": "r", "fields": [{"name": "a", "type": "long"}]}


class Counting:
    """A registry client that counts questions and may be down."""

    def __init__(self) -> None:
        self.inner = SchemaRegistryClient.new_client({"url": "mock://"})
        self.asked: list[int] = []
        self.asked_versions: list[str] = []
        self.down: Exception | None = None
        self.now_s = 0.0

    def get_schema(self, schema_id: int) -> Schema:
        """Count, then answer."""
        self.asked.append(schema_id)
        if self.down is not None:
            raise self.down
        return self.inner.get_schema(schema_id)

    def get_version(self, subject: str, version: int, **options: Any) -> Any:
        """Count, then answer."""
        self.asked_versions.append(subject)
        return self.inner.get_version(subject, version, **options)

    def register_schema(self, subject: str, schema: Schema) -> int:
        """Answer, or be down."""
        if self.down is not None:
            raise self.down
        return self.inner.register_schema(subject, schema)


@pytest.fixture
def client() -> Counting:
    """Return a registry in memory."""
    return Counting()


@pytest.fixture
def source(client: Counting) -> SchemaSource:
    """Return a source over it."""
    return SchemaSource(
        "mock://",
        client=client,  # type: ignore[arg-type]
        clock_s=lambda: Seconds(client.now_s),
    )


def test_a_registered_schema_is_found_by_its_id() -> None:
    """Registering twice gives the same id; another schema another one."""
    source = SchemaSource("mock://")
    first = source.register("clickstream-value", SCHEMA)
    assert source.register("clickstream-value", SCHEMA) == first
    assert source.register("purchases-value", {"type": "string"}) != first
    assert source.schema_by_id(first) == SCHEMA


def test_each_id_is_asked_for_once(source: SchemaSource, client: Counting) -> None:
    """Schemas never change under an id, so neither a known nor an unknown one costs a second request."""
    known = source.register("a-value", SCHEMA)
    for _ in range(3):
        assert source.schema_by_id(known) == SCHEMA
        with pytest.raises(KeyError):
            source.schema_by_id(99)
    assert client.asked == [known, 99]


def test_an_unknown_id_is_asked_for_again_after_a_while(source: SchemaSource, client: Counting) -> None:
    """A schema that was registered after its first record came is found; not at once, and without further ado."""
    with pytest.raises(KeyError):
        source.schema_by_id(1)
    assert source.register("a-value", SCHEMA) == 1
    client.now_s = 9.9
    with pytest.raises(KeyError):
        source.schema_by_id(1)
    client.now_s = 10.0
    assert source.schema_by_id(1) == SCHEMA
    assert client.asked == [1, 1]


def test_an_id_that_stays_unknown_is_asked_for_once_in_a_while(source: SchemaSource, client: Counting) -> None:
    """However often its records come."""
    for now_s in (0.0, 5.0, 10.0, 15.0, 20.0):
        client.now_s = now_s
        with pytest.raises(KeyError):
            source.schema_by_id(99)
    assert client.asked == [99, 99, 99]


def test_the_memory_of_unknown_ids_is_bounded(
    source: SchemaSource, client: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made-up ids don't grow the process: of many, the latest are remembered."""
    monkeypatch.setattr("consumer.kafka.cluster.registry.MAX_UNKNOWN_IDS", 2)
    for schema_id in (*range(100, 110), 109, 108):
        with pytest.raises(KeyError):
            source.schema_by_id(schema_id)
    assert client.asked == list(range(100, 110))
    with pytest.raises(KeyError):
        source.schema_by_id(107)
    assert client.asked[-1] == 107


@pytest.mark.parametrize("error", [SchemaRegistryError(503, 50300, "busy"), ConnectionError("refused")])
def test_a_registry_without_an_answer_is_not_an_unknown_id(
    source: SchemaSource, client: Counting, error: Exception
) -> None:
    """A record must not be rejected because the registry is away; once it is back the id is found."""
    known = source.register("a-value", SCHEMA)
    client.down = error
    with pytest.raises(RegistryUnavailable):
        source.schema_by_id(known)
    with pytest.raises(RegistryUnavailable):
        source.register("a-value", SCHEMA)
    client.down = None
    assert source.schema_by_id(known) == SCHEMA


def test_a_refused_schema_names_its_subject(source: SchemaSource, client: Counting) -> None:
    """An incompatible schema is the caller's mistake, not the registry's absence."""
    client.down = SchemaRegistryError(409, 40901, "incompatible")
    with pytest.raises(ValueError, match="a-value: incompatible"):
        source.register("a-value", SCHEMA)


@pytest.mark.parametrize("kind", ["JSON", "PROTOBUF"])
def test_a_schema_of_another_type_says_which(source: SchemaSource, client: Counting, kind: str) -> None:
    """It is known, and so it isn't said to be unknown."""
    schema_id = client.inner.register_schema("a-value", Schema("{}", kind))
    for now_s in (0.0, 9.9, 10.0, 15.0):
        client.now_s = now_s
        with pytest.raises(OtherSchemaType, match=kind):
            source.schema_by_id(schema_id)
    assert client.asked == [schema_id, schema_id]  # again after a while, as for an id that is not known


def test_a_product_waits_for_a_registry_that_does_not_answer(
    source: SchemaSource, client: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its item is not blocked for that, and the worker does not end, unless it is asked to."""
    schema_id = source.register("products-value", avro_schema("products"))
    value = AvroEncoder({"products": schema_id}).encode("products", Product("kettle", price=3.0))
    waited: list[float] = []

    def pause(seconds: float) -> None:
        waited.append(seconds)
        client.down = None

    monkeypatch.setattr("consumer.kafka.cluster.patience.time.sleep", pause)
    client.down = ConnectionError("refused")
    read = with_patience(lambda: read_product(Decoder(source), b"kettle", value), lambda: False)
    assert (read.item_id, read.product) == ("kettle", Product("kettle", price=3.0))
    assert len(waited) == 1
    client.down = ConnectionError("refused")
    asking = Decoder(SchemaSource("mock://", client=client))  # type: ignore[arg-type]
    with pytest.raises(CannotGoOn, match="does not answer"):
        with_patience(lambda: read_product(asking, b"kettle", value), lambda: True)


def test_a_schema_comes_with_the_types_that_it_refers_to(source: SchemaSource, client: Counting) -> None:
    """Directly and by way of others; each is asked for once, though two may refer to it."""
    money = '{"type": "fixed", "name": "shop.Money", "size": 4}'
    line = '{"type": "record", "name": "shop.Line", "fields": [{"name": "price", "type": "shop.Money"}]}'
    order = """{"type": "record", "name": "shop.Order", "fields": [
        {"name": "lines", "type": {"type": "array", "items": "shop.Line"}}, {"name": "total", "type": "shop.Money"}]}"""
    to_money, to_line = SchemaReference("shop.Money", "money", 1), SchemaReference("shop.Line", "line", 1)
    client.inner.register_schema("money", Schema(money, "AVRO"))
    client.inner.register_schema("line", Schema(line, "AVRO", [to_money]))
    schema_id = client.inner.register_schema("order", Schema(order, "AVRO", [to_line, to_money]))
    lines, total = source.schema_by_id(schema_id)["fields"]
    assert lines["type"]["items"]["fields"] == [{"name": "price", "type": json.loads(money)}]
    assert total["type"] == "shop.Money"
    assert client.asked_versions == ["money", "line"]


def test_a_registry_that_nobody_serves_is_unavailable() -> None:
    """A refused connection is no unknown id either."""
    source = SchemaSource("http://127.0.0.1:1", {"max.retries": 0})
    with pytest.raises(RegistryUnavailable, match="does not answer"):
        source.schema_by_id(1)
    with pytest.raises(RegistryUnavailable, match="does not answer"):
        source.register("a-value", SCHEMA)
