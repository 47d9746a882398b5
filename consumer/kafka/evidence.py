"""What a live run left behind in its topics, as `verify` reads it."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, Self, TypeVar

from confluent_kafka import Consumer, Message

from clients.offsets import beginning_offsets, end_offsets
from consumer.core.knowledge.snapshot import snapshot_key
from consumer.core.merge import MergeRecord
from consumer.kafka.clocks import monotonic_s
from consumer.kafka.cluster.cluster import Cluster
from consumer.kafka.cluster.log_reader import read_to
from consumer.kafka.cluster.patience import with_patience
from consumer.kafka.input_reader import InputReader
from consumer.replay.evidence import NotVerifiable, RecordedProduct
from schemas.codec import Decoder, asks_registry
from schemas.products import read_product
from schemas.records import FAMILIES, Family, JournalRecord, NextBestAction, Session, TrainingExample
from schemas.topics import EVENT_TOPICS, EventTopic, Topic
from schemas.units import Seconds

_TIMEOUT_S: Final = Seconds(60.0)  # without an answer, or without progress

_Row = TypeVar("_Row", bound=tuple[Any, ...])


class TopicEvidence:
    """A `consumer.replay.evidence.Evidence` over topics, up to where they end when each is first read.

    The journal is handed out task by task, so that the readers of one task's inputs can go before the next's come.
    Models, sessions and products are kept in memory once they are asked for. Close it, or use it in a ``with`` block.
    """

    def __init__(
        self,
        cluster: Cluster,
        decoder: Decoder,
        max_ahead_ms: int,
        *,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._cluster = cluster
        self._decoder = decoder
        self._inputs = InputReader(decoder, cluster.topics.partitions, max_ahead_ms, stop)
        self._stop = stop
        self._readers: dict[tuple[Topic, int], Consumer] = {}
        self._next_offsets: dict[tuple[str, int], int] = {}  # by the journal as far as it was read
        self._snapshots: dict[bytes, bytes] | None = None
        self._sessions: list[tuple[int, Session]] | None = None
        self._products: list[RecordedProduct] | None = None

    # The Evidence protocol

    def problems(self) -> Sequence[str]:
        """Return nothing: what is wrong with topics shows in the journal's checksums."""
        return ()

    def journal(self) -> Iterator[JournalRecord]:
        """Yield the journal, one task after the other, of all tasks up to where it ends now.

        Raises NotVerifiable after the last record where workers have committed more meanwhile: what they published
        with that, and what their later commits refer to, was perhaps read in part.
        """
        tasks = range(self._cluster.topics.partitions)
        places = [self._cluster.place("journal", task) for task in tasks]
        ends = end_offsets(self._cluster.admin, places, _TIMEOUT_S)
        for task in tasks:
            for message in self._read("journal", task, end=ends[task]):
                record: JournalRecord = self._decoder.decode("journal", message.value())
                for topic, offset in record.next_offsets.items():
                    self._next_offsets[topic, task] = offset
                yield record
            for topic in EVENT_TOPICS:
                self._close(topic, task)
            self._close("journal", task)
        if end_offsets(self._cluster.admin, places, _TIMEOUT_S) != ends:
            raise NotVerifiable(
                "workers went on committing; every commit up to where this began is the same, what came after was "
                "not looked at: stop them, or wait until they are idle, and verify again"
            )

    def uncommitted_inputs(self) -> int:
        """Return how many input records lie beyond the last commit of each task, once the journal was read.

        They are read: an offset may as well be that of a transaction's marker, or of a record of an aborted one.
        """
        return sum(
            1
            for topic in EVENT_TOPICS
            for task in range(self._cluster.topics.partitions)
            for _ in self._read_stable(topic, task, self._next_offsets.get((topic, task), 0))
        )

    def inputs(self, task: int, topic: str, from_offset: int) -> Iterator[MergeRecord]:
        """Yield the records of one input partition, judged as the worker judged them."""
        known = EVENT_TOPICS[EVENT_TOPICS.index(topic)]  # the journal names no other
        begin = self._beginning(known, task)
        if begin > from_offset:
            raise NotVerifiable(
                f"{topic}[{task}] begins at {begin}; what was processed from {from_offset} on has expired"
            )
        for message in self._read(known, task, from_offset):
            yield self._inputs.record(known, message)

    def snapshot(self, model: str, offset: int) -> bytes | None:
        """Return a snapshot from the models topic."""
        if self._snapshots is None:
            self._snapshots = {message.key() or b"": message.value() or b"" for message in self._read("models", 0)}
        return self._snapshots.get(snapshot_key(model, offset))

    def sessions(self, from_offset: int, to_offset: int) -> Iterator[tuple[int, Session]]:
        """Yield sessions by offset. What retention took before was read by the run, so it cannot be left out here."""
        if self._sessions is None:
            self._require_beginning("sessions")
            self._sessions = [
                (message.offset() or 0, self._decoder.decode("sessions", message.value()))
                for message in self._read("sessions", 0)
            ]
        return _between(self._sessions, from_offset, to_offset)

    def products(self, from_offset: int, to_offset: int) -> Iterator[RecordedProduct]:
        """Yield products by offset; compaction may have taken what was overwritten since."""
        if self._products is None:
            self._products = list(self._read_products())
        return _between(self._products, from_offset, to_offset)

    def decisions(self, task: int) -> Iterator[NextBestAction]:
        """Yield the decisions of one partition."""
        begin = self._beginning("next-best-actions", task)
        if begin > 0:
            raise NotVerifiable(f"decisions of task {task} before offset {begin} have expired")
        for message in self._read("next-best-actions", task):
            decision: NextBestAction = self._decoder.decode("next-best-actions", message.value())
            yield decision

    def examples(self, family: Family) -> Iterator[tuple[int, TrainingExample]] | None:
        """Yield the log of one family."""
        return (
            (message.offset() or 0, self._decoder.decode("training-examples", message.value()))
            for message in self._read("training-examples", FAMILIES.index(family))
        )

    # Reading

    def _read_products(self) -> Iterator[RecordedProduct]:
        for message in self._read("products", 0):
            value = message.value()
            read = with_patience(partial(read_product, self._decoder, message.key(), value), self._stop)
            if read.item_id is not None:
                yield RecordedProduct(message.offset() or 0, read.item_id, read.product, asks_registry(value))

    def _require_beginning(self, topic: Topic) -> None:
        begin = self._beginning(topic, 0)
        if begin > 0:
            raise NotVerifiable(f"{topic} before offset {begin} have expired")

    def _read(self, topic: Topic, partition: int, from_offset: int = 0, end: int | None = None) -> Iterator[Message]:
        where = self._cluster.place(topic, partition, from_offset)
        if end is None:
            end = end_offsets(self._cluster.admin, [where], _TIMEOUT_S)[0]
        if end <= from_offset:
            return
        reader = self._cluster.reader()
        self._readers[topic, partition] = reader
        reader.assign([where])
        ends = {(where.topic, partition): end}
        for message in read_to(reader, ends, stop=self._stop, clock_s=monotonic_s, timeout_s=_TIMEOUT_S):
            if (message.offset() or 0) < end:
                yield message
        self._close(topic, partition)

    def _read_stable(self, topic: EventTopic, partition: int, from_offset: int) -> Iterator[Message]:
        """Read what is there as long as transactions of producers are open: up to the first of them."""
        where = self._cluster.place(topic, partition)
        reader = self._cluster.reader()
        try:
            _, end = reader.get_watermark_offsets(where, timeout=_TIMEOUT_S)
        finally:
            reader.close()
        return self._read(topic, partition, from_offset, end)

    def _beginning(self, topic: Topic, partition: int) -> int:
        return beginning_offsets(self._cluster.admin, [self._cluster.place(topic, partition)], _TIMEOUT_S)[0]

    def _close(self, topic: Topic, partition: int) -> None:
        reader = self._readers.pop((topic, partition), None)
        if reader is not None:
            reader.close()

    def close(self) -> None:
        """Close every reader. Iterators handed out before can't be used any more."""
        for topic, partition in list(self._readers):
            self._close(topic, partition)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _between(rows: Sequence[_Row], from_offset: int, to_offset: int) -> Iterator[_Row]:
    """Yield the rows with from_offset ≤ offset < to_offset; a row's first element is its offset, and they rise."""
    first = bisect_left(rows, from_offset, key=lambda row: row[0])
    for index in range(first, len(rows)):
        if rows[index][0] >= to_offset:
            return
        yield rows[index]
