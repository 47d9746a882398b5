"""Markers of transactions in the inputs: offsets that no reader is given a record for."""

from pathlib import Path

import pytest
from confluent_kafka import Producer

from consumer.core.shared import Core
from consumer.default_catalogue import default_catalogue
from consumer.kafka.evidence import TopicEvidence
from consumer.replay.verify import verify
from consumer.store.memory import MemoryState
from consumer.zones import load_zone
from schemas.codec import Decoder
from tests.kafka.harness.cluster import DEADLINE_S, Cluster
from tests.kafka.harness.in_process import work_through, work_until
from tests.kafka.harness.stream import InputRecord, shop_stream
from tests.kafka.harness.worker_process import BUILD

pytestmark = pytest.mark.kafka


@pytest.fixture
def cluster(kafka_bootstrap: str, unique_prefix: str, tmp_path: Path) -> Cluster:
    """Return topics of this test's own, of one partition each."""
    made = Cluster(kafka_bootstrap, unique_prefix, tmp_path, partitions=1)
    made.create()
    return made


@pytest.fixture
def producer(cluster: Cluster) -> Producer:
    """Return a transactional producer, as a shop's own stream processor has it."""
    made = Producer({"bootstrap.servers": cluster.bootstrap, "transactional.id": f"{cluster.prefix}shop"})
    made.init_transactions(DEADLINE_S)
    return made


def produce(cluster: Cluster, producer: Producer, record: InputRecord, *, commit: bool = True) -> None:
    """Write one record in a transaction of its own."""
    producer.begin_transaction()
    producer.produce(cluster.topics.name(record.topic), record.value, record.key, record.partition)
    producer.flush(DEADLINE_S)
    if commit:
        producer.commit_transaction(DEADLINE_S)
    else:
        producer.abort_transaction(DEADLINE_S)


def lags(cluster: Cluster) -> list[int]:
    """Return how far the group's offsets are from where each input log ends, markers and all."""
    reached = cluster.reached()
    asking = reached.member()
    try:
        places = [reached.place("clickstream", 0), reached.place("privacy", 0)]
        ends = [asking.get_watermark_offsets(place, DEADLINE_S)[1] for place in places]
        found = asking.committed(places, DEADLINE_S)
        return [end - max(place.offset, 0) for place, end in zip(found, ends, strict=True)]
    finally:
        asking.close()


def test_once_all_is_read_the_group_is_at_the_end_of_the_log_whatever_lies_there(
    cluster: Cluster, producer: Producer
) -> None:
    """Behind markers, and behind records of an aborted transaction; a restarted worker goes on from there."""
    stream = shop_stream(customers=2, sessions=3, partitions=1)
    clicks = [record for record in stream if record.topic == "clickstream"]
    for record in clicks[:3]:
        produce(cluster, producer, record)
    produce(cluster, producer, clicks[3], commit=False)
    work_until(cluster, lambda watcher: watcher.records >= 3 and lags(cluster) == [0, 0])

    produce(cluster, producer, clicks[4])
    work_through(cluster, 1)
    assert lags(cluster) == [0, 0]

    with TopicEvidence(cluster.reached(), Decoder(), cluster.core.time.max_ahead_ms) as recording:
        verdict = verify(recording, Core.new(cluster.core, default_catalogue(), load_zone, build=BUILD), MemoryState)
        assert verdict.kind == "same", verdict
        assert recording.uncommitted_inputs() == 0
        for record in clicks[5:7]:
            produce(cluster, producer, record)
        assert recording.uncommitted_inputs() == 2


def test_a_transaction_that_is_still_open_is_not_waited_for(cluster: Cluster, producer: Producer) -> None:
    """What lies before it counts as unprocessed, what lies behind it may come to nothing yet."""
    stream = [record for record in shop_stream(customers=2, sessions=3, partitions=1) if record.topic == "clickstream"]
    produce(cluster, producer, stream[0])
    producer.begin_transaction()
    producer.produce(cluster.topics.name("clickstream"), stream[1].value, stream[1].key, 0)
    producer.flush(DEADLINE_S)
    with TopicEvidence(cluster.reached(), Decoder(), cluster.core.time.max_ahead_ms) as recording:
        assert recording.uncommitted_inputs() == 1
    producer.abort_transaction(DEADLINE_S)
