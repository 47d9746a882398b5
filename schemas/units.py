"""Units of time and size.

Where the type of a function's argument is `Ms` or `Seconds`, the type checker refuses the one for the other.
"""

from typing import Final, NewType

Ms = NewType("Ms", int)  # milliseconds: how long, or since the epoch
Seconds = NewType("Seconds", float)  # how long, or the reading of a monotonic clock

MINUTE_MS: Final = Ms(60_000)
HOUR_MS: Final = Ms(60 * MINUTE_MS)
DAY_MS: Final = Ms(24 * HOUR_MS)
WEEK_MS: Final = 7 * DAY_MS

MIB: Final = 1 << 20


def in_seconds(duration: Ms) -> Seconds:
    """The same duration in seconds."""
    return Seconds(duration / 1000)
