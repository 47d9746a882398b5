"""The season: how the level of a fast rate moved a year ago, and what that says of the time ahead.

Labels over a long horizon come too late to follow a season, and labels over a short one cannot foresee it. What can be
known is how the level went on from the same day of last year. Until a year has been seen, nothing is said.
"""

from collections.abc import Sequence
from itertools import accumulate

import msgspec

from schemas.units import DAY_MS

YEAR_MS = round(365.25 * DAY_MS)
STEPS = 12  # of the levels, to a horizon
_NOW_STEPS = 2  # that stand for "now": one alone is noise


class SeasonState(msgspec.Struct, frozen=True):
    """The levels of consecutive steps, the oldest first, and the number of the first step since the epoch."""

    first_step: int = 0
    levels: tuple[float, ...] = ()


def step_ms_of(horizon_days: float) -> int:
    """Return how long a step is: a share of the horizon, a day at least."""
    return max(DAY_MS, int(horizon_days * DAY_MS / STEPS))


class SeasonLearner:
    """Keeps the level at the end of each step, for a year and a horizon."""

    def __init__(self, horizon_days: float, state: SeasonState | None = None) -> None:
        state = state or SeasonState()
        self._step_ms = step_ms_of(horizon_days)
        self._limit = YEAR_MS // self._step_ms + STEPS + _NOW_STEPS + 4
        self._first_step = state.first_step
        self._levels = list(state.levels)

    def note(self, at_ms: int, level: float) -> None:
        """Note the level at `at_ms`; a moment before the latest step is one of the latest step."""
        step = at_ms // self._step_ms
        levels = self._levels
        ahead = step - (self._first_step + len(levels) - 1)
        if not levels or ahead >= self._limit:
            self._first_step, self._levels = step, [level]
            return
        if ahead > 0:  # steps without a label keep the level of the one before
            levels.extend([levels[-1]] * ahead)
            forgotten = max(0, len(levels) - self._limit)
            del levels[:forgotten]
            self._first_step += forgotten
        levels[-1] = level

    def state(self) -> SeasonState:
        """Return the levels as plain data."""
        return SeasonState(self._first_step, tuple(self._levels))


class Season:
    """Says how far the level over the time ahead should lie from that of now, going by last year."""

    def __init__(self, horizon_days: float, lag_days: float, state: SeasonState) -> None:
        """`lag_days`: a level shows what happened up to so many days after the predictions that it is about."""
        self._step_ms = step_ms_of(horizon_days)
        self._horizon_ms = int(horizon_days * DAY_MS)
        self._lag_ms = int(lag_days * DAY_MS)
        self._first = state.first_step
        self._sums = tuple(accumulate(state.levels, initial=0.0))

    def change(self, at_ms: int) -> float:
        """Return mean level over the horizon from `at_ms` minus level at `at_ms`, both a year ago; 0 if not known."""
        n = len(self._sums) - 1
        then = (at_ms - YEAR_MS) // self._step_ms - self._first
        start = then + self._lag_ms // self._step_ms
        stop = min(start + self._horizon_ms // self._step_ms, n - 1)
        if then < _NOW_STEPS or stop <= start:
            return 0.0
        return _mean(self._sums, start + 1, stop) - _mean(self._sums, then - _NOW_STEPS + 1, then)


def _mean(sums: Sequence[float], first: int, last: int) -> float:
    return (sums[last + 1] - sums[first]) / (last + 1 - first)
