"""The local stores of a worker: where each lies, what it is a copy of, and when it is too old to be one."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from clients import log
from consumer.core.customer.working_set import CommittedState
from consumer.store.folder_lock import FolderLock
from consumer.store.lmdb_state import LmdbState
from consumer.store.memory import MemoryState
from schemas.units import Ms


class RestorableState(CommittedState, Protocol):
    """Committed state that can be loaded from the changelog."""

    discarded: str | None

    def restore(self, records: Iterable[tuple[str, bytes | None]], changelog_offset: int) -> int:
        """Load `records` in changelog order; return how many. The task record stays the present one."""


class Stores:
    """One store for each task, below `folder`; in memory where that is None.

    `identity` names the changelog and the group that the stores are copies for. A store that was last written more
    than `tombstones_ms` ago is thrown away: the changelog may have lost the tombstones of customers it still holds.

    The folder is this worker's from here to `close`: StoreInUse says at once, before any task is taken from others,
    that another worker runs on it.
    """

    def __init__(self, folder: Path | None, identity: str, tombstones_ms: Ms, clock_ms: Callable[[], Ms]) -> None:
        self._folder = folder
        self._identity = identity
        self._tombstones_ms = tombstones_ms
        self._clock_ms = clock_ms
        self._lock = None if folder is None else FolderLock(folder)

    def open(self, partition: int) -> RestorableState:
        """Open the store of a task; an empty one where there is none, or none that can be trusted."""
        if self._folder is None:
            return MemoryState()
        path = self._folder / f"task-{partition}"
        state = LmdbState(
            path, identity=f"{self._identity}/{partition}", max_age_ms=self._tombstones_ms, clock_ms=self._clock_ms
        )
        if state.discarded is not None:
            log.warning("task %d: the local store was discarded: %s", partition, state.discarded)
        return state

    def discard(self, partition: int, why: str) -> None:
        """Throw away the (closed) store of a task."""
        log.warning("task %d: the local store is discarded: %s", partition, why)
        if self._folder is not None:
            shutil.rmtree(self._folder / f"task-{partition}", ignore_errors=True)

    def close(self) -> None:
        """Let another worker have the folder."""
        if self._lock is not None:
            self._lock.close()
