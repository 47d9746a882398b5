"""Puts a process of the bridge together and runs it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from confluent_kafka import KafkaException

from clients.errors import ClusterAway, error_of
from consumer.bridge.becoming import Becoming
from consumer.bridge.bridge import Bridge, BridgeParts
from consumer.bridge.observer import BridgeObserver
from consumer.bridge.settings import BridgeSettings
from consumer.bridge.sources import Sources
from consumer.inputs.mapper import Mapper
from consumer.kafka.clocks import Clocks
from consumer.kafka.cluster.check import require_topics
from consumer.kafka.cluster.cluster import Cluster
from consumer.kafka.cluster.topics import TopicsError, partitions_of
from consumer.kafka.failures import CannotGoOn
from consumer.kafka.transactions import Transactions
from consumer.kafka.worker import WorkerStatus
from consumer.kafka.worker_settings import DeadLetterSettings
from schemas.codec import Encoder
from schemas.topics import INPUT_TOPICS, TOPICS
from schemas.units import in_seconds

GROUP_SUFFIX = "-bridge"


@dataclass(frozen=True, slots=True)
class BridgeJob:
    """What a process of the bridge is to do. `mappers`: full name of a source topic → its mapping."""

    settings: BridgeSettings
    dead_letters: DeadLetterSettings
    max_ahead_ms: int
    mappers: Mapping[str, Mapper]
    encoder: Encoder


def run_bridge(
    cluster: Cluster,
    job: BridgeJob,
    *,
    stop: Callable[[], bool],
    observer: BridgeObserver | None = None,
    status: WorkerStatus | None = None,
    clocks: Clocks | None = None,
) -> None:
    """Run one process of the bridge in this thread until `stop` returns True; then commit, leave the group and return.

    Raises TopicsError where a topic is missing or is one of ours, CannotGoOn (the message says why and what to do) and
    TooManyRejected; a process started after either continues from the last commit.
    """
    if not cluster.kafka.instance_id:
        raise CannotGoOn("kafka.instance_id is not set: give each process a stable name (bridge-0, bridge-1)")
    told, clocks = status or WorkerStatus(), clocks or Clocks()

    def stop_asked() -> bool:
        told.looped_at_s = clocks.s()  # asked each time around
        return stop()

    try:
        _refuse_topics(cluster, job)
        _build(cluster, job, stop=stop_asked, observer=observer or BridgeObserver(), status=told, clocks=clocks).run()
    except ClusterAway as away:
        raise CannotGoOn(str(away)) from away
    except KafkaException as raised:
        raise CannotGoOn(f"Kafka: {error_of(raised).str()}") from raised


def _refuse_topics(cluster: Cluster, job: BridgeJob) -> None:
    require_topics(cluster)
    ours = {cluster.topics.name(topic) for topic in TOPICS}
    if read := sorted(ours & job.mappers.keys()):
        raise TopicsError(f"{read[0]} is a topic of nextbest's own: the bridge writes to it, and can't read from it")
    present = cluster.reach().topics
    if missing := sorted(job.mappers.keys() - present.keys()):
        raise TopicsError(f"there is no topic {missing[0]}, which an input names: correct its `topics`, or make it")


def _build(
    cluster: Cluster,
    job: BridgeJob,
    *,
    stop: Callable[[], bool],
    observer: BridgeObserver,
    status: WorkerStatus,
    clocks: Clocks,
) -> Bridge:
    group_id = job.settings.group_id or cluster.kafka.group_id + GROUP_SUFFIX
    cluster = replace(cluster, kafka=replace(cluster.kafka, group_id=group_id))
    kafka, topics = cluster.kafka, cluster.topics
    consumer = cluster.member(assignor="roundrobin")  # source topics need not have the same partitions
    transactions = Transactions(
        lambda: cluster.transactional_producer(kafka.instance_id or ""),
        in_seconds(kafka.transaction_timeout_ms),
        clocks.s,
        stop,
    )
    becoming = Becoming(
        job.mappers,
        job.encoder,
        {topic: partitions_of(topic, topics) for topic in INPUT_TOPICS},
        min(topics.max_input_bytes, topics.max_record_bytes),
    )
    sources = Sources(consumer, cluster.admin, group_id, sorted(job.mappers))
    parts = BridgeParts(cluster, consumer, sources, becoming, job.encoder, transactions)
    return Bridge(
        job.settings,
        job.dead_letters,
        job.max_ahead_ms,
        parts,
        observer=observer,
        status=status,
        clocks=clocks,
        stop=stop,
    )
