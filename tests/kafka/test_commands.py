"""The way from a cluster to verified decisions, by the command line alone."""

import json
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Producer

from consumer.store.folder_lock import FolderLock
from tests.test_cli import nextbest

DEADLINE_S = 60.0
N_EVENTS = 300


def recording(file: Path) -> Path:
    """Write a small recorded stream, up to the present; return its path."""
    now_ms = time.time_ns() // 1_000_000
    events = [
        {"event_id": f"e{n}", "customer_id": f"c{n % 7}", "kind": "item_view", "item_id": f"i{n % 11}"}
        | {"occurred_at": now_ms - (N_EVENTS - n) * 600_000}
        for n in range(N_EVENTS)
    ]
    file.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    return file


@pytest.fixture
def settings(kafka_bootstrap: str, unique_prefix: str, tmp_path: Path) -> dict[str, str]:
    """Return variables for a set of topics of their own on the broker."""
    return {
        "NEXTBEST_KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap,
        "NEXTBEST_KAFKA__GROUP_ID": f"commands-{uuid.uuid4().hex[:8]}",
        "NEXTBEST_KAFKA__INSTANCE_ID": "worker-0",
        "NEXTBEST_TOPICS__PREFIX": unique_prefix,
        "NEXTBEST_TOPICS__PARTITIONS": "2",
        "NEXTBEST_TOPICS__REPLICATION_FACTOR": "1",
        "NEXTBEST_TOPICS__MIN_INSYNC_REPLICAS": "1",
        "NEXTBEST_WORKER__STATE_DIR": str(tmp_path / "state"),
        "NEXTBEST_WORKER__COMMIT_INTERVAL_MS": "200",
        "NEXTBEST_WORKER__AGE_REFERENCE": "stream",  # the recording is of long ago
        "NEXTBEST_PRIVACY__DEFAULT_CONSENT": "true",
    }


@pytest.fixture
def worker(settings: dict[str, str], unused_port: int, tmp_path: Path) -> Iterator[str]:
    """Run a worker on topics with a recording in them; yield the address of its health server; stop it at the end."""
    assert nextbest("topics", "create", **settings).returncode == 0
    published = nextbest("produce", "replay", str(recording(tmp_path / "events.jsonl")), **settings)
    assert published.returncode == 0, published.stdout + published.stderr
    with running_worker(settings, unused_port) as address:
        yield address


@contextmanager
def running_worker(settings: dict[str, str], unused_port: int) -> Iterator[str]:
    """Run a worker; hand out the address of its health server; stop it at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from consumer.cli import main; main()", "run"],
        env={"PATH": "/usr/bin:/bin", **settings, "NEXTBEST_HTTP__PORT": str(unused_port)},
    )
    try:
        yield f"http://127.0.0.1:{unused_port}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def unused_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_topics_are_made_once_and_then_found_as_they_should_be(settings: dict[str, str]) -> None:
    """Check fails with advice before, passes after, and creating again changes nothing."""
    before = nextbest("check", **settings)
    assert before.returncode == 1
    assert "make it with: nextbest topics create" in before.stdout
    created = nextbest("topics", "create", **settings)
    assert (created.returncode, created.stdout.count("created ")) == (0, 11), created.stdout + created.stderr
    after = nextbest("check", **settings)
    assert after.returncode == 0, after.stdout
    again = nextbest("topics", "create", **settings)
    assert (again.returncode, again.stdout.count("exists ")) == (0, 11)


def test_topics_that_do_not_fit_the_settings_stop_a_worker_and_a_verification(settings: dict[str, str]) -> None:
    """Missing topics are named; with topics of another size part would stay unread; an empty journal proves nothing."""
    for command in (("run",), ("verify", "--topics")):
        missing = nextbest(*command, **settings, NEXTBEST_HTTP__PORT="0")
        assert missing.returncode == 2
        assert "are not there: run `nextbest topics create`" in missing.stderr
    created = nextbest("topics", "create", "--partitions", "3", **settings)
    assert created.returncode == 0
    assert "set topics.partitions = 3 for the workers, too" in created.stdout
    different = nextbest("run", **settings, NEXTBEST_HTTP__PORT="0")
    assert different.returncode == 2
    assert "clickstream has 3 partitions, not 2; " in different.stderr
    assert "set topics.partitions to 3, or " in different.stderr
    empty = nextbest("verify", "--topics", **settings | {"NEXTBEST_TOPICS__PARTITIONS": "3"})
    assert empty.returncode == 3, empty.stdout + empty.stderr
    assert empty.stdout.startswith("not verifiable: ")


def test_a_second_worker_on_the_same_state_folder_ends_before_it_joins(settings: dict[str, str]) -> None:
    """It takes no task from the first."""
    assert nextbest("topics", "create", **settings).returncode == 0
    lock = FolderLock(Path(settings["NEXTBEST_WORKER__STATE_DIR"]))
    second = nextbest("run", **settings, NEXTBEST_HTTP__PORT="0")
    lock.close()
    assert second.returncode == 2
    assert "is another worker running on it? Each needs a worker.state_dir" in second.stderr


def test_a_simulation_that_would_begin_in_the_past_of_another_is_refused(settings: dict[str, str]) -> None:
    """Its events would all be late; --anyway lets it, and so does the pace of the clock."""
    assert nextbest("topics", "create", **settings).returncode == 0
    fast = ("produce", "simulate", "--customers", "20", "--speed", "200000", "--seconds", "1")
    first = nextbest(*fast, **settings)
    assert first.returncode == 0, first.stdout + first.stderr
    again = nextbest(*fast, **settings)
    assert again.returncode == 2, again.stdout + again.stderr
    assert "workers would reject them as too late" in again.stderr
    for options in ((*fast, "--anyway"), ("produce", "simulate", "--customers", "20", "--seconds", "1")):
        allowed = nextbest(*options, **settings)
        assert allowed.returncode == 0, allowed.stdout + allowed.stderr


def counted(client: httpx.Client, metric: str, n: int) -> dict[str, float]:
    """Return the series of a metric once they add up to `n`, or as they are after a while."""
    deadline = time.monotonic() + DEADLINE_S
    series: dict[str, float] = {}
    while sum(series.values()) < n and time.monotonic() < deadline:
        time.sleep(0.1)
        try:
            lines = client.get("/metrics").text.splitlines()
        except httpx.TransportError:
            continue
        pairs = (line.rsplit(" ", 1) for line in lines if line.startswith(metric + "{"))
        series = {name: float(value) for name, value in pairs if float(value)}
    return series


def test_a_worker_processes_what_was_published_and_can_be_verified(worker: str, settings: dict[str, str]) -> None:
    """It becomes ready, counts every event, and its decisions are derived again from the topics."""
    with httpx.Client(base_url=worker, trust_env=False) as client:
        assert sum(counted(client, "nextbest_events_total", N_EVENTS).values()) == N_EVENTS
        assert client.get("/readyz").status_code == 200
        assert client.get("/livez").status_code == 200
        assert "_created" not in client.get("/metrics").text
    verdict = nextbest("verify", "--topics", **settings)
    assert (verdict.returncode, verdict.stdout.split(":")[0]) == (0, "same"), verdict.stdout + verdict.stderr


MAPPING = """
[inputs.web]
topics = ["{topic}"]
[[inputs.web.events]]
kind = {{ path = "what", table = {{ look = "item_view" }}, otherwise = "" }}
event_id = {{ hash_of = ["user", "at"] }}
customer_id = "user.no"
occurred_at = {{ path = "at", time = "s" }}
item_id = "item"
"""


def test_a_worker_reads_a_shops_own_records_by_their_mapping(
    settings: dict[str, str], unused_port: int, tmp_path: Path
) -> None:
    """Those that become no event are passed over, those that are wrong are rejected, and verify says the same."""
    topic, now_s = settings["NEXTBEST_TOPICS__PREFIX"] + "clickstream", int(time.time())
    config = tmp_path / "nextbest.toml"
    config.write_text(MAPPING.format(topic=topic), encoding="utf-8")
    settings["NEXTBEST_CONFIG"] = str(config)
    assert nextbest("topics", "create", **settings).returncode == 0
    bootstrap = settings["NEXTBEST_KAFKA__BOOTSTRAP_SERVERS"]
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
    for n in range(N_EVENTS):
        what, customer = ("look", "sneeze", "look")[n % 3], n % 7
        record = {"what": what, "at": now_s - (N_EVENTS - n) * 60, "user": {"no": customer}, "item": n % 11}
        if n == 5:
            del record["item"]
        producer.produce(topic, json.dumps(record).encode(), str(customer).encode())
    assert producer.flush(10) == 0
    with running_worker(settings, unused_port) as address, httpx.Client(base_url=address, trust_env=False) as client:
        counts = counted(client, "nextbest_events_total", N_EVENTS - 1)
        rejected = counted(client, "nextbest_rejected_total", 1)
    by_kind = {name.split('kind="')[1].split('"')[0]: n for name, n in counts.items()}
    assert by_kind == {"item_view": 2 * N_EVENTS / 3 - 1, "no_event": N_EVENTS / 3}
    assert list(rejected.values()) == [1.0]
    assert 'reason="missing_field"' in next(iter(rejected))
    verdict = nextbest("verify", "--topics", **settings)
    assert (verdict.returncode, verdict.stdout.split(":")[0]) == (0, "same"), verdict.stdout + verdict.stderr
