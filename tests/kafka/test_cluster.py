"""Our clients of a cluster: what may be passed through to them, and what they see of each other."""

import time

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from clients.errors import call_again
from clients.messages import poll_batch
from clients.properties import ProtectedProperty
from consumer.kafka.cluster.cluster import Cluster
from consumer.kafka.cluster.cluster_settings import KafkaSettings, TopicSettings
from consumer.kafka.cluster.mock_broker import MockBroker
from schemas.units import Ms, Seconds


def reached(kafka: KafkaSettings) -> Cluster:
    """Return a cluster with topics of the usual names."""
    return Cluster(kafka, TopicSettings())


def test_a_delivery_may_not_outlive_its_transaction() -> None:
    """A message timeout at or over the transaction's is refused; one below is taken."""
    for timeout_ms in (10_000, 0):
        settings = KafkaSettings(producer_properties={"message.timeout.ms": timeout_ms})
        with pytest.raises(ProtectedProperty, match=r"below kafka\.transaction_timeout_ms \(10000\)"):
            reached(settings).transactional_producer("t")
    reached(KafkaSettings(producer_properties={"message.timeout.ms": 5_000})).transactional_producer("t")


def test_properties_reach_the_clients_that_they_are_for() -> None:
    """What is passed through is not silently dropped: a name that librdkafka does not know is an error."""
    for settings in (KafkaSettings(properties={"no.such": 1}), KafkaSettings(consumer_properties={"no.such": 1})):
        for make in (reached(settings).member, reached(settings).reader):
            with pytest.raises(KafkaException, match=r"no\.such"):
                make()
    producing = reached(KafkaSettings(producer_properties={"no.such": 1}))
    for make_producer in (producing.idempotent_producer, lambda: producing.transactional_producer("t")):
        with pytest.raises(KafkaException, match=r"no\.such"):
            make_producer()
    producing.member().close()
    with pytest.raises(ProtectedProperty, match="partitioner"):
        reached(KafkaSettings(producer_properties={"partitioner": "random"})).idempotent_producer()


def test_settings_never_print_a_password() -> None:
    """Properties may hold secrets, so they are not part of what settings look like."""
    assert "hunter2" not in repr(KafkaSettings(properties={"sasl.password": "hunter2"}))


def test_a_member_of_a_group_reads_both_topics_of_a_partition() -> None:
    """Static members, assigned by range, get the same partition numbers of co-partitioned topics."""
    with MockBroker({"clickstream": 2, "purchases": 2}) as broker:
        slots = ("slot-0", "slot-1")
        members = [
            reached(KafkaSettings(broker.bootstrap, instance_id=slot, session_timeout_ms=Ms(1_500))).member()
            for slot in slots
        ]
        for member in members:
            member.subscribe(["clickstream", "purchases"])
        deadline = time.monotonic() + 60
        while not all(len(member.assignment()) == 2 for member in members) and time.monotonic() < deadline:
            for member in members:
                poll_batch(member, 10, Seconds(0.1))
        shares = [sorted((part.topic, part.partition) for part in member.assignment()) for member in members]
        for member in members:
            member.close()
    assert sorted(shares) == [[("clickstream", p), ("purchases", p)] for p in (0, 1)]


def from_the_beginning(member: Consumer, partitions: list[TopicPartition]) -> None:
    """Assign partitions of a group that has committed nothing yet."""
    for each in partitions:
        each.offset = 0
    member.assign(partitions)


def values_of(consumer: Consumer) -> list[bytes | None]:
    """Return the values of the records that have come."""
    return [each.value() for each in poll_batch(consumer, 10, Seconds(0.2)) if each.error() is None]


def test_a_transaction_is_seen_once_it_is_committed(kafka_bootstrap: str, unique_prefix: str) -> None:
    """On a real broker: records and input offsets of a commit are there, those of an abort are not."""
    from confluent_kafka.cimpl import NewTopic

    cluster = reached(KafkaSettings(kafka_bootstrap, group_id=unique_prefix + "group", session_timeout_ms=Ms(2_000)))
    admin = cluster.admin
    source, target = unique_prefix + "source", unique_prefix + "target"
    for future in admin.create_topics([NewTopic(name, 1, 1) for name in (source, target)]).values():
        future.result(20)
    producer = cluster.idempotent_producer()
    for n in range(4):
        producer.produce(source, key=b"k", value=b"%d" % n)
    assert producer.flush(20) == 0

    member = cluster.member()
    member.subscribe([source], on_assign=from_the_beginning)
    taken: list[bytes | None] = []
    deadline = time.monotonic() + 30
    while len(taken) < 4 and time.monotonic() < deadline:
        taken += values_of(member)
    writer = cluster.transactional_producer("slot-0")
    call_again(lambda: writer.init_transactions(10), Seconds(30.0))
    for value, commit in ((b"aborted", False), (b"committed", True)):
        writer.begin_transaction()
        writer.produce(target, value=value)
        offsets = [TopicPartition(source, 0, 2 if commit else 1)]
        writer.send_offsets_to_transaction(offsets, member.consumer_group_metadata(), 10)
        if commit:
            writer.commit_transaction(10)
        else:
            assert writer.flush(10) == 0
            writer.abort_transaction(10)
    assert member.committed([TopicPartition(source, 0)], 10)[0].offset == 2
    member.close()

    everything = Consumer(
        {"bootstrap.servers": kafka_bootstrap, "group.id": "any", "isolation.level": "read_uncommitted"}
    )
    seen = []
    for reader in (cluster.reader(), everything):
        reader.assign([TopicPartition(target, 0, 0)])
        values: list[bytes | None] = []
        deadline = time.monotonic() + 30
        while b"committed" not in values and time.monotonic() < deadline:
            values += values_of(reader)
        reader.close()
        seen.append(values)
    assert seen == [[b"committed"], [b"aborted", b"committed"]]
