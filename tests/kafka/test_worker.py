"""One worker on a real broker, undisturbed: what goes in, what comes out, and what is refused."""

import shutil
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from pathlib import Path

import msgspec
import pytest

from consumer.core.shared import Core
from consumer.default_catalogue import default_catalogue
from consumer.kafka.clocks import wall_clock_ms
from consumer.kafka.dead_letters import TooManyRejected
from consumer.kafka.evidence import TopicEvidence
from consumer.kafka.worker_settings import DeadLetterSettings, WorkerSettings
from consumer.replay.evidence import NotVerifiable
from consumer.replay.verify import verify
from consumer.store.lmdb_state import LmdbState
from consumer.store.memory import MemoryState
from consumer.zones import load_zone
from schemas.codec import Decoder, JsonEncoder
from schemas.events import ClickEvent
from schemas.partitioning import partition_of
from schemas.records import DeadLetter
from schemas.units import DAY_MS, Ms
from tests.kafka.harness.cluster import Cluster, input_counts
from tests.kafka.harness.in_process import work_through, work_until
from tests.kafka.harness.stream import START_MS, InputRecord, shop_stream
from tests.kafka.harness.worker_process import BUILD

pytestmark = pytest.mark.kafka


@pytest.fixture
def cluster(kafka_bootstrap: str, unique_prefix: str, tmp_path: Path) -> Cluster:
    """Return topics of this test's own, two partitions each."""
    made = Cluster(kafka_bootstrap, unique_prefix, tmp_path)
    made.create()
    return made


def assert_verified(cluster: Cluster, decoder: Decoder | None = None) -> None:
    """Fail unless everything the topics hold can be derived again."""
    with TopicEvidence(cluster.reached(), decoder or Decoder(), cluster.core.time.max_ahead_ms) as recording:
        verdict = verify(recording, Core.new(cluster.core, default_catalogue(), load_zone, build=BUILD), MemoryState)
    assert verdict.kind == "same", verdict


def test_what_goes_in_is_decided_on_learned_from_journalled_and_committed(cluster: Cluster) -> None:
    """Events in, decisions out, each once; examples, sessions and models on the way; all of it derivable again."""
    stream = shop_stream(customers=100, sessions=1_200, partitions=cluster.partitions)
    cluster.produce(stream)

    def learned(_: object) -> bool:
        return len(cluster.read("models")) > 0

    work_until(cluster, lambda watcher: watcher.records >= len(stream) and learned(watcher))

    decisions = cluster.decoded("next-best-actions")
    assert len(decisions) > 100
    assert len({decision.decision_id for decision in decisions}) == len(decisions)
    assert any(decision.action != "nothing" for decision in decisions)
    assert cluster.committed_records() == len(stream)
    assert cluster.journal_counts() == input_counts(stream)
    assert len(cluster.customers()) == 100
    assert cluster.decoded("training-examples")
    assert cluster.decoded("sessions")
    assert not cluster.read("dead-letters")
    assert_verified(cluster)


def test_a_second_run_goes_on_where_the_first_stopped(cluster: Cluster) -> None:
    """The local store is used again: nothing of the changelog is read, no record is processed twice."""
    stream = shop_stream(customers=60, sessions=300, partitions=cluster.partitions)
    half = len(stream) // 2
    cluster.produce(stream[:half])
    work_through(cluster, half)
    cluster.produce(stream[half:])
    second = work_through(cluster, len(stream) - half)

    assert second.records == len(stream) - half
    assert second.restored_records == {0: 0, 1: 0}
    assert cluster.journal_counts() == input_counts(stream)
    assert_verified(cluster)


def test_a_lost_store_is_rebuilt_from_the_changelog_to_the_byte(cluster: Cluster) -> None:
    """Customers, timers and the task's record come back as they were."""
    stream = shop_stream(customers=60, sessions=300, partitions=cluster.partitions)
    cluster.produce(stream)
    work_through(cluster, len(stream))
    before = [_contents(cluster, task) for task in range(cluster.partitions)]
    shutil.rmtree(cluster.state_dir())
    restored = work_until(cluster, lambda watcher: watcher.status.ready)

    assert all(records > 0 for records in restored.restored_records.values())
    assert [_contents(cluster, task) for task in range(cluster.partitions)] == before


def _contents(cluster: Cluster, task: int) -> tuple[object, ...]:
    topic_ids = list(cluster.state_dir().glob(f"task-{task}/marker.json"))
    identity = msgspec.json.decode(topic_ids[0].read_bytes())["identity"]
    state = LmdbState(cluster.state_dir() / f"task-{task}", identity=identity)
    try:
        assert state.discarded is None
        names = sorted(key.decode() for partition, key in cluster.customers() if partition == task)
        return ([(name, state.get(name)) for name in names], list(state.due(1, 2**60)), state.task_record(), len(state))
    finally:
        state.close()


def test_bad_records_land_in_the_dead_letters_and_the_rest_is_processed(cluster: Cluster) -> None:
    """Each with its bytes (or, too large to carry, digest and coordinates) and a reason that names the field."""
    name = "customer-0"
    key, partition = name.encode(), partition_of(name.encode(), cluster.partitions)
    good = ClickEvent("e1", name, START_MS, "item_view", item_id="a", price=1.0)
    value = JsonEncoder().encode("clickstream", good)
    tree = msgspec.json.decode(value)

    def changed(**changes: object) -> bytes:
        return msgspec.json.encode(tree | changes)

    huge = changed(query="x" * 5_000_000)
    bad = [
        (key, value[:-7], "malformed_json", "value"),
        (key, changed(price="cheap"), "wrong_type", "price"),
        (key, b"\x00\x00\x00\x30\x39abc", "unknown_schema_id", "schema_id"),
        (key, changed(price=-1.0), "out_of_range", "price"),
        (key, changed(occurred_at=4_070_908_800_000), "ahead_of_time", "occurred_at"),  # the year 2099
        (None, value, "missing_key", "key"),
        (key, huge, "too_large", "value"),
    ]
    cluster.produce([InputRecord("clickstream", partition, each[0], each[1]) for each in bad])
    stream = shop_stream(customers=20, sessions=50, partitions=cluster.partitions)
    cluster.produce(stream)
    small = Decoder(max_value_bytes=1 << 20), JsonEncoder()
    work_until(cluster, lambda watcher: watcher.records >= len(bad) + len(stream), codec=small)

    letters: list[DeadLetter] = cluster.decoded("dead-letters")
    assert [(letter.reason, letter.field) for letter in letters] == [(each[2], each[3]) for each in bad]
    for offset, (letter, each) in enumerate(zip(letters, bad, strict=True)):
        assert (letter.origin.topic, letter.origin.partition, letter.origin.offset) == (
            "clickstream",
            partition,
            offset,
        )
        assert letter.key == each[0]
        assert letter.value == (None if each[1] is huge else each[1])
        assert letter.value_sha256 == sha256(each[1]).hexdigest()
        assert letter.value_size_bytes == len(each[1])
        assert letter.field is not None
        assert letter.field in letter.message
    assert len(cluster.customers()) == 20
    assert_verified(cluster, small[0])


def test_a_worker_that_rejects_everything_stops_instead_of_draining_its_topics(cluster: Cluster) -> None:
    """Beyond the limit it raises, and the records stay where they are."""
    limit = DeadLetterSettings(max_run_records=20)
    cluster.worker = WorkerSettings(commit_interval_ms=Ms(200), dead_letters=limit)
    cluster.produce(InputRecord("clickstream", 0, b"k", b"{not json") for _ in range(30))
    with pytest.raises(TooManyRejected, match="in a row"):
        work_through(cluster, 30)
    assert cluster.committed_records() <= 20
    assert len(cluster.read("dead-letters")) <= 20


def test_a_task_that_is_far_behind_learns_and_decides_nothing(cluster: Cluster) -> None:
    """Nobody wants a reminder for yesterday's cart: behind by more than the limit, the mode is catch-up."""
    stream = shop_stream(customers=40, sessions=200, partitions=cluster.partitions)
    cluster.produce(stream)
    watcher = work_until(
        cluster,
        lambda seen: seen.records >= len(stream),
        clock_ms=lambda: Ms(wall_clock_ms() + DAY_MS),
    )
    assert set(watcher.modes) == {"catch-up"}
    assert not cluster.read("next-best-actions")
    assert cluster.decoded("sessions")


def test_timers_of_a_silent_partition_fire_by_heartbeat(cluster: Cluster) -> None:
    """With heartbeats on, stream time follows the clock once nothing comes, and the journal says so."""
    now_ms = wall_clock_ms()
    cluster.worker = replace(cluster.worker, heartbeat_ms=Ms(500))
    name = "customer-0"
    partition = partition_of(name.encode(), cluster.partitions)
    click = ClickEvent("e1", name, now_ms - 3_600_000, "item_view", item_id="a")
    value = JsonEncoder().encode("clickstream", click)
    cluster.produce([InputRecord("clickstream", partition, name.encode(), value)])

    work_until(cluster, lambda _: bool(cluster.read("sessions")))  # the session ends in silence
    moves = [run.advance_to for record in cluster.decoded("journal") for run in record.runs if run.topic is None]
    assert moves
    assert all(move is not None and now_ms - 700_000 < move < now_ms + 600_000 for move in moves)
    assert_verified(cluster)


def test_no_task_waits_until_another_has_nothing_left(cluster: Cluster) -> None:
    """Where one task alone could fill every commit, they take turns."""
    cluster.worker = WorkerSettings(commit_interval_ms=Ms(200), commit_records=25)
    stream = shop_stream(customers=60, sessions=200, partitions=cluster.partitions)
    cluster.produce(stream)
    seen = work_through(cluster, len(stream))
    first_half = seen.tasks[: len(seen.tasks) // 2]
    for task in range(cluster.partitions):
        assert sum(task in tasks for tasks in first_half) > len(first_half) // 4


def test_snapshots_are_published_again_and_a_bad_product_blocks_its_item(cluster: Cluster) -> None:
    """The same key and the same bytes, so that retention never takes the last; verify takes each for what it is."""
    cluster.worker = replace(cluster.worker, republish_hours=0.3 / 3_600)
    cluster.produce(
        [
            InputRecord("products", 0, b"item-0-1", b'{"item_id": 7'),
            InputRecord("products", 0, b"\xff", None),
            InputRecord("products", 0, b"item-0-2", None),
        ]
    )
    stream = shop_stream(customers=100, sessions=1_200, partitions=cluster.partitions)
    cluster.produce(stream)

    def again(_: object) -> bool:
        keys = [message.key() for message in cluster.read("models")]
        return len(keys) > len(set(keys))

    work_until(cluster, lambda watcher: watcher.records >= len(stream) and again(watcher))
    values: dict[bytes | None, set[bytes | None]] = {}
    for message in cluster.read("models"):
        values.setdefault(message.key(), set()).add(message.value())
    assert all(len(found) == 1 for found in values.values())
    assert_verified(cluster)


def test_verify_reads_all_tasks_up_to_one_moment_of_a_run_that_goes_on(cluster: Cluster) -> None:
    """And says so: what it refers to later, and what was published since, may have been read in part."""
    stream = shop_stream(customers=20, sessions=60, partitions=cluster.partitions)
    half = len(stream) // 2
    cluster.produce(stream[:half])
    work_through(cluster, half)
    n_commits = len(cluster.read("journal"))
    with TopicEvidence(cluster.reached(), Decoder(), cluster.core.time.max_ahead_ms) as recording:
        journal = recording.journal()
        next(journal)
        cluster.produce(stream[half:])
        work_through(cluster, len(stream) - half)
        assert len(list(islice(journal, n_commits - 1))) == n_commits - 1
        with pytest.raises(NotVerifiable, match="went on committing"):
            next(journal)


def test_a_rejected_record_with_more_headers_than_a_letter_can_carry_does_not_hold_its_task_up(
    cluster: Cluster,
) -> None:
    """They are left out of the letter, as a value would be, and so is a key."""
    producer = cluster.reached().idempotent_producer()
    name = cluster.topics.name("clickstream")
    producer.produce(name, b"{", b"k", 0, headers=[("h", b"x" * 6_900_000)])
    producer.produce(name, b"{", b"k" * 5_000_000, 0, headers=[("small", b"1")])
    assert producer.flush(20) == 0
    work_through(cluster, 2)
    first, second = cluster.decoded("dead-letters")
    assert (first.key, first.value, first.headers) == (b"k", b"{", ())
    assert "headers of 6900017 bytes" in first.message
    assert (second.key, second.headers) == (None, (("small", b"1"),))
    assert "key of 5000000 bytes" in second.message
