"""The dead letters as they stand in their topic: reading them, and publishing their records again.

A record that is published again carries a header with the coordinates that it had, and the same transaction adds a
letter with the reason `replayed` for these coordinates. So publishing again what was published changes nothing.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

import msgspec
from confluent_kafka import KafkaException, Producer

from clients.errors import call_again, error_of
from clients.offsets import end_offsets
from consumer.core.intake import NO_EVENT, Rejection, read
from consumer.core.merge import REPLAYED
from consumer.kafka.clocks import monotonic_s, wall_clock_ms
from consumer.kafka.cluster.cluster import Cluster
from consumer.kafka.cluster.log_reader import read_to
from consumer.kafka.failures import CannotGoOn
from schemas.codec import Decoder, Encoder
from schemas.partitioning import partition_of
from schemas.products import read_product
from schemas.records import Coordinates, DeadLetter
from schemas.topics import EVENT_TOPICS
from schemas.units import Seconds, in_seconds

PUBLISHED_AGAIN: Final = "replayed"  # the reason of a letter that says so
_TIMEOUT_S: Final = Seconds(60.0)
_BATCH_RECORDS = 500
_BATCH_SECONDS = 2.0
_SLOT = "dead-letters"  # of the transactional id: of two that publish at the same time, the later one goes on


def read_letters(cluster: Cluster, decoder: Decoder, stop: Callable[[], bool]) -> Iterator[DeadLetter]:
    """Yield the dead letters, in the order of each partition, up to where they end now. Raises Stopping."""
    places = [cluster.place("dead-letters", task, 0) for task in range(cluster.topics.partitions)]
    ends = end_offsets(cluster.admin, places, _TIMEOUT_S)
    wanted = {(at.topic, at.partition): end for at, end in zip(places, ends, strict=True) if end > 0}
    with closing(cluster.reader()) as reader:
        reader.assign([place for place in places if (place.topic, place.partition) in wanted])
        for message in read_to(reader, wanted, stop=stop, clock_s=monotonic_s, timeout_s=_TIMEOUT_S):
            yield decoder.decode("dead-letters", message.value())


@dataclass(slots=True)
class Published:
    """What came of publishing letters again, in records."""

    published: int = 0
    before: int = 0  # published again by an earlier command
    not_kept: int = 0  # their bytes were too large for a letter
    rejected: Counter[str] = field(default_factory=Counter)  # by reason: they would come back as they are


class Replayer:
    """Publishes records of dead letters again. `decoder` reads input topics as a worker does."""

    def __init__(self, cluster: Cluster, decoder: Decoder, encoder: Encoder, max_ahead_ms: int) -> None:
        self._cluster = cluster
        self._decoder = decoder
        self._encoder = encoder
        self._max_ahead_ms = max_ahead_ms

    def replay(self, chosen: Callable[[DeadLetter], bool], stop: Callable[[], bool]) -> Published:
        """Publish the records of all `chosen` letters that a worker would now take, each once.

        Raises CannotGoOn where the brokers refuse, with all that was committed before published.
        """
        producer = self._cluster.transactional_producer(_SLOT)
        timeout_s = in_seconds(self._cluster.kafka.transaction_timeout_ms)
        try:
            call_again(lambda: producer.init_transactions(timeout_s), Seconds(3 * timeout_s))
            # From here on nobody else publishes any.
            all_letters = read_letters(self._cluster, self._decoder, stop)
            before = {letter.origin for letter in all_letters if letter.reason == PUBLISHED_AGAIN}
            told = Published()
            batch: list[tuple[DeadLetter, int]] = []
            began_s = time.monotonic()
            for letter in read_letters(self._cluster, self._decoder, stop):
                if letter.reason == PUBLISHED_AGAIN or not chosen(letter):
                    continue
                partition = self._partition(letter, before, told)
                if partition is not None:
                    batch.append((letter, partition))
                if len(batch) >= _BATCH_RECORDS or (batch and time.monotonic() - began_s > _BATCH_SECONDS):
                    self._publish(producer, batch, timeout_s)
                    told.published += len(batch)
                    batch, began_s = [], time.monotonic()
            if batch:
                self._publish(producer, batch, timeout_s)
                told.published += len(batch)
        except KafkaException as raised:
            raise CannotGoOn(
                f"publishing was ended by the brokers: {error_of(raised).str()}. What was published is noted: the same "
                "command goes on with the others"
            ) from raised
        return told

    def _partition(self, letter: DeadLetter, before: set[Coordinates], told: Published) -> int | None:
        """Return where the record of a letter is to go, None where it is not to be published again."""
        if letter.origin in before:
            told.before += 1
            return None
        if letter.value is None and letter.value_size_bytes:
            told.not_kept += 1
            return None
        topic, key = letter.origin.topic, letter.key
        partitions = self._cluster.topics.partitions
        partition = partition_of(key, partitions) if key and topic in EVENT_TOPICS else 0
        reason = self._rejected(letter, partition, partitions)
        if reason is not None:
            told.rejected[reason] += 1
            return None
        return partition

    def _rejected(self, letter: DeadLetter, partition: int, partitions: int) -> str | None:
        """Return why a worker would reject the record again, None where it would not."""
        topic = letter.origin.topic
        if topic not in EVENT_TOPICS:
            fault = read_product(self._decoder, letter.key, letter.value).fault
            return None if fault is None else fault.reason
        event = read(
            self._decoder,
            topic,
            letter.key,
            letter.value,
            partition=partition,
            partitions=partitions,
            timestamp_ms=wall_clock_ms(),
            max_ahead_ms=self._max_ahead_ms,
        )
        return event.reason if isinstance(event, Rejection) and event.reason != NO_EVENT else None

    def _publish(self, producer: Producer, batch: Sequence[tuple[DeadLetter, int]], timeout_s: Seconds) -> None:
        topics = self._cluster.topics
        producer.begin_transaction()
        for letter, partition in batch:
            origin = letter.origin
            name = topics.prefix + origin.topic
            others = [(header, content) for header, content in letter.headers if header != REPLAYED]
            header = (REPLAYED, f"{origin.topic}:{origin.partition}:{origin.offset}".encode())
            producer.produce(name, letter.value, letter.key, partition, headers=[*others, header])
            note = msgspec.structs.replace(
                letter, reason=PUBLISHED_AGAIN, field=None, message="the record was published again", value=None
            )
            task = origin.partition if origin.topic in EVENT_TOPICS else 0
            value = self._encoder.encode("dead-letters", note)
            producer.produce(topics.name("dead-letters"), value, letter.key, task)
        call_again(lambda: producer.commit_transaction(timeout_s), timeout_s)
