"""In which order the source partitions of one process are read: by event time, each in its own order.

A partition with nothing queued holds the others back until it is known that nothing more is there (KIP-695), or it has
been silent for so long that it counts as idle: else a slow fetch would look like an empty partition.
"""

import heapq
from collections import deque
from collections.abc import Collection

from consumer.bridge.becoming import Bridged, Place

_NO_TIME_MS = 0  # of records before the first event of a partition: they go first


class _Queue:
    """What waits of one partition. `done_ms` is the highest event time among what was taken."""

    def __init__(self, done_ms: int | None, awaited_since_s: float) -> None:
        self.done_ms = done_ms
        self.waiting: deque[tuple[int, Bridged]] = deque()
        self.last_ms = done_ms or _NO_TIME_MS  # of the latest record that was queued
        self.at_end = False
        self.awaited_since_s = awaited_since_s  # while it is empty and not at its end


class SourceOrder:
    """Records of the source partitions of one process, in the order in which they are written.

    A partition of which nothing has come for `idle_after_s`, though it is not at its end, is waited for no longer.
    """

    def __init__(self, idle_after_s: float) -> None:
        self._idle_after_s = idle_after_s
        self._queues: dict[Place, _Queue] = {}
        self._heads: list[tuple[int, Place]] = []  # a heap, one entry for each queue that holds something
        self._awaited: set[Place] = set()  # empty, and not at their end

    @property
    def places(self) -> Collection[Place]:
        """The partitions that there are."""
        return self._queues.keys()

    def start(self, place: Place, done_ms: int | None, now_s: float) -> None:
        """Begin a partition, or begin it anew: nothing is queued. `done_ms`: the event time it had reached before."""
        if place in self._queues:
            self._heads = [head for head in self._heads if head[1] != place]
            heapq.heapify(self._heads)
        self._queues[place] = _Queue(done_ms, now_s)
        self._awaited.add(place)

    def clear(self) -> None:
        """Forget all partitions."""
        self._queues.clear()
        self._heads.clear()
        self._awaited.clear()

    def push(self, place: Place, record: Bridged) -> None:
        """Queue a record behind those of its partition; one without a time takes that of the record before it."""
        queue = self._queues[place]
        queue.at_end = False
        if record.time_ms is not None:
            queue.last_ms = record.time_ms
        if not queue.waiting:
            heapq.heappush(self._heads, (queue.last_ms, place))
            self._awaited.discard(place)
        queue.waiting.append((queue.last_ms, record))

    def end_reached(self, place: Place) -> None:
        """Note that nothing is there beyond what is queued, until more of it comes."""
        self._queues[place].at_end = True
        self._awaited.discard(place)

    def pop(self, limit_ms: float, now_s: float) -> tuple[Place, Bridged] | None:
        """Return the next record; None where there is none, one is waited for, or the next is after `limit_ms`."""
        if not self._heads or self._heads[0][0] > limit_ms or self._waits(now_s):
            return None
        time_ms, place = heapq.heappop(self._heads)
        queue = self._queues[place]
        record = queue.waiting.popleft()[1]
        if record.time_ms is not None:
            queue.done_ms = max(queue.done_ms or _NO_TIME_MS, time_ms)
        if queue.waiting:
            heapq.heappush(self._heads, (queue.waiting[0][0], place))
        elif not queue.at_end:
            queue.awaited_since_s = now_s
            self._awaited.add(place)
        return place, record

    def _waits(self, now_s: float) -> bool:
        return any(now_s - self._queues[place].awaited_since_s < self._idle_after_s for place in self._awaited)

    def reached_ms(self, place: Place) -> int | None:
        """Return the event time that a partition has come to: nothing older is expected of it. None: not known yet.

        It is that of the record that is next, so that a gap in a partition holds nobody back.
        """
        queue = self._queues[place]
        head_ms = queue.waiting[0][0] if queue.waiting else _NO_TIME_MS
        return max(queue.done_ms or _NO_TIME_MS, head_ms) or None

    def drained(self, place: Place) -> bool:
        """Return whether all that there is of a partition was taken."""
        queue = self._queues[place]
        return queue.at_end and not queue.waiting

    def queued(self, place: Place) -> int:
        """Return how many records of a partition wait."""
        return len(self._queues[place].waiting)

    def __len__(self) -> int:
        """Return how many records wait."""
        return sum(len(queue.waiting) for queue in self._queues.values())
