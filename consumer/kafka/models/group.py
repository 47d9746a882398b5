"""Reading the logs of training examples as a member of a group: each family's log goes to one member of it."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from clients import log
from clients.errors import OFFSET_GONE, PARTITION_EOF
from clients.offsets import beginning_offsets
from consumer.kafka.cluster.log_reader import raise_or_log, seek
from schemas.codec import Decoder
from schemas.records import FAMILIES, Family, TrainingExample
from schemas.units import Seconds

_ADMIN_TIMEOUT_S: Final = Seconds(10.0)


class ElectedReader:
    """Reads the logs of the families that this member was elected for, once each has been told where to `start`.

    A log is not read before, nor ever where it is not started. It is dropped when it goes to another member.
    """

    def __init__(
        self,
        member: Consumer,
        admin: AdminClient,
        topic: str,
        decoder: Decoder,
        *,
        clock_s: Callable[[], Seconds],
        batch_records: int,
    ) -> None:
        """`topic` is the real name of training-examples."""
        self._member = member
        self._admin = admin
        self._topic = topic
        self._decoder = decoder
        self._clock_s = clock_s
        self._batch_records = batch_records
        self._elected: list[Family] = []  # since `newly_elected` was called
        self._next_offsets: dict[Family, int] = {}  # of the logs that were started
        self._waiting: deque[Message] = deque()  # fetched, and not handed out yet: at most a batch

    @property
    def families(self) -> tuple[Family, ...]:
        """Return the families whose logs are read."""
        return tuple(self._next_offsets)

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
        self._elected = [FAMILIES[each.partition] for each in partitions]

    def _on_revoke(self, _member: Consumer, _partitions: list[TopicPartition]) -> None:
        self._next_offsets.clear()
        self._elected = []

    def newly_elected(self) -> list[Family]:
        """Return the families that have come since this was called last."""
        elected, self._elected = self._elected, []
        return elected

    def start(self, family: Family, next_offset: int) -> int:
        """Read a log from `next_offset` on, or from where it begins by now; return which."""
        # What was fetched before the log was lost may lie beyond `next_offset`, and those between would be passed over.
        partition = FAMILIES.index(family)
        self._waiting = deque(each for each in self._waiting if each.partition() != partition)
        first = self._next_offsets[family] = max(next_offset, self._expired_up_to(family, next_offset))
        seek(self._member, self._log_of(family, first))
        self._member.resume([self._log_of(family)])
        return first

    def read(self, budget_s: Seconds) -> Iterator[tuple[Family, int, TrainingExample]]:
        """Yield (family, offset, example) of what has arrived, for `budget_s` and as long as the last of them takes."""
        until_s = self._clock_s() + budget_s
        while True:
            if not self._waiting:
                self._waiting.extend(self._member.consume(self._batch_records, 0))
            if not self._waiting:
                return
            while self._waiting:
                yield from self._taken(self._waiting.popleft())
                if self._clock_s() >= until_s:
                    return

    def _taken(self, message: Message) -> Iterator[tuple[Family, int, TrainingExample]]:
        error = message.error()
        family, offset = FAMILIES[message.partition() or 0], message.offset() or 0
        next_offset = self._next_offsets.get(family)
        if error is not None:
            if error.code() == OFFSET_GONE and next_offset is not None:
                self._read_on(family, next_offset, error)
            elif error.code() != PARTITION_EOF:
                raise_or_log(error)
        elif next_offset is not None and offset >= next_offset:
            self._next_offsets[family] = offset + 1
            yield family, offset, self._decoder.decode("training-examples", message.value())

    def _expired_up_to(self, family: Family, next_offset: int) -> int:
        """Return the offset where the log begins by now."""
        begin = beginning_offsets(self._admin, [self._log_of(family)], _ADMIN_TIMEOUT_S)[0]
        if next_offset < begin:
            log.warning("%s: examples from %d to %d have expired untrained", family, next_offset, begin)
        return begin

    def _read_on(self, family: Family, next_offset: int, error: KafkaError) -> None:
        """Go on where the log begins by now: who is slower than retention may not stop the worker."""
        begin = self._expired_up_to(family, next_offset)
        if begin <= next_offset:
            raise_or_log(error)  # not retention: the topic was made anew
        self._next_offsets[family] = begin
        # A partition that has failed so can't be sought in, only assigned anew, and that goes for all of them together.
        assigned = self._member.assignment()
        for each in assigned:
            each.offset = self._next_offsets.get(FAMILIES[each.partition], OFFSET_BEGINNING)
        self._member.assign(assigned)
        self._member.pause([each for each in assigned if FAMILIES[each.partition] not in self._next_offsets])

    def _log_of(self, family: Family, offset: int = OFFSET_BEGINNING) -> TopicPartition:
        return TopicPartition(self._topic, FAMILIES.index(family), offset)

    def close(self) -> None:
        """Leave the group."""
        self._member.close()
