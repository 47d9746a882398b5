"""What a live run left behind in its topics, as `verify` reads it."""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from confluent_kafka import Consumer, Message, TopicPartition

from consumer.core.merge import MergeRecord
from consumer.kafka import clients
from consumer.kafka.input_reader import InputReader
from consumer.kafka.log_reader import beginning_offsets, end_offsets, read_to
from consumer.kafka.settings import KafkaSettings, TopicSettings
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
        self._snapshots: dict[bytes, bytes] | None = None
        self._sessions: list[tuple[int, Session]] | None = None
        self._products: list[tuple[int, str, Product | None]] | None = None

    # The Recording protocol

    def problems(self) -> Sequence[str]:
        """Return nothing: what is wrong with topics shows in the journal's checksums."""
        return ()

    def journal(self) -> Iterator[JournalRecord]:
        """Yield the journal, one task after the other."""
        for task in range(self._topics.partitions):
            for message in self._read("journal", task):
                record: JournalRecord = self._decoder.decode("journal", message.value())
                yield record
            for topic in ("clickstream", "purchases", "privacy", "journal"):
                self._close(topic, task)

    def inputs(self, task: int, topic: str, from_offset: int) -> Iterator[MergeRecord]:
        """Yield the records of one input partition, judged as the worker judged them."""
        begin = beginning_offsets(self._admin, [self._partition(topic, task)], self._timeout_s)[0]
        if begin > from_offset:
            raise NotVerifiable(
                f"{topic}[{task}] begins at {begin}; what was processed from {from_offset} on has expired"
            )
        for message in self._read(topic, task, from_offset):
            yield self._inputs.record(topic, message)

    def snapshot(self, family: Family, offset: int) -> bytes | None:
        """Return a snapshot from the models topic."""
        if self._snapshots is None:
            self._snapshots = {message.key() or b"": message.value() or b"" for message in self._read("models", 0)}
        return self._snapshots.get(f"{family}@{offset}".encode())

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
            value = message.value()
            product = None if value is None else self._decoder.decode("products", value)
            yield message.offset() or 0, (message.key() or b"").decode(), product

    def _require_beginning(self, topic: str) -> None:
        begin = beginning_offsets(self._admin, [self._partition(topic, 0)], self._timeout_s)[0]
        if begin > 0:
            raise NotVerifiable(f"{topic} before offset {begin} have expired")

    def _read(self, topic: str, partition: int, from_offset: int = 0) -> Iterator[Message]:
        where = self._partition(topic, partition)
        end = end_offsets(self._admin, [where], self._timeout_s)[0]
        if end <= from_offset:
            return
        reader = clients.reader(self._kafka, auto_offset_reset="earliest", partition_eof=True)
        self._readers[topic, partition] = reader
        reader.assign([TopicPartition(where.topic, partition, from_offset)])
        ends = {(where.topic, partition): end}
        yield from read_to(reader, ends, stop=self._stop, clock_s=time.monotonic, timeout_s=self._timeout_s)
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _between(rows: Sequence[_Row], from_offset: int, to_offset: int) -> Iterator[_Row]:
    """Yield the rows with from_offset ≤ offset < to_offset; a row's first element is its offset, and they rise."""
    first = bisect_left(rows, from_offset, key=lambda row: row[0])
    for index in range(first, len(rows)):
        if rows[index][0] >= to_offset:
            return
        yield rows[index]
