"""Workers that are killed, replaced and joined by others, on a real broker: nothing is lost and nothing doubled."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from consumer.kafka.worker_settings import WorkerSettings
from schemas.codec import JsonEncoder
from schemas.records import Session
from schemas.units import Ms
from tests.kafka.harness.cluster import Cluster, input_counts, wait_until
from tests.kafka.harness.in_process import work_through
from tests.kafka.harness.stream import START_MS, InputRecord, shop_stream
from tests.kafka.harness.worker_process import WorkerProcess
from tests.kafka.test_worker import assert_verified

pytestmark = pytest.mark.kafka

# Many small commits, so that a kill lands somewhere inside one.
SMALL_COMMITS = WorkerSettings(commit_interval_ms=Ms(50), commit_records=150, batch_records=100)


def new_cluster(bootstrap: str, prefix: str, folder: Path, worker: WorkerSettings = SMALL_COMMITS) -> Cluster:
    """Return topics with four partitions each."""
    cluster = Cluster(bootstrap, prefix, folder, partitions=4, worker=worker)
    cluster.create()
    return cluster


def assert_each_once(cluster: Cluster, stream: list[InputRecord]) -> None:
    """Fail unless every input record is accounted for exactly once and no decision was published twice."""
    assert cluster.journal_counts() == input_counts(stream)
    assert cluster.committed_records() == len(stream)
    ids = [decision.decision_id for decision in cluster.decoded("next-best-actions")]
    assert ids
    assert len(set(ids)) == len(ids)


def test_a_killed_worker_loses_and_doubles_nothing(kafka_bootstrap: str, unique_prefix: str, tmp_path: Path) -> None:
    """Two workers; one is killed in the middle and restarted, then the other killed and its tasks taken over."""
    cluster = new_cluster(kafka_bootstrap, unique_prefix, tmp_path)
    stream = shop_stream(customers=250, sessions=3_700, partitions=4)
    cluster.produce(stream)
    with WorkerProcess(cluster, "worker-0") as first, WorkerProcess(cluster, "worker-1") as second:
        wait_until(lambda: cluster.committed_records() > len(stream) // 5, "a fifth is committed", first, second)
        first.kill()
        assert cluster.committed_records() < len(stream)
        with WorkerProcess(cluster, "worker-0") as restarted:
            wait_until(lambda: cluster.committed_records() > len(stream) // 2, "half is committed", second, restarted)
            second.kill()
            assert cluster.committed_records() < len(stream)
            wait_until(lambda: cluster.committed_records() >= len(stream), "all is committed", restarted)
            assert restarted.stop() == 0
    assert_each_once(cluster, stream)
    assert_verified(cluster)


def test_with_frozen_knowledge_a_killed_run_equals_an_undisturbed_one_byte_for_byte(
    kafka_bootstrap: str, unique_prefix: str, tmp_path: Path
) -> None:
    """Inputs preloaded: decisions in each partition, and the customers in the changelog, are the same bytes."""
    stream = shop_stream(customers=150, sessions=1_800, partitions=4) + list(_made_up_sessions())
    n_inputs = sum(input_counts(stream).values())
    frozen = replace(SMALL_COMMITS, mode="frozen")
    undisturbed = new_cluster(kafka_bootstrap, unique_prefix + "a-", tmp_path / "a", frozen)
    disturbed = new_cluster(kafka_bootstrap, unique_prefix + "b-", tmp_path / "b", frozen)
    for cluster in (undisturbed, disturbed):
        cluster.folder.mkdir()
        cluster.produce(stream)

    work_through(undisturbed, n_inputs)
    with WorkerProcess(disturbed, "worker-0") as first, WorkerProcess(disturbed, "worker-1") as second:
        wait_until(lambda: disturbed.committed_records() > n_inputs // 4, "a quarter is committed", first, second)
        first.kill()
        with WorkerProcess(disturbed, "worker-0") as restarted:
            wait_until(lambda: disturbed.committed_records() >= n_inputs, "all is committed", second, restarted)

    assert _values(disturbed) == _values(undisturbed)
    assert any(b"together" in (value or b"") for values in _values(undisturbed).values() for value in values)
    assert disturbed.customers() == undisturbed.customers()
    assert not undisturbed.read("training-examples")
    assert_verified(disturbed)


def _made_up_sessions() -> list[InputRecord]:
    """Return sessions to know before the first event, so that items are recommended by something that was learned."""
    found = []
    for number in range(60):
        items = tuple(f"item-{number % 6}-{(number + step) % 12}" for step in range(4))
        session = Session(f"s{number}", START_MS, items, (None,) * 4, (1.0,) * 4)
        found.append(InputRecord("sessions", 0, b"s", JsonEncoder().encode("sessions", session)))
    return found


def _values(cluster: Cluster) -> dict[int | None, list[bytes | None]]:
    values: dict[int | None, list[bytes | None]] = defaultdict(list)
    for message in cluster.read("next-best-actions"):
        values[message.partition()].append(message.value())
    return values


def test_a_joining_worker_takes_tasks_over_and_both_stop_in_time(
    kafka_bootstrap: str, unique_prefix: str, tmp_path: Path
) -> None:
    """The second worker restores what the first has committed; on SIGTERM both end with 0 within ten seconds."""
    # Days of the stream arrive in each tenth of a second: what a busy broker stores late must be waited for.
    patient = replace(SMALL_COMMITS, merge_wait_ms=Ms(1_000))
    cluster = new_cluster(kafka_bootstrap, unique_prefix, tmp_path, patient)
    stream = shop_stream(customers=150, sessions=1_500, partitions=4)
    half = len(stream) // 2
    cluster.produce(stream[:half])
    with WorkerProcess(cluster, "worker-0") as first:
        wait_until(lambda: cluster.committed_records() > half // 2, "the first worker is at work", first)
        with WorkerProcess(cluster, "worker-1") as second:
            wait_until(
                lambda: second.log().count("restored with") >= 2, "the second worker has its tasks", first, second
            )
            cluster.produce(stream[half:])
            wait_until(lambda: cluster.committed_records() >= len(stream), "all is committed", first, second)
            assert first.stop(timeout_s=10.0) == 0
            assert second.stop(timeout_s=10.0) == 0
    assert_each_once(cluster, stream)
    assert_verified(cluster)
