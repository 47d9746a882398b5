"""A small file beside a store that says whether the store can be trusted after a crash of the machine.

A store is written without waiting for the disk. When the process dies, nothing is lost: what it wrote is in the page
cache of the kernel. When the machine dies, pages may have reached the disk in any order, and the store can't tell. So
the marker says whether it was closed cleanly (after a real sync), and in which boot of the machine it was last open.
Neither closed nor the same boot: it is not to be trusted.
"""

import json
import os
from pathlib import Path

_FILE = "marker.json"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Marker:
    """The marker in `folder`, of a store of a format that is a copy of what `identity` names."""

    def __init__(self, folder: Path, identity: str, store_format: int) -> None:
        self._folder = folder
        self._identity = identity
        self._format = store_format

    def why_not_trusted(self) -> str | None:
        """Return why the store beside it can't be used, or None where it can."""
        try:
            marker = json.loads((self._folder / _FILE).read_bytes())
            found, identity = marker["format"], marker["identity"]
            closed, boot = marker["closed"], marker["boot"]
        except (OSError, ValueError, KeyError, TypeError):
            return "its marker file is missing or can't be read"
        if found != self._format:
            return f"it has format {found}; this build writes format {self._format}"
        if identity != self._identity:
            return f"it belongs to {identity!r}, not to {self._identity!r}"
        if not closed and (boot == "" or boot != _boot_id()):
            return "the machine went down while it was open"
        return None

    def write(self, *, closed: bool) -> None:
        """Say whether the store is closed, so that it is on disk, whole, before this returns."""
        marker = {"format": self._format, "identity": self._identity, "closed": closed, "boot": _boot_id()}
        fresh = self._folder / (_FILE + ".new")
        with fresh.open("w", encoding="utf-8") as file:
            json.dump(marker, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._folder / _FILE)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _boot_id() -> str:
    """Return what names this boot of the machine; empty where that can't be known (then nothing unclean is trusted)."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
