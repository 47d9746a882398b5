"""Which partition numbers the group has given to this worker, as the rebalance callbacks tell.

The callbacks run inside a poll. They do the least: an assignment is noted and paused, and the loop restores its tasks
one by one; a revocation commits and suspends at once, for afterwards the partitions are no longer ours.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from confluent_kafka import Consumer, TopicPartition

from clients.offsets import beginning_offsets
from consumer.kafka.cluster.cluster import Cluster
from consumer.kafka.cluster.log_reader import seek
from consumer.kafka.failures import CannotGoOn
from schemas.topics import EVENT_TOPICS, EventTopic
from schemas.units import Seconds

_TIMEOUT_S: Final = Seconds(10.0)


class Assignment:
    """The partitions of the input topics, by number: all topics of a number belong to one task."""

    def __init__(self, consumer: Consumer, cluster: Cluster) -> None:
        self._consumer = consumer
        self._cluster = cluster
        self.topics = {cluster.topics.name(topic): topic for topic in EVENT_TOPICS}  # logical, by real name
        self.numbers: list[int] | None = None  # None: the group has not answered yet
        self.unrestored: list[int] = []

    def subscribe(self, on_revoked: Callable[[], None], on_lost: Callable[[], None]) -> None:
        """Join the group. `on_revoked` and `on_lost` are called while the partitions are still listed here."""

        def assigned(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            self._note(partitions)
            # Paused, and moved to the right offset once that is known. A fetch may go out before the pause, so it must
            # be one that does not fail. (The end will not do: where the answer to the question for it comes late, the
            # client forgets the offset that it was sent to meanwhile, and skips records.)
            begin = beginning_offsets(self._cluster.admin, partitions, _TIMEOUT_S)
            for each, offset in zip(partitions, begin, strict=True):
                each.offset = offset
            consumer.assign(partitions)
            consumer.pause(partitions)

        def gone(tell: Callable[[], None]) -> Callable[[Consumer, list[TopicPartition]], None]:
            def callback(_consumer: Consumer, _partitions: list[TopicPartition]) -> None:
                tell()
                self.numbers, self.unrestored = None, []

            return callback

        self._consumer.subscribe(
            list(self.topics), on_assign=assigned, on_revoke=gone(on_revoked), on_lost=gone(on_lost)
        )

    def _note(self, partitions: Iterable[TopicPartition]) -> None:
        given: dict[int, int] = {}
        for each in partitions:
            given[each.partition] = given.get(each.partition, 0) + 1
        torn = [number for number, n_topics in given.items() if n_topics != len(EVENT_TOPICS)]
        if torn:
            raise CannotGoOn(
                f"partition {torn[0]} of the input topics is split over workers: they need the same number of "
                "partitions, and all members of the group the range assignor (`nextbest check` says which differ)"
            )
        self.numbers = sorted(given)
        self.unrestored = list(self.numbers)

    def start(self, number: int, offsets: Mapping[str, int]) -> None:
        """Let the client fetch the partitions of one number from `offsets` (by logical topic) on."""
        self.seek(number, offsets)
        self._consumer.resume([self._cluster.place(topic, number) for topic in EVENT_TOPICS])

    def seek(self, number: int, offsets: Mapping[str, int]) -> None:
        """Go back to `offsets` in partitions that are being fetched."""
        for topic in EVENT_TOPICS:
            seek(self._consumer, self._cluster.place(topic, number, offsets[topic]))

    def pause(self, number: int, topic: EventTopic) -> None:
        """Fetch no more of one partition for now."""
        self._consumer.pause([self._cluster.place(topic, number)])

    def resume(self, number: int, topic: EventTopic) -> None:
        """Fetch one partition again."""
        self._consumer.resume([self._cluster.place(topic, number)])

    def lag(self, number: int, topic: EventTopic, next_to_read: int) -> int | None:
        """Return how many records lie beyond `next_to_read`, as of the latest fetch; None where none is known."""
        _, end = self._consumer.get_watermark_offsets(self._cluster.place(topic, number), cached=True)
        return None if end < 0 else max(end - next_to_read, 0)
