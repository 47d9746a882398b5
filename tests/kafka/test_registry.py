"""Schemas by id, over the client's own in-memory registry."""

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError

from consumer.kafka.cluster.registry import SchemaSource
from consumer.kafka.failures import RegistryUnavailable
from schemas.units import Seconds

SCHEMA = {"type": "record", "name": "r", "fields": [{"name": "a", "type": "long"}]}


class Counting:
    """A registry client that counts questions and may be down."""

    def __init__(self) -> None:
        self.inner = SchemaRegistryClient.new_client({"url": "mock://"})
        self.asked: list[int] = []
        self.down: Exception | None = None
        self.now_s = 0.0

    def get_schema(self, schema_id: int) -> Schema:
        """Count, then answer."""
        self.asked.append(schema_id)
        if self.down is not None:
            raise self.down
        return self.inner.get_schema(schema_id)

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


def test_schemas_of_other_kinds_are_unknown(source: SchemaSource, client: Counting) -> None:
    """Records are Avro; a JSON schema's id can't be read, and that is asked once."""
    schema_id = client.inner.register_schema("a-value", Schema("{}", "JSON"))
    for _ in range(2):
        with pytest.raises(KeyError):
            source.schema_by_id(schema_id)
    assert client.asked == [schema_id]


def test_a_registry_that_nobody_serves_is_unavailable() -> None:
    """A refused connection is no unknown id either."""
    source = SchemaSource("http://127.0.0.1:1", {"max.retries": 0})
    with pytest.raises(RegistryUnavailable, match="does not answer"):
        source.schema_by_id(1)
    with pytest.raises(RegistryUnavailable, match="does not answer"):
        source.register("a-value", SCHEMA)
