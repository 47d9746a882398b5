"""Puts a worker together and runs it: the one place that makes its clients."""

import time
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from consumer.core.catalogue import Catalogue
from consumer.core.decision.budget import equal_share
from consumer.core.knowledge.river_classifier import UnknownModel
from consumer.core.settings import DAY_MS, ChallengerSettings, CoreSettings
from consumer.core.shared import Core
from consumer.kafka.checkpoint import Checkpoint
from consumer.kafka.cluster import clients
from consumer.kafka.cluster.check import require_topics
from consumer.kafka.cluster.settings import KafkaSettings, TopicSettings
from consumer.kafka.models.follower import KnowledgeFollower
from consumer.kafka.models.group import ElectedReader
from consumer.kafka.models.publisher import ModelPublisher
from consumer.kafka.models.trainer import BATCH_RECORDS, CHALLENGER_BATCH_RECORDS, Trainer, Training
from consumer.kafka.observer import Observer
from consumer.kafka.state.restore import Restorer
from consumer.kafka.state.stores import Stores
from consumer.kafka.transactions import CannotGoOn, Transactions
from consumer.kafka.worker import Worker, WorkerStatus
from consumer.kafka.worker_settings import WorkerSettings
from consumer.zones import load_zone
from schemas.codec import Decoder, Encoder

TRAINER_GROUP_SUFFIX = "-trainer"
CHALLENGER_GROUP_SUFFIX = "-challenger-"  # and its name


def wall_clock_ms() -> int:
    """Return epoch milliseconds."""
    return time.time_ns() // 1_000_000


def run(
    worker: WorkerSettings,
    kafka: KafkaSettings,
    topics: TopicSettings,
    core: CoreSettings,
    catalogue: Catalogue,
    decoder: Decoder,
    encoder: Encoder,
    *,
    build: str,
    stop: Callable[[], bool],
    observer: Observer | None = None,
    status: WorkerStatus | None = None,
    clock_ms: Callable[[], int] = wall_clock_ms,
    clock_s: Callable[[], float] = time.monotonic,
    challengers: Sequence[ChallengerSettings] = (),
) -> None:
    """Run one worker in this thread until `stop` returns True; then commit, leave the groups and return.

    The topics must be there, with `topics.partitions` partitions: else TopicsError, and ClusterAway where no broker
    answers. StoreInUse: another worker has the state folder. `clock_ms` is the wall clock (epoch milliseconds),
    `clock_s` a monotonic one. Raises CannotGoOn (the message says why and what to do) and TooManyRejected; a worker
    started after either continues from the last commit.
    """
    if not kafka.instance_id:
        raise CannotGoOn("kafka.instance_id is not set: give each worker a stable name of its own (worker-0, worker-1)")
    told = status or WorkerStatus()

    def stop_asked() -> bool:
        told.looped_at_s = clock_s()  # asked each time around, and while knowledge is loaded and tasks are restored
        return stop()

    try:
        _build(
            worker, kafka, topics, core, catalogue, decoder, encoder,
            build, stop_asked, observer or Observer(), told, clock_ms, clock_s, challengers,
        ).run()  # fmt: skip
    except KafkaException as raised:
        raise CannotGoOn(f"Kafka: {clients.error_of(raised).str()}") from raised


def _build(
    worker: WorkerSettings,
    kafka: KafkaSettings,
    topics: TopicSettings,
    core_settings: CoreSettings,
    catalogue: Catalogue,
    decoder: Decoder,
    encoder: Encoder,
    build: str,
    stop: Callable[[], bool],
    observer: Observer,
    status: WorkerStatus,
    clock_ms: Callable[[], int],
    clock_s: Callable[[], float],
    challengers: Sequence[ChallengerSettings],
) -> Worker:
    admin = clients.admin(kafka)
    require_topics(admin, kafka, topics)
    stores = _stores(worker, kafka, topics, admin, clock_ms)
    grants = equal_share(catalogue.budgets(), topics.partitions)
    core = Core.new(core_settings, catalogue, load_zone, build=build, grants=grants)
    consumer = clients.member(kafka, "error", partition_eof=True)
    transactions = Transactions(
        lambda: clients.transactional_producer(kafka, f"{kafka.group_id}-{kafka.instance_id}"),
        kafka.transaction_timeout_ms / 1000, clock_s, stop,
    )  # fmt: skip
    follower = KnowledgeFollower(
        clients.reader(kafka, auto_offset_reset="earliest", partition_eof=True),
        admin, topics, decoder, knowledge=core.knowledge, clock_s=clock_s,
    )  # fmt: skip
    restorer = Restorer(
        clients.reader(kafka, auto_offset_reset="earliest", partition_eof=True),
        admin, topics, stores,
        check_group_offsets=worker.check_group_offsets,
        timeout_s=worker.restore_timeout_ms / 1000,
        clock_s=clock_s,
        stop=stop,
    )  # fmt: skip
    trainer = None
    if worker.trainer and worker.mode != "frozen":
        trainer = _trainer(
            worker, kafka, topics, core_settings, catalogue, challengers, decoder, admin, follower, observer,
            clock_s, clock_ms,
        )  # fmt: skip
    checkpoint = Checkpoint(
        transactions, encoder, topics, consumer.consumer_group_metadata, worker.dead_letters.max_value_bytes
    )
    return Worker(
        worker, topics, core, decoder, consumer, transactions, checkpoint, restorer, follower, trainer, observer,
        status, clock_ms=clock_ms, clock_s=clock_s, stop=stop,
    )  # fmt: skip


def _trainer(
    worker: WorkerSettings,
    kafka: KafkaSettings,
    topics: TopicSettings,
    core: CoreSettings,
    catalogue: Catalogue,
    challengers: Sequence[ChallengerSettings],
    decoder: Decoder,
    admin: AdminClient,
    follower: KnowledgeFollower,
    observer: Observer,
    clock_s: Callable[[], float],
    clock_ms: Callable[[], int],
) -> Trainer:
    def reader(group_suffix: str, batch_records: int) -> ElectedReader:
        member = clients.member(kafka, "error", group_id=kafka.group_id + group_suffix)
        examples = topics.name("training-examples")
        return ElectedReader(member, admin, examples, decoder, clock_s=clock_s, batch_records=batch_records)

    try:
        return Trainer(
            reader(TRAINER_GROUP_SUFFIX, BATCH_RECORDS),
            [(each, reader(CHALLENGER_GROUP_SUFFIX + each.name, CHALLENGER_BATCH_RECORDS)) for each in challengers],
            Training(core, catalogue, follower.index, observer),
            ModelPublisher(clients.idempotent_producer(kafka), topics.name("models")),
            clock_s=clock_s,
            clock_ms=clock_ms,
            republish_s=worker.republish_hours * 3600,
        )
    except UnknownModel as error:
        raise CannotGoOn(str(error)) from None


def _stores(
    worker: WorkerSettings, kafka: KafkaSettings, topics: TopicSettings, admin: AdminClient, clock_ms: Callable[[], int]
) -> Stores:
    """Return the local stores, known by the group and the topic id of the changelog: a topic made anew has another."""
    folder = worker.state_folder(kafka.instance_id or "")
    tombstones_ms = int(topics.retention.tombstones_days * DAY_MS)
    name = topics.name("customer-state")
    topic_id = "" if folder is None else _topic_id(admin, name, kafka.connect_timeout_ms / 1000)
    return Stores(folder, f"{kafka.group_id}/{topic_id}", tombstones_ms, clock_ms)


def _topic_id(admin: AdminClient, name: str, timeout_s: float) -> str:
    def ask() -> str:
        try:
            return str(admin.describe_topics(TopicCollection([name]))[name].result(timeout_s).topic_id)
        except TimeoutError:
            raise CannotGoOn(f"the brokers did not describe {name} within {timeout_s:.0f} s: are they up?") from None

    return clients.call_again(ask, timeout_s)
