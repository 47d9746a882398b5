"""In which mode the next commit of a task is made."""

from consumer.kafka.worker_settings import WorkerMode
from schemas.records import Mode
from schemas.units import Ms


class ModeSwitch:
    """*live* or *catch-up* by how far a task is behind, with hysteresis; or the one mode that the settings ask for.

    Behind by more than `catch_up_after_ms`: catch-up. Live again once the lag is at most half of that, so that a task
    near the limit does not go back and forth.
    """

    def __init__(self, mode: WorkerMode, catch_up_after_ms: Ms) -> None:
        self._fixed: Mode | None = None if mode == "auto" else mode
        self._catch_up_after_ms = catch_up_after_ms
        self._catching_up = False

    def mode(self, lag_ms: int) -> Mode:
        """Return the mode for a commit whose first record was written `lag_ms` ago."""
        if self._fixed is not None:
            return self._fixed
        limit_ms = self._catch_up_after_ms // 2 if self._catching_up else self._catch_up_after_ms
        self._catching_up = lag_ms > limit_ms
        return "catch-up" if self._catching_up else "live"
