"""Local time: whose clock counts, and what it shows."""

from datetime import UTC, timedelta, timezone, tzinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.local_time import LocalTime
from consumer.zones import load_zone
from tests.core.decisions import LOCAL_TIME, NOON_MS


def test_the_hour_is_that_of_the_customers_own_clock() -> None:
    """Noon in Berlin is evening in Tokyo, and summer time counts."""
    assert LOCAL_TIME.hour(NOON_MS, "UTC") == 12
    assert LOCAL_TIME.hour(NOON_MS, "Europe/Berlin") == 14
    assert LOCAL_TIME.hour(NOON_MS, "Asia/Tokyo") == 21
    assert LocalTime(load_zone, "Asia/Tokyo").hour(NOON_MS, "") == 21


@given(st.integers(0, 4_000_000_000_000), st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kolkata"]))
def test_the_cached_hour_is_the_hour(at_ms: int, zone: str) -> None:
    """The offset that is remembered for an hour is right at every moment in it."""
    assert LOCAL_TIME.hour(at_ms, zone) == LOCAL_TIME.clock(at_ms, zone).hour


@pytest.mark.parametrize("zone", ["", "Europe", "../../etc/passwd", "Nowhere/Land", "\x00", "x" * 300, "é"])
def test_an_unknown_zone_is_the_default_zone(zone: str) -> None:
    """Whatever a shop sends as a zone, the clock of the default zone is taken; where that is wrong too, UTC."""
    assert LocalTime(load_zone, "Asia/Tokyo").zone_name(zone) == "Asia/Tokyo"
    lost = LocalTime(load_zone, zone)
    assert (lost.zone_name(zone), lost.clock(NOON_MS, zone).tzinfo) == ("UTC", UTC)


def test_a_zone_is_loaded_once() -> None:
    """What a customer's zone is costs a file once, not with each decision."""
    asked: list[str] = []

    def load(name: str) -> tzinfo | None:
        asked.append(name)
        return timezone(timedelta(hours=3)) if name == "Somewhere" else None

    local_time = LocalTime(load, "UTC")
    for at_ms in range(NOON_MS, NOON_MS + 1_000):
        assert local_time.clock(at_ms, "Somewhere").hour == 15
        assert local_time.hour(at_ms, "Somewhere") == 15
    assert asked == ["Somewhere"]
