"""Pace: when a recorded event is due, if time passes `speed` times as fast as it did then. No clock in here."""

from typing import Final

from schemas.units import DAY_MS

LONGEST_GAP_MS: Final = DAY_MS


class Pace:
    """Maps event times to moments of a monotonic clock, whose reading is an argument.

    A jump of more than LONGEST_GAP_MS, forward or backward, takes no time: the pace starts anew there. Otherwise a
    night without events, or one record with a year of 2099, would hold everything up.
    """

    def __init__(self, speed: float | None) -> None:
        """`speed` is event time over clock time; None means as fast as it goes."""
        if speed is not None and not speed > 0:
            raise ValueError(f"the speed is {speed}: it must be more than 0")
        self._speed = speed
        self._origin: tuple[int, float] | None = None  # (event time, clock) of the start
        self._previous_ms = 0

    def wait_s(self, event_ms: int, now_s: float) -> float:
        """Return how long the event has yet to wait, in seconds; 0 if it is due. Asking again changes nothing."""
        if self._speed is None:
            return 0.0
        if self._origin is None or abs(event_ms - self._previous_ms) > LONGEST_GAP_MS:
            self._origin = (event_ms, now_s)
        self._previous_ms = event_ms
        origin_ms, origin_s = self._origin
        return max(0.0, origin_s + (event_ms - origin_ms) / (1_000 * self._speed) - now_s)
