"""What `nextbest check` looks at on the Kafka side: connection, topics, their shape and configuration, transactions."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin._metadata import ClusterMetadata
from confluent_kafka.admin._resource import ResourceType

from clients.errors import ClusterAway, error_of
from consumer.kafka.cluster.cluster import Cluster
from consumer.kafka.cluster.cluster_settings import TopicSettings
from consumer.kafka.cluster.topics import (
    Difference,
    TopicsError,
    TopicSpec,
    describe_configs,
    differences,
    topic_plan,
)
from schemas.topics import CO_PARTITIONED_TOPICS, Topic
from schemas.units import in_seconds

Status = Literal["ok", "warn", "error"]

# Where these differ, decisions or guarantees differ; other differences are worth a warning.
_MUST_HOLD = frozenset({"partitions", "cleanup.policy", "message.timestamp.type"})
_AT_LEAST = frozenset({"max.message.bytes", "retention.ms", "replication factor", "min.insync.replicas"})
_UNLIMITED = -1


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what it is, what was found, and (unless it is fine) what to do."""

    status: Status
    what: str
    found: str
    advice: str = ""


def require_topics(cluster: Cluster) -> None:
    """Raise TopicsError unless every topic is there with the partitions that the settings say.

    With other counts, part of the partitions would be read by nobody and all customers belong to other tasks. Raises
    ClusterAway where no broker answers.
    """
    topics = cluster.topics
    present = cluster.reach().topics
    plan = topic_plan(topics)
    _refuse_missing([spec.name for spec in plan if spec.name not in present], topics)
    counts = {spec.name: len(present[spec.name].partitions) for spec in plan}
    differing = [
        f"{spec.name} has {_count(counts[spec.name], 'partition')}, not {spec.partitions}"
        for spec in plan
        if counts[spec.name] != spec.partitions
    ]
    if differing:
        found = {counts[topics.name(topic)] for topic in CO_PARTITIONED_TOPICS}
        fits = f"set topics.partitions to {min(found)}, or " if len(found) == 1 and found != {topics.partitions} else ""
        raise TopicsError(
            f"{'; '.join(differing)}: {fits}make all topics anew under another topics.prefix with "
            "`nextbest topics create`"
        )


def require_topic(cluster: Cluster, topic: Topic) -> None:
    """Raise TopicsError unless `topic` (logical name) is there, ClusterAway where no broker answers."""
    name = cluster.topics.name(topic)
    _refuse_missing([name] if name not in cluster.reach().topics else [], cluster.topics)


def _refuse_missing(names: Sequence[str], topics: TopicSettings) -> None:
    if names:
        are = "is not there" if len(names) == 1 else "are not there"
        raise TopicsError(
            f"{', '.join(names)} {are}: run `nextbest topics create`, or correct topics.prefix ({topics.prefix!r})"
        )


def check(cluster: Cluster, *, transactions: bool = True) -> list[Finding]:
    """Return the findings on a cluster, most basic first. Changes nothing; raises nothing that the cluster causes.

    Stops after the connection where there is none. `transactions` also starts and aborts an empty transaction.
    """
    try:
        metadata = cluster.reach()
    except ClusterAway as away:
        return [Finding("error", away.tried, away.found, away.advice)]
    except (KafkaException, ValueError) as raised:
        return [Finding("error", "Kafka settings", str(raised), "correct the settings under [kafka]")]
    found = f"cluster {metadata.cluster_id}, {_count(len(metadata.brokers), 'broker')}"
    findings = [Finding("ok", f"connection to {cluster.kafka.bootstrap_servers}", found)]
    findings += _guarded("broker configuration", lambda: list(_broker(cluster, metadata)))
    findings += _guarded("topics", lambda: list(_topics(cluster, metadata)))
    if len(metadata.brokers) < cluster.topics.replication_factor:
        findings.append(_too_few_brokers(len(metadata.brokers), cluster.topics))
    if transactions:
        findings.append(_transactions(cluster))
    return findings


def _guarded(what: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    """Return what `look` finds, or a warning where the cluster does not let us look."""
    try:
        return look()
    except KafkaException as raised:
        error = error_of(raised)
        return [Finding("warn", what, f"could not be read: {error.str()}", "give the user the right to describe it")]


def _broker(cluster: Cluster, metadata: ClusterMetadata) -> Iterator[Finding]:
    """Compare our timeouts with what the brokers allow."""
    kafka, broker = cluster.kafka, str(next(iter(metadata.brokers)))
    config = describe_configs(cluster.admin, ResourceType.BROKER, [broker], in_seconds(kafka.connect_timeout_ms))[
        broker
    ]
    longest_ms = int(config.get("transaction.max.timeout.ms") or kafka.transaction_timeout_ms)
    yield _compare(
        kafka.transaction_timeout_ms <= longest_ms,
        "transaction timeout",
        f"{kafka.transaction_timeout_ms} ms; the brokers allow up to {longest_ms} ms",
        "lower kafka.transaction_timeout_ms, or raise the brokers' transaction.max.timeout.ms",
    )
    least_ms = int(config.get("group.min.session.timeout.ms") or 0)
    most_ms = int(config.get("group.max.session.timeout.ms") or kafka.session_timeout_ms)
    yield _compare(
        least_ms <= kafka.session_timeout_ms <= most_ms,
        "session timeout",
        f"{kafka.session_timeout_ms} ms; the brokers allow {least_ms} to {most_ms} ms",
        "set kafka.session_timeout_ms to a value in that range",
    )
    kept_minutes = int(config.get("offsets.retention.minutes") or 10_080)
    if kept_minutes < 1_440:
        yield Finding(
            "warn",
            "offsets of a stopped group",
            f"forgotten after {kept_minutes} minutes",
            "raise the brokers' offsets.retention.minutes: without offsets a group can't resume",
        )


def _compare(holds: bool, what: str, found: str, advice: str) -> Finding:
    return Finding("ok", what, found) if holds else Finding("error", what, found, advice)


def _topics(cluster: Cluster, metadata: ClusterMetadata) -> Iterator[Finding]:
    """Yield one finding for each topic that is as it should be or missing, and one for each difference."""
    plan = topic_plan(cluster.topics)
    present = [spec for spec in plan if spec.name in metadata.topics]
    differing = differences(cluster, present, in_seconds(cluster.kafka.connect_timeout_ms))
    for spec in plan:
        what = f"topic {spec.name}"
        if spec not in present:
            yield Finding("error", what, "is not there", "make it with: nextbest topics create")
            continue
        findings = [finding for each in differing if each.topic == spec.name and (finding := _judge(each)) is not None]
        yield from findings or [Finding("ok", what, _count(spec.partitions, "partition"))]
    yield from _unwritable(cluster, present)


def _judge(difference: Difference) -> Finding | None:
    """Return how bad a difference is; None where more than what is wanted is as good."""
    if difference.what in _AT_LEAST and _at_least(difference.found, difference.wanted):
        return None
    status: Status = "error" if difference.what in _MUST_HOLD else "warn"
    what = f"topic {difference.topic}: {difference.what}"
    return Finding(status, what, f"{difference.found}, not {difference.wanted}", difference.command)


def _at_least(found: str, wanted: str) -> bool:
    return int(found) >= int(wanted) or int(found) == _UNLIMITED


def _unwritable(cluster: Cluster, present: Sequence[TopicSpec]) -> Iterator[Finding]:
    """Yield topics that ask for more in-sync replicas than they have replicas: every write to them would fail."""
    names = [spec.name for spec in present]
    timeout_s = in_seconds(cluster.kafka.connect_timeout_ms)
    configs = describe_configs(cluster.admin, ResourceType.TOPIC, names, timeout_s) if present else {}
    topics = cluster.admin.list_topics(timeout=timeout_s).topics
    for spec in present:
        replicas = min((len(each.replicas) for each in topics[spec.name].partitions.values()), default=0)
        in_sync = int(configs[spec.name].get("min.insync.replicas") or 1)
        if in_sync > replicas:
            yield Finding(
                "error",
                f"topic {spec.name}: min.insync.replicas",
                f"{in_sync} with {_count(replicas, 'replica')}: nothing can be written",
                "lower min.insync.replicas or add replicas",
            )


def _too_few_brokers(brokers: int, topics: TopicSettings) -> Finding:
    return Finding(
        "warn",
        "replication",
        f"{_count(brokers, 'broker')}, and topics.replication_factor is {topics.replication_factor}",
        f"set topics.replication_factor to {brokers} or less, or no topic can be made (one replica dies with its disk)",
    )


def _transactions(cluster: Cluster) -> Finding:
    """Start and abort an empty transaction."""
    what = "transactions"
    timeout_s = in_seconds(cluster.kafka.connect_timeout_ms)
    try:
        producer = cluster.transactional_producer("check")
        producer.init_transactions(timeout_s)
        producer.begin_transaction()
        producer.abort_transaction(timeout_s)
    except (KafkaException, ValueError) as raised:
        found = error_of(raised).str() if isinstance(raised, KafkaException) else str(raised)
        return Finding("error", what, found, _transaction_advice(raised))
    return Finding("ok", what, f"work (transactional ids begin with {cluster.kafka.group_id})")


def _transaction_advice(raised: Exception) -> str:
    code = error_of(raised).code() if isinstance(raised, KafkaException) else None
    if code == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
        return "the user needs the rights Write and Describe on transactional ids that begin with kafka.group_id"
    return (
        "exactly-once needs transactions: see transaction.state.log.replication.factor and .min.isr on the brokers "
        "(both must be at most the number of brokers), and whether the brokers are up"
    )


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
