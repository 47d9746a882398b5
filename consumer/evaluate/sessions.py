"""Item events grouped into sessions, in the order in which the sessions ended."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from consumer.evaluate.metrics import Ints


@dataclass(frozen=True, slots=True)
class SessionEvents:
    """Item events as they came, a place each; `session` and `item` are places in the lists of ids."""

    session_ids: Sequence[str]
    item_ids: Sequence[str]
    session: Sequence[int]
    item: Sequence[int]
    occurred_at: Sequence[int]


class Sessions:
    """Events grouped by session. Sessions are numbered by the time of their last event, ties by id."""

    def __init__(self, events: SessionEvents) -> None:
        """Events of one session with the same time keep their order."""
        session: Ints = np.array(events.session, dtype=np.int64)
        times: Ints = np.array(events.occurred_at, dtype=np.int64)
        by_name = sorted(range(len(events.session_ids)), key=events.session_ids.__getitem__)
        name_place: Ints = np.empty(len(by_name), dtype=np.int64)
        name_place[by_name] = np.arange(len(by_name))
        ends: Ints = np.full(len(by_name), np.iinfo(np.int64).min)
        np.maximum.at(ends, session, times)
        present = np.flatnonzero(np.bincount(session, minlength=len(by_name)))
        by_end = present[np.lexsort((name_place[present], ends[present]))]
        number: Ints = np.zeros(len(by_name), dtype=np.int64)
        number[by_end] = np.arange(len(by_end))
        order = np.lexsort((times, number[session]))
        self.ids = [events.session_ids[at] for at in by_end]
        self.ends: list[int] = ends[by_end].tolist()
        self.item_ids = events.item_ids
        self.items: Ints = np.array(events.item, dtype=np.int64)[order]
        self.times: Ints = times[order]
        self.of_event: Ints = number[session][order]
        sizes = np.bincount(self.of_event, minlength=len(by_end))
        self._starts = np.concatenate(([0], sizes.cumsum()))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def n_events(self) -> int:
        """Events of all sessions."""
        return len(self.items)

    @property
    def n_positions(self) -> int:
        """Events that have one before them in their session."""
        return self.n_events - len(self)

    def events_of(self, number: int) -> list[tuple[str, int]]:
        """Return (item id, time) of each event of a session, in order."""
        span = slice(self._starts[number], self._starts[number + 1])
        return [
            (self.item_ids[item], at)
            for item, at in zip(self.items[span].tolist(), self.times[span].tolist(), strict=True)
        ]

    def in_time(self) -> Iterator[tuple[int, str, int]]:
        """Yield (session number, item id, time) of all events as they happened."""
        for at in self.times.argsort(kind="stable").tolist():
            yield int(self.of_event[at]), self.item_ids[self.items[at]], int(self.times[at])
