"""What the bridge says in its log: the first rejection of each kind, and a line a minute."""

from collections.abc import Callable
from typing import Final

from clients import log
from consumer.bridge.becoming import Place
from consumer.bridge.observer import Tally
from consumer.core.intake import Rejection
from schemas.units import Seconds

EVERY_S: Final = 60.0
_MAX_KINDS: Final = 1_000  # of rejections that are remembered to have been logged


class Teller:
    """The log of one process. `clock_s` is the loop's."""

    def __init__(self, clock_s: Callable[[], Seconds]) -> None:
        self._clock_s = clock_s
        self._said_at_s = clock_s()
        self._tally = Tally()
        self._kinds: set[tuple[str, str, str | None]] = set()  # topic, reason, field

    def committed(self, tally: Tally) -> None:
        """Add what was committed."""
        self._tally += tally

    def rejected(self, place: Place, offset: int, rejection: Rejection) -> None:
        """Say it where it is the first of its kind; the line a minute counts the others."""
        kind = (place.topic, rejection.reason, rejection.field)
        if kind in self._kinds or len(self._kinds) >= _MAX_KINDS:
            return
        self._kinds.add(kind)
        said = "the first record rejected as %s: %s, partition %d, offset %d: %s"
        log.warning(said, rejection.reason, *place, offset, rejection.message)

    def say(self, lag: int, waiting: int, held_by: Place | None) -> None:
        """Say a line where a minute has gone by: `waiting` records were read and are held by a partition of others."""
        if self._clock_s() - self._said_at_s < EVERY_S:
            return
        self._said_at_s = self._clock_s()
        tally, self._tally = self._tally, Tally()
        log.info(
            "bridge: %d records read, %d events written, %d no event, %d rejected; %d to do%s",
            tally.read.total(),
            tally.written.total(),
            tally.skipped.total(),
            tally.rejected.total(),
            lag,
            "" if held_by is None else f"; {waiting} wait for partition {held_by.partition} of {held_by.topic}",
        )
