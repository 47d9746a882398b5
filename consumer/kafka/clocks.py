"""The two clocks of a process, handed to whatever needs one."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from schemas.units import Ms, Seconds


def wall_clock_ms() -> Ms:
    """Return epoch milliseconds."""
    return Ms(time.time_ns() // 1_000_000)


def monotonic_s() -> Seconds:
    """Return the reading of a clock that is never set."""
    return Seconds(time.monotonic())


@dataclass(frozen=True, slots=True)
class Clocks:
    """`ms` tells what time it is, since the epoch; `s` how long something takes."""

    ms: Callable[[], Ms] = wall_clock_ms
    s: Callable[[], Seconds] = monotonic_s
