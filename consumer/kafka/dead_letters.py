"""Rejected records: what is kept of one, and when there are too many of them to go on.

The limit is there for the bad deploy upstream: a worker that rejects everything would drain its topics into the dead
letters within minutes. Stopped, it leaves the records where they are, and the lag raises the alarm.
"""

from collections import deque
from hashlib import sha256

from consumer.core.intake import Rejection
from consumer.core.merge import MergeRecord
from consumer.kafka.worker_settings import DeadLetterSettings
from schemas.records import Coordinates, DeadLetter
from schemas.units import MIB

_MAX_EXTRA_BYTES = MIB  # of a key, and of all headers together
_HEADER_BYTES = 16  # that each header takes besides its name and content, at most


class TooManyRejected(Exception):
    """A task rejected more records than its limit allows; the message says which limit, and the latest reason."""


class DeadLetterLimit:
    """Counts the records of one task, rejected or not, against a share of the latest ones and a length of run."""

    def __init__(self, settings: DeadLetterSettings) -> None:
        self._settings = settings
        self._allowed = int(settings.max_share * settings.window_records)
        self._processed = 0
        self._run = 0
        self._rejected_at: deque[int] = deque()  # numbers of the records rejected within the window
        self.committed()

    def committed(self) -> None:
        """Remember what was counted, for `roll_back`."""
        self._at_commit = (self._processed, self._run, tuple(self._rejected_at))

    def roll_back(self) -> None:
        """Forget what was counted since the last commit."""
        self._processed, self._run, rejected_at = self._at_commit
        self._rejected_at = deque(rejected_at)

    def accepted(self, count: int) -> None:
        """Count records that were processed, one after the other."""
        if count > 0:
            self._processed += count
            self._run = 0

    def rejected(self, rejection: Rejection) -> None:
        """Count one rejected record; raise TooManyRejected where that is one too many."""
        self._processed += 1
        self._run += 1
        at = self._rejected_at
        at.append(self._processed)
        while at[0] <= self._processed - self._settings.window_records:
            at.popleft()
        latest = f"the latest: {rejection.reason}, {rejection.message}"
        if self._run > self._settings.max_run_records:
            raise TooManyRejected(f"{self._run} records in a row were rejected ({latest})")
        if len(at) > self._allowed:
            window = self._settings.window_records
            raise TooManyRejected(f"{len(at)} of the latest {window} records were rejected ({latest})")


def dead_letter(partition: int, record: MergeRecord, rejection: Rejection, max_value_bytes: int) -> DeadLetter:
    """Return what is kept of a rejected record: its bytes, or their digest where they are over `max_value_bytes`.

    A key or headers of more than a mebibyte are left out, and the message says so: a letter that no topic could take
    would hold up its task for ever.
    """
    value = record.value or b""
    key_size = len(record.key or b"")
    headers_size = sum(_HEADER_BYTES + len(name.encode()) + len(content or b"") for name, content in record.headers)
    sizes = (("key", key_size), ("headers", headers_size))
    left_out = [f"; {name} of {size} bytes left out" for name, size in sizes if size > _MAX_EXTRA_BYTES]
    return DeadLetter(
        origin=Coordinates(record.topic, partition, record.offset),
        timestamp=record.timestamp_ms,
        reason=rejection.reason,
        field=rejection.field,
        message=rejection.message + "".join(left_out),
        key=record.key if key_size <= _MAX_EXTRA_BYTES else None,
        value=record.value if len(value) <= max_value_bytes else None,
        value_size_bytes=len(value),
        value_sha256=sha256(value).hexdigest(),
        headers=record.headers if headers_size <= _MAX_EXTRA_BYTES else (),
    )
