"""Puts a worker together and runs it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka import KafkaException, TopicCollection

from clients.errors import ClusterAway, call_again, error_of
from consumer.core.catalogue import Catalogue
from consumer.core.decision.budget import equal_share
from consumer.core.knowledge.river_classifier import UnknownModel
from consumer.core.local_time import ZoneLoader
from consumer.core.settings import ChallengerSettings, CoreSettings
from consumer.core.shared import Core
from consumer.kafka.assignment import Assignment
from consumer.kafka.checkpoint import Checkpoint
from consumer.kafka.clocks import Clocks
from consumer.kafka.cluster.check import require_topics
from consumer.kafka.cluster.cluster import Cluster
from consumer.kafka.failures import CannotGoOn
from consumer.kafka.input_reader import InputReader
from consumer.kafka.models.follower import KnowledgeFollower
from consumer.kafka.models.group import ElectedReader
from consumer.kafka.models.publisher import ModelPublisher
from consumer.kafka.models.trainer import BATCH_RECORDS, CHALLENGER_BATCH_RECORDS, Trainer, Training
from consumer.kafka.observer import Observer
from consumer.kafka.product_letters import ProductLetters
from consumer.kafka.state.restore import Restorer
from consumer.kafka.state.stores import Stores
from consumer.kafka.transactions import Transactions
from consumer.kafka.worker import Parts, Worker, WorkerStatus
from consumer.kafka.worker_settings import WorkerSettings
from schemas.codec import Decoder, Encoder
from schemas.units import DAY_MS, HOUR_MS, Ms, in_seconds

TRAINER_GROUP_SUFFIX = "-trainer"
CHALLENGER_GROUP_SUFFIX = "-challenger-"  # and its name


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is to do, on whichever cluster. `build` is the fingerprint that goes into the journal."""

    worker: WorkerSettings
    core: CoreSettings
    catalogue: Catalogue
    decoder: Decoder
    encoder: Encoder
    build: str
    load_zone: ZoneLoader
    challengers: Sequence[ChallengerSettings] = ()
    let_through: Mapping[int, Mapping[str, int]] = field(default_factory=dict)  # see `Worker`


def run(
    cluster: Cluster,
    job: Job,
    *,
    stop: Callable[[], bool],
    observer: Observer | None = None,
    status: WorkerStatus | None = None,
    clocks: Clocks | None = None,
) -> None:
    """Run one worker in this thread until `stop` returns True; then commit, leave the groups and return.

    The topics must be there, with `topics.partitions` partitions: else TopicsError. StoreInUse: another worker has the
    state folder. Raises CannotGoOn (the message says why and what to do) and TooManyRejected; a worker started after
    either continues from the last commit.
    """
    if not cluster.kafka.instance_id:
        raise CannotGoOn("kafka.instance_id is not set: give each worker a stable name of its own (worker-0, worker-1)")
    told, clocks = status or WorkerStatus(), clocks or Clocks()

    def stop_asked() -> bool:
        told.looped_at_s = clocks.s()  # asked each time around, and while knowledge is loaded and tasks are restored
        return stop()

    try:
        _build(cluster, job, stop=stop_asked, observer=observer or Observer(), status=told, clocks=clocks).run()
    except ClusterAway as away:
        raise CannotGoOn(str(away)) from away
    except KafkaException as raised:
        raise CannotGoOn(f"Kafka: {error_of(raised).str()}: nextbest check looks for the cause") from raised


def _build(
    cluster: Cluster,
    job: Job,
    *,
    stop: Callable[[], bool],
    observer: Observer,
    status: WorkerStatus,
    clocks: Clocks,
) -> Worker:
    require_topics(cluster)
    worker, kafka, topics = job.worker, cluster.kafka, cluster.topics
    stores = _stores(cluster, worker, clocks)
    grants = equal_share(job.catalogue.budgets(), topics.partitions)
    core = Core.new(job.core, job.catalogue, job.load_zone, build=job.build, grants=grants)
    consumer = cluster.member()
    transactions = Transactions(
        lambda: cluster.transactional_producer(kafka.instance_id or ""),
        in_seconds(kafka.transaction_timeout_ms),
        clocks.s,
        stop,
    )
    follower = KnowledgeFollower(
        cluster,
        job.decoder.counting_apart(),  # every worker reads all products: what is mended in them is counted by one
        core.knowledge,
        observer=observer,
        clock_s=clocks.s,
        stop=stop,
    )
    trains = worker.trainer and worker.mode != "frozen"
    parts = Parts(
        consumer=consumer,
        assignment=Assignment(consumer, cluster),
        inputs=InputReader(job.decoder, topics.partitions, job.core.time.max_ahead_ms, stop),
        transactions=transactions,
        checkpoint=Checkpoint(
            transactions,
            job.encoder,
            cluster,
            group_metadata=consumer.consumer_group_metadata,
            max_dead_value_bytes=worker.dead_letters.max_value_bytes,
        ),
        restorer=Restorer(
            cluster,
            stores,
            check_group_offsets=worker.check_group_offsets,
            timeout_s=in_seconds(worker.restore_timeout_ms),
            clock_s=clocks.s,
            stop=stop,
        ),
        follower=follower,
        products=ProductLetters(cluster, job.decoder, clock_s=clocks.s, stop_asked=stop),
        trainer=_trainer(cluster, job, follower, observer=observer, clocks=clocks) if trains else None,
    )
    return Worker(
        worker,
        core,
        parts,
        observer=observer,
        status=status,
        clocks=clocks,
        stop=stop,
        let_through=job.let_through,
    )


def _trainer(cluster: Cluster, job: Job, follower: KnowledgeFollower, *, observer: Observer, clocks: Clocks) -> Trainer:
    def reader(group_suffix: str, batch_records: int) -> ElectedReader:
        member, examples = cluster.member(group_suffix), cluster.topics.name("training-examples")
        return ElectedReader(
            member, cluster.admin, examples, job.decoder, clock_s=clocks.s, batch_records=batch_records
        )

    try:
        return Trainer(
            reader(TRAINER_GROUP_SUFFIX, BATCH_RECORDS),
            [(each, reader(CHALLENGER_GROUP_SUFFIX + each.name, CHALLENGER_BATCH_RECORDS)) for each in job.challengers],
            Training(job.core, job.catalogue, follower.index, observer),
            ModelPublisher(cluster.idempotent_producer(), cluster.topics.name("models")),
            clocks=clocks,
            republish_ms=Ms(int(job.worker.republish_hours * HOUR_MS)),
        )
    except UnknownModel as error:
        raise CannotGoOn(str(error)) from None


def _stores(cluster: Cluster, worker: WorkerSettings, clocks: Clocks) -> Stores:
    """Return the local stores, known by the group and the topic id of the changelog: a topic made anew has another."""
    kafka, topics = cluster.kafka, cluster.topics
    folder = worker.state_folder(kafka.instance_id or "")
    tombstones_ms = Ms(int(topics.retention.tombstones_days * DAY_MS))
    topic_id = "" if folder is None else _topic_id(cluster, topics.name("customer-state"))
    return Stores(folder, f"{kafka.group_id}/{topic_id}", tombstones_ms, clocks.ms)


def _topic_id(cluster: Cluster, name: str) -> str:
    timeout_s = in_seconds(cluster.kafka.connect_timeout_ms)

    def ask() -> str:
        try:
            return str(cluster.admin.describe_topics(TopicCollection([name]))[name].result(timeout_s).topic_id)
        except TimeoutError:
            raise CannotGoOn(f"the brokers did not describe {name} within {timeout_s:.0f} s: are they up?") from None

    return call_again(ask, timeout_s)
