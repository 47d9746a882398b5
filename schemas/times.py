"""Event times: which are plausible, what one that is not looks like, and times written as text."""

from datetime import UTC, datetime, timedelta
from typing import Final

EARLIEST_MS: Final = 946_684_800_000  # the year 2000: before it, a time is in another unit or not set
LATEST_MS: Final = 4_102_444_799_999  # the year 2099: after it, likewise
EXPECTED: Final = "epoch milliseconds, UTC, of the years 2000 to 2099"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_NANOSECONDS_IN: Final = {
    "seconds": 1_000_000_000,
    "microseconds": 1_000,
    "nanoseconds": 1,
    "days": 86_400_000_000_000,
}
_NANOSECONDS_IN_A_MS: Final = 1_000_000
_DIGITS: Final = (("%Y%m%d", 8), ("%Y%m%d%H%M", 12), ("%Y%m%d%H%M%S", 14))


def looks_like(time: float) -> str | None:
    """What an implausible time seems to be instead of milliseconds, in words; None where nothing fits."""
    if time == 0:
        return "a time that was never set"
    for unit, nanoseconds in _NANOSECONDS_IN.items():
        if EARLIEST_MS <= time * nanoseconds // _NANOSECONDS_IN_A_MS <= LATEST_MS:
            return unit
    return "a date written in digits" if _is_written_date(f"{time:.0f}") else None


def _is_written_date(digits: str) -> bool:
    for form, length in _DIGITS:
        if len(digits) == length:
            try:
                return 2000 <= datetime.strptime(digits, form).year <= 2099  # noqa: DTZ007 - only its year is looked at
            except ValueError:
                return False
    return False


def milliseconds_of(text: str) -> int | None:
    """Epoch milliseconds of a time in ISO 8601 that says its offset from UTC; None for every other text.

    Without an offset nobody knows which instant is meant.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if time.tzinfo is None else (time - _EPOCH) // _MS
