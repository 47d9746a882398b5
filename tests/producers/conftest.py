"""A broker inside the process, for what needs no transactions."""

from collections.abc import Iterator

import pytest
from confluent_kafka import Producer


@pytest.fixture
def mock_bootstrap() -> Iterator[str]:
    """Return the address of librdkafka's in-process broker, which lives as long as its client."""
    owner = Producer({"bootstrap.servers": "unused", "test.mock.num.brokers": 1, "log_level": 2})
    brokers = owner.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    owner.flush(0)
