"""From a message of an input topic to a record that a task can take: decoded and judged, or rejected with a reason."""

from collections.abc import Callable

from confluent_kafka import Message

from clients.messages import headers_of
from consumer.core.intake import Rejection, read
from consumer.core.merge import MergeRecord
from consumer.kafka.cluster.registry import wait_for_registry
from schemas.codec import Decoder
from schemas.events import Event
from schemas.topics import EventTopic


class InputReader:
    """Reads messages of the input topics, which have `partitions` partitions each. The worker and verify share it."""

    def __init__(self, decoder: Decoder, partitions: int, max_ahead_ms: int, stop: Callable[[], bool]) -> None:
        self._decoder = decoder
        self._partitions = partitions
        self._max_ahead_ms = max_ahead_ms
        self._stop = stop

    def record(self, topic: EventTopic, message: Message) -> MergeRecord:
        """Return the record in `message`; `topic` is the logical name. Never raises for bad bytes.

        A schema registry that does not answer is waited for: that is not the record's fault. Raises CannotGoOn where
        it stays silent, or the worker is asked to stop meanwhile.
        """
        return MergeRecord(
            topic=topic,
            offset=message.offset() or 0,
            timestamp_ms=message.timestamp()[1],
            key=message.key(),
            value=message.value(),
            event=self._event(topic, message),
            headers=headers_of(message),
        )

    def _event(self, topic: EventTopic, message: Message) -> Event | Rejection:
        def ask() -> Event | Rejection:
            return read(
                self._decoder,
                topic,
                message.key(),
                message.value(),
                partition=message.partition() or 0,
                partitions=self._partitions,
                timestamp_ms=message.timestamp()[1],
                max_ahead_ms=self._max_ahead_ms,
            )

        return wait_for_registry(ask, self._stop)
