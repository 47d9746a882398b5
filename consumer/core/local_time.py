"""Local time: what the clock on a customer's wall shows. Zones are handed in, for they are read from files."""

from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from functools import lru_cache

from schemas.units import HOUR_MS

ZoneLoader = Callable[[str], tzinfo | None]  # IANA name → the zone, or None where there is none of that name

_LAST_LOCAL_MS = 253_370_764_800_000  # the year 9999: later moments have no local time everywhere


def wall_clock(at_ms: int, zone: tzinfo) -> datetime:
    """Return what clocks in `zone` show at `at_ms`."""
    return datetime.fromtimestamp(min(at_ms, _LAST_LOCAL_MS) / 1000, zone)


class LocalTime:
    """Clocks by the name of their zone. Of an unknown name, the clock of the zone `default`; unknown too, UTC."""

    def __init__(self, load_zone: ZoneLoader, default: str) -> None:
        self._load_zone = load_zone
        self._default = default
        self._zone = lru_cache(maxsize=1024)(self._find_zone)
        self._offset_ms = lru_cache(maxsize=4096)(self._find_offset_ms)

    def zone_name(self, zone: str) -> str:
        """Return the name of the zone whose clock counts for `zone`."""
        return self._zone(zone)[0]

    def clock(self, at_ms: int, zone: str) -> datetime:
        """Return the wall clock in `zone` at `at_ms`."""
        return wall_clock(at_ms, self._zone(zone)[1])

    def hour(self, at_ms: int, zone: str) -> int:
        """Return the hour, 0 to 23, on the wall clock in `zone` at `at_ms`."""
        return (at_ms + self._offset_ms(at_ms // HOUR_MS, zone)) // HOUR_MS % 24

    def _find_zone(self, name: str) -> tuple[str, tzinfo]:
        for candidate in (name, self._default):
            zone = self._load_zone(candidate)
            if zone is not None:
                return candidate, zone
        return "UTC", UTC

    def _find_offset_ms(self, hour: int, zone: str) -> int:
        """Return how far the wall clock in `zone` is ahead of UTC as the `hour` since the epoch begins."""
        offset = self.clock(hour * HOUR_MS, zone).utcoffset()
        return round(offset.total_seconds() * 1000) if offset is not None else 0
