"""Joining the group, on a real broker."""

import time
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from clients.errors import PARTITION_EOF
from consumer.kafka.assignment import Assignment
from schemas.topics import EVENT_TOPICS
from tests.kafka.harness.cluster import Cluster
from tests.kafka.harness.stream import InputRecord

pytestmark = pytest.mark.kafka


def test_a_worker_joins_where_retention_has_taken_the_beginning(
    kafka_bootstrap: str, unique_prefix: str, tmp_path: Path
) -> None:
    """Nothing is asked of offsets that are gone, however the pause and the first fetch follow each other."""
    cluster = Cluster(kafka_bootstrap, unique_prefix, tmp_path, partitions=4)
    cluster.create()
    cluster.produce(
        InputRecord(topic, number % 4, b"k", b"v") for topic in sorted(EVENT_TOPICS) for number in range(400)
    )
    admin = cluster.reached().admin
    gone = [TopicPartition(cluster.topics.name(topic), number, 50) for topic in EVENT_TOPICS for number in range(4)]
    for future in admin.delete_records(gone).values():
        future.result(10)

    for attempt in range(4):
        first = _first_offsets_read(cluster, f"group-{attempt}", 60, wait_s=0.05 * (attempt % 2))
        assert len(first) == 12
        assert set(first) == {60}


def _first_offsets_read(cluster: Cluster, group_id: str, offset: int, wait_s: float) -> list[int | None]:
    """Start every partition at `offset` and return the offset of the first record that came of each."""
    reached = cluster.reached()
    consumer = reached.member(f"-{group_id}")
    assignment = Assignment(consumer, reached)
    assignment.subscribe(lambda: None, lambda: None)
    first: dict[tuple[str | None, int | None], int | None] = {}
    until_s = time.monotonic() + 20
    try:
        while assignment.numbers is None:
            assert consumer.poll(0.1) is None
            assert time.monotonic() < until_s
        time.sleep(wait_s)  # time for a fetch to go wrong
        for number in assignment.numbers:
            assignment.start(number, dict.fromkeys(EVENT_TOPICS, offset))
        while len(first) < 12:
            message = consumer.poll(0.1)
            if message is not None and (error := message.error()) is not None:
                assert error.code() == PARTITION_EOF
            elif message is not None:
                first.setdefault((message.topic(), message.partition()), message.offset())
            assert time.monotonic() < until_s
    finally:
        consumer.close()
    return list(first.values())
