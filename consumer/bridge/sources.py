"""The source topics on the cluster: joining the group, where to begin, and where the other processes are."""

from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from clients import log
from clients.errors import ClusterAway, call_again, error_kind, error_of
from clients.offsets import beginning_offsets, readable_ends
from consumer.bridge.becoming import Place
from consumer.bridge.horizon import Standing, reached_of
from consumer.kafka.cluster.log_reader import seek
from schemas.units import Seconds

_TIMEOUT_S: Final = Seconds(10.0)
_ANSWER_S: Final = Seconds(5.0)  # for a look at the others, which is made again soon
_SETTLE_S: Final = Seconds(60.0)  # offsets are known once no open transaction of a dead process holds them


class Begin(NamedTuple):
    """Where reading of a partition begins, and what is committed of it: nothing, or this offset and this note."""

    offset: int
    committed: bool
    reached_ms: int | None


class Sources:
    """The source topics, as one member of the group `group_id` sees them through `consumer`."""

    def __init__(self, consumer: Consumer, admin: AdminClient, group_id: str, topics: Sequence[str]) -> None:
        self._consumer = consumer
        self._admin = admin
        self._group_id = group_id
        self._topics = list(topics)

    def subscribe(
        self,
        on_assigned: Callable[[dict[Place, Begin]], None],
        on_revoked: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        """Join the group. `on_assigned` hears where each partition begins; until `start` they are paused."""

        def assigned(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            began = self._where_to_begin(partitions)
            for each in partitions:
                each.offset = began[Place(each.topic, each.partition)].offset
            consumer.assign(partitions)
            consumer.pause(partitions)
            on_assigned(began)

        self._consumer.subscribe(
            self._topics,
            on_assign=assigned,
            on_revoke=lambda _consumer, _partitions: on_revoked(),
            on_lost=lambda _consumer, _partitions: on_lost(),
        )

    def _where_to_begin(self, partitions: list[TopicPartition]) -> dict[Place, Begin]:
        if not partitions:
            return {}
        committed = call_again(lambda: self._committed(partitions), _SETTLE_S)
        oldest = beginning_offsets(self._admin, partitions, _TIMEOUT_S)
        begun: dict[Place, Begin] = {}
        for each, first in zip(committed, oldest, strict=True):
            # Only where nothing was ever committed: an offset that retention has taken is an error, found on reading.
            begin = each.offset if each.offset >= 0 else first
            begun[Place(each.topic, each.partition)] = Begin(begin, each.offset >= 0, reached_of(each.metadata))
        return begun

    def _committed(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        found = self._consumer.committed(partitions, timeout=_TIMEOUT_S)
        for each in found:
            if each.error is not None:
                raise KafkaException(each.error)
        return found

    def others(self, own: Collection[Place]) -> dict[Place, Standing] | None:
        """Return where the processes of all other partitions are; None where the cluster does not answer just now."""
        try:
            partitions = [each for each in self._all() if Place(each.topic, each.partition) not in own]
            if not partitions:
                return {}
            asked = [ConsumerGroupTopicPartitions(self._group_id, partitions)]
            future = self._admin.list_consumer_group_offsets(asked, request_timeout=_ANSWER_S)[self._group_id]
            ends = readable_ends(self._admin, partitions, _ANSWER_S)
            found = {Place(each.topic, each.partition): each for each in future.result(_TIMEOUT_S).topic_partitions}
        except (ClusterAway, TimeoutError) as away:
            log.warning("the bridge does not hear of the other processes: %s", away)
            return None
        except KafkaException as raised:
            error = error_of(raised)
            if error_kind(error) == "fatal":
                raise
            log.warning("the bridge does not hear of the other processes: %s", error.str())
            return None
        return {
            place: Standing(found[place].offset, end, reached_of(found[place].metadata))
            for each, end in zip(partitions, ends, strict=True)
            for place in (Place(each.topic, each.partition),)
        }

    def _all(self) -> list[TopicPartition]:
        return [
            TopicPartition(topic, number)
            for topic in self._topics
            for number in self._admin.list_topics(topic, timeout=_ANSWER_S).topics[topic].partitions
        ]

    def start(self, place: Place, offset: int) -> None:
        """Fetch a partition that was assigned, from `offset` on."""
        self.seek(place, offset)
        self.resume(place)

    def seek(self, place: Place, offset: int) -> None:
        """Go back to an offset of a partition that is being read."""
        seek(self._consumer, TopicPartition(place.topic, place.partition, offset))

    def pause(self, place: Place) -> None:
        """Fetch no more of a partition for now."""
        self._consumer.pause([TopicPartition(place.topic, place.partition)])

    def resume(self, place: Place) -> None:
        """Fetch a partition again."""
        self._consumer.resume([TopicPartition(place.topic, place.partition)])

    def end(self, place: Place) -> int | None:
        """Return where a partition ends as of the latest fetch; None where that is not known."""
        _, end = self._consumer.get_watermark_offsets(TopicPartition(place.topic, place.partition), cached=True)
        return None if end < 0 else end
