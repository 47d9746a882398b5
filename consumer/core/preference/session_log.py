"""The most recent sessions in flat arrays, and for each item the sessions that contain it.

A session is a stretch of 32-bit words in a ring: when it ended (seconds), how many steps it has, and a word a step:
slot of the item << 8 | whether it was repeated at once << 7 | weight in 32nds. Where it starts, counted in words since
the first session, is its name: unique and rising with recency. A match is a place in a session, packed in 64 bits:
start << 22 | position of a step; the 16 bits between are free for a weight. An item's matches, oldest first, are its
posting: an array, one match a session.
"""

from array import array
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

UNIT = 32  # a weight of 1
UNITS = 0x7F  # bits of the weight in a step
AT_ONCE = 0x80  # bit of a step that was repeated at once
MAX_STEPS = 64  # of one session
MAX_SLOTS = 1 << 24
POSITION_BITS, WEIGHT_BITS = 6, 16
START_SHIFT = POSITION_BITS + WEIGHT_BITS
WEIGHT_MASK = (1 << WEIGHT_BITS) - 1
_POSITION_MASK = (1 << POSITION_BITS) - 1
_HEADER_WORDS = 2
_LEAST_WORDS = 1024  # a power of two, and more than the longest session
_STALE = 16  # a posting is cut where it holds more than so many matches beyond twice what it should
_LATEST_S = (1 << 32) - 1


class Steps(NamedTuple):
    """The steps of matched sessions, one session after the other."""

    slots: Ints  # a value a step
    units: Ints  # weight in 32nds, a value a step
    distances: Ints  # steps after the matched one (before it: negative), a value a step
    lengths: Ints  # steps of the session, a value a match
    at_once: Ints  # not 0 where the matched step was repeated at once, a value a match


class SessionLog:
    """A queue of sessions: new ones are added, the oldest are dropped, those of an item are found at once."""

    __slots__ = (
        "_first",
        "_gaps",
        "_mask",
        "_max_matches",
        "_next",
        "_numbers",
        "_postings",
        "_too_many",
        "_view",
        "_words",
        "n_held",
        "n_with",
    )

    def __init__(self, max_matches: int) -> None:
        self._max_matches = max_matches  # most recent sessions found for an item
        self._too_many = 2 * max_matches + _STALE
        self._words = np.zeros(_LEAST_WORDS, dtype=np.uint32)
        self._view = self._words.data
        self._mask = _LEAST_WORDS - 1
        self._first = 0  # start of the oldest session
        self._next = 0  # where the next session may start
        self._gaps: dict[int, int] = {}  # a session lies in one piece: from → to of what was skipped at the ring's end
        self._postings: list[array[int]] = [array("q")]
        self._numbers: Ints = np.arange(_LEAST_WORDS)
        self.n_held = 0  # sessions
        self.n_with = array("I", [0])  # by slot: sessions held that contain the item

    # -- sessions ------------------------------------------------------------------------------------------------------

    def add_slot(self) -> None:
        """Make room for one more item."""
        self._postings.append(array("q"))
        self.n_with.append(0)

    def append(self, ended_at_s: int, row: list[int], positions: dict[int, int]) -> int:
        """Add a session of `row` (words as above; 1 to 64 steps) and return its start.

        `positions`: for each item of the session, the position that counts as its match.
        """
        size, n_words = _HEADER_WORDS + len(row), self._mask + 1
        start = self._next
        over = (start & self._mask) + size - n_words
        if over > 0:
            start += size - over
        if start + size - self._first > n_words:
            self._double()
            return self.append(ended_at_s, row, positions)
        if over > 0:
            self._gaps[self._next] = start
        if not self.n_held:
            self._first = start
            self._gaps.clear()
        if not 0 <= ended_at_s <= _LATEST_S:
            ended_at_s = 0 if ended_at_s < 0 else _LATEST_S
        at = start & self._mask
        self._view[at : at + size] = array("I", [ended_at_s, len(row), *row])
        self._next = start + size
        self.n_held += 1
        postings, n_with, named, too_many = self._postings, self.n_with, start << START_SHIFT, self._too_many
        for slot, position in positions.items():
            n_with[slot] += 1
            posting = postings[slot]
            posting.append(named | position)
            if len(posting) > too_many:
                del posting[: -self._max_matches]
        return start

    def read(self, start: int) -> tuple[list[int], int]:
        """Return the steps of the session at `start`, as they were given, and the start of the next one."""
        at = (start & self._mask) + _HEADER_WORDS
        row: list[int] = self._view[at : at + self._view[at - 1]].tolist()
        following = start + _HEADER_WORDS + len(row)
        return row, self._gaps.get(following, following) if self._gaps else following

    def drop_oldest(self) -> list[int]:
        """Forget the oldest session, and return the slots that are in no session any more."""
        row, following = self.read(self._first)
        if self._gaps and following != self._first + _HEADER_WORDS + len(row):
            del self._gaps[self._first + _HEADER_WORDS + len(row)]
        self._first = following
        self.n_held -= 1
        gone: list[int] = []
        n_with, postings = self.n_with, self._postings
        for slot in {word >> 8 for word in row}:
            left = n_with[slot] = n_with[slot] - 1
            if left & (left - 1):  # postings are looked at when their number has halved
                continue
            posting = postings[slot]
            if not left:
                del posting[:]
                gone.append(slot)
            elif len(posting) > 2 * left + _STALE:
                del posting[:-left]
        return gone

    def _double(self) -> None:
        former, n = self._words, len(self._words)
        self._words = np.zeros(2 * n, dtype=np.uint32)
        self._mask = 2 * n - 1
        start = self._first
        while start < self._next:  # piece by piece, cut where the former ring ends
            stop = min(self._next, (start | n - 1) + 1)
            to = start & self._mask
            self._words[to : to + stop - start] = former[start & n - 1 :][: stop - start]
            start = stop
        self._view = self._words.data

    # -- matches -------------------------------------------------------------------------------------------------------

    def latest(self, slot: int, n: int) -> "array[int]":
        """Return the matches of an item in its most recent sessions, at most `n` and at most `max_matches`."""
        n = min(n, self._max_matches, self.n_with[slot])
        return self._postings[slot][-n:] if n else array("q")

    def ended_at_s(self, matches: Ints) -> Ints:
        """Return when the sessions of `matches` ended, in seconds since 1970."""
        ended_at_s: Ints = self._words[(matches >> START_SHIFT) & self._mask].astype(np.int64)
        return ended_at_s

    def steps(self, matches: Ints) -> Steps:
        """Return all steps of the sessions of `matches`."""
        at = (matches >> START_SHIFT) & self._mask
        lengths = self._words.take(at + 1).astype(np.int64)
        ends = lengths.cumsum()
        n = int(ends[-1]) if len(ends) else 0
        if n > len(self._numbers):
            self._numbers = np.arange(2 * n)
        at += _HEADER_WORDS
        places = (at - ends + lengths).repeat(lengths)
        places += self._numbers[:n]
        words = self._words.take(places).astype(np.int64)
        at += matches & _POSITION_MASK
        places -= at.repeat(lengths)
        return Steps(words >> 8, words & UNITS, places, lengths, self._words.take(at) & AT_ONCE)
