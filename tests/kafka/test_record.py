"""Recording topics of a real broker: what was committed, and nothing else."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from producers.connection import Connection
from producers.recorder import RecordingFailed, record
from schemas.container import read_container
from tests.kafka.harness.cluster import Cluster

pytestmark = pytest.mark.kafka


@pytest.fixture
def cluster(kafka_bootstrap: str, unique_prefix: str, tmp_path: Path) -> Cluster:
    """Return topics of this test's own."""
    made = Cluster(kafka_bootstrap, unique_prefix, tmp_path)
    made.create()
    return made


@pytest.fixture
def transactional(cluster: Cluster) -> Iterator[Producer]:
    """Return a producer of transactions, none of which outlives the test."""
    producer = cluster.reached().transactional_producer("test")
    producer.init_transactions(20)
    yield producer
    producer.abort_transaction(20)


def send(producer: Producer, cluster: Cluster, n_records: int, value: bytes) -> None:
    """Begin a transaction and have its records on the broker."""
    producer.begin_transaction()
    for number in range(n_records):
        producer.produce(cluster.topics.name("clickstream"), value, b"k%d" % number)
    assert producer.flush(20) == 0


def recorded(cluster: Cluster) -> list[bytes | None]:
    """Record two topics and return the values."""
    out = cluster.folder / "out.avro"
    report = record(
        Connection(cluster.bootstrap, cluster.prefix), ["clickstream", "purchases"], out,
    )  # fmt: skip
    assert report.complete
    return [each.value for each in read_container(out)]


def test_aborted_records_are_not_recorded_and_do_not_hold_the_end_back(
    cluster: Cluster, transactional: Producer
) -> None:
    """The last thing in a partition may be an aborted record or a marker, which no consumer is given."""
    send(transactional, cluster, 10, b"committed")
    transactional.commit_transaction(20)
    send(transactional, cluster, 10, b"aborted")
    transactional.abort_transaction(20)
    assert recorded(cluster) == [b"committed"] * 10
    transactional.begin_transaction()


def test_an_open_transaction_is_waited_for(cluster: Cluster, transactional: Producer) -> None:
    """What it wrote lies before the end, so it is in the recording once it is committed."""
    send(transactional, cluster, 5, b"open")
    committing = threading.Timer(1.0, transactional.commit_transaction)
    committing.start()
    assert recorded(cluster) == [b"open"] * 5
    committing.join()
    transactional.begin_transaction()


def test_a_transaction_that_stays_open_is_named_and_what_was_read_is_kept(
    cluster: Cluster, transactional: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the ``.part`` file: the recording does not get its name."""
    monkeypatch.setattr("producers.recorder.STALLED_S", 1.0)
    send(transactional, cluster, 5, b"committed")
    transactional.commit_transaction(20)
    send(transactional, cluster, 5, b"open")
    with pytest.raises(RecordingFailed, match="clickstream"):
        recorded(cluster)
    assert not (cluster.folder / "out.avro").exists()
    assert [each.value for each in read_container(cluster.folder / "out.avro.part")] == [b"committed"] * 5
