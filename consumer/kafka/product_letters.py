"""Product records that cannot be read, on their way to the dead letters.

Every worker reads the products topic, and a bad record blocks its item in each of them. It is to be counted and kept
once, so the worker that has task 0 reads the topic a second time, from where the latest commit of task 0 left that, and
what it finds goes into the next commit of task 0. The offset goes with it, in the task's record.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from confluent_kafka import Consumer, Message

from clients.errors import PARTITION_EOF
from clients.messages import headers_of
from consumer.core.intake import Rejection
from consumer.core.merge import MergeRecord
from consumer.kafka.cluster.cluster import Cluster
from consumer.kafka.cluster.log_reader import raise_or_log
from consumer.kafka.cluster.patience import with_patience
from schemas.codec import Decoder
from schemas.products import read_product
from schemas.units import Seconds

TASK: Final = 0  # whose commits hold the letters
_BATCH_RECORDS = 500


class JudgedProducts(NamedTuple):
    """What was read of the products topic: the records that were rejected, and the next offset to read."""

    rejected: Sequence[tuple[MergeRecord, Rejection]]
    next_offset: int


class ProductLetters:
    """Judges the products topic for task 0, between `start` and `stop`. What it mends is counted by `decoder`."""

    def __init__(
        self,
        cluster: Cluster,
        decoder: Decoder,
        *,
        clock_s: Callable[[], Seconds],
        stop_asked: Callable[[], bool],
    ) -> None:
        self._cluster = cluster
        self._decoder = decoder
        self._clock_s = clock_s
        self._stop_asked = stop_asked
        self._reader: Consumer | None = None
        self._next_offset = 0

    def start(self, next_offset: int) -> None:
        """Begin at an offset, or go back to it."""
        self._reader = self._reader or self._cluster.reader()
        self._next_offset = next_offset
        self._reader.assign([self._cluster.place("products", 0, next_offset)])

    def read(self, budget_s: float) -> JudgedProducts:
        """Return what has come, after at most `budget_s` or as soon as something was rejected."""
        rejected: list[tuple[MergeRecord, Rejection]] = []
        until_s = self._clock_s() + budget_s
        while self._reader is not None and not rejected:
            messages = self._reader.consume(_BATCH_RECORDS, 0)
            for message in messages:
                error = message.error()
                if error is None:
                    self._judge(message, rejected)
                elif error.code() != PARTITION_EOF:
                    raise_or_log(error)
            if not messages or self._clock_s() >= until_s:
                break
        return JudgedProducts(rejected, self._next_offset)

    def _judge(self, message: Message, rejected: list[tuple[MergeRecord, Rejection]]) -> None:
        offset, key, value = message.offset() or 0, message.key(), message.value()
        if offset < self._next_offset:
            return  # of before it was sent back
        self._next_offset = offset + 1
        fault = with_patience(lambda: read_product(self._decoder, key, value), self._stop_asked).fault
        if fault is not None:
            rejection = Rejection(fault.reason, fault.field, fault.message)
            record = MergeRecord("products", offset, message.timestamp()[1], key, value, rejection, headers_of(message))
            rejected.append((record, rejection))

    def stop(self) -> None:
        """Read no more: task 0 is another worker's."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
