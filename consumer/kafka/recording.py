"""What a live run left behind in its topics, as `verify` reads it."""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, TypeVar

from confluent_kafka import Consumer, Message, TopicPartition

from consumer.core.knowledge.snapshot import snapshot_key
from consumer.core.merge import MergeRecord
from consumer.kafka.cluster import clients
from consumer.kafka.cluster.log_reader import beginning_offsets, end_offsets, read_to
from consumer.kafka.cluster.settings import KafkaSettings, TopicSettings
from consumer.kafka.cluster.topics import INPUTS
from consumer.kafka.input_reader import InputReader
from consumer.kafka.models.follower import read_product
from consumer.replay.recording import NotVerifiable
from schemas.codec import Decoder
from schemas.events import Product
from schemas.records import FAMILIES, Family, JournalRecord, NextBestAction, Session, TrainingExample

_Row = TypeVar("_Row", bound=tuple[Any, ...])


class TopicRecording:
    """A `consumer.replay.recording.Recording` over topics, up to where they end when each is first read.

    The journal is handed out task by task, so that the readers of one task's inputs can go before the next's come.
    Models, sessions and products are kept in memory once they are asked for. Close it, or use it in a ``with`` block.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topics: TopicSettings,
        decoder: Decoder,
        max_ahead_ms: int,
        *,
        timeout_s: float = 60.0,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._kafka = kafka
        self._topics = topics
        self._decoder = decoder
        self._inputs = InputReader(decoder, topics.partitions, max_ahead_ms, stop)
        self._timeout_s = timeout_s
        self._stop = stop
        self._admin = clients.admin(kafka)
        self._readers: dict[tuple[str, int], Consumer] = {}
        self._next_offsets: dict[tuple[str, int], int] = {}  # by the journal as far as it was read
        self._snapshots: dict[bytes, bytes] | None = None
        self._sessions: list[tuple[int, Session]] | None = None
        self._products: list[tuple[int, str, Product | None]] | None = None

    # The Recording protocol

    def problems(self) -> Sequence[str]:
        """Return nothing: what is wrong with topics shows in the journal's checksums."""
        return ()

    def journal(self) -> Iterator[JournalRecord]:
        """Yield the journal, one task after the other, of all tasks up to where it ends now.

        Raises NotVerifiable after the last record where workers have committed more meanwhile: what they published
        with that, and what their later commits refer to, was perhaps read in part.
        """
        tasks = range(self._topics.partitions)
        ends = end_offsets(self._admin, [self._partition("journal", task) for task in tasks], self._timeout_s)
        for task in tasks:
            for message in self._read("journal", task, end=ends[task]):
                record: JournalRecord = self._decoder.decode("journal", message.value())
                for topic, offset in record.next_offsets.items():
                    self._next_offsets[topic, task] = offset
                yield record
            for topic in (*INPUTS, "journal"):
                self._close(topic, task)
        if end_offsets(self._admin, [self._partition("journal", task) for task in tasks], self._timeout_s) != ends:
            raise NotVerifiable(
                "workers went on committing; every commit up to where this began is the same, what came after was "
                "not looked at: stop them, or wait until they are idle, and verify again"
            )

    def uncommitted_inputs(self) -> int:
        """Return how many input records lie beyond the last commit of each task, once the journal was read."""
        places = [(topic, task) for topic in INPUTS for task in range(self._topics.partitions)]
        names = [self._partition(topic, task) for topic, task in places]
        begins = beginning_offsets(self._admin, names, self._timeout_s)
        ends = end_offsets(self._admin, names, self._timeout_s)
        return sum(
            end - max(begin, self._next_offsets.get(place, 0))
            for place, begin, end in zip(places, begins, ends, strict=True)
        )

    def inputs(self, task: int, topic: str, from_offset: int) -> Iterator[MergeRecord]:
        """Yield the records of one input partition, judged as the worker judged them."""
        begin = beginning_offsets(self._admin, [self._partition(topic, task)], self._timeout_s)[0]
        if begin > from_offset:
            raise NotVerifiable(
                f"{topic}[{task}] begins at {begin}; what was processed from {from_offset} on has expired"
            )
        for message in self._read(topic, task, from_offset):
            yield self._inputs.record(topic, message)

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

    def products(self, from_offset: int, to_offset: int) -> Iterator[tuple[int, str, Product | None]]:
        """Yield products by offset; compaction may have taken what was overwritten since."""
        if self._products is None:
            self._products = list(self._read_products())
        return _between(self._products, from_offset, to_offset)

    def decisions(self, task: int) -> Iterator[NextBestAction]:
        """Yield the decisions of one partition."""
        begin = beginning_offsets(self._admin, [self._partition("next-best-actions", task)], self._timeout_s)[0]
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

    def _read_products(self) -> Iterator[tuple[int, str, Product | None]]:
        for message in self._read("products", 0):
            offset = message.offset() or 0
            read = read_product(self._decoder, offset, message.key() or b"", message.value())
            if read is not None:
                yield offset, *read

    def _require_beginning(self, topic: str) -> None:
        begin = beginning_offsets(self._admin, [self._partition(topic, 0)], self._timeout_s)[0]
        if begin > 0:
            raise NotVerifiable(f"{topic} before offset {begin} have expired")

    def _read(self, topic: str, partition: int, from_offset: int = 0, end: int | None = None) -> Iterator[Message]:
        where = self._partition(topic, partition)
        if end is None:
            end = end_offsets(self._admin, [where], self._timeout_s)[0]
        if end <= from_offset:
            return
        reader = clients.reader(self._kafka, auto_offset_reset="earliest", partition_eof=True)
        self._readers[topic, partition] = reader
        reader.assign([TopicPartition(where.topic, partition, from_offset)])
        ends = {(where.topic, partition): end}
        for message in read_to(reader, ends, stop=self._stop, clock_s=time.monotonic, timeout_s=self._timeout_s):
            if (message.offset() or 0) < end:
                yield message
        self._close(topic, partition)

    def _partition(self, topic: str, partition: int) -> TopicPartition:
        return TopicPartition(self._topics.name(topic), partition)

    def _close(self, topic: str, partition: int) -> None:
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
