"""Event-time merge of the co-partitioned topics of one task.

Stream time should not depend on which topic's batch happened to arrive first, so the record with the lowest event time
at the head of any topic goes next. A topic with nothing queued holds the merge back until it is known that nothing more
is there (KIP-695), for else a slow fetch would look like an empty topic.
"""

from collections import deque

import msgspec

from consumer.core.intake import Rejection
from schemas.events import Event
from schemas.topics import EVENT_TOPICS

REPLAYED = "nextbest-replayed"  # the header of a record that was rejected once and published again


class MergeRecord(msgspec.Struct, frozen=True, gc=False):
    """One input record, read and judged. `topic` is the logical name; times are epoch milliseconds."""

    topic: str
    offset: int
    timestamp_ms: int  # of the broker
    key: bytes | None
    value: bytes | None
    event: Event | Rejection
    headers: tuple[tuple[str, bytes | None], ...] = ()

    @property
    def replayed(self) -> bool:
        """Whether it was published again out of the dead letters: it counts as history."""
        return bool(self.headers) and any(name == REPLAYED for name, _ in self.headers)


class EventTimeMerge:
    """Records of one task's topics in the order in which they are to be processed."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[tuple[int, MergeRecord]]] = {topic: deque() for topic in EVENT_TOPICS}
        self._last_time_ms: dict[str, int] = dict.fromkeys(EVENT_TOPICS, 0)
        self._end_reached: dict[str, bool] = dict.fromkeys(EVENT_TOPICS, False)

    def push(self, record: MergeRecord) -> None:
        """Queue a record behind those of its topic.

        A rejected record has no time of its own; it takes that of the record before it, so that it moves nothing.
        """
        event, topic = record.event, record.topic
        self._end_reached[topic] = False  # there may be more behind it
        if isinstance(event, Rejection):
            time_ms = self._last_time_ms[topic]
        else:
            time_ms = self._last_time_ms[topic] = event.occurred_at
        self._queues[topic].append((time_ms, record))

    def end_reached(self, topic: str) -> None:
        """Note that the lag of `topic` is known to be 0 beyond what is queued, until more of it comes."""
        self._end_reached[topic] = True

    @property
    def exhausted(self) -> bool:
        """Return whether nothing waits, and nothing more is known to come of any topic."""
        return not self and all(self._end_reached.values())

    def pop(self) -> MergeRecord | None:
        """Return the next record, or None while nothing may be processed."""
        lowest: deque[tuple[int, MergeRecord]] | None = None
        lowest_ms = 0
        for topic, queue in self._queues.items():
            if queue:
                time_ms = queue[0][0]
                if lowest is None or time_ms < lowest_ms:
                    lowest, lowest_ms = queue, time_ms
            elif not self._end_reached[topic]:
                return None
        return lowest.popleft()[1] if lowest is not None else None

    def queued(self, topic: str) -> int:
        """Return how many records of `topic` wait."""
        return len(self._queues[topic])

    def __len__(self) -> int:
        """Return how many records wait."""
        return sum(map(len, self._queues.values()))
