"""Live or catch-up, by lag and with hysteresis."""

import pytest

from consumer.kafka.modes import ModeSwitch
from consumer.kafka.worker_settings import WorkerMode
from schemas.units import Ms


def test_catch_up_begins_above_the_limit_and_ends_at_half_of_it() -> None:
    """In between, a task stays in the mode it is in."""
    switch = ModeSwitch("auto", catch_up_after_ms=Ms(1_000))
    lags = [0, 1_000, 1_001, 900, 501, 500, 900, 1_001]
    expected = ["live", "live", "catch-up", "catch-up", "catch-up", "live", "live", "catch-up"]
    assert [switch.mode(lag) for lag in lags] == expected


@pytest.mark.parametrize("mode", ["history", "frozen"])
def test_a_mode_that_the_settings_ask_for_does_not_depend_on_lag(mode: WorkerMode) -> None:
    """Neither the bootstrap from history nor a frozen comparison may slip into another mode."""
    switch = ModeSwitch(mode, catch_up_after_ms=Ms(1_000))
    assert {switch.mode(lag) for lag in (0, 999_999)} == {mode}
