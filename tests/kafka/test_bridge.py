"""The bridge on a real broker: topics of any shape become the canonical ones, each record once, also under SIGKILL."""

import signal
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from schemas.partitioning import partition_of
from schemas.topics import Topic
from schemas.units import HOUR_MS
from tests.kafka.harness.bridging import START_S, BridgeProcess, Shop, origin_of
from tests.kafka.harness.cluster import Cluster, wait_until
from tests.kafka.harness.in_process import work_through

pytestmark = pytest.mark.kafka

TOPICS: tuple[Topic, ...] = ("clickstream", "purchases")


def new_shop(bootstrap: str, prefix: str, folder: Path) -> Shop:
    """Return source topics of 3 and 12 partitions, beside canonical ones of 4."""
    cluster = Cluster(bootstrap, prefix, folder, partitions=4)
    cluster.create()
    return Shop(cluster, {"shop-a": 3, "shop-b": 12})


def n_wanted(shop: Shop) -> int:
    """Return how many events the canonical topics are to hold."""
    return sum(map(len, shop.wanted.values()))


def assert_each_once_in_order(shop: Shop) -> None:
    """Fail unless every event is there once, keyed and partitioned right, in the order of its source partition."""
    for topic in TOPICS:
        messages = shop.bridged(topic)
        assert Counter(map(origin_of, messages)) == Counter(shop.wanted[topic])
        seen: dict[tuple[int | None, str], int] = defaultdict(int)
        for message, event in zip(messages, shop.cluster.decoded(topic), strict=True):
            assert message.key() == event.customer_id.encode()
            assert message.partition() == partition_of(message.key() or b"", 4)
            source, partition, offset, _ = origin_of(message).split("/")
            where = (message.partition(), f"{source}/{partition}")
            assert seen[where] <= int(offset)
            seen[where] = int(offset)


def test_every_record_arrives_once_on_the_partition_of_its_customer(
    kafka_bootstrap: str, unique_prefix: str, tmp_path: Path
) -> None:
    """Of 3 and 12 partitions keyed by session; what can't be mapped becomes a dead letter that says where it came from.

    One process reads by event time over all partitions, so each canonical partition is in event-time order.
    """
    shop = new_shop(kafka_bootstrap, unique_prefix, tmp_path)
    shop.fill(2_000)
    shop.write("shop-a", 2, b"{not json")
    shop.flush()
    with BridgeProcess(shop.cluster, "bridge-0") as bridge:
        wait_until(lambda: shop.n_bridged() >= n_wanted(shop), "all is bridged", bridge)
        wait_until(lambda: len(shop.bridged("dead-letters")) == 1, "the bad record is a dead letter", bridge)
        assert bridge.stop() == 0
    assert_each_once_in_order(shop)
    (letter,) = shop.cluster.decoded("dead-letters")
    assert (letter.reason, letter.origin.topic, letter.origin.partition) == (
        "malformed_json",
        unique_prefix + "shop-a",
        2,
    )
    assert letter.value == b"{not json"
    assert "the first record rejected as malformed_json" in bridge.log()
    work_through(shop.cluster, n_wanted(shop))
    assert len(shop.bridged("dead-letters")) == 1  # a worker takes everything that was bridged
    times: dict[int | None, list[int]] = defaultdict(list)
    for message, event in zip(shop.bridged("clickstream"), shop.cluster.decoded("clickstream"), strict=True):
        times[message.partition()].append(event.occurred_at)
    assert all(each == sorted(each) for each in times.values())


def test_processes_that_are_killed_lose_and_double_nothing(
    kafka_bootstrap: str, unique_prefix: str, tmp_path: Path
) -> None:
    """Two processes; each is killed in the middle, several times, and started again or taken over from."""
    shop = new_shop(kafka_bootstrap, unique_prefix, tmp_path)
    shop.fill(8_000)
    small = {"NEXTBEST_BRIDGE__COMMIT_RECORDS": "60", "NEXTBEST_BRIDGE__COMMIT_INTERVAL_MS": "20"}
    processes = {name: BridgeProcess(shop.cluster, name, **small) for name in ("bridge-0", "bridge-1")}
    kills = 0
    try:
        for share in (0.1, 0.25, 0.4, 0.55, 0.7):
            wait_until(lambda share=share: shop.n_bridged() > share * n_wanted(shop), f"{share}", *processes.values())  # type: ignore[misc]
            name = f"bridge-{kills % 2}"
            processes[name].kill()
            kills += shop.n_bridged() < n_wanted(shop)
            processes[name] = BridgeProcess(shop.cluster, name, **small)
        processes["bridge-1"].kill()  # for good: the other takes over
        last = processes["bridge-0"]
        wait_until(lambda: shop.n_bridged() >= n_wanted(shop), "all is bridged", last)
        assert last.stop() == 0
    finally:
        for process in processes.values():
            process.kill()
    assert kills >= 3
    assert_each_once_in_order(shop)


def test_a_process_that_wakes_up_after_its_partitions_were_taken_over_writes_nothing_twice(
    kafka_bootstrap: str, unique_prefix: str, tmp_path: Path
) -> None:
    """What it had read is dropped. It takes part again, or ends with a message where a transaction had been open."""

    def awake() -> bool:
        ended = sleeper.process.poll() is not None
        return ended or sleeper.log().count("source partitions assigned") > 1

    shop = new_shop(kafka_bootstrap, unique_prefix, tmp_path)
    shop.fill(3_000)
    small = {"NEXTBEST_BRIDGE__COMMIT_RECORDS": "60", "NEXTBEST_BRIDGE__COMMIT_INTERVAL_MS": "20"}
    with BridgeProcess(shop.cluster, "bridge-0", **small) as sleeper:
        wait_until(lambda: shop.n_bridged() > 0.2 * n_wanted(shop), "a fifth is bridged", sleeper)
        sleeper.process.send_signal(signal.SIGSTOP)
        assert shop.n_bridged() < n_wanted(shop)
        with BridgeProcess(shop.cluster, "bridge-1") as other:
            wait_until(lambda: shop.n_bridged() >= n_wanted(shop), "the other has bridged all", other)
            sleeper.process.send_signal(signal.SIGCONT)
            wait_until(awake, "the sleeper has noticed", other)
            shop.fill(500, seed=4)
            wait_until(lambda: shop.n_bridged() >= n_wanted(shop), "what came later is bridged", other)
            assert sleeper.stop() == 0 or "nextbest: " in sleeper.log()
            assert other.stop() == 0
    assert_each_once_in_order(shop)


def test_a_process_far_ahead_waits_for_the_backlog_of_another(
    kafka_bootstrap: str, unique_prefix: str, tmp_path: Path
) -> None:
    """Two partitions, two processes: one with six days in 600 records, one with the same days in many more.

    Whatever is on a canonical topic, nothing behind it is older by more than the lead that is allowed.
    """
    cluster = Cluster(kafka_bootstrap, unique_prefix, tmp_path, partitions=1)
    cluster.create()
    shop = Shop(cluster, {"shop-a": 1, "shop-b": 1})
    days_s = 6 * 86_400
    for name, n in (("shop-a", 600), ("shop-b", 30_000)):
        for number in range(n):
            at = START_S + number * days_s // n
            record = {"id": f"{name}-{number}", "who": number % 9, "at": at, "what": "seen", "sku": number % 30}
            shop.write(name, 0, record, "clickstream")
    shop.flush()
    slow = {"NEXTBEST_BRIDGE__COMMIT_RECORDS": "300", "NEXTBEST_BRIDGE__LOOK_INTERVAL_MS": "50"}
    with BridgeProcess(cluster, "bridge-0", **slow) as one, BridgeProcess(cluster, "bridge-1", **slow) as other:
        wait_until(lambda: shop.n_bridged() >= n_wanted(shop), "all is bridged", one, other)
        assert one.stop() == 0
        assert other.stop() == 0
    assert all("source partitions assigned: 1" in process.log() for process in (one, other))
    highest_ms, furthest_behind_ms = 0, 0
    for event in cluster.decoded("clickstream"):
        highest_ms = max(highest_ms, event.occurred_at)
        furthest_behind_ms = max(furthest_behind_ms, highest_ms - event.occurred_at)
    assert furthest_behind_ms <= HOUR_MS
    assert Counter(map(origin_of, shop.bridged("clickstream"))) == Counter(shop.wanted["clickstream"])
