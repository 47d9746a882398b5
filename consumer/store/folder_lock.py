"""One owner at a time for a folder, and for all of its stores."""

import fcntl
import os
from pathlib import Path


class StoreInUse(Exception):
    """Another process, or another object of this one, has the folder."""


class FolderLock:
    """Holds a folder, until it is closed or the process ends. Raises StoreInUse."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.fdopen(os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise StoreInUse(
                f"the store in {folder} is open already: is another worker running on it? Each needs a "
                "worker.state_dir of its own; by default it has one for each kafka.instance_id"
            ) from error

    def close(self) -> None:
        """Let the folder go; harmless when done before."""
        self._file.close()
