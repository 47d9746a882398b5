"""Reading the logs of training examples as a member of a group: each family's log goes to one member of it."""

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from clients import log
from clients.errors import OFFSET_GONE, PARTITION_EOF
from clients.offsets import beginning_offsets
from consumer.kafka.cluster.log_reader import raise_or_log, seek
from schemas.codec import Decoder
from schemas.records import FAMILIES, Family
from schemas.units import Seconds

_ADMIN_TIMEOUT_S: Final = Seconds(10.0)


class Folding(Protocol):
    """What learns from one family's log."""

    @property
    def name(self) -> str:
        """Return the name of the model."""

    @property
    def next_offset(self) -> int:
        """Return the offset to read next."""

    def fold(self, offset: int, example: Any) -> None:
        """Fold the example at `offset` in. Offsets rise."""


class ElectedReader:
    """Hands the examples of the families that this member was elected for to what `start` returns for each.

    `start` is asked when a family comes, and returns None for one whose examples are not wanted. What was started is
    dropped when the family goes to another member.
    """

    def __init__(
        self,
        member: Consumer,
        admin: AdminClient,
        topic: str,
        decoder: Decoder,
        start: Callable[[Family], Folding | None],
        clock_s: Callable[[], float],
        batch_records: int,
    ) -> None:
        self._member = member
        self._admin = admin
        self._topic = topic
        self._decoder = decoder
        self._start = start
        self._clock_s = clock_s
        self._batch_records = batch_records
        self._assigned: list[TopicPartition] = []  # not started yet
        self._waiting: deque[Message] = deque()  # fetched, and not folded in yet: at most a batch
        self.families: dict[Family, Folding] = {}

    def join(self) -> None:
        """Join the group."""
        self._member.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    def _on_assign(self, member: Consumer, partitions: list[TopicPartition]) -> None:
        # Where to read from is known once the model is there; what is fetched until then is thrown away. As in
        # assignment.py, an offset that retention has taken would fail, and a question for an offset could come late.
        for each, begin in zip(partitions, beginning_offsets(self._admin, partitions, _ADMIN_TIMEOUT_S), strict=True):
            each.offset = begin
        member.assign(partitions)
        member.pause(partitions)
        self._assigned = partitions

    def _on_revoke(self, _member: Consumer, _partitions: list[TopicPartition]) -> None:
        self.families.clear()
        self._assigned = []

    def read(self, budget_s: float) -> None:
        """Fold in examples that have arrived, for `budget_s`: no more than the last of them takes longer."""
        until_s = self._clock_s() + budget_s
        while True:
            self._start_families()
            if not self._waiting:
                self._waiting.extend(self._member.consume(self._batch_records, 0))
            if not self._waiting:
                return
            while self._waiting:
                self._take(self._waiting.popleft())
                if self._clock_s() >= until_s:
                    return

    def _start_families(self) -> None:
        assigned, self._assigned = self._assigned, []
        for each in assigned:
            family = FAMILIES[each.partition]
            folding = self._start(family)
            if folding is None:
                continue  # stays paused
            self.families[family] = folding
            first = max(folding.next_offset, self._expired_up_to(each.partition, folding))
            seek(self._member, TopicPartition(each.topic, each.partition, first))
            self._member.resume([each])
            log.info("training %s from example %d", folding.name, first)

    def _expired_up_to(self, partition: int, folding: Folding) -> int:
        """Return the offset where the log begins by now."""
        begin = beginning_offsets(self._admin, [TopicPartition(self._topic, partition)], _ADMIN_TIMEOUT_S)[0]
        if folding.next_offset < begin:
            log.warning("%s: examples from %d to %d have expired untrained", folding.name, folding.next_offset, begin)
        return begin

    def _take(self, message: Message) -> None:
        error = message.error()
        partition, offset = message.partition() or 0, message.offset() or 0
        folding = self.families.get(FAMILIES[partition])
        if error is not None:
            if error.code() == OFFSET_GONE and folding is not None:
                self._read_on(partition, folding, error)
            elif error.code() != PARTITION_EOF:
                raise_or_log(error)
            return
        if folding is not None and offset >= folding.next_offset:
            folding.fold(offset, self._decoder.decode("training-examples", message.value()))

    def _read_on(self, partition: int, folding: Folding, error: KafkaError) -> None:
        """Go on where the log begins by now: who is slower than retention may not stop the worker."""
        begin = self._expired_up_to(partition, folding)
        if begin <= folding.next_offset:
            raise_or_log(error)  # not retention: the topic was made anew
        # A partition that has failed so can't be sought in, only assigned anew, and that goes for all of them together.
        assigned = self._member.assignment()
        for each in assigned:
            other = self.families.get(FAMILIES[each.partition])
            each.offset = begin if other is folding else OFFSET_BEGINNING if other is None else other.next_offset
        self._member.assign(assigned)
        self._member.pause([each for each in assigned if FAMILIES[each.partition] not in self.families])

    def close(self) -> None:
        """Leave the group."""
        self._member.close()
