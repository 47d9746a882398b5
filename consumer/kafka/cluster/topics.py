"""The topics of the design: what each is to be, making them, and where existing ones differ."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from clients.errors import error_of
from consumer.kafka.cluster.cluster import Cluster
from consumer.kafka.cluster.cluster_settings import TopicSettings
from schemas.records import FAMILIES
from schemas.topics import CO_PARTITIONED_TOPICS, EVENT_TOPICS, TOPICS, Topic
from schemas.units import DAY_MS, HOUR_MS, Seconds

_TIMEOUT_S: Final = Seconds(30.0)  # for what the brokers take time to do


class TopicsError(Exception):
    """The cluster refused, or has other topics than it should; the message says what to do."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a topic is to be. `topic` is the logical name, `name` the real one; `config` is in Kafka's own terms."""

    topic: Topic
    name: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """Where an existing topic is not what it is to be, and the command that would change it."""

    topic: str
    what: str
    wanted: str
    found: str
    command: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.what} is {self.found}, not {self.wanted}. To change it: {self.command}"


@dataclass(slots=True)
class CreateReport:
    """Real topic names by what became of them."""

    created: list[str] = field(default_factory=list)
    existed: list[str] = field(default_factory=list)
    differs: list[Difference] = field(default_factory=list)


def topic_plan(settings: TopicSettings) -> list[TopicSpec]:
    """Return every topic of the design with all that matters set explicitly, so that no broker default decides it."""
    keep = settings.retention
    days: dict[Topic, float] = {
        "clickstream": keep.clickstream_days,
        "purchases": keep.purchases_days,
        "privacy": keep.privacy_days,
        "next-best-actions": keep.next_best_actions_days,
        "dead-letters": keep.dead_letters_days,
        "journal": keep.verify_horizon_days,
        "training-examples": keep.training_examples_days,
        "sessions": keep.sessions_days,
        "models": keep.verify_horizon_days,
    }
    return [
        TopicSpec(
            topic=topic,
            name=settings.name(topic),
            partitions=partitions_of(topic, settings),
            replication_factor=settings.replication_factor,
            config=_common(topic, settings) | (_deleted(days[topic]) if topic in days else _compacted(settings)),
        )
        for topic in TOPICS
    ]


def partitions_of(topic: Topic, settings: TopicSettings) -> int:
    """Return how many partitions a topic (logical name) has."""
    if topic in CO_PARTITIONED_TOPICS:
        return settings.partitions
    return len(FAMILIES) if topic == "training-examples" else 1


def _common(topic: Topic, settings: TopicSettings) -> dict[str, str]:
    largest = settings.max_input_bytes if topic in EVENT_TOPICS else settings.max_record_bytes
    return {
        "min.insync.replicas": str(settings.min_insync_replicas),
        # With the producer's own times, retention would delete old events (a replayed recording) as they arrive.
        "message.timestamp.type": "LogAppendTime",
        "segment.bytes": str(settings.segment_bytes),
        "segment.ms": str(round(settings.segment_hours * HOUR_MS)),
        "max.message.bytes": str(largest),
        "compression.type": "producer",
        "unclean.leader.election.enable": "false",  # a lagging leader would undo commits that others have seen
    }


def _deleted(days: float) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(round(days * DAY_MS)), "retention.bytes": "-1"}


def _compacted(settings: TopicSettings) -> dict[str, str]:
    return {
        "cleanup.policy": "compact",
        "min.compaction.lag.ms": str(settings.min_compaction_lag_ms),
        "max.compaction.lag.ms": str(round(settings.max_compaction_lag_hours * HOUR_MS)),
        "delete.retention.ms": str(round(settings.retention.tombstones_days * DAY_MS)),
        "min.cleanable.dirty.ratio": "0.1",
    }


def create_topics(cluster: Cluster) -> CreateReport:
    """Create the topics that are missing, and return what was created, what existed, and where that differs.

    An existing topic is never altered: each difference comes with the command that would. Returns once every topic has
    its leaders; raises ClusterAway where no broker answers, TopicsError where the cluster refuses.
    """
    plan, existing = topic_plan(cluster.topics), cluster.reach().topics
    report = CreateReport(existed=[spec.name for spec in plan if spec.name in existing])
    missing = [spec for spec in plan if spec.name not in existing]
    if missing:
        report.created = _create(cluster.admin, missing)
        report.existed += [spec.name for spec in missing if spec.name not in report.created]
        _wait_for_leaders(cluster.admin, missing)
    report.differs = differences(cluster, [spec for spec in plan if spec.name in report.existed], _TIMEOUT_S)
    return report


def differences(cluster: Cluster, specs: Sequence[TopicSpec], timeout_s: Seconds) -> list[Difference]:
    """Return where existing topics are not what `specs` says, in the order of `specs`."""
    if not specs:
        return []
    admin, bootstrap = cluster.admin, cluster.kafka.bootstrap_servers
    metadata = admin.list_topics(timeout=timeout_s).topics
    configs = describe_configs(admin, ResourceType.TOPIC, [spec.name for spec in specs], timeout_s)
    found: list[Difference] = []
    for spec in specs:
        partitions = metadata[spec.name].partitions if spec.name in metadata else {}
        found += _shape_differences(
            spec, len(partitions), max(map(_replicas, partitions.values()), default=0), bootstrap
        )
        for name, wanted in spec.config.items():
            value = configs[spec.name].get(name)
            if value is not None and not _same(wanted, value):
                found.append(
                    Difference(spec.name, name, wanted, value, _alter(bootstrap, spec.name, f"{name}={wanted}"))
                )
    return found


def describe_configs(
    admin: AdminClient, kind: ResourceType, names: Iterable[str], timeout_s: Seconds
) -> dict[str, dict[str, str | None]]:
    """Return the configuration of topics or brokers: name → property → value. Raises KafkaException."""
    futures = admin.describe_configs([ConfigResource(kind, name) for name in names], request_timeout=timeout_s)
    return {
        resource.name: {entry.name: entry.value for entry in future.result(timeout_s).values()}
        for resource, future in futures.items()
    }


def _create(admin: AdminClient, specs: Sequence[TopicSpec]) -> list[str]:
    """Create topics; return the names of those that were not there (another process may be doing the same)."""
    new = [NewTopic(spec.name, spec.partitions, spec.replication_factor, config=dict(spec.config)) for spec in specs]
    created = []
    for name, future in admin.create_topics(new, operation_timeout=_TIMEOUT_S, request_timeout=_TIMEOUT_S).items():
        try:
            future.result()
            created.append(name)
        except KafkaException as raised:
            error = error_of(raised)
            if error.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TopicsError(f"the topic {name} could not be created: {error.str()}{_advice(error)}") from raised
    return created


def _advice(error: KafkaError) -> str:
    if error.code() == KafkaError.INVALID_REPLICATION_FACTOR:
        return " Set topics.replication_factor (and topics.min_insync_replicas) to at most the number of brokers."
    if error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED):
        return " The user needs the right to create topics, or an administrator makes them."
    if error.code() == KafkaError.POLICY_VIOLATION:
        return " The cluster's policy forbids one of the settings; change it under [topics]."
    return ""


def _wait_for_leaders(admin: AdminClient, specs: Sequence[TopicSpec]) -> None:
    deadline = time.monotonic() + _TIMEOUT_S
    waiting = list(specs)
    while waiting:
        topics = admin.list_topics(timeout=_TIMEOUT_S).topics
        waiting = [spec for spec in waiting if spec.name not in topics or not _led(topics[spec.name])]
        if waiting and time.monotonic() > deadline:
            raise TopicsError(
                f"{waiting[0].name} was created, but has no leader after {_TIMEOUT_S:.0f} s: see the brokers"
            )
        if waiting:
            time.sleep(0.05)


def _led(topic: object) -> bool:
    partitions = getattr(topic, "partitions", {})
    return bool(partitions) and all(partition.leader >= 0 for partition in partitions.values())


def _replicas(partition: object) -> int:
    return len(getattr(partition, "replicas", ()))


def _shape_differences(spec: TopicSpec, partitions: int, replicas: int, bootstrap: str) -> list[Difference]:
    found = []
    if partitions != spec.partitions:
        advice = (
            "set topics.partitions to what is there, or use another topics.prefix and read the inputs anew (a topic "
            "whose count cannot be changed is read by nextbest bridge). Never add partitions: that would move "
            "customers to other tasks"
        )
        found.append(Difference(spec.name, "partitions", str(spec.partitions), str(partitions), advice))
    if replicas != spec.replication_factor:
        advice = f"kafka-reassign-partitions.sh --bootstrap-server {bootstrap} (with a plan for {spec.name})"
        found.append(Difference(spec.name, "replication factor", str(spec.replication_factor), str(replicas), advice))
    return found


def _same(wanted: str, found: str) -> bool:
    try:
        return float(wanted) == float(found)
    except ValueError:
        return wanted == found


def _alter(bootstrap: str, topic: str, assignment: str) -> str:
    return (
        f"kafka-configs.sh --bootstrap-server {bootstrap} --alter --entity-type topics --entity-name {topic} "
        f"--add-config {assignment}"
    )
