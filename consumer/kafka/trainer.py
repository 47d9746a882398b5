"""Folds training examples into the models: the trainer of each family is elected by a consumer group of its own.

A snapshot is a function of the log up to its offset, taken after every so many examples and nowhere else. So a trainer
needs no transaction: it goes on from the latest snapshot, and two trainers of one family (an old one that does not know
yet that it was replaced) publish the same bytes, of which readers ignore the second.
"""

from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.core.catalogue import Catalogue
from consumer.core.learner import Learner, new_learner, restore_learner
from consumer.core.settings import CoreSettings
from consumer.core.snapshot import RefusedSnapshot
from consumer.kafka.assignment import seek
from consumer.kafka.clients import log
from consumer.kafka.knowledge_follower import LatestSnapshot
from consumer.kafka.log_reader import PARTITION_EOF, beginning_offsets, raise_or_log
from consumer.kafka.observer import Observer
from consumer.kafka.settings import TopicSettings
from consumer.kafka.transactions import CannotGoOn
from schemas.codec import Decoder
from schemas.records import FAMILIES, Family

_BATCH_RECORDS = 200
_ADMIN_TIMEOUT_S = 10.0


class FamilyTrainer:
    """The learner of one family, and how many examples it is past its latest snapshot."""

    def __init__(self, learner: Learner, snapshot_examples: int) -> None:
        self._learner = learner
        self._snapshot_examples = snapshot_examples
        self._since_snapshot = 0

    @property
    def next_offset(self) -> int:
        """Return the offset to read next."""
        return self._learner.last_offset + 1

    def learn(self, offset: int, example: Any) -> bytes | None:
        """Fold one example in; return the snapshot that is due after it, if one is.

        Counting from the latest snapshot gives the same places in the log as counting from its beginning: every
        snapshot was taken at such a place.
        """
        self._learner.learn(offset, example)
        self._since_snapshot += 1
        if self._since_snapshot < self._snapshot_examples:
            return None
        self._since_snapshot = 0
        return self._learner.snapshot()


class Trainer:
    """The families that this worker trains. `latest` is where the snapshots known from the models topic are found."""

    def __init__(
        self,
        member: Consumer,
        producer: Producer,
        admin: AdminClient,
        topics: TopicSettings,
        decoder: Decoder,
        settings: CoreSettings,
        catalogue: Catalogue,
        latest: Mapping[Family, LatestSnapshot],
        observer: Observer,
        clock_s: Callable[[], float],
        republish_s: float,
    ) -> None:
        self._member = member
        self._producer = producer
        self._admin = admin
        self._topics = topics
        self._decoder = decoder
        self._settings = settings
        self._catalogue = catalogue
        self._latest = latest
        self._observer = observer
        self._clock_s = clock_s
        self._republish_s = republish_s
        self._republish_at_s = clock_s() + republish_s
        self._families: dict[int, FamilyTrainer] = {}
        self._assigned: list[TopicPartition] = []  # not started yet

    def start(self) -> None:
        """Join the group of trainers."""
        name = self._topics.name("training-examples")
        self._member.subscribe([name], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)

    def _on_assign(self, member: Consumer, partitions: list[TopicPartition]) -> None:
        # Where to read from is known once the learner is there; what is fetched until then is thrown away. As in
        # assignment.py, an offset that retention has taken would fail, and a question for an offset could come late.
        for each, begin in zip(partitions, beginning_offsets(self._admin, partitions, _ADMIN_TIMEOUT_S), strict=True):
            each.offset = begin
        member.assign(partitions)
        member.pause(partitions)
        self._assigned = partitions

    def _on_revoke(self, _member: Consumer, _partitions: list[TopicPartition]) -> None:
        self._families.clear()
        self._assigned = []

    def learn(self, budget_s: float) -> None:
        """Fold in examples that have arrived, for at most `budget_s`, and publish the snapshots that become due."""
        until_s = self._clock_s() + budget_s
        while True:
            self._start_families()
            messages = self._member.consume(_BATCH_RECORDS, 0)
            for message in messages:
                self._fold(message)
            if not messages or self._clock_s() >= until_s:
                break
        self._republish_when_due()
        self._producer.poll(0)

    def _start_families(self) -> None:
        assigned, self._assigned = self._assigned, []
        for each in assigned:
            family = FAMILIES[each.partition]
            trainer = FamilyTrainer(self._learner(family), self._settings.learner.snapshot_examples)
            begin = beginning_offsets(self._admin, [each], _ADMIN_TIMEOUT_S)[0]
            if trainer.next_offset < begin:
                log.warning("%s: examples from %d to %d have expired untrained", family, trainer.next_offset, begin)
            self._families[each.partition] = trainer
            seek(self._member, TopicPartition(each.topic, each.partition, max(trainer.next_offset, begin)))
            log.info("training %s from example %d", family, max(trainer.next_offset, begin))
        if assigned:
            self._member.resume(assigned)

    def _learner(self, family: Family) -> Learner:
        latest = self._latest.get(family)
        if latest is None:
            return new_learner(family, self._settings, self._catalogue)
        try:
            return restore_learner(latest.data, self._settings, self._catalogue)
        except RefusedSnapshot as refused:
            raise CannotGoOn(str(refused)) from refused

    def _fold(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            if error.code() != PARTITION_EOF:
                raise_or_log(error)
            return
        partition, offset = message.partition() or 0, message.offset() or 0
        trainer = self._families.get(partition)
        if trainer is None or offset < trainer.next_offset:
            return
        family = FAMILIES[partition]
        example = self._decoder.decode("training-examples", message.value())
        self._observer.learned(family, example)
        snapshot = trainer.learn(offset, example)
        if snapshot is not None:
            self._publish(LatestSnapshot(f"{family}@{offset}".encode(), snapshot))
            self._observer.published(family, offset)

    def _republish_when_due(self) -> None:
        """Publish the latest snapshots again from time to time, so that retention never takes the last one."""
        if self._clock_s() < self._republish_at_s:
            return
        self._republish_at_s = self._clock_s() + self._republish_s
        for partition in self._families:
            latest = self._latest.get(FAMILIES[partition])
            if latest is not None:
                self._publish(latest)

    def _publish(self, snapshot: LatestSnapshot) -> None:
        while True:
            try:
                self._producer.produce(self._topics.name("models"), snapshot.data, snapshot.key, 0)
                return
            except BufferError:
                self._producer.poll(0.05)
            except KafkaException as raised:
                raise CannotGoOn(f"a model snapshot cannot be published: {raised}") from raised

    def close(self, timeout_s: float) -> None:
        """Leave the group; what is published is delivered first."""
        self._producer.flush(timeout_s)
        self._member.close()
