"""`nextbest check` reads a sample of each input, and says which way a mapped topic has to go."""

import json
import uuid
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.test_cli import nextbest

pytestmark = pytest.mark.kafka

MAPPING = """
[inputs.site]
topics = ["{topic}"]
format = "json"
[[inputs.site.events]]
kind = "item_view"
event_id = "id"
customer_id = "user"
occurred_at = "at"
item_id = "sku"
"""


@pytest.fixture
def variables(kafka_bootstrap: str, unique_prefix: str, tmp_path: Path) -> dict[str, str]:
    """Return variables for topics of their own, which are there."""
    found = {
        "NEXTBEST_KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap,
        "NEXTBEST_KAFKA__GROUP_ID": f"check-{uuid.uuid4().hex[:8]}",
        "NEXTBEST_KAFKA__INSTANCE_ID": "worker-0",
        "NEXTBEST_TOPICS__PREFIX": unique_prefix,
        "NEXTBEST_TOPICS__PARTITIONS": "2",
        "NEXTBEST_TOPICS__REPLICATION_FACTOR": "1",
        "NEXTBEST_TOPICS__MIN_INSYNC_REPLICAS": "1",
        "NEXTBEST_CONFIG": str(tmp_path / "nextbest.toml"),
    }
    (tmp_path / "nextbest.toml").write_text("", encoding="utf-8")
    assert nextbest("topics", "create", **found).returncode == 0
    return found


def produce(variables: dict[str, str], topic: str, key: str | None, record: object, n: int = 5) -> None:
    """Write records as a producer of librdkafka with the right partitioner does."""
    producer = Producer(
        {"bootstrap.servers": variables["NEXTBEST_KAFKA__BOOTSTRAP_SERVERS"], "partitioner": "murmur2_random"}
    )
    for _ in range(n):
        producer.produce(topic, json.dumps(record), key)
    assert producer.flush(30) == 0


def test_records_are_read_as_a_worker_would_and_what_is_wrong_is_said_with_a_remedy(variables: dict[str, str]) -> None:
    """Good ones are counted, an empty topic is said to be empty, bad ones fail the check."""
    prefix = variables["NEXTBEST_TOPICS__PREFIX"]
    good = {
        "event_id": "e",
        "customer_id": "ann",
        "kind": "item_view",
        "occurred_at": 1_700_000_000_000,
        "item_id": "a",
    }
    produce(variables, prefix + "clickstream", "ann", good)
    checked = nextbest("check", **variables)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"records of {prefix}clickstream: 5 of the latest 5 can be read" in checked.stdout
    assert f"records of {prefix}purchases: it is empty" in checked.stdout

    produce(variables, prefix + "clickstream", "session-1", good)
    checked = nextbest("check", **variables)
    assert checked.returncode == 1
    assert "rejected: 5 wrong_key (partition" in checked.stdout
    assert "key each record by its customer id" in checked.stdout


def test_a_mapped_topic_is_told_which_command_reads_it_and_why(variables: dict[str, str], tmp_path: Path) -> None:
    """A worker reads what is keyed and named as it needs it; everything else goes over the bridge."""
    prefix = variables["NEXTBEST_TOPICS__PREFIX"]
    record = {"id": "e", "user": "ann", "at": 1_700_000_000_000, "sku": "kettle"}
    own = prefix + "web"
    admin = AdminClient({"bootstrap.servers": variables["NEXTBEST_KAFKA__BOOTSTRAP_SERVERS"]})
    admin.create_topics([NewTopic(own, 3, 1)])[own].result(30)
    produce(variables, own, "session-1", record)
    (tmp_path / "nextbest.toml").write_text(MAPPING.format(topic=own), encoding="utf-8")
    checked = nextbest("check", **variables)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    (said,) = [line for line in checked.stdout.splitlines() if line.startswith("ok    [inputs.site]")]
    assert "it needs nextbest bridge" in said
    assert "it has 3 partitions, topics.partitions is 2" in said
    assert "5 of 5 events are not keyed by their customer id" in said

    produce(variables, prefix + "clickstream", "ann", record)
    (tmp_path / "nextbest.toml").write_text(MAPPING.format(topic=prefix + "clickstream"), encoding="utf-8")
    checked = nextbest("check", **variables)
    assert "5 events of the latest 5 records, 0 wrong; nextbest run reads it as it is" in checked.stdout
    assert ": none" not in checked.stdout
