"""The mock broker of the demo: topics with a chosen number of partitions, and the clients of this project on it."""

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Message, TopicPartition

from clients.messages import poll_batch
from consumer.kafka.cluster.cluster import Cluster
from consumer.kafka.cluster.cluster_settings import KafkaSettings, TopicSettings
from consumer.kafka.cluster.mock_broker import MockBroker
from schemas.units import Seconds

TOPICS = {"clickstream": 3, "purchases": 3, "models": 1}

ANOTHER_PROCESS = """
import sys
from confluent_kafka.admin import AdminClient
print(len(AdminClient({"bootstrap.servers": sys.argv[1]}).list_topics(timeout=10).topics["clickstream"].partitions))
"""


@pytest.fixture
def broker() -> Iterator[MockBroker]:
    """Return a mock broker with three topics."""
    with MockBroker(TOPICS) as broker:
        yield broker


def reached(broker: MockBroker) -> Cluster:
    """Return a mock broker as a cluster."""
    return Cluster(KafkaSettings(broker.bootstrap, producer_properties={"linger.ms": 50}), TopicSettings())


def test_topics_have_the_chosen_number_of_partitions(broker: MockBroker) -> None:
    """Each topic is there from the start, with its partitions."""
    topics = reached(broker).admin.list_topics(timeout=10).topics
    assert {name: len(topics[name].partitions) for name in TOPICS} == TOPICS


def test_what_is_produced_is_consumed(broker: MockBroker) -> None:
    """Records go to the partition of their key, and come back as they went."""
    producer = reached(broker).idempotent_producer()
    sent = {(topic, b"key %d" % n, b"value %d" % n) for topic in TOPICS for n in range(20)}
    for topic, key, value in sorted(sent):
        producer.produce(topic, key=key, value=value)
    assert producer.flush(20) == 0

    consumer = reached(broker).reader()
    consumer.assign([TopicPartition(topic, p, 0) for topic, n in TOPICS.items() for p in range(n)])
    received: list[Message] = []
    deadline = time.monotonic() + 20
    while len(received) < len(sent) and time.monotonic() < deadline:
        received += [each for each in poll_batch(consumer, 100, Seconds(0.2)) if each.error() is None]
    consumer.close()
    assert {(message.topic(), message.key(), message.value()) for message in received} == sent
    assert len(received) == len(sent)
    where = {(message.key(), message.partition()) for message in received if message.topic() != "models"}
    assert len(where) == 20  # one partition a key, the same in both topics
    assert {partition for _, partition in where} == {0, 1, 2}


def test_another_process_may_use_the_address(broker: MockBroker) -> None:
    """Workers and the population of the demo are processes of their own."""
    said = subprocess.run(
        [sys.executable, "-c", ANOTHER_PROCESS, broker.bootstrap],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert said.stdout.strip() == "3"


def test_a_topic_is_made_once(broker: MockBroker) -> None:
    """Making it again is an error that names it."""
    with pytest.raises(ValueError, match="clickstream"):
        broker.create_topic("clickstream", 3)
