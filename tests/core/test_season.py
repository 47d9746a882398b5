"""The season: what last year says of the time ahead, and nothing before a year has been seen."""

from math import cos, isclose, pi

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.churn.season import YEAR_MS, Season, SeasonLearner, SeasonState, step_ms_of
from schemas.units import DAY_MS

HORIZON_DAYS = 60.0


def learned(days: int, first_day: int = 10_000) -> SeasonLearner:
    """Levels that are highest at the turn of each year of 365.25 days."""
    season = SeasonLearner(HORIZON_DAYS)
    for day in range(first_day, first_day + days):
        season.note(day * DAY_MS, cos(2.0 * pi * day / 365.25))
    return season


def change(state: SeasonState, day: float) -> float:
    return Season(HORIZON_DAYS, 0.0, state).change(int(day * DAY_MS))


def test_before_a_year_has_been_seen_the_season_says_nothing() -> None:
    """A trend of some months is no season."""
    assert change(learned(300).state(), 10_300) == 0.0


def test_after_a_year_it_says_whether_the_level_will_rise_or_fall() -> None:
    """Half a year after the peak the level rises over the next months; at the peak it falls."""
    peak, trough = round(29 * 365.25), round(29.5 * 365.25)  # days since the epoch
    assert change(learned(peak - 10_000).state(), peak) < -0.1
    assert change(learned(trough - 10_000).state(), trough) > 0.1


@given(st.lists(st.tuples(st.integers(0, 10**14), st.floats(-10, 10)), max_size=60), st.integers(0, 10**15))
def test_it_stays_bounded_and_finite_whatever_the_times(notes: list[tuple[int, float]], at_ms: int) -> None:
    """Gaps of centuries, steps back in time: the levels of a year and a horizon are all that is kept."""
    season = SeasonLearner(HORIZON_DAYS)
    for when_ms, level in notes:
        season.note(when_ms, level)
    state = season.state()
    assert len(state.levels) <= YEAR_MS // step_ms_of(HORIZON_DAYS) + 20
    assert abs(Season(HORIZON_DAYS, 7.0, state).change(at_ms)) <= 20.0 + 1e-9


@given(st.integers(0, 500), st.integers(1, 300))
def test_a_learner_goes_on_from_its_state(days: int, more: int) -> None:
    """Save, load and go on is the same as going on."""
    unbroken = learned(days + more).state()
    resumed = SeasonLearner(
        HORIZON_DAYS, msgspec.json.decode(msgspec.json.encode(learned(days).state()), type=SeasonState)
    )
    for day in range(10_000 + days, 10_000 + days + more):
        resumed.note(day * DAY_MS, cos(2.0 * pi * day / 365.25))
    assert resumed.state() == unbroken


def test_a_constant_level_has_no_season() -> None:
    """However long it is watched."""
    season = SeasonLearner(HORIZON_DAYS)
    for day in range(900):
        season.note(day * DAY_MS, 1.5)
    assert all(isclose(change(season.state(), day), 0.0, abs_tol=1e-9) for day in range(850, 950))
