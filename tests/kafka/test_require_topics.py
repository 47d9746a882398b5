"""What a worker looks at before it starts: a broker that answers, every topic, their partition counts."""

from pathlib import Path

import pytest

from clients.errors import ClusterAway
from consumer.kafka.cluster.check import require_topics
from consumer.kafka.cluster.cluster import Cluster
from consumer.kafka.cluster.cluster_settings import KafkaSettings, TopicSettings
from consumer.kafka.cluster.mock_broker import MockBroker
from consumer.kafka.cluster.topics import TopicsError, topic_plan
from consumer.kafka.worker_settings import WorkerSettings
from schemas.units import Ms

TOPICS = TopicSettings(prefix="shop-", partitions=3, replication_factor=1, min_insync_replicas=1)


def look(on_broker: dict[str, int], topics: TopicSettings = TOPICS) -> None:
    """Require `topics` of a broker that has others."""
    with MockBroker(on_broker) as broker:
        require_topics(Cluster(KafkaSettings(bootstrap_servers=broker.bootstrap), topics))


def planned() -> dict[str, int]:
    """Return the topics as they should be."""
    return {spec.name: spec.partitions for spec in topic_plan(TOPICS)}


def test_topics_as_planned_are_fine() -> None:
    """So are others beside them; one partition more of one of them would be found."""
    on_broker = planned() | {"other": 7}
    look(on_broker)
    with pytest.raises(TopicsError, match=r"^shop-journal has 4 partitions, not 3"):
        look(on_broker | {"shop-journal": 4})


def test_missing_topics_are_named_with_the_command_that_makes_them() -> None:
    """One message for all of them."""
    with pytest.raises(TopicsError, match=r"^shop-privacy is not there: run `nextbest topics create`"):
        look({name: n for name, n in planned().items() if name != "shop-privacy"})
    with pytest.raises(TopicsError, match=r"shop-privacy, shop-purchases, .* are not there"):
        look({})


def test_another_number_of_partitions_says_what_to_set() -> None:
    """All co-partitioned topics have the other number: it is the setting that is wrong."""
    found = {
        name: 5 if n == TOPICS.partitions and name != "shop-training-examples" else n for name, n in planned().items()
    }
    with pytest.raises(TopicsError, match=r"shop-privacy has 5 partitions, not 3; .*: set topics\.partitions to 5, or"):
        look(found)


@pytest.mark.parametrize("topic", ["purchases", "dead-letters", "journal", "training-examples", "sessions", "models"])
def test_one_topic_of_another_size_is_refused(topic: str) -> None:
    """No setting mends that."""
    with pytest.raises(TopicsError, match=f"^shop-{topic} has 7 partitions, not [13]: make all topics anew"):
        look(planned() | {f"shop-{topic}": 7})


def test_a_cluster_that_is_away_is_said_to_be() -> None:
    """Within the connect timeout."""
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1", connect_timeout_ms=Ms(300))
    with pytest.raises(ClusterAway, match=r"connection to 127\.0\.0\.1:1: .*is the broker running"):
        require_topics(Cluster(kafka, TOPICS))


def test_each_worker_has_a_state_folder_of_its_own_unless_told_otherwise() -> None:
    """The default names the instance; an explicit folder is used as it is, an empty one means memory."""
    assert WorkerSettings().state_folder("worker-1") == Path("state/worker-1")
    assert WorkerSettings().state_folder("host/1") == Path("state/host_1")
    assert WorkerSettings(state_dir="/data/nextbest").state_folder("worker-1") == Path("/data/nextbest")
    assert WorkerSettings(state_dir=None).state_folder("worker-1") is None
