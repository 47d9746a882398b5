"""Topics of one test on a real broker: making them, filling the inputs, reading what came out."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol

from confluent_kafka import Message

from clients.errors import call_again
from clients.offsets import end_offsets
from consumer.core.settings import ChallengerSettings, CoreSettings, TimeSettings
from consumer.kafka.clocks import monotonic_s
from consumer.kafka.cluster.cluster import Cluster as Reached
from consumer.kafka.cluster.cluster_settings import KafkaSettings, TopicSettings
from consumer.kafka.cluster.log_reader import read_to
from consumer.kafka.cluster.topics import create_topics, partitions_of
from consumer.kafka.state.changelog import TASK_KEY
from consumer.kafka.worker_settings import WorkerSettings
from schemas.codec import Decoder
from schemas.topics import EVENT_TOPICS, Topic
from schemas.units import DAY_MS, Ms, Seconds
from tests.kafka.harness.stream import InputRecord

DEADLINE_S: Final = Seconds(90.0)
SESSION_TIMEOUT_MS: Final = Ms(6_000)


@dataclass(slots=True)
class Cluster:
    """The topics below `prefix`, and the settings of workers on them."""

    bootstrap: str
    prefix: str
    folder: Path
    partitions: int = 2
    # Weeks of the made-up streams arrive within a second, so what a busy broker stores a moment later looks days late.
    core: CoreSettings = field(default_factory=lambda: CoreSettings(time=TimeSettings(late_by_ms=90 * DAY_MS)))
    worker: WorkerSettings = field(default_factory=lambda: WorkerSettings(commit_interval_ms=Ms(200)))
    challengers: tuple[ChallengerSettings, ...] = ()
    transaction_timeout_ms: Ms = Ms(5_000)
    session_timeout_ms: Ms = SESSION_TIMEOUT_MS

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

    def reached(self, instance_id: str = "worker-0") -> Reached:
        """Return the cluster as one worker sees it."""
        return Reached(self.kafka(instance_id), self.topics)

    def worker_settings(self, instance_id: str = "worker-0") -> WorkerSettings:
        """Return the settings of one worker, with a state folder of its own."""
        return replace(self.worker, age_reference="stream", state_dir=str(self.state_dir(instance_id)))

    def state_dir(self, instance_id: str = "worker-0") -> Path:
        """Return where a worker keeps its stores."""
        return self.folder / "state" / instance_id

    def create(self) -> None:
        """Make all topics."""
        create_topics(self.reached())

    def produce(self, records: Iterable[InputRecord]) -> None:
        """Write `records` to the inputs, each topic and partition in the given order."""
        producer = self.reached().idempotent_producer()
        for record in records:
            producer.produce(self.topics.name(record.topic), record.value, record.key, record.partition)
            producer.poll(0)
        assert producer.flush(DEADLINE_S) == 0

    def read(self, topic: Topic) -> list[Message]:
        """Return every committed record of a topic (logical name), each partition in its order."""
        reached = self.reached()
        partitions = [reached.place(topic, number, 0) for number in range(partitions_of(topic, self.topics))]
        ends = end_offsets(reached.admin, partitions, DEADLINE_S)
        reader = reached.reader()
        try:
            reader.assign(partitions)
            wanted = {(each.topic, each.partition): end for each, end in zip(partitions, ends, strict=True)}
            found = read_to(reader, wanted, stop=lambda: False, clock_s=monotonic_s, timeout_s=DEADLINE_S)
            return list(found)
        finally:
            reader.close()

    def decoded(self, topic: Topic) -> list[Any]:
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
        reached = self.reached()
        asking = reached.member()  # which never joins
        partitions = [reached.place(topic, number) for topic in EVENT_TOPICS for number in range(self.partitions)]
        try:
            # A broker that has just started loads its groups first; an open transaction may hold the offsets.
            found = call_again(lambda: asking.committed(partitions, timeout=5.0), DEADLINE_S)
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
    return Counter(record.topic for record in records if record.topic in EVENT_TOPICS)
