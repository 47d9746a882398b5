"""Time zones by their IANA names.

They come from the package tzdata, whose version is part of the build. Those of the machine may be of another year, and
hold names that mean something else on each machine, such as localtime.
"""

from datetime import tzinfo
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo


def load_zone(name: str) -> tzinfo | None:
    """Return the zone `name`, or None where there is none of that name."""
    if name not in _names():
        return None
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


@cache
def _names() -> frozenset[str]:
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())
