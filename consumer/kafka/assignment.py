"""Which partition numbers the group has given to this worker, as the rebalance callbacks tell.

The callbacks run inside a poll. They do the least: an assignment is noted and paused, and the loop restores its tasks
one by one; a revocation commits and suspends at once, for afterwards the partitions are no longer ours.
"""

from collections.abc import Callable, Iterable

from confluent_kafka import Consumer, TopicPartition

from consumer.core.merge import INPUT_TOPICS
from consumer.kafka.settings import TopicSettings
from consumer.kafka.transactions import CannotGoOn


class Assignment:
    """The partitions of the input topics, by number: all topics of a number belong to one task."""

    def __init__(self, consumer: Consumer, topics: TopicSettings) -> None:
        self._consumer = consumer
        self._topics = topics
        self.numbers: list[int] | None = None  # None: the group has not answered yet
        self.unrestored: list[int] = []

    def subscribe(self, on_revoked: Callable[[], None], on_lost: Callable[[], None]) -> None:
        """Join the group. `on_revoked` and `on_lost` are called while the partitions are still listed here."""

        def assigned(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            self._note(partitions)
            for each in partitions:
                each.offset = 0  # never fetched from: paused, and moved to the right offset once that is known
            consumer.assign(partitions)
            consumer.pause(partitions)

        def gone(tell: Callable[[], None]) -> Callable[[Consumer, list[TopicPartition]], None]:
            def callback(_consumer: Consumer, _partitions: list[TopicPartition]) -> None:
                tell()
                self.numbers, self.unrestored = None, []

            return callback

        names = [self._topics.name(topic) for topic in INPUT_TOPICS]
        self._consumer.subscribe(names, on_assign=assigned, on_revoke=gone(on_revoked), on_lost=gone(on_lost))

    def _note(self, partitions: Iterable[TopicPartition]) -> None:
        given: dict[int, int] = {}
        for each in partitions:
            given[each.partition] = given.get(each.partition, 0) + 1
        torn = [number for number, n_topics in given.items() if n_topics != len(INPUT_TOPICS)]
        if torn:
            raise CannotGoOn(
                f"partition {torn[0]} of the input topics is split over workers: they need the same number of "
                "partitions, and all members of the group the range assignor (`nextbest check` says which differ)"
            )
        self.numbers = sorted(given)
        self.unrestored = list(self.numbers)

    def start(self, number: int, offsets: dict[str, int]) -> None:
        """Let the client fetch the partitions of one number from `offsets` (by logical topic) on."""
        for topic, offset in offsets.items():
            self._consumer.seek(TopicPartition(self._topics.name(topic), number, offset))
        self._consumer.resume([self._partition(topic, number) for topic in offsets])

    def seek(self, number: int, offsets: dict[str, int]) -> None:
        """Go back to `offsets` in partitions that are being fetched."""
        for topic, offset in offsets.items():
            self._consumer.seek(TopicPartition(self._topics.name(topic), number, offset))

    def pause(self, number: int, topic: str) -> None:
        """Fetch no more of one partition for now."""
        self._consumer.pause([self._partition(topic, number)])

    def resume(self, number: int, topic: str) -> None:
        """Fetch one partition again."""
        self._consumer.resume([self._partition(topic, number)])

    def lag(self, number: int, topic: str, next_to_read: int) -> int | None:
        """Return how many records lie beyond `next_to_read`, as of the latest fetch; None where none is known."""
        _, end = self._consumer.get_watermark_offsets(self._partition(topic, number), cached=True)
        return None if end < 0 else max(end - next_to_read, 0)

    def _partition(self, topic: str, number: int) -> TopicPartition:
        return TopicPartition(self._topics.name(topic), number)
