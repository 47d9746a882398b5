"""How often items occur in a window, and which occur most, overall and by category, at any time.

Counts are integers that rise and fall, so they are exact however long the window has been moving. A ranking watches the
items that reach a bar, which is set anew when too many do, or when too few are left to answer.
"""

from array import array
from collections import deque
from collections.abc import Sequence

import numpy as np

from consumer.core.preference.session_log import AT_ONCE, POSITION_BITS, UNITS, Ints

CACHED = 20  # so many of the best are kept until one of them may have changed
_KEPT, _MOST_WATCHED = 64, 256  # watched right after a bar is set; as many as make it rise


class _Ranking:
    """Watches every item of a group whose (count, seen) reaches `bar`, and keeps the best of them while it is known."""

    __slots__ = ("bar", "bar_count", "best", "floor", "watched")

    def __init__(self) -> None:
        self.watched: set[int] = set()
        self.bar = (0, 0)
        self.bar_count = 0  # of `bar`
        self.best: Ints | None = None
        self.floor = 0  # a count that changes below it leaves `best` as it is

    def enter(self, slot: int) -> None:
        self.watched.add(slot)
        self.best = None

    def leave(self, slot: int) -> None:
        self.watched.discard(slot)
        self.best = None

    def set_bar(self, bar: tuple[int, int]) -> None:
        self.bar, self.bar_count = bar, bar[0]


class Popularity:
    """Counts by slot over the last `window` sessions: an item counts once a session, with its largest weight there.

    Ties go to the item seen last.
    """

    __slots__ = ("_all", "_free", "_numbers", "_rankings", "_sessions", "_used", "_window", "categories",
                 "category_numbers", "counts", "seen")  # fmt: skip

    def __init__(self, window: int) -> None:
        self._window = window
        self._sessions: deque[tuple[int, ...]] = deque()  # for each of the window: slot << 8 | weight of its items
        self.counts = array("q", [0])
        self.seen = array("q", [0])  # where the item occurred last: rises with time, unique among items
        self.categories: list[str | None] = [None]
        self.category_numbers = array("q", [0])  # beside `categories`, for arithmetic; 0 for none
        self._numbers: dict[str, int] = {}
        self._free: list[int] = []
        self._used = [0]  # by category number: items of that category
        self._all = _Ranking()
        self._rankings = [self._all]  # by category number; the first is that of all items

    @property
    def n_sessions(self) -> int:
        """Sessions that are counted."""
        return len(self._sessions)

    @property
    def n_numbers(self) -> int:
        """One more than the largest number of a category."""
        return len(self._used)

    def add_slot(self) -> None:
        """Make room for one more item."""
        self.counts.append(0)
        self.seen.append(0)
        self.categories.append(None)
        self.category_numbers.append(0)

    def release(self, slot: int) -> None:
        """Forget the item of `slot`; its count is 0 by now."""
        self.set_category(slot, None)
        self.seen[slot] = 0

    def number_of(self, category: str | None) -> int:
        """Return the number that stands for `category`, 0 where no item is of it."""
        return 0 if category is None else self._numbers.get(category, 0)

    def count(self, row: Sequence[int], positions: dict[int, int], start: int) -> None:
        """Count a session, and no longer the one that leaves the window.

        `row` and `start` are those of `SessionLog`; `positions`: where each of the session's items occurs last, in the
        order in which they occur first.
        """
        words = tuple(row if len(positions) == len(row) else _once(row))
        self._sessions.append(words)
        counts, numbers, rankings, everything = self.counts, self.category_numbers, self._rankings, self._all
        seen, named = self.seen, start << POSITION_BITS
        for word, (slot, position) in zip(words, positions.items(), strict=True):
            seen[slot] = named | position
            count = counts[slot] = counts[slot] + (word & UNITS)
            # Of items with this count it is the one seen last by now: it reaches the bar where its count does.
            ranking = rankings[numbers[slot]]
            if count >= ranking.bar_count:
                watched = ranking.watched
                watched.add(slot)
                if count >= ranking.floor:
                    ranking.best = None
                if len(watched) > _MOST_WATCHED:
                    self._raise_bar(ranking)
            if count >= everything.bar_count:
                everything.watched.add(slot)
                if count >= everything.floor:
                    everything.best = None
        if len(everything.watched) > _MOST_WATCHED:
            self._raise_bar(everything)
        if len(self._sessions) > self._window:
            self.uncount_oldest()

    def uncount_oldest(self) -> None:
        """Count the oldest session of the window no longer."""
        counts, numbers, rankings, everything = self.counts, self.category_numbers, self._rankings, self._all
        for word in self._sessions.popleft():
            slot = word >> 8
            before = counts[slot]
            count = counts[slot] = before - (word & UNITS)
            ranking = rankings[numbers[slot]]
            if before >= ranking.floor:
                ranking.best = None
            if before >= everything.floor:
                everything.best = None
            if not count:
                ranking.watched.discard(slot)
                everything.watched.discard(slot)

    def set_category(self, slot: int, category: str | None) -> None:
        """Move `slot` and its count to `category`."""
        before = self.categories[slot]
        if category == before:
            return
        self.categories[slot] = category
        if before is not None:
            number = self.category_numbers[slot]
            self._rankings[number].leave(slot)
            self._used[number] -= 1
            if not self._used[number]:
                del self._numbers[before]
                self._free.append(number)
        number = 0 if category is None else self._numbers.get(category, 0) or self._new_number(category)
        self.category_numbers[slot] = number
        if number:
            self._used[number] += 1
            if self.counts[slot]:
                self._rankings[number].enter(slot)

    def _new_number(self, category: str) -> int:
        if self._free:
            number = self._free.pop()
            self._rankings[number] = _Ranking()
        else:
            number = len(self._used)
            self._used.append(0)
            self._rankings.append(_Ranking())
        self._numbers[category] = number
        return number

    def top(self, n: int) -> Ints:
        """Return the `n` slots of the largest counts, largest first."""
        return self._top(0, n)

    def top_in(self, category: str, n: int) -> Ints:
        """Return the `n` slots of the largest counts in `category`, largest first."""
        number = self._numbers.get(category, 0)
        return self._top(number, n) if number else np.zeros(0, dtype=np.int64)

    def _top(self, number: int, n: int) -> Ints:
        ranking = self._rankings[number]
        if n <= CACHED and ranking.best is not None:
            return ranking.best[:n]
        wanted = max(n, CACHED)
        watched = ranking.watched
        slots = self._best_of(np.fromiter(watched, dtype=np.int64, count=len(watched)), wanted)
        # Items that are not watched are below the bar.
        if ranking.bar_count and (len(slots) < wanted or self._key(slots[-1]) < ranking.bar):
            slots = self._best_of(self._members(number), max(wanted, _KEPT) + 1)
            self._watch(ranking, slots, max(wanted, _KEPT))
            slots = slots[:wanted]
        ranking.best = slots[:CACHED]
        ranking.floor = self.counts[slots[CACHED - 1]] if len(slots) >= CACHED else 0
        return slots[:n]

    def _raise_bar(self, ranking: _Ranking) -> None:
        watched = ranking.watched
        slots = self._best_of(np.fromiter(watched, dtype=np.int64, count=len(watched)), len(watched))
        if ranking.bar_count:  # some may have sunk below it since
            slots = slots[: sum(self._key(slot) >= ranking.bar for slot in slots.tolist())]
        if len(slots) > _KEPT:
            self._watch(ranking, slots, _KEPT)
        else:
            ranking.watched = set(slots.tolist())

    def _watch(self, ranking: _Ranking, slots: Ints, n: int) -> None:
        """Watch the first `n` of `slots` (largest first) and what gets as far as the last of them."""
        ranking.set_bar(self._key(slots[n - 1]) if len(slots) > n else (0, 0))
        ranking.watched = set(slots[:n].tolist())

    def _key(self, slot: int) -> tuple[int, int]:
        return (self.counts[slot], self.seen[slot])

    def _members(self, number: int) -> Ints:
        """Return all slots that have a count, of one category or (0) of any."""
        held = np.frombuffer(self.counts, dtype=np.int64) > 0
        if number:
            held &= np.frombuffer(self.category_numbers, dtype=np.int64) == number
        return held.nonzero()[0]

    def _best_of(self, slots: Ints, n: int) -> Ints:
        """Return the `n` of `slots` with the largest counts, largest first, ties to the item seen last."""
        counts = np.frombuffer(self.counts, dtype=np.int64)[slots]
        if len(slots) > 4 * n:
            kept = counts >= np.partition(counts, len(counts) - n)[len(counts) - n]
            slots, counts = slots[kept], counts[kept]
        seen = np.frombuffer(self.seen, dtype=np.int64)[slots]
        best: Ints = slots[np.lexsort((seen, counts))[::-1][:n]]
        return best


def _once(row: Sequence[int]) -> list[int]:
    """Return the steps of a session, each item once with its largest weight, in the order in which they occur first."""
    words: dict[int, int] = {}
    for word in row:
        slot, plain = word >> 8, word & ~AT_ONCE
        if plain > words.get(slot, 0):
            words[slot] = plain
    return list(words.values())
