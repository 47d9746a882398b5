"""Making the topics and checking a cluster, on a real broker."""

from dataclasses import replace

import pytest
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from consumer.kafka.cluster.check import Finding, check
from consumer.kafka.cluster.cluster import Cluster
from consumer.kafka.cluster.cluster_settings import KafkaSettings, TopicSettings
from consumer.kafka.cluster.topics import TopicsError, create_topics, describe_configs, topic_plan
from schemas.topics import TOPICS
from schemas.units import Ms, Seconds
from tests.kafka.harness.cluster import wait_until

TEN_SECONDS = Seconds(10.0)


def small(prefix: str, partitions: int = 2) -> TopicSettings:
    """Return topics for a cluster of one broker."""
    return TopicSettings(prefix=prefix, partitions=partitions, replication_factor=1, min_insync_replicas=1)


@pytest.fixture
def cluster(kafka_bootstrap: str, unique_prefix: str) -> Cluster:
    """Return the broker under test, with topics of a test's own."""
    return Cluster(KafkaSettings(bootstrap_servers=kafka_bootstrap, group_id="check"), small(unique_prefix))


def wrong(findings: list[Finding]) -> list[Finding]:
    """Return what is not fine among findings."""
    return [finding for finding in findings if finding.status != "ok"]


def test_the_plan_holds_every_topic_with_its_partitions() -> None:
    """Co-partitioned topics have P partitions, examples one a family, knowledge one."""
    plan = {spec.topic: spec for spec in topic_plan(TopicSettings(prefix="shop-", partitions=6))}
    assert set(plan) == set(TOPICS)
    assert {topic for topic, spec in plan.items() if spec.partitions == 6} == {
        *("clickstream", "purchases", "privacy", "next-best-actions", "dead-letters", "customer-state", "journal")
    }
    assert {topic: plan[topic].partitions for topic in ("products", "training-examples", "sessions", "models")} == {
        "products": 1,
        "training-examples": 3,
        "sessions": 1,
        "models": 1,
    }
    assert plan["models"].name == "shop-models"
    assert {topic for topic, spec in plan.items() if spec.config["cleanup.policy"] == "compact"} == {
        *("products", "customer-state")
    }


def test_topics_are_made_as_planned(cluster: Cluster) -> None:
    """What the broker says of each topic is what the plan says, and a second run finds nothing to do."""
    plan = topic_plan(cluster.topics)
    names = [spec.name for spec in plan]
    report = create_topics(cluster)
    assert (sorted(report.created), report.existed, report.differs) == (sorted(names), [], [])
    found = describe_configs(cluster.admin, ResourceType.TOPIC, names, TEN_SECONDS)
    for spec in plan:
        assert {name: found[spec.name][name] for name in spec.config} == spec.config
    again = create_topics(cluster)
    assert (again.created, again.existed, again.differs) == ([], names, [])


def test_a_topic_that_differs_is_reported_and_left_alone(cluster: Cluster) -> None:
    """Another partition count and another retention are named with the command to change them, and not changed."""
    name = cluster.topics.name("clickstream")
    planned = next(spec.config for spec in topic_plan(cluster.topics) if spec.name == name)
    config = dict(planned) | {"retention.ms": "1000"}
    cluster.admin.create_topics([NewTopic(name, 5, 1, config=config)])[name].result(20)
    report = create_topics(cluster)
    assert report.existed == [name]
    assert [(each.what, each.wanted, each.found) for each in report.differs] == [
        ("partitions", "2", "5"),
        ("retention.ms", "1209600000", "1000"),
    ]
    assert report.differs[1].command == (
        f"kafka-configs.sh --bootstrap-server {cluster.kafka.bootstrap_servers} --alter --entity-type topics "
        f"--entity-name {name} --add-config retention.ms=1209600000"
    )
    assert describe_configs(cluster.admin, ResourceType.TOPIC, [name], TEN_SECONDS)[name]["retention.ms"] == "1000"


def test_too_many_replicas_are_refused_with_advice(cluster: Cluster) -> None:
    """A cluster of few brokers can't hold the default number of replicas; the message says which setting to lower."""
    topics = replace(cluster.topics, replication_factor=9)
    with pytest.raises(TopicsError, match=r"Set topics\.replication_factor"):
        create_topics(replace(cluster, topics=topics))


def test_a_cluster_that_is_as_it_should_be_passes(cluster: Cluster, unique_prefix: str) -> None:
    """Connection, timeouts, every topic and transactions are found fine."""
    create_topics(cluster)
    findings = check(cluster)
    assert wrong(findings) == []
    looked_at = [finding.what for finding in findings]
    assert {f"topic {unique_prefix}{topic}" for topic in TOPICS} <= set(looked_at)
    assert {"transaction timeout", "session timeout", "transactions"} <= set(looked_at)


def test_missing_topics_are_errors_that_say_what_to_do(cluster: Cluster, unique_prefix: str) -> None:
    """Before the topics are made, each is missed by name."""
    findings = wrong(check(cluster, transactions=False))
    assert [finding.what for finding in findings] == [f"topic {unique_prefix}{topic}" for topic in TOPICS]
    assert {finding.advice for finding in findings} == {"make it with: nextbest topics create"}


def test_wrong_configuration_is_found(cluster: Cluster, unique_prefix: str) -> None:
    """What breaks a guarantee is an error, what may be meant a warning, and more than asked for is fine."""
    create_topics(cluster)
    changes = {
        "customer-state": {"cleanup.policy": "delete"},
        "purchases": {"message.timestamp.type": "CreateTime"},
        "models": {"min.insync.replicas": "2"},
        "journal": {"retention.ms": "-1"},
        "sessions": {"retention.ms": "5000"},
    }
    for topic, config in changes.items():
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in config.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, unique_prefix + topic, incremental_configs=entries)
        cluster.admin.incremental_alter_configs([resource])[resource].result(20)

    def found() -> set[tuple[str, str]]:
        return {
            (finding.status, finding.what.removeprefix(f"topic {unique_prefix}")) for finding in wrong(check(cluster))
        }

    wait_until(lambda: len(found()) == 4, "the broker has taken the changes in")
    assert found() == {
        ("error", "customer-state: cleanup.policy"),
        ("error", "purchases: message.timestamp.type"),
        ("error", "models: min.insync.replicas"),
        ("warn", "sessions: retention.ms"),
    }


def test_another_number_of_partitions_is_an_error(cluster: Cluster, unique_prefix: str) -> None:
    """Settings that don't fit the topics that are there would send customers to the wrong task."""
    create_topics(cluster)
    findings = wrong(check(replace(cluster, topics=small(unique_prefix, partitions=3)), transactions=False))
    assert {finding.status for finding in findings} == {"error"}
    assert len(findings) == 7
    assert all("would move customers" in finding.advice for finding in findings)


def test_timeouts_outside_the_brokers_limits_are_errors(kafka_bootstrap: str, unique_prefix: str) -> None:
    """A session or transaction timeout that the brokers would refuse is found before a worker meets it."""
    kafka = KafkaSettings(kafka_bootstrap, session_timeout_ms=Ms(100), transaction_timeout_ms=Ms(10_000_000))
    what = [finding.what for finding in wrong(check(Cluster(kafka, small(unique_prefix))))]
    assert what[:2] == ["transaction timeout", "session timeout"]
    assert what[-1] == "transactions"


def test_no_broker_is_one_finding_in_plain_words() -> None:
    """Where nothing listens, the check says so in time and looks no further."""
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1", connect_timeout_ms=Ms(300))
    findings = check(Cluster(kafka, small("none-")))
    assert [finding.status for finding in findings] == ["error"]
    assert findings[0].what == "connection to 127.0.0.1:1"
    assert "is the broker running" in findings[0].advice


def test_a_refused_property_is_one_finding() -> None:
    """A property that can't be passed through is found by the check as by the worker."""
    kafka = KafkaSettings(properties={"isolation.level": "read_uncommitted"})
    findings = check(Cluster(kafka, small("none-")))
    assert [finding.status for finding in findings] == ["error"]
    assert "'isolation.level' can't be set: exactly-once rests on it" in findings[0].found
