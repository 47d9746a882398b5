"""Keeps the knowledge of a process up to date from its topics: models, sessions and products.

Every worker reads them from the beginning, so every worker's item index is the same function of the same log. The
knowledge in force changes only when `adopt` is called: between commits.
"""

from collections.abc import Callable

from confluent_kafka import OFFSET_BEGINNING, Message

from clients import log
from clients.errors import PARTITION_EOF
from clients.offsets import end_offsets
from consumer.core.knowledge.knowledge import Knowledge
from consumer.core.knowledge.snapshot import RefusedSnapshot, family_of
from consumer.kafka.cluster.cluster import Cluster
from consumer.kafka.cluster.log_reader import raise_or_log, read_to
from consumer.kafka.cluster.patience import with_patience
from consumer.kafka.failures import CannotGoOn
from consumer.kafka.models.index import ModelIndex
from consumer.kafka.models.records import ModelsRecord, UnreadableRecord, decode_promotion, kind_of
from consumer.kafka.observer import Observer
from schemas.codec import Decoder
from schemas.products import read_product
from schemas.topics import Topic
from schemas.units import Seconds

_TOPICS: tuple[Topic, ...] = ("models", "products", "sessions")
_BATCH_RECORDS = 500


class KnowledgeFollower:
    """Reads the topics of knowledge into one `Knowledge`."""

    def __init__(
        self,
        cluster: Cluster,
        decoder: Decoder,
        knowledge: Knowledge,
        *,
        observer: Observer,
        clock_s: Callable[[], Seconds],
        stop: Callable[[], bool],
    ) -> None:
        self._cluster = cluster
        self._reader = cluster.reader()
        self._decoder = decoder
        self._knowledge = knowledge
        self._observer = observer
        self._clock_s = clock_s
        self._stop = stop
        self.index = ModelIndex()
        self._refused: dict[str, str] = {}  # model → why its latest snapshot that cannot be used was refused

    def load(self, timeout_s: Seconds) -> None:
        """Read everything up to the present end. Raises CannotGoOn, and Stopping."""
        partitions = [self._cluster.place(topic, 0, OFFSET_BEGINNING) for topic in _TOPICS]
        ends = end_offsets(self._cluster.admin, partitions, timeout_s)
        self._reader.assign(partitions)
        wanted = {(each.topic, 0): end for each, end in zip(partitions, ends, strict=True)}
        for message in read_to(self._reader, wanted, stop=self._stop, clock_s=self._clock_s, timeout_s=timeout_s):
            self._fold(message)
        for model, why in sorted(self._refused.items()):
            if model == self.index.in_force(family_of(model)) and model not in self._knowledge.model_versions:
                raise CannotGoOn(why)
        log.info(
            "knowledge loaded: models %s, sessions up to %d",
            self._knowledge.model_versions,
            self._knowledge.sessions_offset,
        )

    def adopt(self, budget_s: Seconds) -> bool:
        """Fold in what has arrived since, for at most `budget_s`; return whether that changed anything.

        A schema registry that does not answer is waited for, as with inputs: raises CannotGoOn where it stays silent.
        """
        changed = False
        until_s = self._clock_s() + budget_s
        while messages := self._reader.consume(_BATCH_RECORDS, 0):
            for message in messages:
                error = message.error()
                if error is None:
                    self._fold(message)
                    changed = True
                elif error.code() != PARTITION_EOF:
                    raise_or_log(error)
            if self._clock_s() >= until_s:
                break
        return changed

    def _fold(self, message: Message) -> None:
        topic = self._cluster.topics.logical(message.topic() or "")
        offset, key, value = message.offset() or 0, message.key() or b"", message.value()
        if topic == "models":
            try:
                self._fold_model(ModelsRecord(key, value or b"", message.timestamp()[1]))
            except UnreadableRecord as error:
                self._observer.passed_over(offset, str(error))
        elif topic == "sessions":
            self._knowledge.fold_session(offset, self._decoder.decode("sessions", value))
        else:
            self._fold_product(offset, key, value)

    def _fold_model(self, record: ModelsRecord) -> None:
        kind, name = kind_of(record.key)
        if kind == "promotion":
            self._promote(record)
        elif kind == "snapshot" and record.data:
            self._fold_snapshot(name, record)

    def _fold_snapshot(self, model: str, record: ModelsRecord) -> None:
        _ = record.offset  # nothing is adopted from a record whose key tells none
        try:
            self._knowledge.adopt(record.data)
        except RefusedSnapshot as refused:
            # Learned under other settings: of no use here, and no harm where there is one that can be used.
            log.warning("model snapshot %s is not used: %s", record.key.decode(errors="replace"), refused)
            self._refused[model] = str(refused)
            return
        self.index.note_snapshot(model, record)

    def _promote(self, record: ModelsRecord) -> None:
        promotion = decode_promotion(record.data)
        if not self.index.note_promotion(promotion, record):
            return
        model = promotion.model
        log.info("%s: the model in force is %s from now on: %s", promotion.family, model, promotion.why)
        self._knowledge.promote(model)
        latest = self.index.latest.get(model)
        if latest is not None:  # else the one before goes on until a snapshot comes
            self._knowledge.adopt(latest.data)

    def _fold_product(self, offset: int, key: bytes, value: bytes | None) -> None:
        read = with_patience(lambda: read_product(self._decoder, key, value), self._stop)
        if read.item_id is not None:  # a record that cannot be read blocks its item
            self._knowledge.apply_product(offset, read.item_id, read.product)

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()
