"""Time zones: those of the build, whatever the machine has."""

import zoneinfo
from collections.abc import Iterator
from datetime import datetime
from importlib.resources import files
from pathlib import Path

import pytest

from consumer.zones import load_zone


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[None]:
    """Let the machine's own zones all be Tokyo's."""
    tokyo = files("tzdata").joinpath("zoneinfo", "Asia", "Tokyo").read_bytes()
    for name in ("localtime", "Europe/Berlin"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(tokyo)
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath([str(tmp_path)])
    zoneinfo.ZoneInfo.clear_cache()
    yield
    zoneinfo.reset_tzpath(before)
    zoneinfo.ZoneInfo.clear_cache()


@pytest.mark.usefixtures("machine")
def test_zones_are_those_of_the_build_and_not_of_the_machine() -> None:
    """A machine may have rules of another year, and names of its own; neither may change a delivery time."""
    assert load_zone("localtime") is None
    berlin = load_zone("Europe/Berlin")
    assert datetime(2024, 10, 4, 12, tzinfo=berlin).strftime("%z") == "+0200"


@pytest.mark.parametrize("name", ["", "Europe", "../zones", "europe/berlin", "\x00"])
def test_what_is_no_name_of_a_zone_is_none(name: str) -> None:
    """Names of folders and of other files among them."""
    assert load_zone(name) is None
