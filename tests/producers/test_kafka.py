"""Publishing, simulating and recording against a broker inside the process."""

import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count, groupby
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from clients.errors import ClusterAway
from clients.offsets import end_offsets
from clients.properties import ProtectedProperty
from consumer.cli import main
from producers.connection import Connection
from producers.publish import Progress, Publisher, PublishFailed, publish_rows, publish_to_kafka
from producers.readers import read_rows
from producers.recorder import RecordingFailed, RecordingReport, record
from producers.rows import BadRow, Row, UnreadableFile
from producers.simulate import Population, PopulationSettings
from producers.simulation import DecisionReader, simulate_to_kafka, start_ms_for
from schemas.codec import MAX_VALUE_BYTES, Decoder
from schemas.container import Recorded, read_container
from schemas.partitioning import partition_of
from schemas.units import DAY_MS, Seconds
from tests.producers.test_simulate import _decision

START_MS = 1_700_000_000_000
AWAY = "127.0.0.1:1"


def _rows(size: int, topic: str = "clickstream", gap_ms: int = 1_000) -> list[Row]:
    return [
        Row(topic, START_MS + n * gap_ms, b"customer-%d" % (n % 37), b'{"n":%d}' % n, n + 1, "login")
        for n in range(size)
    ]


def _recorded(bootstrap: str, folder: Path, *topics: str, prefix: str = "") -> list[Recorded]:
    out = folder / "recorded.avro"
    record(Connection(bootstrap, prefix), topics, out)
    return list(read_container(out))


def test_rows_arrive_with_key_value_headers_time_and_javas_partition(mock_bootstrap: str, tmp_path: Path) -> None:
    """What is published is what is recorded; the partition is the one that Java's clients would choose."""
    rows = _rows(300)
    rows[5] = msgspec.structs.replace(rows[5], headers=(("trace", b"1"), ("empty", None)))
    report = publish_to_kafka(rows, Connection(mock_bootstrap, "shop."))
    assert report.delivered == {"clickstream": 300}
    assert (report.rows, report.kinds, report.failed, report.bad) == (300, {"login": 300}, {}, {})
    found = _recorded(mock_bootstrap, tmp_path, "clickstream", prefix="shop.")
    assert sorted((r.value, r.key, r.timestamp_ms, r.headers) for r in found) == sorted(
        (row.value, row.key, row.occurred_at, row.headers) for row in rows
    )
    assert {r.topic for r in found} == {"clickstream"}
    assert all(r.partition == partition_of(r.key or b"", 4) for r in found)


def test_a_file_of_which_nothing_can_be_published_is_a_mistake(
    mock_bootstrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and the commonest reason; more than one bad row in a hundred is a warning."""
    monkeypatch.setenv("NEXTBEST_KAFKA__BOOTSTRAP_SERVERS", mock_bootstrap)
    path = tmp_path / "events.jsonl"

    def publish(*lines: str) -> tuple[int, str]:
        path.write_text("\n".join(lines), encoding="utf-8")
        monkeypatch.setattr(sys, "argv", ["nextbest", "produce", "replay", str(path)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().err

    code, said = publish("{}", "{", "{}")
    assert code == 2
    assert f"nextbest: {path}: none of 3 rows could be used; 2 of them for unknown_kind; line 1: kind" in said
    good = '{"event_id":"1","customer_id":"a","occurred_at":1709287200000,"kind":"login"}'
    code, said = publish(good, "{}", "{}")
    assert code == 0
    assert "warning: 2 of 3 rows (66.7%) could not be used; 2 of them for unknown_kind; line 2: kind" in said
    assert publish(*[good] * 200, "{}")[1].count("warning") == 0


def test_records_of_a_partition_are_recorded_in_their_order(mock_bootstrap: str, tmp_path: Path) -> None:
    """Each partition's offsets follow each other in the file, and each customer's events keep their order."""
    publish_to_kafka(_rows(2_000), Connection(mock_bootstrap))
    found = _recorded(mock_bootstrap, tmp_path, "clickstream")
    assert len(found) == 2_000
    by_partition = sorted(found, key=lambda r: r.partition)  # a stable sort keeps the order within each
    for _, records in groupby(by_partition, key=lambda r: r.partition):
        offsets = [r.offset for r in records]
        assert offsets == list(range(len(offsets)))


def test_bad_rows_are_counted_and_a_broken_file_ends_the_run_with_a_report(mock_bootstrap: str) -> None:
    """Neither is fatal: the report says how many, why, and where the file broke off."""

    def source() -> Iterator[Row | BadRow]:
        yield from _rows(3)
        yield BadRow(4, "malformed_row", "first")
        yield BadRow(5, "malformed_row", "second")
        raise UnreadableFile(Path("file.gz"), "byte 77", "damaged")

    seen: list[Progress] = []
    report = publish_to_kafka(source(), Connection(mock_bootstrap), progress=seen.append)
    assert (report.rows, report.delivered, report.bad) == (5, {"clickstream": 3}, {"malformed_row": 2})
    assert "byte 77" in (report.unreadable or "")
    assert [bad.message for bad in report.examples_of_bad] == ["first"]
    assert (seen[-1].rows, seen[-1].delivered, seen[-1].bad) == (5, 3, 2)


def test_a_record_that_the_client_refuses_is_counted_as_failed(mock_bootstrap: str) -> None:
    """A value over the limit fails by name, and the rest is delivered."""
    rows = _rows(3)
    rows[1] = msgspec.structs.replace(rows[1], value=b"x" * (MAX_VALUE_BYTES + 1))
    report = publish_to_kafka(rows, Connection(mock_bootstrap))
    assert report.failed == {"MSG_SIZE_TOO_LARGE": 1}
    assert report.delivered == {"clickstream": 2}


def test_what_can_not_be_delivered_is_counted_as_failed() -> None:
    """A broker that went away costs no exception for each row, and nothing is silently lost."""
    in_time = {"delivery.timeout.ms": 300, "linger.ms": 0}
    producer = Connection(AWAY, properties={"log_level": 0}, producer_properties=in_time).producer()
    report = publish_rows(_rows(5), Publisher(producer))
    assert report.failed == {"_MSG_TIMED_OUT": 5}
    assert report.delivered == {}


def test_a_full_queue_is_waited_for_and_not_for_ever(mock_bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is bounded: more rows than it holds go through, and a broker that takes none is an error."""
    report = publish_to_kafka(
        _rows(500), Connection(mock_bootstrap, producer_properties={"queue.buffering.max.messages": 10})
    )
    assert report.delivered == {"clickstream": 500}
    monkeypatch.setattr("producers.publish._QUEUE_FULL_S", 0.2)
    stuck = Connection(
        AWAY, properties={"log_level": 0}, producer_properties={"queue.buffering.max.messages": 10}
    ).producer()
    with pytest.raises(PublishFailed, match="full queue"):
        publish_rows(_rows(50), Publisher(stuck))
    stuck.purge()


def test_a_stopped_run_reports_what_was_published(mock_bootstrap: str) -> None:
    """The rows before the stop are delivered; waiting for the next one is given up."""
    stop = threading.Event()

    def source() -> Iterator[Row]:
        for row in _rows(100, gap_ms=3_600_000):
            if row.line == 3:
                stop.set()
            yield row

    report = publish_to_kafka(source(), Connection(mock_bootstrap), speed=1e9, stop=stop)
    assert (report.rows, report.delivered) == (2, {"clickstream": 2})


def test_a_paced_run_takes_the_recorded_time_over_the_speed(mock_bootstrap: str) -> None:
    """Of the waiting that the pace asks for, none is left out: the clock has moved on far enough at the end."""
    publisher, ticks = Publisher(Connection(mock_bootstrap).producer()), count(step=0.01)
    report = publish_rows(_rows(5, gap_ms=60_000), publisher, speed=1_200, clock=lambda: next(ticks))
    assert report.seconds >= 4 * 60 / 1_200


def test_a_file_is_replayed(mock_bootstrap: str, tmp_path: Path) -> None:
    """From the file to the topics, sorted by event time, with the bad rows in the report."""
    path = tmp_path / "taobao.csv"
    path.write_text("1,2,3,pv,1511600009\n1,2,3,buy,1511600005\n1,2,3,pv,1511600001\n1,2,3\n")
    report = publish_to_kafka(read_rows(path, "taobao"), Connection(mock_bootstrap))
    assert report.delivered == {"clickstream": 2, "purchases": 1}
    assert (report.rows, report.bad) == (4, {"malformed_row": 1})
    found = [r for r in _recorded(mock_bootstrap, tmp_path, "clickstream", "purchases") if r.topic == "clickstream"]
    assert [r.timestamp_ms for r in found] == [1511600001000, 1511600009000]


def test_a_recording_replayed_elsewhere_gives_the_same_recording(mock_bootstrap: str, tmp_path: Path) -> None:
    """Record, replay under another prefix keeping the partitions, record again: the same records, keyless ones too."""
    rows = [*_rows(200), Row("clickstream", START_MS, None, b"no key", 0), Row("clickstream", START_MS, b"k", None, 0)]
    publish_to_kafka(rows, Connection(mock_bootstrap))
    first = tmp_path / "first.avro"
    record(Connection(mock_bootstrap), ["clickstream"], first)
    publish_to_kafka(read_rows(first, "container"), Connection(mock_bootstrap, "again."), keep_partitions=True)
    second = tmp_path / "second.avro"
    record(Connection(mock_bootstrap, "again."), ["clickstream"], second)

    def ordered(path: Path) -> list[Recorded]:
        return sorted(read_container(path), key=lambda r: (r.partition, r.offset))

    assert ordered(first) == ordered(second)
    assert len(ordered(first)) == 202


def test_recording_ends_at_the_end_taken_at_its_start(
    mock_bootstrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records that come after the end was taken belong to the next recording."""

    def publish_to(partition: int, size: int) -> None:
        rows = [msgspec.structs.replace(row, partition=partition) for row in _rows(size)]
        one_by_one = {"batch.num.messages": 1, "linger.ms": 0}  # so that the long partition takes many fetches
        publish_to_kafka(rows, Connection(mock_bootstrap, producer_properties=one_by_one), keep_partitions=True)

    def then_publish_more(admin: AdminClient, partitions: Sequence[TopicPartition], timeout_s: Seconds) -> list[int]:
        end = end_offsets(admin, partitions, timeout_s)
        publish_to(1, 50)
        return end

    publish_to(0, 100)
    publish_to(1, 1)
    monkeypatch.setattr("producers.recorder.end_offsets", then_publish_more)
    report = record(Connection(mock_bootstrap), ["clickstream"], tmp_path / "r.avro")
    assert (report.records, report.complete) == ({"clickstream": 101}, True)
    assert not (tmp_path / "r.avro.part").exists()


def test_following_goes_on_until_it_is_stopped(mock_bootstrap: str, tmp_path: Path) -> None:
    """With `follow`, records that come later are recorded too."""
    publish_to_kafka(_rows(10), Connection(mock_bootstrap))
    stop, reports = threading.Event(), list[RecordingReport]()
    sent_more = threading.Event()

    def watch(progress: object) -> None:
        records = getattr(progress, "records", 0)
        if records >= 10 and not sent_more.is_set():
            sent_more.set()
            publish_to_kafka(_rows(5), Connection(mock_bootstrap))
        if records >= 15:
            stop.set()

    def run() -> None:
        reports.append(
            record(
                Connection(mock_bootstrap),
                ["clickstream"],
                tmp_path / "r.avro",
                follow=True,
                stop=stop,
                progress=watch,
            )
        )

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(timeout=30)
    stop.set()
    thread.join(timeout=30)
    assert reports[0].records == {"clickstream": 15}


def test_recording_a_topic_that_is_not_there_says_which(mock_bootstrap: str, tmp_path: Path) -> None:
    """A misspelt topic is an error and no empty file."""
    with pytest.raises(RecordingFailed, match=r"shop\.clickstreem"):
        record(Connection(mock_bootstrap, "shop."), ["clickstreem"], tmp_path / "r.avro")
    assert list(tmp_path.iterdir()) == []


def test_a_simulation_publishes_everything_the_population_does(mock_bootstrap: str, tmp_path: Path) -> None:
    """What arrives on the topics is what the same population yields by itself, broken records included."""
    settings = PopulationSettings(items=50, categories=5, malformed_share=0.05)
    population, twin = Population(5, 40, settings=settings), Population(5, 40, settings=settings)
    until_ms = population.start_ms + 5 * DAY_MS
    kept: list[Row] = []
    report = simulate_to_kafka(
        population, Connection(mock_bootstrap), speed=5 * 86_400, duration_s=Seconds(1.0), on_row=kept.append
    )
    expected = [*twin.products(), *twin.events_until(until_ms)]
    assert kept == expected
    assert report.published.delivered == dict(Counter(row.topic for row in expected))
    assert report.event_time_ms == until_ms
    topics = ("clickstream", "purchases", "privacy", "products")
    found = _recorded(mock_bootstrap, tmp_path, *topics)
    assert sorted((r.topic, r.timestamp_ms, r.value or b"") for r in found) == sorted(
        (row.topic, row.arrival_ms, row.value or b"") for row in expected
    )


def test_a_simulation_reads_decisions_and_reacts(mock_bootstrap: str) -> None:
    """A decision published while it runs is read, counted, and followed by an impression on the clickstream."""
    settings = PopulationSettings(items=50, categories=5, late_share=0, malformed_share=0, duplicate_share=0)
    population = Population(5, 40, settings=settings)
    other = Producer({"bootstrap.servers": mock_bootstrap})
    Connection(mock_bootstrap).admin.list_topics(
        "next-best-actions", timeout=10
    )  # the broker makes it when it is asked for
    asked, stop, kinds = set[bytes](), threading.Event(), Counter[str]()

    def decide(row: Row) -> None:
        kinds[row.kind] += 1
        if kinds["action_impression"] >= 3:
            stop.set()
        if row.key is not None and row.kind == "item_view" and row.key not in asked:
            asked.add(row.key)
            decision = _decision(row.key.decode(), row.occurred_at)
            other.produce("next-best-actions", key=row.key, value=msgspec.json.encode(decision))
            other.produce("next-best-actions", key=row.key, value=b"{")
            other.poll(0)

    report = simulate_to_kafka(
        population,
        Connection(mock_bootstrap),
        speed=200_000,
        duration_s=Seconds(30.0),
        react_to=Decoder(),
        on_row=decide,
        stop=stop,
    )
    assert kinds["action_impression"] >= 3
    assert report.decisions["win_back_offer"] == report.reacted > 0
    assert report.unreadable_decisions > 0
    assert population.counts["action_impression"] == kinds["action_impression"]


def test_decisions_made_before_the_simulation_are_not_read(mock_bootstrap: str) -> None:
    """A second run doesn't respond to what was decided for the first."""
    admin = Connection(mock_bootstrap).admin
    admin.list_topics("next-best-actions", timeout=10)
    producer = Producer({"bootstrap.servers": mock_bootstrap})
    producer.produce("next-best-actions", value=msgspec.json.encode(_decision("c0000001", 0, 1)))
    producer.flush(10)
    reader = DecisionReader(Connection(mock_bootstrap), Decoder())
    producer.produce("next-best-actions", value=msgspec.json.encode(_decision("c0000001", 0, 2)))
    producer.flush(10)
    found: list[str] = []
    for _ in range(200):
        found += [decision.decision_id for decision in reader.take(Seconds(0.05))]
        if found:
            break
    reader.close()
    assert found == ["d-c0000001-2"]


def test_a_simulation_starts_so_that_it_ends_in_the_present() -> None:
    """Twenty seconds at a day a second start twenty days ago."""
    assert start_ms_for(100 * DAY_MS, speed=86_400, duration_s=Seconds(20.0)) == 80 * DAY_MS


def test_a_broker_that_is_away_is_one_message_and_no_flood(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Publishing, simulating and recording ask for it first; what the client has to say goes to the logs."""
    away = Connection(AWAY, connect_timeout_s=Seconds(0.3))
    with pytest.raises(ClusterAway, match=r"connection to 127\.0\.0\.1:1: .* is the broker running"):
        publish_to_kafka(_rows(3), away)
    with pytest.raises(ClusterAway):
        simulate_to_kafka(Population(seed=1, n_customers=5, start_ms=START_MS), away, duration_s=Seconds(1.0))
    with pytest.raises(ClusterAway):
        record(away, ["clickstream"], tmp_path / "recorded.avro")
    assert capfd.readouterr().err == ""


def test_a_property_that_would_split_customers_over_tasks_is_refused() -> None:
    """As it is by the workers, which take their properties from the same configuration."""
    with pytest.raises(ProtectedProperty, match="partitioner"):
        Connection(AWAY, producer_properties={"partitioner": "random"}).producer()
