"""Committed customer state on disk, in LMDB.

Kafka is the truth and this store a copy of it that saves reading the changelog again, so it is written without
waiting for the disk (``sync=False``). When the machine dies, the store is discarded and the changelog is read from the
start: see `marker`, which is read before LMDB is opened, for a torn LMDB file must not be mapped at all. When the
process dies (SIGKILL, out of memory), nothing is lost: an unfinished transaction never became visible.

LMDB writes through its memory map (``writemap=True``): measured, a commit takes a third of the time it takes with
written pages. A write to a mapped page for which the disk has no room would end the process with SIGBUS and no word,
so the file is allocated in full before the map covers it; a full disk is an OSError then.
"""

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from struct import Struct
from typing import TypeVar

import lmdb

from consumer.core.customer.customer import scheduled_ms_of
from consumer.store.folder_lock import FolderLock
from consumer.store.marker import Marker
from schemas.units import DAY_MS, Ms

FORMAT = 1

_LONGEST_KEY = 511  # bytes, LMDB's limit
_DIGEST = 32
_TIME = Struct(">Q")
_PREFIX = _LONGEST_KEY - _TIME.size - _DIGEST  # longer ids are kept as this many bytes and a digest
_BULK_RECORDS = 50_000  # records of one transaction while restoring
_BULK_BYTES = 64 << 20
_FIRST_MAP_BYTES = 64 << 20
_GROW_AT_MOST_BYTES = 1 << 30  # at a time; smaller files double
_DUE_ROWS = 1_000  # timers read at a time
_TASK_RECORD = b"task_record"
_CHANGELOG_OFFSET = b"changelog_offset"
_WRITTEN_MS = b"written_ms"
_RESTORING = b"restoring"
_DATA = "data"

Result = TypeVar("Result")


class LmdbState:
    """Customer records, timer index, task record and changelog offset in one LMDB environment.

    `path` is a folder that belongs to this store alone. `identity` names what the store is a copy of (group, topic id,
    partition): content under another identity, of another format, last written more than `max_age_ms` ago (the
    changelog's tombstone retention), or not to be trusted after a crash of the machine is thrown away at opening, and
    `discarded` says why. The file grows when it is full.
    Not thread-safe: one task owns one store. Raises StoreInUse where the store is open already, OSError (at opening and
    in every call that writes) where the disk is full.
    """

    def __init__(
        self,
        path: Path | str,
        identity: str = "",
        *,
        max_age_ms: Ms | None = None,
        clock_ms: Callable[[], Ms] = lambda: Ms(time.time_ns() // 1_000_000),
    ) -> None:
        self._path = Path(path)
        self._clock_ms = clock_ms
        self._lock = FolderLock(self._path)
        self._marker = Marker(self._path, identity, FORMAT)
        self._closed = False
        try:
            found = (self._path / _DATA).exists()
            self.discarded: str | None = self._marker.why_not_trusted() if found else None
            self._open()
            if (unusable := self._why_not_usable(max_age_ms)) is not None:
                self.discarded = unusable
                self._shut()
                self._open()
        except BaseException:
            self._lock.close()
            raise

    def get(self, customer_id: str) -> bytes | None:
        """Return the committed record of a customer, or None."""
        record: bytes | None = self._read.get(_key(customer_id), db=self._customers)
        return record

    def due(self, from_ms: int, until_ms: int) -> Iterator[tuple[int, str]]:
        """Yield (scheduled_ms, customer_id) with from_ms <= scheduled_ms < until_ms, in that order.

        A commit between two steps of the iteration is allowed; what follows then reads the new state.
        """
        for _, keys in groupby(self._timer_keys(from_ms, until_ms), key=lambda key: key[: _TIME.size + _PREFIX]):
            # More than one only for long ids that share their beginning: their keys are in the order of a digest.
            yield from sorted((_TIME.unpack_from(key)[0], self._customer_id(key[_TIME.size :])) for key in keys)

    def apply(self, changes: Mapping[str, bytes | None], task_record: bytes, changelog_offset: int) -> None:
        """Put (or, where None, delete) the records of one commit, in one transaction."""
        self._write(lambda txn: self._apply(txn, changes, task_record, changelog_offset))

    def restore(self, records: Iterable[tuple[str, bytes | None]], changelog_offset: int) -> int:
        """Load `records` in changelog order, the later winning; return how many there were.

        Few records are one transaction. Many are several, and the timer index is built at the end: a store that was
        left in the middle of that is discarded at the next opening.
        """
        count, bulk = 0, False
        for n_records, chunk, is_last in _chunks(records):
            count += n_records
            if is_last and not bulk:
                self._write(lambda txn, chunk=chunk: self._apply(txn, chunk, None, changelog_offset))  # type: ignore[misc]
                return count
            bulk = True
            self._write(lambda txn, chunk=chunk: self._load(txn, chunk))  # type: ignore[misc]
        self._index_timers()
        self._write(lambda txn: self._finish_restore(txn, changelog_offset))
        return count

    def task_record(self) -> bytes | None:
        """Return the task record of the latest commit, or None."""
        return self._meta(_TASK_RECORD)

    def changelog_offset(self) -> int:
        """Return the next changelog offset to read; 0 for a fresh store."""
        offset = self._meta(_CHANGELOG_OFFSET)
        return 0 if offset is None else int.from_bytes(offset, "big")

    def written_ms(self) -> int | None:
        """Return when (wall clock) the latest commit was written, or None for a fresh store."""
        written = self._meta(_WRITTEN_MS)
        return None if written is None else int.from_bytes(written, "big")

    def __len__(self) -> int:
        """Return the number of customers."""
        entries: int = self._read.stat(self._customers)["entries"]
        return entries

    def close(self) -> None:
        """Write everything to disk and say so in the marker. Closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self._read.abort()
            self._env.sync(True)
            self._env.close()
            self._marker.write(closed=True)
        finally:
            self._lock.close()

    # Opening and trusting

    def _open(self) -> None:
        """Open the environment and its databases, emptied first where it is discarded."""
        data = self._path / _DATA
        if self.discarded is not None:
            shutil.rmtree(data, ignore_errors=True)
        self._marker.write(closed=False)
        data.mkdir(exist_ok=True)
        self._file = data / "data.mdb"
        size = max(_FIRST_MAP_BYTES, self._file.stat().st_size if self._file.exists() else 0)
        self._env = lmdb.open(
            str(data), map_size=size, max_dbs=4, writemap=True, sync=False, metasync=False, readahead=False
        )
        self._allocate(size)
        self._customers = self._env.open_db(b"customers")
        self._timers = self._env.open_db(b"timers")
        self._long_ids = self._env.open_db(b"long_ids")
        self._metadata = self._env.open_db(b"meta")
        # One read transaction, renewed after each commit: opening one for each get would cost as much as the get.
        self._read = self._env.begin()

    def _shut(self) -> None:
        self._read.abort()
        self._env.close()

    def _why_not_usable(self, max_age_ms: Ms | None) -> str | None:
        """Return why the content can't be used although it is whole, or None."""
        if self._meta(_RESTORING) is not None:
            return "the process ended in the middle of a restore"
        written_ms = self.written_ms()
        if max_age_ms is None or written_ms is None:
            return None
        age_ms = self._clock_ms() - written_ms
        if age_ms <= max_age_ms:
            return None
        return f"it was last written {age_ms / DAY_MS:.1f} days ago; {max_age_ms / DAY_MS:.1f} are allowed"

    def _allocate(self, size: int) -> None:
        """Have the disk hold `size` bytes of the file; raise OSError where it is full."""
        if not hasattr(os, "posix_fallocate"):  # macOS
            return
        with self._file.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # what file systems say that can't do it
                    raise

    # Reading

    def _meta(self, name: bytes) -> bytes | None:
        value: bytes | None = self._read.get(name, db=self._metadata)
        return value

    def _timer_keys(self, from_ms: int, until_ms: int) -> Iterator[bytes]:
        """Yield the keys of the timer index in a range, a block at a time: no cursor outlives a commit."""
        key = _TIME.pack(max(from_ms, 0))
        end = _TIME.pack(max(until_ms, 0))
        while True:
            block: list[bytes] = []
            with self._read.cursor(self._timers) as cursor:
                found = cursor.set_range(key)
                while found and cursor.key() < end and len(block) < _DUE_ROWS:
                    block.append(cursor.key())
                    found = cursor.next()
            yield from block
            if len(block) < _DUE_ROWS:
                return
            key = block[-1] + b"\0"

    def _customer_id(self, key: bytes) -> str:
        if len(key) <= _PREFIX:
            return key.decode()
        customer_id = self._read.get(key, db=self._long_ids)
        if customer_id is None:  # can't be: it is written in the transaction that writes the timer
            raise KeyError(key)
        return customer_id.decode()

    # Writing

    def _write(self, change: Callable[["lmdb.Transaction[bytes]"], Result]) -> Result:
        """Run `change` in a write transaction; where the map is full, enlarge it and run it again."""
        while True:
            self._read.abort()  # an open read transaction would keep old pages, and forbid resizing
            try:
                with self._env.begin(write=True) as txn:
                    return change(txn)
            except lmdb.MapFullError:
                size = self._env.info()["map_size"]
                size += min(size, _GROW_AT_MOST_BYTES)
                self._allocate(size)
                self._env.set_mapsize(size)
            finally:
                self._read = self._env.begin()

    def _apply(
        self,
        txn: "lmdb.Transaction[bytes]",
        changes: Mapping[str, bytes | None],
        task_record: bytes | None,
        changelog_offset: int,
    ) -> None:
        customers, timers = self._customers, self._timers
        for customer_id, record in changes.items():
            key = _key(customer_id)
            old = txn.get(key, db=customers)
            was = scheduled_ms_of(old) if old is not None else 0
            now = scheduled_ms_of(record) if record is not None else 0
            self._put(txn, key, customer_id, record)
            if was != now:
                if was > 0:
                    txn.delete(_TIME.pack(was) + key, db=timers)
                if now > 0:
                    txn.put(_TIME.pack(now) + key, b"", db=timers)
        if task_record is not None:
            txn.put(_TASK_RECORD, task_record, db=self._metadata)
        self._finish_restore(txn, changelog_offset)

    def _put(self, txn: "lmdb.Transaction[bytes]", key: bytes, customer_id: str, record: bytes | None) -> None:
        if record is not None:
            txn.put(key, record, db=self._customers)
        else:
            txn.delete(key, db=self._customers)
        if len(key) > _PREFIX:
            if record is not None:
                txn.put(key, customer_id.encode(), db=self._long_ids)
            else:
                txn.delete(key, db=self._long_ids)

    def _load(self, txn: "lmdb.Transaction[bytes]", chunk: Mapping[str, bytes | None]) -> None:
        """Put a chunk of a restore, in key order, and leave the timer index for later."""
        txn.put(_RESTORING, b"1", db=self._metadata)
        puts: list[tuple[bytes, bytes]] = []
        for customer_id, record in chunk.items():
            key = _key(customer_id)
            if record is None or len(key) > _PREFIX:
                self._put(txn, key, customer_id, record)
            else:
                puts.append((key, record))
        puts.sort()
        with txn.cursor(self._customers) as cursor:
            # Into an empty database sorted records are appended, which fills its pages.
            cursor.putmulti(puts, overwrite=True, append=not cursor.first())

    def _index_timers(self) -> None:
        """Build the timer index anew from the customer records."""
        self._write(lambda txn: txn.drop(self._timers, delete=False))
        after: bytes | None = b""
        while after is not None:
            keys, after = self._unindexed(after)
            self._write(lambda txn, keys=keys: self._put_timers(txn, keys))  # type: ignore[misc]

    def _unindexed(self, after: bytes) -> tuple[list[bytes], bytes | None]:
        """Return timer keys of the customers behind `after`, and where to go on (None: that was all)."""
        keys: list[bytes] = []
        with self._read.cursor(self._customers) as cursor:
            found = cursor.set_range(after) if after else cursor.first()
            for key, record in cursor.iternext() if found else ():
                if (scheduled := scheduled_ms_of(record)) > 0:
                    keys.append(_TIME.pack(scheduled) + key)
                if len(keys) == _BULK_RECORDS:
                    return keys, key + b"\0"
        return keys, None

    def _put_timers(self, txn: "lmdb.Transaction[bytes]", keys: list[bytes]) -> None:
        with txn.cursor(self._timers) as cursor:
            cursor.putmulti([(key, b"") for key in sorted(keys)], overwrite=True)

    def _finish_restore(self, txn: "lmdb.Transaction[bytes]", changelog_offset: int) -> None:
        txn.put(_CHANGELOG_OFFSET, changelog_offset.to_bytes(8, "big"), db=self._metadata)
        txn.put(_WRITTEN_MS, self._clock_ms().to_bytes(8, "big"), db=self._metadata)
        txn.delete(_RESTORING, db=self._metadata)


def _key(customer_id: str) -> bytes:
    """Return the key of a customer: the id, or for a long one its beginning and a digest (always longer than that)."""
    encoded = customer_id.encode()
    if len(encoded) <= _PREFIX:
        return encoded
    return encoded[:_PREFIX] + blake2b(encoded, digest_size=_DIGEST).digest()


def _chunks(records: Iterable[tuple[str, bytes | None]]) -> Iterator[tuple[int, dict[str, bytes | None], bool]]:
    """Cut `records` into (records read, latest by customer, whether it is the last) of bounded size."""
    chunk: dict[str, bytes | None] = {}
    count = size = 0
    for customer_id, record in records:
        if count == _BULK_RECORDS or size >= _BULK_BYTES:
            yield count, chunk, False
            chunk, count, size = {}, 0, 0
        chunk[customer_id] = record
        count += 1
        size += len(record) if record is not None else 0
    yield count, chunk, True
