"""How far a process of the bridge may run ahead of the others."""

from math import inf

import pytest

from consumer.bridge.becoming import Place
from consumer.bridge.horizon import Horizon, Standing, note_of, reached_of

A, B = Place("shop", 0), Place("shop", 1)
LEAD_MS, IDLE_S = 3_600_000, 300.0


@pytest.fixture
def horizon() -> Horizon:
    return Horizon(LEAD_MS, IDLE_S)


def test_nothing_may_be_written_before_the_others_were_looked_at(horizon: Horizon) -> None:
    """Nor after the partitions were shared out anew."""
    assert horizon.limit_ms == -inf
    horizon.look({}, 0.0)
    assert horizon.limit_ms == inf
    horizon.forget()
    assert horizon.limit_ms == -inf


def test_the_slowest_partition_of_others_sets_the_limit(horizon: Horizon) -> None:
    """By the event time that it has noted, and the lead that is allowed."""
    horizon.look({A: Standing(5, 100, 9_000_000), B: Standing(7, 100, 7_000_000)}, 0.0)
    assert horizon.limit_ms == 7_000_000 + LEAD_MS
    assert horizon.held_by == B


def test_a_partition_at_its_end_holds_nobody_back(horizon: Horizon) -> None:
    """However old its last event is, and so does an empty one of which nothing is committed."""
    horizon.look({A: Standing(100, 100, 1_000), B: Standing(-1001, 0, None)}, 0.0)
    assert horizon.limit_ms == inf
    assert horizon.held_by is None


def test_a_backlog_that_nobody_has_begun_holds_everything_back(horizon: Horizon) -> None:
    """It may be of any age."""
    horizon.look({A: Standing(-1001, 100, None), B: Standing(5, 100, 9_000_000)}, 0.0)
    assert horizon.limit_ms == -inf
    assert horizon.held_by == A


def test_a_partition_without_progress_holds_nobody_back_for_longer_than_it_may_be_idle(horizon: Horizon) -> None:
    """Progress of its offset or of its time begins the wait anew."""
    horizon.look({A: Standing(5, 100, 1_000)}, 0.0)
    horizon.look({A: Standing(5, 150, 1_000)}, IDLE_S - 1)
    assert horizon.held_by == A
    horizon.look({A: Standing(6, 150, 1_000)}, IDLE_S)
    assert horizon.held_by == A
    horizon.look({A: Standing(6, 200, 1_000)}, 2 * IDLE_S)
    assert horizon.held_by is None


def test_what_is_noted_with_an_offset_is_read_again() -> None:
    """A note of somebody else's is none: offsets may have been set by hand."""
    assert reached_of(note_of(1_700_000_000_000)) == 1_700_000_000_000
    assert [reached_of(note) for note in (note_of(None), None, "reset by hand", "-5")] == [None] * 4
