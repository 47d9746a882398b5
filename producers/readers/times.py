"""Times as files write them, read into milliseconds since 1970.

What one value means is not always to be seen from it alone: a number counts seconds, milliseconds, microseconds or
nanoseconds, and 1/2/2010 is in January or in February. Such is decided for the file as a whole, by all of its values.
"""

import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from math import isfinite, isnan
from zoneinfo import ZoneInfo

from schemas.units import DAY_MS

UNITS_MS = {"seconds": 1000.0, "milliseconds": 1.0, "microseconds": 1e-3, "nanoseconds": 1e-6}
DAY_FIRST, MONTH_FIRST, ISO = "day-first", "month-first", "iso"
WORDS = (ISO, *UNITS_MS, DAY_FIRST, MONTH_FIRST)

_SHORT_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_FIRST_OF_UNIT = {"milliseconds": 1e11, "microseconds": 1e14, "nanoseconds": 1e17}  # 1973 in this one, far ahead below
_PLAUSIBLE_MS = (946_684_800_000, 4_102_444_800_000)  # the years 2000 to 2099
_LAST_MS = 253_402_300_799_999  # of the year 9999
_DECIDED_SHARE = 0.9  # of the values that tell day from month, so many have to agree
_COMPACT_DIGITS = (8, 12, 14)  # of a date, with minutes, with seconds
_COMPACT_YEARS = range(1900, 2100)
_FAR_BACK_MS = 365 * DAY_MS  # all of 1970
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_CLOCK = (
    r"(?:[T ,:]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d+))?)?"
    r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?)? ?(?P<zone>Z|z|UTC|GMT|[+-]\d{2}(?::?\d{2})?|[A-Z][A-Za-z_]+/[A-Za-z_/]+)?"
)
_YEAR_FIRST = re.compile(r"(?P<year>\d{4})([-/.])(?P<month>\d{1,2})\2(?P<day>\d{1,2})" + _CLOCK)
_YEAR_LAST = re.compile(r"(?P<first>\d{1,2})([-/.])(?P<then>\d{1,2})\2(?P<year>\d{4})" + _CLOCK)
_NAMED = re.compile(
    r"(?:[A-Z][a-z]{2,8},? )?"  # the day of the week
    r"(?:(?P<day>\d{1,2})[-/ ](?P<month>[A-Za-z]{3,9})|(?P<month_>[A-Za-z]{3,9})\.? (?P<day_>\d{1,2}))"
    r"[-/ ,]+(?P<year>\d{4})" + _CLOCK
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

# How a time is written, before it is known what the file as a whole means by it.
_MOMENT, _NUMBER, _DATE, _EITHER = 0, 1, 2, 3


class UnclearTimes(Exception):
    """The times of a file may mean more than one thing, or can't be what they seem; the message says what to do."""


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """How times are written: one of `WORDS`, a pattern of strptime, or None where the file is to show it.

    `zone` is that of times which name none.
    """

    written: str | None = None
    zone: tzinfo = UTC


def time_format(written: str | None, zone: str | None) -> TimeFormat:
    """Return the format that people name, its zone such as Europe/Berlin or +02:00. Raises ValueError, in words."""
    try:
        found = UTC if zone is None else _zone_of(zone)
    except (ValueError, KeyError, OSError):
        raise ValueError(f"{zone!r} is no time zone; give one such as Europe/Berlin, +02:00 or UTC") from None
    if written is None or written in WORDS:
        return TimeFormat(written, found)
    if written in _SHORT_UNITS:
        return TimeFormat(_SHORT_UNITS[written], found)
    if "%" not in written:
        raise ValueError(
            f"{written!r} is no time format; give {', '.join(WORDS)}, or a pattern such as '%d/%m/%Y %H:%M'"
        )
    try:
        datetime.strptime("", written)  # noqa: DTZ007 - only whether it is a pattern
    except ValueError as error:
        if "does not match" not in str(error):
            raise ValueError(f"{written!r} is no pattern of a time: {error}") from None
    return TimeFormat(written, found)


def plausible_unit(value: float) -> str | None:
    """Return the unit in which a number is a time of our days; None where it is in none of them."""
    first, last = _PLAUSIBLE_MS
    return next((unit for unit, ms in UNITS_MS.items() if first <= value * ms < last), None)


def looks_like(value: float, expected: str) -> str | None:
    """Say, of a time that is plausible in another unit than the one expected, which it looks like."""
    unit = plausible_unit(value)
    return None if unit in (None, expected) else f"looks like {unit} since 1970: expected {expected}"


class Times:
    """The times of one file while it is read: each is added as text, and all are resolved in the end."""

    def __init__(self, form: TimeFormat) -> None:
        self._format = form
        self._values = array("d")  # milliseconds (exact: they have 48 bits), or a number whose unit is to be found
        self._written = bytearray()
        self._month_first = array("d")  # the other meaning of each value of `_EITHER`; not a number where it has none
        self._example = ""  # of a value that may mean either

    def __len__(self) -> int:
        return len(self._values)

    def add(self, text: str) -> bool:
        """Add a time; return whether it is one. Only then does it take a place."""
        read = self._read(text)
        if read is None:
            return False
        self._values.append(read[0])
        self._written.append(read[1])
        return True

    def _read(self, text: str) -> tuple[float, int] | None:
        written = self._format.written
        if written is not None and "%" in written:
            try:
                return self._ms(datetime.strptime(text, written)), _MOMENT  # noqa: DTZ007 - the zone is added there
            except (ValueError, OverflowError):
                return None
        number = number_of(text)
        if number is not None:
            return self._read_number(text, number)
        if written in UNITS_MS:
            return None
        try:
            iso = text[:-4] + "Z" if text.endswith((" UTC", " GMT")) else text
            return self._ms(datetime.fromisoformat(iso)), _MOMENT
        except (ValueError, OverflowError):
            return self._read_parts(text)

    def _read_number(self, text: str, number: float) -> tuple[float, int] | None:
        if self._format.written in UNITS_MS:
            return number, _NUMBER
        moment = _compact(text)
        if self._format.written is None:
            return number, _NUMBER if moment is None else _DATE
        return None if moment is None else (self._ms(moment), _MOMENT)

    def _read_parts(self, text: str) -> tuple[float, int] | None:
        """Read what is written in parts: the year first, the name of a month, or the year last."""
        if (found := _YEAR_FIRST.fullmatch(text)) is not None:
            at_ms = self._of_parts(found, int(found["month"]), int(found["day"]))
            return None if at_ms is None else (at_ms, _MOMENT)
        if (found := _NAMED.fullmatch(text)) is not None:
            name = (found["month"] or found["month_"])[:3].lower()
            month = _MONTHS.index(name) + 1 if name in _MONTHS else 0
            at_ms = self._of_parts(found, month, int(found["day"] or found["day_"]))
            return None if at_ms is None else (at_ms, _MOMENT)
        if self._format.written == ISO or (found := _YEAR_LAST.fullmatch(text)) is None:
            return None
        first, then = int(found["first"]), int(found["then"])
        day_first, month_first = self._of_parts(found, then, first), self._of_parts(found, first, then)
        if day_first is None and month_first is None:
            return None
        if day_first is not None and month_first is not None and first != then and not self._example:
            self._example = text
        self._month_first.append(float("nan") if month_first is None else month_first)
        return float("nan") if day_first is None else day_first, _EITHER

    def _of_parts(self, found: "re.Match[str]", month: int, day: int) -> float | None:
        hour = int(found["hour"] or 0)
        if found["half"]:
            if not 1 <= hour <= 12:
                return None
            hour = hour % 12 + (12 if found["half"] in "pP" else 0)
        microsecond = int(f"{found['fraction'] or '':0<6}"[:6])
        try:
            clock = hour, int(found["minute"] or 0), int(found["second"] or 0), microsecond
            moment = datetime(int(found["year"]), month, day, *clock)  # noqa: DTZ001 - the zone is added below
            return self._ms(moment.replace(tzinfo=_zone_of(found["zone"])) if found["zone"] else moment)
        except (ValueError, OverflowError, KeyError, OSError):  # the last two: no such zone
            return None

    def _ms(self, moment: datetime) -> float:
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self._format.zone)
        return float(round((moment - _EPOCH) / timedelta(milliseconds=1)))

    def implausible(self, times: Sequence[int]) -> str | None:
        """Return why the resolved times can't be what they seem, None where they can.

        A format that was said is believed.
        """
        n_back = sum(at_ms < _FAR_BACK_MS for at_ms in times)
        n_ahead = sum(at_ms >= _PLAUSIBLE_MS[1] for at_ms in times)
        if self._format.written is not None or 2 * max(n_back, n_ahead) <= len(times):
            return None
        when = "in 1970" if n_back > n_ahead else "after 2099"
        if self._written.count(_MOMENT) > len(self._written) // 2:
            unit = plausible_unit(next(at_ms for at_ms in times if at_ms < _FAR_BACK_MS)) if n_back else None
            seems = f"it looks like {unit} that were taken for milliseconds" if unit else "it looks like another unit"
            return (
                f"most times lie {when}: {seems} when the file was written; --time-format {ISO} takes them as they are"
            )
        first = next(self._of_kind(_NUMBER, _DATE))
        unit = self._unit()
        return (
            f"most times lie {when}, if they are {unit} since 1970 (the first is {first:.15g}): it looks like another "
            f"unit. Say what it is with --time-format, which takes {', '.join(WORDS)}, or a pattern such as %d%m%Y"
        )

    def shown(self, place: int) -> str:
        """Return a time that was added, for a message: a number as it was, a date in the one meaning that it has."""
        value, written = self._values[place], self._written[place]
        if written != _EITHER:
            return f"{value:.15g}"
        if isnan(value):
            value = self._month_first[self._written[:place].count(_EITHER)]
        return (_EPOCH + timedelta(milliseconds=value)).date().isoformat()

    def resolve(self) -> Iterator[int | str]:
        """Return, for each time in turn, its epoch milliseconds, or in words why it can't be one of this file's.

        Raises UnclearTimes where the file as a whole can be read in more than one way, or only as of another unit.
        """
        unit, month_first = self._unit(), self._is_month_first()
        others = iter(self._month_first)
        for value, written in zip(self._values, self._written, strict=True):
            if written == _EITHER:
                other = next(others)
                at_ms = other if month_first else value
                yield f"is no date with the {'month' if month_first else 'day'} first" if isnan(at_ms) else int(at_ms)
            elif written == _MOMENT:
                yield int(value)
            else:
                yield self._in_unit(value, unit)

    def _is_month_first(self) -> bool:
        if self._format.written in (DAY_FIRST, MONTH_FIRST) or not self._month_first:
            return self._format.written == MONTH_FIRST
        with_day_first = self._of_kind(_EITHER)
        can_be = Counter((not isnan(a), not isnan(b)) for a, b in zip(with_day_first, self._month_first, strict=True))
        day_first, month_first = can_be[True, False], can_be[False, True]
        if max(day_first, month_first) > _DECIDED_SHARE * (day_first + month_first):
            return month_first > day_first
        if not day_first and not self._example:
            return False  # every day has the number of its month: both mean the same
        seen = "some times have the day first and others the month" if day_first else f"{self._example!r} is not clear"
        raise UnclearTimes(
            f"{seen}: nothing in the file shows whether the day or the month comes first; say it with --time-format "
            f"{DAY_FIRST} or --time-format {MONTH_FIRST}"
        )

    def _of_kind(self, *kinds: int) -> Iterator[float]:
        return (value for value, how in zip(self._values, self._written, strict=True) if how in kinds)

    def _unit(self) -> str:
        """Return what the numbers count, or "dates" where each is one such as 20101201."""
        if self._format.written in UNITS_MS:
            return self._format.written or ""
        if self._written.count(_DATE) and not self._written.count(_NUMBER):
            return "dates"
        units = Counter(map(_unit_of, self._of_kind(_NUMBER, _DATE)))
        return max(UNITS_MS, key=lambda unit: units[unit])

    def _in_unit(self, value: float, unit: str) -> int | str:
        if unit == "dates":
            moment = _compact(f"{value:.0f}")
            return "is no date" if moment is None else int(self._ms(moment))
        if self._format.written is None and (seems := _unit_of(value)) != unit:
            return f"looks like {seems} among {unit}"
        at_ms = value * UNITS_MS[unit]
        return round(at_ms) if at_ms <= _LAST_MS else "is out of range"


def _zone_of(name: str) -> tzinfo:
    if name.startswith(("+", "-")):
        minutes = int(name[1:3]) * 60 + int(name[3:].removeprefix(":") or 0)
        return timezone(timedelta(minutes=minutes if name[:1] == "+" else -minutes))
    return UTC if name in ("Z", "z", "UTC", "GMT") else ZoneInfo(name)


def _compact(digits: str) -> datetime | None:
    """Return the date written in digits alone, such as 20101201 or 20101201082600."""
    if len(digits) not in _COMPACT_DIGITS or not digits.isdigit():
        return None
    try:
        moment = datetime.fromisoformat(digits if len(digits) == 8 else f"{digits[:8]}T{digits[8:]}")
    except ValueError:
        return None
    return moment if moment.year in _COMPACT_YEARS else None


def number_of(text: str) -> float | None:
    """Return a number of 0 or more, None where it is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) and value >= 0.0 and "_" not in text else None


def _unit_of(value: float) -> str:
    """Return in which unit a number is a time of our days, by its magnitude."""
    found = "seconds"
    for unit, first in _FIRST_OF_UNIT.items():
        if value >= first:
            found = unit
    return found
