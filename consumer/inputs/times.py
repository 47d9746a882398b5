"""What is found in a record, as the time of an event: epoch milliseconds, UTC.

Nothing is guessed: a number is in the unit that the mapping names, and one that can only be of another unit is refused.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from consumer.inputs.values import Convert, Unusable, wrong_type

UNITS = {  # since 1970: name in words, milliseconds
    "s": ("seconds", 1_000.0),
    "ms": ("milliseconds", 1.0),
    "us": ("microseconds", 1e-3),
    "ns": ("nanoseconds", 1e-6),
}
ISO = "iso"

_LAST_MS = 253_402_300_799_999  # of the year 9999
_LIKELY_FROM_MS, _LIKELY_TO_MS = 631_152_000_000, 4_102_444_800_000  # 1990 to 2100: when shops have had events
_UTC_WORD = " UTC"
_SAMPLE = datetime(2024, 2, 29, 13, 5, 7, tzinfo=UTC)


class BadTime(Exception):
    """The mapping names no unit, format or zone that there is; the message says which there are."""


def zone_of(name: str) -> tzinfo:
    """Return a time zone by its IANA name; raise BadTime where there is none."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise BadTime(f'is no IANA name of a time zone, such as "Europe/Berlin": {name!r}') from None


def time_reader(how: str | None, zone: tzinfo) -> Convert:
    """Return what makes epoch milliseconds of a time that is written as `how` says.

    `how` is a unit of `UNITS`, "iso", a format of `datetime.strptime`, or None: then numbers are milliseconds since
    1970, and other text is ISO 8601. `zone` is that of times which name none. Raises BadTime.
    """
    if how is None:
        return _either(zone)
    if how in UNITS:
        return _number_reader(how)
    if how == ISO:
        return _iso_reader(zone)
    if "%" not in how:
        raise BadTime(f'is none of {", ".join(UNITS)}, {ISO}, nor a format such as "%d.%m.%Y %H:%M": {how!r}')
    return _format_reader(how, zone)


def times_reader(ways: Sequence[str], zone: tzinfo) -> Convert:
    """Return what reads a time in the first of several ways that fits; see `time_reader`. Raises BadTime."""
    if not ways:
        raise BadTime("is empty: name at least one way in which times are written")
    *readers, last = [time_reader(how, zone) for how in ways]

    def read(value: Any) -> int:
        for reader in readers:
            try:
                return reader(value)  # type: ignore[no-any-return]  # it is an int
            except Unusable:
                continue
        return last(value)  # type: ignore[no-any-return]

    return read


def _either(zone: tzinfo) -> Convert:
    from_number, from_text = _number_reader("ms"), _iso_reader(zone)

    def read(value: Any) -> int:
        # A dash after the year tells ISO 8601 from a number at once.
        if isinstance(value, str) and (value[4:5] == "-" or not _is_number(value)):
            return from_text(value)  # type: ignore[no-any-return]  # it is an int
        return from_number(value)  # type: ignore[no-any-return]

    return read


def _number_reader(unit: str) -> Convert:
    milliseconds = UNITS[unit][1]

    def read(value: Any) -> int:
        if isinstance(value, datetime):  # what Avro's logical types may come out as
            return _checked(_epoch_ms(value, UTC))
        if isinstance(value, str):
            number = _parsed(value)
        elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            number = value if isinstance(value, int) else float(value)
        else:
            raise wrong_type(value, f"a number of {UNITS[unit][0]}")
        at_ms = number * 1000 if unit == "s" else number * milliseconds
        if _LIKELY_FROM_MS <= at_ms < _LIKELY_TO_MS:
            return int(at_ms) if isinstance(at_ms, int) else round(at_ms)
        for other, (name, factor) in UNITS.items():
            if _LIKELY_FROM_MS <= number * factor < _LIKELY_TO_MS:
                said = f'is no time in {UNITS[unit][0]}; it looks like {name}: set time = "{other}"'
                raise Unusable("out_of_range", said)
        return _checked(at_ms)

    return read


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parsed(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        said = 'is text that is no number: set time = "iso", or a format such as time = "%d.%m.%Y %H:%M"'
        raise Unusable("wrong_type", said) from None


def _iso_reader(zone: tzinfo) -> Convert:
    def read(value: Any) -> int:
        if isinstance(value, str):
            try:
                moment = datetime.fromisoformat(value)
                if moment.tzinfo is None:
                    return _epoch_ms(moment, zone)
                at_ms = round(moment.timestamp() * 1000)
            except ValueError:
                return _oddly_written(value)
            return at_ms if at_ms >= 0 else _checked(at_ms)
        if isinstance(value, date):
            return _epoch_ms(datetime.fromisoformat(value.isoformat()), zone)
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise Unusable("wrong_type", 'is a number: set time = "s", "ms", "us" or "ns"')
        raise wrong_type(value, "an ISO 8601 time")

    return read


def _oddly_written(text: str) -> int:
    """Return the time in a text that has its zone as a word, as those of REES46, or say why there is none."""
    if text.endswith(_UTC_WORD):
        try:
            return _epoch_ms(datetime.fromisoformat(text[: -len(_UTC_WORD)]), UTC)
        except ValueError:
            pass
    if _is_number(text):
        raise Unusable("wrong_type", 'is a number: set time = "s", "ms", "us" or "ns"')
    raise Unusable("wrong_type", 'is text that is no ISO 8601 time: set its format, as time = "%d.%m.%Y %H:%M"')


def _format_reader(form: str, zone: tzinfo) -> Convert:
    try:
        datetime.strptime(_SAMPLE.strftime(form), form)  # noqa: DTZ007 - only whether it can be read is asked
    except ValueError as error:
        raise BadTime(f"is no format that times can be read by ({error})") from None

    def read(value: Any) -> int:
        if not isinstance(value, str):
            raise wrong_type(value, f"a time written as {form}")
        try:
            return _epoch_ms(datetime.strptime(value, form), zone)  # noqa: DTZ007 - the zone is put on where it has none
        except ValueError:
            raise Unusable("wrong_type", f"is text that is not written as {form}: correct `time`") from None

    return read


def _epoch_ms(moment: datetime, zone: tzinfo) -> int:
    """Return epoch milliseconds. An hour that a zone has twice counts as the first."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    at_ms = round(moment.timestamp() * 1000)
    return at_ms if at_ms >= 0 else _checked(at_ms)


def _checked(at_ms: float) -> int:
    if not 0 <= at_ms <= _LAST_MS:
        raise Unusable("out_of_range", "is a time before 1970 or after 9999")
    return round(at_ms)
