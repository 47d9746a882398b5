"""Topics of one test on a real broker: making them, filling the inputs, reading what came out."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from confluent_kafka import Message, TopicPartition

from consumer.core.settings import DAY_MS, ChallengerSettings, CoreSettings, TimeSettings
from consumer.kafka.cluster import clients
from consumer.kafka.cluster.log_reader import end_offsets, read_to
from consumer.kafka.cluster.settings import KafkaSettings, TopicSettings
from consumer.kafka.cluster.topics import INPUTS, create_topics, partitions_of, topic_plan
from consumer.kafka.state.changelog import TASK_KEY
from consumer.kafka.worker_settings import WorkerSettings
from schemas.codec import Decoder
from tests.kafka.harness.stream import InputRecord

DEADLINE_S = 90.0
SESSION_TIMEOUT_MS = 6_000


@dataclass(slots=True)
class Cluster:
    """The topics below `prefix`, and the settings of workers on them."""

    bootstrap: str
    prefix: str
    folder: Path
    partitions: int = 2
    # Weeks of the made-up streams arrive within a second, so what a busy broker stores a moment later looks days late.
    core: CoreSettings = field(default_factory=lambda: CoreSettings(time=TimeSettings(late_by_ms=90 * DAY_MS)))
    worker: WorkerSettings = field(default_factory=lambda: WorkerSettings(commit_interval_ms=200))
    challengers: tuple[ChallengerSettings, ...] = ()
    transaction_timeout_ms: int = 5_000
    session_timeout_ms: int = SESSION_TIMEOUT_MS

    @property
    def topics(self) -> TopicSettings:
        """Return how the topics are named and made."""
        return TopicSettings(
            prefix=self.prefix, partitions=self.partitions, replication_factor=1, min_insync_replicas=1
        )

    def kafka(self, instance_id: str = "worker-0") -> KafkaSettings:
        """Return the settings of the clients of one worker."""
        return KafkaSettings(
            bootstrap_servers=self.bootstrap,
            group_id=self.prefix + "group",
            instance_id=instance_id,
            session_timeout_ms=self.session_timeout_ms,
            transaction_timeout_ms=self.transaction_timeout_ms,
        )

    def worker_settings(self, instance_id: str = "worker-0") -> WorkerSettings:
        """Return the settings of one worker, with a state folder of its own."""
        return replace(self.worker, age_reference="stream", state_dir=str(self.state_dir(instance_id)))

    def state_dir(self, instance_id: str = "worker-0") -> Path:
        """Return where a worker keeps its stores."""
        return self.folder / "state" / instance_id

    def create(self) -> None:
        """Make all topics."""
        create_topics(clients.admin(self.kafka()), topic_plan(self.topics))

    def produce(self, records: Iterable[InputRecord]) -> None:
        """Write `records` to the inputs, each topic and partition in the given order."""
        producer = clients.idempotent_producer(self.kafka())
        for record in records:
            producer.produce(self.topics.name(record.topic), record.value, record.key, record.partition)
            producer.poll(0)
        assert producer.flush(DEADLINE_S) == 0

    def read(self, topic: str) -> list[Message]:
        """Return every committed record of a topic (logical name), each partition in its order."""
        kafka, name = self.kafka(), self.topics.name(topic)
        admin = clients.admin(kafka)
        partitions = [TopicPartition(name, number, 0) for number in range(partitions_of(topic, self.topics))]
        ends = end_offsets(admin, partitions, DEADLINE_S)
        reader = clients.reader(kafka, auto_offset_reset="earliest", partition_eof=True)
        try:
            reader.assign(partitions)
            wanted = {(each.topic, each.partition): end for each, end in zip(partitions, ends, strict=True)}
            found = read_to(reader, wanted, stop=lambda: False, clock_s=time.monotonic, timeout_s=DEADLINE_S)
            return list(found)
        finally:
            reader.close()

    def decoded(self, topic: str) -> list[Any]:
        """Return every committed record of a topic, decoded."""
        decoder = Decoder()
        return [decoder.decode(topic, message.value()) for message in self.read(topic)]

    def customers(self) -> dict[tuple[int, bytes], bytes]:
        """Return the changelog as compaction would leave it: (partition, key) → the latest record of a customer."""
        latest: dict[tuple[int, bytes], bytes] = {}
        for message in self.read("customer-state"):
            where = (message.partition() or 0, message.key() or b"")
            value = message.value()
            if value is None:
                latest.pop(where, None)
            elif where[1] != TASK_KEY:
                latest[where] = value
        return latest

    def committed_records(self) -> int:
        """Return how many input records were processed, by the group's committed offsets."""
        asking = clients.member(self.kafka(), "error")  # which never joins
        names = [self.topics.name(topic) for topic in INPUTS]
        partitions = [TopicPartition(name, number) for name in names for number in range(self.partitions)]
        try:
            # A broker that has just started loads its groups first; an open transaction may hold the offsets.
            found = clients.call_again(lambda: asking.committed(partitions, timeout=5.0), DEADLINE_S)
        finally:
            asking.close()
        return sum(max(each.offset, 0) for each in found)

    def journal_counts(self) -> Counter[str]:
        """Return how many records the journal's runs account for, by logical topic."""
        counts: Counter[str] = Counter()
        for record in self.decoded("journal"):
            for run in record.runs:
                if run.topic is not None:
                    counts[run.topic] += run.count
        return counts


class Running(Protocol):
    """Something that should not have ended yet; `harness.worker_process.WorkerProcess` is one."""

    def fail_if_ended(self) -> None:
        """Fail, with its log, where it has ended."""


def wait_until(condition: Callable[[], bool], what: str, *running: Running, deadline_s: float = DEADLINE_S) -> None:
    """Return when `condition` holds; fail where it does not within `deadline_s`, or something `running` ends before."""
    until = time.monotonic() + deadline_s
    while not condition():
        for each in running:
            each.fail_if_ended()
        assert time.monotonic() < until, f"not within {deadline_s:.0f} s: {what}"
        time.sleep(0.1)


def input_counts(records: Iterable[InputRecord]) -> Counter[str]:
    """Return how many records each topic got."""
    return Counter(record.topic for record in records if record.topic in INPUTS)
