"""How far one process may write, by what the others have reached.

Each process notes with the offsets that it commits which event time each of its partitions has come to. All read all
of these notes, so that none runs further ahead of another's backlog than a bound of event time.
"""

from collections.abc import Mapping
from math import inf
from typing import NamedTuple

from consumer.bridge.becoming import Place


class Standing(NamedTuple):
    """Where another process is in one source partition.

    `offset` is the next to be read (negative: none is committed), `end` where the partition ends for now, and
    `reached_ms` the event time that was noted; None where nothing was.
    """

    offset: int
    end: int
    reached_ms: int | None

    @property
    def lags(self) -> bool:
        """Whether there is more to read."""
        return self.end > max(self.offset, 0)


class Horizon:
    """The event time up to which records may be written.

    A partition of another process holds back what is more than `max_lead_ms` ahead of it, unless it is at its end, or
    neither its offset nor its time has moved for `idle_after_s`.
    """

    def __init__(self, max_lead_ms: int, idle_after_s: float) -> None:
        self._max_lead_ms = max_lead_ms
        self._idle_after_s = idle_after_s
        self._moved: dict[Place, tuple[tuple[int, int | None], float]] = {}  # what was seen, and since when
        self.limit_ms = -inf  # until the others were looked at
        self.held_by: Place | None = None

    def forget(self) -> None:
        """Write nothing until the others were looked at: the partitions have been shared out anew."""
        self.limit_ms, self.held_by = -inf, None
        self._moved.clear()

    def look(self, others: Mapping[Place, Standing], now_s: float) -> None:
        """Set the limit by where all other processes are; `others` has every partition that is not this process's."""
        self._moved = {place: since for place, since in self._moved.items() if place in others}
        slowest_ms, self.held_by = inf, None
        for place, standing in others.items():
            seen = (standing.offset, standing.reached_ms)
            if place not in self._moved or self._moved[place][0] != seen:
                self._moved[place] = (seen, now_s)
            if not standing.lags or now_s - self._moved[place][1] >= self._idle_after_s:
                continue
            reached_ms = -inf if standing.reached_ms is None else standing.reached_ms
            if self.held_by is None or reached_ms < slowest_ms:
                slowest_ms, self.held_by = reached_ms, place
        self.limit_ms = slowest_ms + self._max_lead_ms


def note_of(reached_ms: int | None) -> str:
    """Return the note that goes with a committed offset."""
    return "" if reached_ms is None else str(reached_ms)


def reached_of(note: str | None) -> int | None:
    """Return the event time in a note; None where there is none, as after the offset was set by hand."""
    return int(note) if note and note.isdecimal() else None
