"""The directory of a replay: what is in it, and how it comes to be there whole or not at all.

Files are written under temporary names and renamed at the end, the manifest last: a directory without one is no replay.
"""

import fcntl
from collections.abc import Iterable
from contextlib import suppress
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import IO, Any, Self

import msgspec

from consumer.core.catalogue import Catalogue
from consumer.core.settings import CoreSettings
from consumer.replay.options import ReplayOptions
from schemas.container import ContainerWriter, Recorded

MANIFEST_FORMAT = 1
MANIFEST = "manifest.json"
DECISIONS = "next-best-actions.jsonl"
JOURNAL = "journal.avro"
MODELS = "models.avro"
SESSIONS = "sessions.avro"
DEAD_LETTERS = "dead-letters.jsonl"
SUMMARY = "summary.json"
FILES = (DECISIONS, JOURNAL, MODELS, SESSIONS, DEAD_LETTERS, SUMMARY)
_UNFINISHED = ".unfinished-"
_LOCK = ".lock"


class OutputRefused(Exception):
    """The output directory holds something else; the message says what to do."""


class Source(msgspec.Struct, frozen=True):
    """The recording that was replayed."""

    format: str
    path: str  # absolute
    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path, format_name: str) -> "Source":
        """Describe the file at `path`; reads it once."""
        return cls(format_name, str(path.resolve()), path.stat().st_size, sha256_of(path))


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that verify needs beside the input. `checksum` is over all other fields."""

    format: int = MANIFEST_FORMAT
    source: Source
    options: ReplayOptions
    settings: CoreSettings
    catalogue: dict[str, Any]  # as `Catalogue.from_mapping` takes it
    build: str
    files: dict[str, str]  # name → SHA-256
    checksum: str = ""

    def sealed(self) -> "Manifest":
        """Return the manifest with the checksum it must carry."""
        unsealed = msgspec.structs.replace(self, checksum="")
        digest = blake2b(msgspec.json.encode(unsealed), digest_size=16).hexdigest()
        return msgspec.structs.replace(self, checksum=digest)


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the file: there is one form only, so that no byte of it can change unseen."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def catalogue_mapping(catalogue: Catalogue) -> dict[str, Any]:
    """Return the catalogue as plain data, from which `Catalogue.from_mapping` makes an equal one."""
    mapping: dict[str, Any] = msgspec.to_builtins(
        {
            "currency": catalogue.currency,
            "nothing": catalogue.nothing,
            "limits": catalogue.limits,
            "channels": catalogue.channels,
            "actions": catalogue.actions,
        }
    )
    return mapping


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


class OutputDirectory:
    """The files of one replay while they are written. Leaving the `with` block without `finish` removes them.

    A directory that was made here and stays empty is removed as well.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        _check_free(path)
        self._is_new = not path.exists()
        path.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(path)
        self._streams: dict[str, IO[bytes]] = {}
        self._containers: dict[str, ContainerWriter] = {}
        try:
            self._remove_unfinished()
            for name in (DECISIONS, DEAD_LETTERS):
                self._streams[name] = self._unfinished(name).open("wb")
            for name in (JOURNAL, MODELS, SESSIONS):
                self._containers[name] = ContainerWriter(self._unfinished(name))
        except BaseException:  # Ctrl-C among them
            self._leave(failed=True)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._leave(failed=error is not None)

    def _leave(self, *, failed: bool) -> None:
        self._close()
        self._remove_unfinished()
        (self._path / _LOCK).unlink(missing_ok=True)
        self._lock.close()
        if failed and self._is_new:
            with suppress(OSError):  # it is not empty
                self._path.rmdir()

    def write_lines(self, name: str, lines: Iterable[bytes]) -> None:
        """Append lines to a text file."""
        self._streams[name].writelines(line + b"\n" for line in lines)

    def append(self, name: str, record: Recorded) -> None:
        """Append a record to a container."""
        self._containers[name].append(record)

    def flush(self) -> None:
        """Hand everything so far to the operating system."""
        for stream in self._streams.values():
            stream.flush()
        for container in self._containers.values():
            container.flush()

    def finish(self, summary: bytes, manifest: Manifest) -> None:
        """Write summary and manifest, and put everything in place. Digests and checksum are filled in here."""
        self._close()
        self._unfinished(SUMMARY).write_bytes(summary)
        files = {name: sha256_of(self._unfinished(name)) for name in FILES}
        sealed = msgspec.structs.replace(manifest, files=files).sealed()
        self._unfinished(MANIFEST).write_bytes(encode_manifest(sealed))
        (self._path / MANIFEST).unlink(missing_ok=True)
        for name in (*FILES, MANIFEST):
            self._unfinished(name).replace(self._path / name)

    def _close(self) -> None:
        for stream in self._streams.values():
            stream.close()
        for container in self._containers.values():
            container.close()
        self._streams.clear()
        self._containers.clear()

    def _unfinished(self, name: str) -> Path:
        return self._path / f"{_UNFINISHED}{name}"

    def _remove_unfinished(self) -> None:
        for name in (*FILES, MANIFEST):
            self._unfinished(name).unlink(missing_ok=True)


def _check_free(path: Path) -> None:
    if not path.exists():
        return
    if not path.is_dir():
        raise OutputRefused(f"{path} is no directory: give another one to write into")
    ours = {_LOCK} | {name for file in (*FILES, MANIFEST) for name in (file, _UNFINISHED + file)}
    others = sorted(entry.name for entry in path.iterdir() if entry.name not in ours)
    if others:
        raise OutputRefused(
            f"{path} holds something else than a replay ({', '.join(others[:3])}): give an empty or new directory"
        )


def _lock(path: Path) -> IO[bytes]:
    """Hold the directory, so that two replays into it at once cannot mix. The lock dies with its process."""
    lock = (path / _LOCK).open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise OutputRefused(f"another replay is writing into {path}: wait for it, or give another directory") from None
    return lock
