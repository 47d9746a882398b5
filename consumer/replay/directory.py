"""The directory of a replay, with the file that was replayed, as evidence to verify."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from consumer.core.catalogue import Catalogue, CatalogueError
from consumer.core.merge import MergeRecord
from consumer.replay.evidence import Damaged, NotVerifiable, RecordedProduct
from consumer.replay.files import (
    DECISIONS,
    JOURNAL,
    MANIFEST,
    MANIFEST_FORMAT,
    MODELS,
    SESSIONS,
    Manifest,
    Source,
    encode_manifest,
    sha256_of,
)
from consumer.replay.inlet import AnyRow, Inlet, Rereading
from schemas.codec import Decoder
from schemas.container import CorruptContainer, Recorded, read_container
from schemas.errors import InvalidRecord
from schemas.records import Family, JournalRecord, NextBestAction, Session, TrainingExample

MAX_CACHED_SNAPSHOTS = 4_096
MAX_VALUE_BYTES = 64 * 1024 * 1024  # of our own records: a journal record of a large commit is long

ReadRows = Callable[[Path, str], Iterator[AnyRow]]  # path, format name → rows in the order of replay


class DirectoryEvidence:
    """A replay's directory. Implements `Evidence`.

    `settings` and `catalogue` are those of the replay: verify with them. Raises NotVerifiable where the directory is no
    replay or its input is gone, Damaged where the manifest is not what was written.
    """

    def __init__(
        self, path: Path, read_rows: ReadRows, input_path: Path | None = None, decoder: Decoder | None = None
    ) -> None:
        """`read_rows` reads the input by path and format; `input_path` is where it is now, if it was moved.

        `decoder` reads the values of the input, as in the replay; without one, JSON alone is read.
        """
        self._path = path
        self._manifest = _read_manifest(path)
        self.settings = self._manifest.settings
        try:
            self.catalogue = Catalogue.from_mapping(self._manifest.catalogue)
        except CatalogueError as error:
            raise NotVerifiable(f"{path / MANIFEST}: this build cannot use its catalogue: {error}") from error
        source = self._manifest.source
        self._input = input_path or Path(source.path)
        if not self._input.is_file():
            raise NotVerifiable(f"the input {self._input} is not there; if it was moved, name it with --input")
        self._decoder = Decoder(max_value_bytes=MAX_VALUE_BYTES)
        options = self._manifest.options
        self._rereading = Rereading(
            read_rows(self._input, source.format),
            Inlet(options.partitions, self.settings.time.max_ahead_ms, decoder, options.last_ms),
        )
        self._snapshots: dict[tuple[str, int], bytes] = {}
        self._more_snapshots = self._records(MODELS)
        self._session_cursors: dict[int, list[Iterator[Recorded]]] = {}

    @property
    def source(self) -> Source:
        """The input as it was when it was replayed."""
        return self._manifest.source

    def problems(self) -> Sequence[str]:
        """Return which files are not those that were written or read."""
        found = []
        if self._input.stat().st_size != self.source.size_bytes or sha256_of(self._input) != self.source.sha256:
            found.append(f"the input {self._input} is not the file that was replayed: its SHA-256 is another")
        for name, digest in self._manifest.files.items():
            file = self._path / name
            if not file.is_file():
                found.append(f"{file} is missing")
            elif sha256_of(file) != digest:
                found.append(f"{file} was changed after it was written: its SHA-256 is another")
        return found

    def journal(self) -> Iterator[JournalRecord]:
        """Yield the journal in the order of the commits."""
        for recorded in self._records(JOURNAL):
            try:
                record = self._decoder.decode("journal", recorded.value)
            except InvalidRecord as invalid:
                place = f"task {recorded.partition}, commit {recorded.offset}"
                raise Damaged(f"{self._path / JOURNAL}: the record of {place} cannot be read: {invalid}") from invalid
            if (record.task, record.sequence) != (recorded.partition, recorded.offset):
                raise Damaged(
                    f"{self._path / JOURNAL}: the record of task {record.task}, commit {record.sequence} stands in the "
                    f"place of task {recorded.partition}, commit {recorded.offset}"
                )
            yield record

    def inputs(self, task: int, topic: str, from_offset: int) -> Iterator[MergeRecord]:
        """Yield the records of one topic partition, from the rows of the input."""
        return (record for record in self._rereading.records(task, topic) if record.offset >= from_offset)

    def snapshot(self, model: str, offset: int) -> bytes | None:
        """Return a snapshot, reading on in the file until it comes. The last 4,096 that passed are at hand."""
        wanted = (model, offset)
        while wanted not in self._snapshots:
            recorded = next(self._more_snapshots, None)
            if recorded is None:
                return None
            name, _, last = (recorded.key or b"").decode(errors="replace").partition("@")
            if not last.isdigit():
                raise Damaged(f"{self._path / MODELS}: a snapshot without a name")
            self._snapshots[name, int(last)] = recorded.value or b""
            if len(self._snapshots) > MAX_CACHED_SNAPSHOTS:
                del self._snapshots[next(iter(self._snapshots))]
        return self._snapshots[wanted]

    def sessions(self, from_offset: int, to_offset: int) -> Iterator[tuple[int, Session]]:
        """Yield a range of sessions. A range that begins where another ended goes on reading there."""
        if from_offset >= to_offset:
            return
        cursors = self._session_cursors.get(from_offset)
        if cursors:
            records = cursors.pop()
            if not cursors:
                del self._session_cursors[from_offset]
        else:
            records = self._records(SESSIONS)
        for recorded in records:
            if recorded.offset >= from_offset:
                try:
                    yield recorded.offset, self._decoder.decode("sessions", recorded.value)
                except InvalidRecord as invalid:
                    place = f"{self._path / SESSIONS}: session {recorded.offset}"
                    raise Damaged(f"{place} cannot be read: {invalid}") from invalid
            if recorded.offset >= to_offset - 1:
                break
        self._session_cursors.setdefault(to_offset, []).append(records)

    def products(self, from_offset: int, to_offset: int) -> Iterator[RecordedProduct]:
        """Yield a range of products, from the rows of the input."""
        for record in self._rereading.products(from_offset, to_offset):
            if record.item_id is not None:
                yield RecordedProduct(record.offset, record.item_id, record.product, record.asks_registry)

    def decisions(self, task: int) -> Iterator[NextBestAction]:
        """Yield the decisions of one task, line by line."""
        with self._open_decisions() as file:
            for number, line in enumerate(file, start=1):
                try:
                    decision = self._decoder.decode("next-best-actions", line.rstrip(b"\n"))
                except InvalidRecord as invalid:
                    raise Damaged(f"{self._path / DECISIONS}, line {number} cannot be read: {invalid}") from invalid
                if decision.origin.partition == task:
                    yield decision

    def examples(self, family: Family) -> Iterator[tuple[int, TrainingExample]] | None:  # noqa: ARG002 - of the protocol
        """Return None: the examples are derived in the order of the journal."""
        return None

    def _open_decisions(self) -> IO[bytes]:
        try:
            return (self._path / DECISIONS).open("rb")
        except OSError as error:
            raise Damaged(f"{self._path / DECISIONS} cannot be opened: {error.strerror}") from error

    def _records(self, name: str) -> Iterator[Recorded]:
        try:
            yield from read_container(self._path / name)
        except CorruptContainer as error:
            raise Damaged(str(error)) from error
        except OSError as error:
            raise Damaged(f"{self._path / name} cannot be opened: {error.strerror}") from error


def source_of(path: Path) -> Source:
    """Return what a replay was made of. Raises NotVerifiable and Damaged, as `DirectoryEvidence` does."""
    return _read_manifest(path).source


def _read_manifest(path: Path) -> Manifest:
    file = path / MANIFEST
    try:
        data = file.read_bytes()
    except OSError as error:
        raise NotVerifiable(f"{path} holds no finished replay: {MANIFEST} cannot be read ({error.strerror})") from error
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Damaged(f"{file} cannot be read: {error}") from error
    if manifest.sealed().checksum != manifest.checksum or encode_manifest(manifest) != data:
        raise Damaged(f"{file} was changed after it was written: its checksum does not hold")
    if manifest.format != MANIFEST_FORMAT:
        raise NotVerifiable(f"{file} has format {manifest.format}, this build reads {MANIFEST_FORMAT}")
    return manifest
