"""The ring of sessions and the matches of each item."""

from collections import deque
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.preference import session_log
from consumer.core.preference.session_log import UNITS, SessionLog

N_SLOTS = 6
rows = st.lists(st.integers(1, N_SLOTS - 1).map(lambda slot: slot << 8 | slot), min_size=1, max_size=20)
moves = st.lists(st.one_of(st.none(), rows), max_size=100)  # None: drop the oldest


def log_of(max_matches: int = 500) -> SessionLog:
    """An empty log with room for a few items."""
    log = SessionLog(max_matches)
    for _ in range(N_SLOTS - 1):
        log.add_slot()
    return log


def append(log: SessionLog, row: list[int], ended_at_s: int = 0) -> int:
    """Add a session; of each item the last position counts."""
    return log.append(ended_at_s, row, {word >> 8: position for position, word in enumerate(row)})


def as_array(log: SessionLog, slot: int, n: int = 500) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The matches of an item."""
    return np.array(log.latest(slot, n), dtype=np.int64)


@given(moves, st.integers(1, 4), st.integers(1, 3))
def test_it_is_a_queue_of_sessions_and_finds_those_of_an_item(
    drawn: list[list[int] | None], max_matches: int, repeats: int
) -> None:
    """Whatever is added and dropped, and however often the ring goes round or grows, it equals a plain queue."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_log, "_LEAST_WORDS", 32)
        log = log_of(max_matches)
    held: deque[tuple[int, list[int]]] = deque()
    for row in drawn * repeats:
        if row is None:
            if held:
                _, oldest = held.popleft()
                left = {word for _, kept in held for word in kept}
                assert set(log.drop_oldest()) == {word >> 8 for word in oldest if word not in left}
        else:
            held.append((append(log, row, len(held)), row))
    assert log.n_held == len(held)
    for start, row in held:
        assert log.read(start)[0] == row
    for (start, _), (following, _) in pairwise(held):
        assert log.read(start)[1] == following
    for slot in range(1, N_SLOTS):
        having = [row for _, row in held if slot << 8 | slot in row]
        assert log.n_with[slot] == len(having)
        steps = log.steps(as_array(log, slot))
        expected = having[-max_matches:]
        assert steps.lengths.tolist() == [len(row) for row in expected]
        assert steps.slots.tolist() == [word >> 8 for row in expected for word in row]
        assert steps.units.tolist() == [word & UNITS for row in expected for word in row]
        last = [max(at for at, word in enumerate(row) if word >> 8 == slot) for row in expected]
        distances = [at - place for row, place in zip(expected, last, strict=True) for at in range(len(row))]
        assert steps.distances.tolist() == distances


def test_sessions_keep_when_they_ended() -> None:
    """Seconds come back for each match; times that 32 bits cannot hold are cut."""
    log = log_of()
    for ended_at_s in (1_400_000_000, -5, 1 << 40):
        append(log, [1 << 8 | 64], ended_at_s)
    assert log.ended_at_s(as_array(log, 1)).tolist() == [1_400_000_000, 0, (1 << 32) - 1]


def test_a_steady_queue_does_not_grow() -> None:
    """The ring and the postings stay as large as what they hold asks for, however many sessions go through."""
    log = log_of(max_matches=10)
    for n in range(5_000):
        append(log, [(n + k) % (N_SLOTS - 1) + 1 << 8 | 1 for k in range(n % 9 + 1)])
        if log.n_held > 100:
            log.drop_oldest()
    assert len(log._words) == 1_024
    assert sum(map(len, log._postings)) <= N_SLOTS * (2 * 10 + 16)
    assert len(log.latest(1, 500)) == 10
    assert len(log.latest(1, 3)) == 3
