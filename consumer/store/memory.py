"""Committed customer state in memory: for replays, tests and trying things out."""

from collections.abc import Iterable, Iterator, Mapping

from consumer.core.customer.customer import scheduled_ms_of
from schemas.units import HOUR_MS

_BUCKET_MS = HOUR_MS  # timers are kept in buckets, so that a range is found without sorting all of them


class MemoryState:
    """Customer records, timer index, task record and changelog offset, all in dictionaries.

    The same contract as `LmdbState`; nothing survives the process. Not thread-safe.
    """

    discarded: str | None = None  # there is nothing to find at opening, and so nothing to discard

    def __init__(self) -> None:
        self._records: dict[str, bytes] = {}
        self._timers: dict[int, dict[str, int]] = {}
        self._task_record: bytes | None = None
        self._changelog_offset = 0

    def get(self, customer_id: str) -> bytes | None:
        """Return the committed record of a customer, or None."""
        return self._records.get(customer_id)

    def due(self, from_ms: int, until_ms: int) -> Iterator[tuple[int, str]]:
        """Yield (scheduled_ms, customer_id) with from_ms <= scheduled_ms < until_ms, in that order."""
        first, last = from_ms // _BUCKET_MS, (until_ms - 1) // _BUCKET_MS
        for bucket in sorted(number for number in self._timers if first <= number <= last):
            timers = self._timers.get(bucket, {})
            yield from sorted((ms, customer) for customer, ms in timers.items() if from_ms <= ms < until_ms)

    def apply(self, changes: Mapping[str, bytes | None], task_record: bytes, changelog_offset: int) -> None:
        """Put (or, where None, delete) the records of one commit."""
        for customer_id, record in changes.items():
            self._put(customer_id, record)
        self._task_record = task_record
        self._changelog_offset = changelog_offset

    def restore(self, records: Iterable[tuple[str, bytes | None]], changelog_offset: int) -> int:
        """Load `records` in changelog order, the later winning; return how many there were."""
        count = 0
        for count, (customer_id, record) in enumerate(records, start=1):  # noqa: B007  (the count is the result)
            self._put(customer_id, record)
        self._changelog_offset = changelog_offset
        return count

    def task_record(self) -> bytes | None:
        """Return the task record of the latest commit, or None."""
        return self._task_record

    def changelog_offset(self) -> int:
        """Return the next changelog offset to read; 0 for a fresh store."""
        return self._changelog_offset

    def __len__(self) -> int:
        """Return the number of customers."""
        return len(self._records)

    def close(self) -> None:
        """Do nothing: there is nothing to write."""

    def _put(self, customer_id: str, record: bytes | None) -> None:
        old = self._records.get(customer_id)
        was = scheduled_ms_of(old) if old is not None else 0
        now = scheduled_ms_of(record) if record is not None else 0
        if record is None:
            self._records.pop(customer_id, None)
        else:
            self._records[customer_id] = record
        if was == now:
            return
        if was > 0:
            bucket = self._timers[was // _BUCKET_MS]
            del bucket[customer_id]
            if not bucket:
                del self._timers[was // _BUCKET_MS]
        if now > 0:
            self._timers.setdefault(now // _BUCKET_MS, {})[customer_id] = now
