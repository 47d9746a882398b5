"""The loop of the bridge, with a made-up cluster: what is committed, and what happens where it is not."""

import json
from typing import Any

import pytest
from confluent_kafka import KafkaError

from clients.errors import PARTITION_EOF
from consumer.bridge.becoming import SOURCE_HEADER, Becoming, Place
from consumer.bridge.bridge import Bridge, BridgeParts
from consumer.bridge.horizon import Standing
from consumer.bridge.observer import BridgeObserver, Tally
from consumer.bridge.settings import BridgeSettings
from consumer.bridge.sources import Begin
from consumer.inputs.configure import mapping_of
from consumer.inputs.mapper import Mapper
from consumer.kafka.clocks import Clocks
from consumer.kafka.cluster.cluster import Cluster
from consumer.kafka.cluster.cluster_settings import KafkaSettings, TopicSettings
from consumer.kafka.dead_letters import TooManyRejected
from consumer.kafka.failures import CannotGoOn
from consumer.kafka.transactions import TransactionAborted
from consumer.kafka.worker import WorkerStatus
from consumer.kafka.worker_settings import DeadLetterSettings
from schemas.codec import JsonEncoder
from schemas.topics import INPUT_TOPICS
from schemas.units import Ms, Seconds
from tests.bridge.test_becoming import NOW_MS, SECTION

A, B = Place("shop", 0), Place("shop", 1)
TOPICS = TopicSettings(partitions=4, replication_factor=1, min_insync_replicas=1)


class Message:
    """One message of the client, or the news that a partition is at its end."""

    def __init__(self, place: Place, offset: int, value: bytes | None = None) -> None:
        self._place, self._offset, self._value = place, offset, value

    def topic(self) -> str:
        return self._place.topic

    def partition(self) -> int:
        return self._place.partition

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes | None:
        return self._value

    def key(self) -> bytes:
        return b"session"

    def headers(self) -> None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return 1, NOW_MS

    def error(self) -> KafkaError | None:
        return KafkaError(PARTITION_EOF) if self._value is None else None


class FakeCluster:
    """The group, the source log and the transactions of one process, all in memory.

    `log` holds the values of each partition; `aborts` is how many commits are still to be aborted; `others` is where
    the partitions of other processes stand.
    """

    def __init__(self, log: dict[Place, list[bytes]], begin: dict[Place, Begin] | None = None) -> None:
        self.log = log
        self.begin = begin or {place: Begin(0, committed=False, reached_ms=None) for place in log}
        self.aborts = 0
        self.others_now: dict[Place, Standing] | None = {}
        self.committed: list[tuple[str, str]] = []  # topic, source header or reason
        self.offsets: dict[Place, tuple[int, str]] = {}
        self._open: list[tuple[str, str]] = []
        self._position: dict[Place, int] = {}
        self._paused: set[Place] = set()

    # of the consumer
    def poll(self, _timeout_s: float) -> Message | None:
        for place, values in self.log.items():
            at = self._position.get(place)
            if at is not None and at <= len(values) and place not in self._paused:
                self._position[place] = at + 1
                return Message(place, at, values[at] if at < len(values) else None)
        return None

    def consume(self, _n: int, _timeout_s: float) -> list[Message]:
        return []

    def consumer_group_metadata(self) -> None:
        return None

    def close(self) -> None:
        self.on_revoked()

    # of the sources
    def subscribe(self, on_assigned: Any, on_revoked: Any, on_lost: Any) -> None:
        self.on_revoked, self.on_lost = on_revoked, on_lost
        on_assigned(self.begin)

    def start(self, place: Place, offset: int) -> None:
        self._position[place] = offset

    seek = start

    def pause(self, place: Place) -> None:
        self._paused.add(place)

    def resume(self, place: Place) -> None:
        self._paused.discard(place)

    def end(self, place: Place) -> int:
        return len(self.log[place])

    def others(self, _own: Any) -> dict[Place, Standing] | None:
        return self.others_now

    # of the transactions; `start` is shared with the sources
    def begin_transaction(self, _budget_s: float | None) -> None:
        self._open = []

    def produce(self, topic: str, value: bytes, _key: bytes, _partition: int, *, headers: Any = ()) -> None:
        origin = dict(headers).get(SOURCE_HEADER)
        self._open.append((topic, origin.decode() if origin else json.loads(value)["reason"]))

    def commit(self, offsets: list[Any]) -> None:
        if self.aborts:
            self.aborts -= 1
            raise TransactionAborted("made up")
        self.committed += self._open
        self.offsets |= {Place(each.topic, each.partition): (each.offset, each.metadata) for each in offsets}


class Transactions:
    """The transactional side of a `FakeCluster`."""

    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster
        self.produce = cluster.produce

    def start(self) -> None:
        """Nothing is left open."""

    def begin(self, budget_s: float | None) -> None:
        self._cluster.begin_transaction(budget_s)

    def flush(self) -> None:
        """All is delivered."""

    def commit(self, offsets: list[Any], _metadata: None) -> None:
        self._cluster.commit(offsets)


class Counting(BridgeObserver):
    """Adds up what was committed."""

    def __init__(self) -> None:
        self.total = Tally()

    def committed(self, tally: Tally, seconds: float) -> None:  # noqa: ARG002
        self.total += tally


def run(cluster: FakeCluster, rounds: int = 60, **settings: Any) -> Counting:
    """Run the loop for so many rounds of a second each."""
    now_s, left = 0.0, iter(range(rounds))

    def clock_s() -> Seconds:
        nonlocal now_s
        now_s += 0.1
        return Seconds(now_s)

    observer = Counting()
    client: Any = cluster
    transactions: Any = Transactions(cluster)
    partitions: dict[str, int] = dict.fromkeys(INPUT_TOPICS, 4)
    becoming = Becoming({"shop": Mapper(mapping_of("shop", SECTION))}, JsonEncoder(), partitions, 10_000)
    reached = Cluster(KafkaSettings(), TOPICS)
    Bridge(
        BridgeSettings(**settings),
        DeadLetterSettings(max_run_records=3),
        600_000,
        BridgeParts(reached, client, client, becoming, JsonEncoder(), transactions),
        observer=observer,
        status=WorkerStatus(),
        clocks=Clocks(ms=lambda: Ms(NOW_MS), s=clock_s),
        stop=lambda: next(left, None) is None,
    ).run()
    return observer


def seen(number: int, at_ms: int) -> bytes:
    """Return a record of the shop."""
    return json.dumps({"id": number, "who": f"c{number % 3}", "at": NOW_MS - 10_000_000 + at_ms, "seen": "i"}).encode()


@pytest.fixture
def cluster() -> FakeCluster:
    """Return two partitions with records that alternate in time."""
    return FakeCluster({A: [seen(n, 200 * n) for n in range(5)], B: [seen(n, 200 * n + 100) for n in range(5)]})


def origins(*places: tuple[Place, int]) -> list[tuple[str, str]]:
    """Return what is committed of views of these coordinates."""
    return [("clickstream", f"shop/{place.partition}/{offset}/0") for place, offset in places]


ALTERNATING = origins(*((place, n) for n in range(5) for place in (A, B)))


def test_partitions_are_written_by_event_time_with_offsets_and_the_time_that_was_reached(cluster: FakeCluster) -> None:
    """The note is what other processes wait by."""
    observer = run(cluster)
    assert cluster.committed == ALTERNATING
    assert cluster.offsets == {
        A: (5, str(NOW_MS - 10_000_000 + 800)),
        B: (5, str(NOW_MS - 10_000_000 + 900)),
    }
    assert observer.total.read["shop"] == observer.total.written["clickstream"] == 10


def test_an_aborted_commit_is_done_again_from_the_committed_offsets(cluster: FakeCluster) -> None:
    """Nothing of it is there twice or missing, wherever it hits."""
    cluster.aborts = 2
    observer = run(cluster, commit_records=3)
    assert cluster.committed == ALTERNATING
    assert observer.total.read["shop"] == 10


def test_a_process_whose_commits_are_aborted_again_and_again_ends(cluster: FakeCluster) -> None:
    """Somebody has to look."""
    cluster.aborts = 100
    with pytest.raises(CannotGoOn, match="commits in a row were aborted, the latest for this reason: made up"):
        run(cluster)
    assert cluster.committed == []


def test_reading_goes_on_where_the_group_has_left_off(cluster: FakeCluster) -> None:
    """Of a partition of which nothing is committed, at its beginning."""
    cluster.begin[A] = Begin(4, committed=True, reached_ms=NOW_MS)
    run(cluster)
    assert cluster.committed == origins((B, 0), (B, 1), (B, 2), (B, 3), (A, 4), (B, 4))


def test_records_wait_while_a_partition_of_another_process_is_far_behind(cluster: FakeCluster) -> None:
    """And where it can't be asked, what is known of the others holds on."""
    behind_ms = NOW_MS - 10_000_000
    cluster.others_now = {Place("shop", 2): Standing(5, 100, behind_ms)}
    run(cluster, max_lead_ms=Ms(250))
    assert cluster.committed == origins((A, 0), (B, 0), (A, 1))
    assert cluster.offsets[B] == (1, str(behind_ms + 300))  # the time of its next record, though nothing was written

    cluster.others_now = None
    cluster.committed.clear()
    run(cluster)
    assert cluster.committed == []


def test_what_is_lost_to_another_process_is_not_committed(cluster: FakeCluster) -> None:
    """It may have committed it already."""

    class Losing(FakeCluster):
        def others(self, own: Any) -> dict[Place, Standing] | None:
            if own and self.committed:
                self.on_lost()
            return {}

    losing = Losing(cluster.log)
    run(losing, commit_records=3, look_interval_ms=Ms(1))
    assert losing.committed == ALTERNATING[: len(losing.committed)]
    assert len(losing.committed) < len(ALTERNATING)


def test_bad_records_become_dead_letters_and_too_many_of_them_end_the_process() -> None:
    """The message names the record and says how to go on; what was bad before is committed."""
    bad = FakeCluster({A: [seen(0, 0), b"{", seen(1, 1), json.dumps({"id": 2}).encode()]})
    observer = run(bad)
    assert bad.committed == [origins((A, 0))[0], ("dead-letters", "malformed_json"), origins((A, 2))[0]]
    assert (observer.total.rejected["shop", "malformed_json"], observer.total.skipped["shop"]) == (1, 1)
    assert bad.offsets[A][0] == 4

    with pytest.raises(TooManyRejected, match=r"shop\[0\] offset 0, malformed_json.*nextbest inputs try --topic shop"):
        run(FakeCluster({A: [b"{"] * 9}))
