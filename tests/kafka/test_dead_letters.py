"""What was rejected, on a real broker: looked at, published again, let through."""

import json
from pathlib import Path

import msgspec
import pytest

from consumer.core.settings import CoreSettings
from consumer.core.shared import Core
from consumer.default_catalogue import default_catalogue
from consumer.kafka.clocks import wall_clock_ms
from consumer.kafka.dead_letter_log import Published, Replayer
from consumer.kafka.dead_letters import TooManyRejected
from consumer.kafka.evidence import TopicEvidence
from consumer.replay.verify import verify
from consumer.store.memory import MemoryState
from consumer.zones import load_zone
from schemas.codec import Decoder, JsonEncoder
from schemas.events import ClickEvent
from schemas.records import DeadLetter
from schemas.units import DAY_MS
from tests.kafka.harness.cluster import Cluster
from tests.kafka.harness.in_process import Watcher, work_through, work_until
from tests.kafka.harness.stream import InputRecord, input_record
from tests.kafka.harness.worker_process import BUILD
from tests.test_cli import nextbest

pytestmark = pytest.mark.kafka


@pytest.fixture
def cluster(kafka_bootstrap: str, unique_prefix: str, tmp_path: Path) -> Cluster:
    """Return topics of this test's own, of one partition each, with the settings that come along."""
    made = Cluster(kafka_bootstrap, unique_prefix, tmp_path, partitions=1, core=CoreSettings())
    made.create()
    return made


def variables(cluster: Cluster) -> dict[str, str]:
    """Return what a command is told of the cluster."""
    kafka = cluster.kafka()
    return {
        "NEXTBEST_KAFKA__BOOTSTRAP_SERVERS": cluster.bootstrap,
        "NEXTBEST_KAFKA__GROUP_ID": kafka.group_id,
        "NEXTBEST_KAFKA__INSTANCE_ID": "worker-0",
        "NEXTBEST_KAFKA__SESSION_TIMEOUT_MS": str(kafka.session_timeout_ms),
        "NEXTBEST_TOPICS__PREFIX": cluster.prefix,
        "NEXTBEST_TOPICS__PARTITIONS": "1",
        "NEXTBEST_TOPICS__REPLICATION_FACTOR": "1",
        "NEXTBEST_TOPICS__MIN_INSYNC_REPLICAS": "1",
        "NEXTBEST_WORKER__STATE_DIR": str(cluster.state_dir()),
        "NEXTBEST_WORKER__COMMIT_INTERVAL_MS": "200",
    }


def click(number: int, customer_id: str, at_ms: int) -> InputRecord:
    """Return a click that puts something into the cart."""
    event = ClickEvent(f"e{number}", customer_id, at_ms, "cart_add", item_id="kettle")
    return input_record("clickstream", event, 1)


def replay(cluster: Cluster, reason: str) -> Published:
    """Publish the letters of one reason again."""
    replayer = Replayer(cluster.reached(), Decoder(), JsonEncoder(), cluster.core.time.max_ahead_ms)
    return replayer.replay(lambda letter: letter.reason == reason, lambda: False)


def names(cluster: Cluster) -> list[str]:
    """Return the customers that are remembered."""
    return sorted(key.decode() for _, key in cluster.customers())


def test_a_late_record_that_is_published_again_teaches_decides_nothing_and_does_so_once(cluster: Cluster) -> None:
    """Twice changes nothing, neither in the topic nor in the state; verify derives it all."""
    now_ms = wall_clock_ms()
    cluster.produce([click(1, "ann", now_ms), click(2, "bob", now_ms - 30 * DAY_MS)])
    work_through(cluster, 2)
    assert names(cluster) == ["ann"]
    decided = {decision.customer_id for decision in cluster.decoded("next-best-actions")}

    assert replay(cluster, "late") == Published(published=1)
    assert replay(cluster, "late") == Published(before=1)
    work_through(cluster, 1)
    assert names(cluster) == ["ann", "bob"]
    assert {decision.customer_id for decision in cluster.decoded("next-best-actions")} == decided == {"ann"}
    letters: list[DeadLetter] = cluster.decoded("dead-letters")
    assert [(letter.origin.offset, letter.reason) for letter in letters] == [(1, "late"), (1, "replayed")]

    with TopicEvidence(cluster.reached(), Decoder(), cluster.core.time.max_ahead_ms) as recording:
        verdict = verify(recording, Core.new(cluster.core, default_catalogue(), load_zone, build=BUILD), MemoryState)
    assert verdict.kind == "same", verdict


def test_what_would_be_rejected_again_is_left_where_it_is(cluster: Cluster) -> None:
    """Publishing it would only make another letter of it."""
    cluster.produce([InputRecord("clickstream", 0, b"ann", b"{"), click(1, "ann", wall_clock_ms())])
    work_through(cluster, 2)
    told = replay(cluster, "malformed_json")
    assert (told.published, dict(told.rejected)) == (0, {"malformed_json": 1})


def test_letters_are_counted_by_reason_and_shown_one_by_one(cluster: Cluster) -> None:
    """The list names nobody; one letter is shown with all that it holds."""
    bad = msgspec.json.encode({"event_id": "e", "customer_id": "ann", "kind": "item_view", "occurred_at": "soon"})
    cluster.produce([InputRecord("clickstream", 0, b"ann", bad)] * 2)
    work_through(cluster, 2)

    listed = nextbest("dead-letters", "list", "--json", **variables(cluster))
    (row,) = json.loads(listed.stdout)["dead_letters"]
    assert (row["topic"], row["reason"], row["records"], row["first"]) == (
        "clickstream",
        "wrong_type",
        2,
        "clickstream:0:0",
    )
    told = nextbest("dead-letters", "list", **variables(cluster))
    assert "2 clickstream wrong_type" in told.stdout
    assert "ann" not in told.stdout + listed.stdout

    shown = nextbest("dead-letters", "show", "clickstream:0:1", **variables(cluster))
    assert bad.decode() in shown.stdout.replace("\n", "")
    missing = nextbest("dead-letters", "show", "clickstream:0:9", **variables(cluster))
    assert (missing.returncode, "there is no dead letter" in missing.stderr) == (2, True)


def test_a_task_is_taken_past_a_burst_by_a_command_and_only_past_that(cluster: Cluster) -> None:
    """The records go to the dead letters, the journal names them, and the next burst stops the worker again."""
    cluster.produce([InputRecord("clickstream", 0, b"k", b"{not json")] * 60)
    cluster.produce([click(1, "ann", wall_clock_ms())])
    with pytest.raises(TooManyRejected, match="dead-letters skip clickstream 0"):
        work_through(cluster, 61)
    assert cluster.committed_records() < 60

    skipped = nextbest("dead-letters", "skip", "clickstream", "0", **variables(cluster))
    assert skipped.returncode == 0, skipped.stdout + skipped.stderr
    assert "61 of 61" in skipped.stdout
    assert cluster.committed_records() >= 61
    assert len(cluster.read("dead-letters")) == 60
    assert sum(each.count for record in cluster.decoded("journal") for each in record.rejected) == 60
    again = nextbest("dead-letters", "skip", "clickstream", "0", **variables(cluster))
    assert again.returncode == 0, again.stderr

    cluster.produce([InputRecord("clickstream", 0, b"k", b"{not json")] * 60)
    with pytest.raises(TooManyRejected):
        work_until(cluster, lambda watcher: watcher.records >= 60, watcher=Watcher())
