"""A schema registry that does not answer: waited for, and no record is rejected for it."""

import pytest

from consumer.core.intake import Rejection
from consumer.kafka.cluster import patience
from consumer.kafka.failures import CannotGoOn, RegistryUnavailable
from consumer.kafka.input_reader import InputReader
from schemas.avro_schemas import avro_schema
from schemas.codec import AvroEncoder, Decoder
from schemas.events import ClickEvent

EVENT = ClickEvent("e1", "ann", 1_700_000_000_000, "item_view", item_id="kettle")


class Registry:
    """A registry that is away for the first `n` questions."""

    def __init__(self, n: int) -> None:
        self.n = n

    def schema_by_id(self, schema_id: int) -> object:
        """Return the schema of clicks, once it is back."""
        assert schema_id == 7
        if self.n > 0:
            self.n -= 1
            raise RegistryUnavailable("the schema registry does not answer: refused")
        return avro_schema("clickstream")


class Record:
    """One Avro record, as the client hands it out."""

    def key(self) -> bytes:
        return b"ann"

    def value(self) -> bytes:
        return AvroEncoder({"clickstream": 7}).encode("clickstream", EVENT)

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 3

    def timestamp(self) -> tuple[int, int]:
        return 1, EVENT.occurred_at

    def headers(self) -> None:
        return None


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again without a pause."""
    monkeypatch.setattr(patience, "_ASK_AGAIN_S", 0.0)


def read_through(registry: Registry) -> object:
    """Return the event of the record, or why it was rejected."""
    reader = InputReader(Decoder(registry), 1, 0, lambda: False)
    return reader.record("clickstream", Record()).event  # type: ignore[arg-type]


def test_a_registry_that_comes_back_rejects_nothing() -> None:
    """The same record is read as soon as it answers."""
    assert read_through(Registry(3)) == EVENT


def test_a_registry_that_stays_away_ends_the_worker_with_a_way_on() -> None:
    """The record stays where it is: no dead letter says that its schema is unknown."""
    with pytest.raises(CannotGoOn, match=r"Nothing was rejected .*start the worker"):
        assert not isinstance(read_through(Registry(1_000)), Rejection)
