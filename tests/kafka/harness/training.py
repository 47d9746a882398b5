"""What trainers are put together with where there is no broker: a member of a group, and a publisher that keeps."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import TopicPartition

from consumer.core.knowledge.snapshot import snapshot_key
from consumer.core.settings import ChallengerSettings
from consumer.kafka.clocks import Clocks
from consumer.kafka.models.group import ElectedReader
from consumer.kafka.models.index import ModelIndex
from consumer.kafka.models.publisher import ModelPublisher
from consumer.kafka.models.records import ModelsRecord, Promotion, Score, decode_score, kind_of
from consumer.kafka.models.trainer import Trainer, Training
from schemas.codec import Decoder, JsonEncoder
from schemas.records import FAMILIES
from schemas.units import DAY_MS, Ms, Seconds
from tests.core.test_challenger import example

A_SECOND = Seconds(1.0)
AT_ONCE = Seconds(0.0)
_TOPIC = "training-examples"
_JSON = JsonEncoder()


@dataclass
class Record:
    """A record of training-examples, in the log of churn."""

    number: int

    def error(self) -> None:
        return None

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self.number

    def value(self) -> bytes:
        return _JSON.encode(_TOPIC, example(self.number))


class Member:
    """A member of a group that is elected for all families when it asks for the first time; churn has `n` examples."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._next = 0
        self._joined: Callable[[Any, list[TopicPartition]], None] | None = None
        self.closed = False

    def subscribe(self, _topics: list[str], *, on_assign: Callable[..., None], **_: object) -> None:
        self._joined = on_assign

    def consume(self, n: int, _timeout_s: float) -> list[Record]:
        if self._joined is not None:
            self._joined(self, [TopicPartition(_TOPIC, partition) for partition in range(len(FAMILIES))])
            self._joined = None
            return []
        taken = [Record(number) for number in range(self._next, min(self._next + n, self._n))]
        self._next += len(taken)
        return taken

    def seek(self, where: TopicPartition) -> None:
        if where.partition == 0:
            self._next = where.offset

    def assign(self, partitions: list[TopicPartition]) -> None:
        pass

    pause = resume = assign

    def close(self) -> None:
        self.closed = True


class Admin:
    """Knows that every log begins at 0."""

    def list_topics(self, *_: object, **__: object) -> None:
        """Look at the topics anew: there is nothing to see."""

    def list_offsets(self, request: dict[TopicPartition, object], **_: object) -> dict[TopicPartition, Future[Any]]:
        found: dict[TopicPartition, Future[Any]] = {where: Future() for where in request}
        for future in found.values():
            future.set_result(TopicPartition(_TOPIC, 0, 0))
        return found


class Written(ModelPublisher):
    """Keeps what would be published."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes]] = []

    def publish(self, key: bytes, data: bytes) -> None:
        self.records.append((key, data))

    def serve(self) -> None:
        pass

    def flush(self, timeout_s: Seconds) -> None:
        pass

    def score(self, model: str) -> Score | None:
        """Return the latest score of a model."""
        found = [decode_score(data) for key, data in self.records if kind_of(key) == ("score", model)]
        return found[-1] if found else None


def reader_of(
    member: Member, clock_s: Callable[[], Seconds] = lambda: AT_ONCE, batch_records: int = 20
) -> ElectedReader:
    """Return a reader whose member is not a real one."""
    return ElectedReader(
        member, Admin(), _TOPIC, Decoder(), clock_s=clock_s, batch_records=batch_records  # type: ignore[arg-type]
    )  # fmt: skip


def trainer_of(
    training: Training,
    own: Member,
    challengers: list[tuple[ChallengerSettings, Member]],
    publisher: ModelPublisher,
    *,
    clock_s: Callable[[], Seconds] = lambda: AT_ONCE,
    clock_ms: Callable[[], Ms] = lambda: Ms(0),
) -> Trainer:
    """Return a trainer that has joined, was elected for everything, and has folded in nothing yet."""
    readers = [(settings, reader_of(member)) for settings, member in challengers]
    clocks = Clocks(clock_ms, clock_s)
    trainer = Trainer(reader_of(own), readers, training, publisher, clocks=clocks, republish_ms=DAY_MS)
    trainer.start()
    trainer.learn(A_SECOND)
    return trainer


def index_of(*records: ModelsRecord) -> ModelIndex:
    """Return what is known of a topic that holds these snapshots."""
    index = ModelIndex()
    for record in records:
        index.note_snapshot(kind_of(record.key)[1], record)
    return index


def snapshot_record(model: str, offset: int, data: bytes = b"", published_ms: int = 0) -> ModelsRecord:
    """Return a snapshot as it stands in the topic."""
    return ModelsRecord(snapshot_key(model, offset), data, published_ms)


def promoted(model: str, known_ms: int) -> ModelIndex:
    """Return what is known after a promotion, at which labels were known up to `known_ms`."""
    index = ModelIndex()
    promotion = Promotion(family="churn", model=model, offset=1, behind=("churn",), at_ms=1, why="", known_ms=known_ms)
    index.note_promotion(promotion, ModelsRecord(b"promotion@churn", b""))
    return index
