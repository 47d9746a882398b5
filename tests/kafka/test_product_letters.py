"""Product records that cannot be read: blocked in every worker, kept and counted by one."""

import threading
from pathlib import Path

import msgspec
import pytest

from consumer.kafka.observer import CommittedTask
from schemas.events import ClickEvent
from tests.kafka.harness.cluster import Cluster
from tests.kafka.harness.in_process import Watcher, work_until
from tests.kafka.harness.stream import START_MS, InputRecord, input_record

pytestmark = pytest.mark.kafka


@pytest.fixture
def cluster(kafka_bootstrap: str, unique_prefix: str, tmp_path: Path) -> Cluster:
    """Return topics of this test's own, two partitions each."""
    made = Cluster(kafka_bootstrap, unique_prefix, tmp_path)
    made.create()
    return made


def product(item_id: str, **fields: object) -> InputRecord:
    """Return a record of the products topic."""
    return InputRecord("products", 0, item_id.encode(), msgspec.json.encode({"item_id": item_id, **fields}))


def letters(cluster: Cluster) -> list[tuple[str, int, str]]:
    """Return topic, offset and reason of each dead letter."""
    found = cluster.decoded("dead-letters")
    return [(letter.origin.topic, letter.origin.offset, letter.reason) for letter in found]


def test_a_bad_product_is_one_dead_letter_however_many_workers_read_it_and_however_often(cluster: Cluster) -> None:
    """By two workers side by side, and by each of two that start one after the other; without any event at all."""
    bad = [product("kettle", available="perhaps"), InputRecord("products", 0, b"pot", b"{"), product("", price=1)]
    cluster.produce([product("cup", price=3.0), *bad])
    wanted = [("products", 1, "wrong_type"), ("products", 2, "malformed_json"), ("products", 3, "missing_key")]
    enough = threading.Event()
    other = threading.Thread(target=lambda: work_until(cluster, lambda _: enough.is_set(), "worker-1"))
    other.start()
    try:
        work_until(cluster, lambda _: len(letters(cluster)) >= len(wanted))
    finally:
        enough.set()
        other.join()
    assert letters(cluster) == wanted

    cluster.produce([product("cup", price="dear"), input_record("clickstream", click("ann"), cluster.partitions)])
    work_until(cluster, lambda watcher: watcher.records >= 1 and len(letters(cluster)) > len(wanted))
    assert letters(cluster) == [*wanted, ("products", 4, "wrong_type")]


def test_what_is_rejected_and_mended_in_products_is_told_once(cluster: Cluster) -> None:
    """The worker of task 0 tells it, in the words of metrics."""
    cluster.produce([product("cup", price="3.50"), product("pot", price="dear")])
    told = Told()
    work_until(cluster, lambda _: len(told.rejected) >= 1, watcher=told)
    work_until(cluster, lambda watcher: watcher.status.ready, watcher=told)
    assert told.rejected == [("products", 0, 1, "wrong_type")]
    assert told.mends == {("products", "number_from_text"): 1}


class Told(Watcher):
    """Notes what a worker tells of rejected and mended records."""

    def __init__(self) -> None:
        super().__init__()
        self.rejected: list[tuple[str, int, int, str]] = []
        self.mends: dict[tuple[str, str], int] = {}

    def committed(self, tasks: list[CommittedTask], seconds: float) -> None:  # type: ignore[override]
        """Note what was rejected."""
        super().committed(tasks, seconds)
        self.rejected += [
            (each.topic, each.partition, each.offset, each.rejection.reason) for task in tasks for each in task.rejected
        ]

    def mended(self, counts: dict[tuple[str, str], int]) -> None:  # type: ignore[override]
        """Note what was mended."""
        self.mends |= counts


def click(customer_id: str) -> ClickEvent:
    """Return a click of one customer."""
    return ClickEvent("e1", customer_id, START_MS, "item_view", item_id="cup")
