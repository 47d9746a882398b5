"""Pace: when an event is due. The clock is an argument."""

import pytest

from producers.pacing import Pace


def test_events_are_due_at_recorded_distances_over_the_speed() -> None:
    """At ten times the speed, a minute takes six seconds."""
    pace = Pace(10)
    assert pace.wait_s(1_000_000, 50.0) == 0
    assert pace.wait_s(1_060_000, 50.0) == pytest.approx(6)
    assert pace.wait_s(1_060_000, 55.0) == pytest.approx(1)
    assert pace.wait_s(1_060_000, 57.0) == 0


def test_a_slow_publisher_catches_up() -> None:
    """Being late moves no later event: due times count from the start."""
    pace = Pace(1)
    pace.wait_s(0, 0.0)
    assert pace.wait_s(1_000, 5.0) == 0
    assert pace.wait_s(6_000, 5.0) == pytest.approx(1)


def test_a_late_event_is_due_at_once() -> None:
    """An event from before the last one doesn't wait, and holds nothing back."""
    pace = Pace(1)
    pace.wait_s(10_000, 0.0)
    assert pace.wait_s(4_000, 0.0) == 0
    assert pace.wait_s(11_000, 0.0) == pytest.approx(1)


def test_one_event_of_the_far_future_holds_nothing_up() -> None:
    """A jump over the longest gap takes no time, and neither does the jump back."""
    pace = Pace(1)
    pace.wait_s(1_000, 0.0)
    assert pace.wait_s(4_000_000_000_000, 1.0) == 0
    assert pace.wait_s(2_000, 1.0) == 0
    assert pace.wait_s(3_000, 1.0) == pytest.approx(1)


def test_without_a_speed_nothing_waits() -> None:
    """As fast as it goes."""
    pace = Pace(None)
    assert pace.wait_s(0, 0.0) == pace.wait_s(50_000_000, 0.0) == 0


def test_a_speed_of_zero_is_refused() -> None:
    """It would wait for ever."""
    with pytest.raises(ValueError, match="speed"):
        Pace(0)
