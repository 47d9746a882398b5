"""Times as files write them: what the whole file shows is used, what it doesn't show is asked for."""

from datetime import UTC, datetime

import pytest

from producers.readers.times import Times, UnclearTimes, other_unit, time_format


def resolved(*texts: str, written: str | None = None, zone: str | None = None) -> list[str | None]:
    """Each time as ISO 8601 in UTC to the minute, or what is wrong with it; None where it is no time at all."""
    times = Times(time_format(written, zone))
    added = [times.add(text) for text in texts]
    found = iter([_iso(each) for each in times.resolve()])
    return [next(found) if known else None for known in added]


def _iso(at_ms: int | str) -> str:
    if isinstance(at_ms, str):
        return at_ms
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    "text",
    [
        "2010-12-01T08:26:00Z",
        "2010-12-01 08:26:00 UTC",
        "2010-12-01 08:26:00.000 UTC",
        "2010-12-01 08:26:00.123456789 UTC",
        "2010-12-01 8:26",
        "2010/12/01 08:26:00",
        "2010.12.1 08:26",
        "2010-12-01 08:26:00 +0000",
        "2010-12-01 09:26:00 +01:00",
        "2010-12-01 03:26:00 -0500",
        "2010-12-01 08:26:00+00",
        "2010-12-01 09:26:00 Europe/Berlin",
        "1-Dec-2010 08:26",
        "01 Dec 2010 08:26:00",
        "Dec 1, 2010 8:26 AM",
        "December 1, 2010 8:26 am",
        "01/Dec/2010:08:26:00 +0000",
        "Wed, 01 Dec 2010 08:26:00 GMT",
        "20101201082600",
        "201012010826",
        "1291191960",
        "1291191960.5",
        "1291191960000",
        "1291191960000000",
        "1291191960000000000",
        "1.29119196E+9",
    ],
)
def test_a_time_that_means_one_thing_is_read(text: str) -> None:
    """Exports of databases, spreadsheets, web servers and mail; numbers by their magnitude."""
    assert resolved(text) == ["2010-12-01 08:26"]


def test_day_and_month_are_told_by_the_file_as_a_whole() -> None:
    """One day over 12 is enough, for the times before it as well; the separator makes no difference."""
    assert resolved("12/1/2010 8:26", "12/13/2010 8:26") == ["2010-12-01 08:26", "2010-12-13 08:26"]
    assert resolved("1/12/2010 8:26 PM", "13/12/2010") == ["2010-12-01 20:26", "2010-12-13 00:00"]
    assert resolved("01.12.2010 08:26", "31.12.2010 23:59:59") == ["2010-12-01 08:26", "2010-12-31 23:59"]
    assert resolved("01-12-2010", "12-31-2010") == ["2010-01-12 00:00", "2010-12-31 00:00"]
    assert resolved("5/5/2010", "7/7/2010") == ["2010-05-05 00:00", "2010-07-07 00:00"]


def test_a_slip_does_not_turn_all_other_dates_around() -> None:
    """It is a bad row; where neither is the rule, nobody can say."""
    times = [f"{day}/1/2010" for day in range(1, 32)]
    assert resolved(*times, "1/31/2010")[-1] == "is no date with the day first"
    with pytest.raises(UnclearTimes, match="some times have the day first and others the month"):
        resolved("1/31/2010", "31/1/2010")


def test_what_the_file_does_not_show_is_asked_for() -> None:
    """The message names a time and the option, and with the option it is read."""
    with pytest.raises(UnclearTimes, match=r"'2/1/2010' is not clear: .* say it with --time-format day-first or"):
        resolved("1/1/2010", "2/1/2010", "2010-12-31")
    assert resolved("2/1/2010", written="day-first") == ["2010-01-02 00:00"]
    assert resolved("2/1/2010", written="month-first") == ["2010-02-01 00:00"]
    assert resolved("13/1/2010", written="month-first") == ["is no date with the month first"]


@pytest.mark.parametrize(
    "text", ["12/1/10 8:26", "31/31/2010", "1/32/2010", "1/1/2010 25:00", "1 Foo 2010", "soon", ""]
)
def test_what_is_no_time_or_has_two_digits_for_a_year_is_none(text: str) -> None:
    """Of 10/12/01 any part may be the year: that is for a pattern to say."""
    assert resolved(text) == [None]


def test_a_pattern_reads_what_nothing_else_does() -> None:
    """And nothing that is written otherwise."""
    pattern = "%m/%d/%y %H:%M"
    assert resolved("12/1/10 8:26", "2010-12-01", written=pattern) == ["2010-12-01 08:26", None]


@pytest.mark.parametrize("written", ["%Q", "tomorrow", "%"])
def test_a_format_that_is_none_is_refused(written: str) -> None:
    """With what there is."""
    with pytest.raises(ValueError, match=r"is no (time format|pattern)"):
        time_format(written, None)


def test_a_unit_that_was_said_is_believed() -> None:
    """Nothing is guessed then, and texts are no numbers."""
    assert resolved("60", "1291191960000", written="s") == ["1970-01-01 00:01", "is out of range"]
    assert resolved("1291191960", written="milliseconds") == ["1970-01-15 22:39"]
    assert resolved("2010-12-01", written="ms") == [None]


def test_times_without_a_zone_are_in_the_zone_that_was_said() -> None:
    """Summer time is that of the day; a time that names its own keeps it."""
    times = ("2010-07-01 09:26", "1/12/2010 09:26", "31/12/2010", "20101201", "2010-12-01 08:26 UTC", "1291191960")
    expected = [
        "2010-07-01 07:26",
        "2010-12-01 08:26",
        "2010-12-30 23:00",
        None,
        "2010-12-01 08:26",
        "2010-12-01 08:26",
    ]
    found = resolved(*times, zone="Europe/Berlin")
    assert [each for place, each in enumerate(found) if place != 3] == [each for each in expected if each]
    assert resolved("20101201", zone="Europe/Berlin") == ["2010-11-30 23:00"]
    assert resolved("2010-12-01 10:26", zone="+02:00") == ["2010-12-01 08:26"]
    with pytest.raises(ValueError, match="'Mars/Olympus' is no time zone"):
        time_format(None, "Mars/Olympus")


def test_the_unit_of_numbers_is_that_of_most() -> None:
    """The others are bad rows, each with the unit that it seems to be in."""
    seconds = [str(1_600_000_000 + n) for n in range(5)]
    assert resolved(*seconds, "1600000000000")[-1] == "looks like milliseconds among seconds"
    micros = [f"{each}000000" for each in seconds]
    assert resolved(*micros, "1600000000")[-1] == "looks like seconds among microseconds"
    assert resolved(*micros)[0] == "2020-09-13 12:26"


def test_times_that_can_only_be_something_else_are_told() -> None:
    """All of 1970 is another unit, or no time at all; a format that was said is believed."""
    for texts, words in (
        (("40513.35", "40513.36"), "most times lie in 1970, if they are seconds since 1970"),
        (("0", "60", "0.25"), "Say what it is with --time-format"),
        (("1970-01-20 11:33:20", "1970-01-20 11:34:20"), "it looks like seconds that were taken for milliseconds"),
        (("13350000000000000",), "most times lie after 2099"),  # microseconds since 1601
    ):
        times = Times(time_format(None, None))
        assert all(map(times.add, texts))
        assert words in (times.implausible([at for at in times.resolve() if isinstance(at, int)]) or "")
    times = Times(time_format("seconds", None))
    assert times.add("60")
    assert times.implausible([60_000]) is None


def test_another_unit_is_recognised_in_milliseconds() -> None:
    """A plausible time is in milliseconds; one of another unit is plausible there; others may be anything."""
    assert other_unit(1_600_000_000_000) is None
    assert other_unit(1_600_000_000) == "seconds"
    assert other_unit(1_600_000_000_000_000) == "microseconds"
    assert other_unit(1_600_000_000_000_000_000) == "nanoseconds"
    assert other_unit(5) is None
