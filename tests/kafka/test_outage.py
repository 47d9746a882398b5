"""Brokers that go away under a worker at work, for less time than a transaction may take and for more."""

import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from clients.errors import call_again
from schemas.units import Ms, Seconds
from tests.kafka.broker import Broker, running_broker
from tests.kafka.harness.cluster import Cluster, wait_until
from tests.kafka.harness.stream import InputRecord, shop_stream
from tests.kafka.harness.worker_process import CANNOT_GO_ON, WorkerProcess
from tests.kafka.test_worker import assert_verified
from tests.kafka.test_worker_faults import SMALL_COMMITS, assert_each_once

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Return a broker of these tests' own, which they may kill."""
    with running_broker(tmp_path_factory.mktemp("outage")) as started:
        yield started


@pytest.fixture
def broker(own_broker: Broker) -> Broker:
    """Return that broker, running."""
    if not own_broker.running:
        own_broker.start()
    return own_broker


def busy_cluster(broker: Broker, folder: Path, transaction_timeout_ms: int) -> tuple[Cluster, list[InputRecord]]:
    """Return topics with inputs for some seconds of work, and those inputs."""
    cluster = Cluster(
        broker.bootstrap,
        f"test-{uuid.uuid4().hex[:8]}-",
        folder,
        worker=SMALL_COMMITS,
        transaction_timeout_ms=Ms(transaction_timeout_ms),
        session_timeout_ms=Ms(30_000),  # the group outlives the outage
    )
    cluster.create()
    stream = shop_stream(customers=80, sessions=800, partitions=cluster.partitions)
    cluster.produce(stream)
    return cluster, stream


def stop_within_a_commit(worker: WorkerProcess, cluster: Cluster) -> None:
    """Hold the process still while the broker has records of its open transaction."""
    until_s = time.monotonic() + 30
    while time.monotonic() < until_s:
        worker.process.send_signal(signal.SIGSTOP)
        time.sleep(0.02)
        if transaction_is_open(cluster):
            return
        worker.process.send_signal(signal.SIGCONT)
        time.sleep(0.02)
    pytest.fail("the worker was never met within a commit")


def transaction_is_open(cluster: Cluster) -> bool:
    """Return whether the changelog has records that are neither committed nor aborted."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    name = cluster.topics.name("customer-state")
    places = {TopicPartition(name, number): OffsetSpec.latest() for number in range(cluster.partitions)}  # type: ignore[no-untyped-call]

    def ends(level: IsolationLevel) -> list[int]:
        def ask() -> list[int]:
            return [each.result(10).offset for each in admin.list_offsets(places, isolation_level=level).values()]

        return call_again(ask, Seconds(10.0))

    return ends(IsolationLevel.READ_COMMITTED) != ends(IsolationLevel.READ_UNCOMMITTED)


def test_an_outage_that_is_shorter_than_the_transaction_timeout_is_ridden_out(broker: Broker, tmp_path: Path) -> None:
    """The same process goes on, and nothing is lost or doubled, also where its client hangs in the open commit."""
    cluster, stream = busy_cluster(broker, tmp_path, transaction_timeout_ms=10_000)
    with WorkerProcess(cluster) as worker:
        wait_until(lambda: cluster.committed_records() > len(stream) // 5, "a fifth is committed", worker)
        stop_within_a_commit(worker, cluster)
        broker.kill()
        worker.process.send_signal(signal.SIGCONT)
        broker.start()
        assert cluster.committed_records() < len(stream)
        wait_until(lambda: cluster.committed_records() >= len(stream), "all is committed", worker)
        assert worker.stop() == 0
    assert_each_once(cluster, stream)
    assert_verified(cluster)


def test_after_an_outage_longer_than_the_transaction_timeout_a_worker_goes_on_or_ends_and_another_does(
    broker: Broker, tmp_path: Path
) -> None:
    """The coordinator has aborted the commit and fenced its producer; nothing is lost or doubled, and nothing hangs."""
    cluster, stream = busy_cluster(broker, tmp_path, transaction_timeout_ms=2_000)
    with WorkerProcess(cluster) as worker:
        wait_until(lambda: cluster.committed_records() > len(stream) // 5, "a fifth is committed", worker)
        stop_within_a_commit(worker, cluster)
        broker.kill()
        worker.process.send_signal(signal.SIGCONT)
        time.sleep(1)
        worker.process.send_signal(signal.SIGSTOP)  # so that the coordinator's timeout is sure to come first
        broker.start()
        wait_until(lambda: not transaction_is_open(cluster), "the coordinator has aborted the commit")
        assert cluster.committed_records() < len(stream)
        worker.process.send_signal(signal.SIGCONT)

        def over() -> bool:
            return worker.process.poll() is not None or cluster.committed_records() >= len(stream)

        wait_until(over, "the worker has ended, or all is committed", deadline_s=40)
        if worker.process.poll() is None:
            assert worker.stop() == 0
        else:
            assert worker.process.returncode == CANNOT_GO_ON, worker.log()[-2000:]
            with WorkerProcess(cluster) as restarted:
                wait_until(lambda: cluster.committed_records() >= len(stream), "all is committed", restarted)
                assert restarted.stop() == 0
    assert_each_once(cluster, stream)
    assert_verified(cluster)


def test_a_worker_that_is_asked_to_stop_while_brokers_are_away_ends_within_ten_seconds(
    broker: Broker, tmp_path: Path
) -> None:
    """Whatever cannot be committed is left for the next start."""
    cluster, stream = busy_cluster(broker, tmp_path, transaction_timeout_ms=30_000)
    with WorkerProcess(cluster) as worker:
        wait_until(lambda: cluster.committed_records() > len(stream) // 5, "a fifth is committed", worker)
        stop_within_a_commit(worker, cluster)
        broker.kill()
        worker.process.send_signal(signal.SIGCONT)
        time.sleep(0.5)
        assert worker.stop(timeout_s=10.0) == CANNOT_GO_ON
