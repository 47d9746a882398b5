"""Rejected records: what is kept of one, and when there are too many of them to go on.

The limit is there for the bad deploy upstream: a worker that rejects everything would drain its topics into the dead
letters within minutes. Stopped, it leaves the records where they are, and the lag raises the alarm.
"""

from collections import deque
from collections.abc import Mapping
from hashlib import sha256
from typing import Final, NamedTuple

from consumer.core.intake import Rejection
from consumer.core.merge import MergeRecord
from consumer.kafka.remedies import remedy_for
from consumer.kafka.worker_settings import DeadLetterSettings
from schemas.records import Coordinates, DeadLetter
from schemas.units import MIB

_MAX_EXTRA_BYTES = MIB  # of a key, and of all headers together
_HEADER_BYTES = 16  # that each header takes besides its name and content, at most


WAYS_ON: Final = (
    "Where the configuration was wrong, correct it and start again. Where the records are, stop all workers and let "
    "them go to the dead letters with `nextbest dead-letters skip {topic} {partition}`, or raise "
    "worker.dead_letters.max_share and max_run_records"
)


class TooManyRejected(Exception):
    """A task rejected more records than its limit allows; the message says which, from where on, and what to do."""


class _Rejected(NamedTuple):
    number: int  # of the record, in the order in which the task processed them
    topic: str
    offset: int
    rejection: Rejection


class DeadLetterLimit:
    """Counts the records of one task, rejected or not, against a share of the latest ones and a length of run.

    The share is that of what was seen, once so many were rejected that it is no chance: a stream that is bad from its
    first record on is a burst after `min_rejected` of them. Records of a topic that lie before its offset in
    `let_through` are not counted.
    """

    def __init__(
        self,
        settings: DeadLetterSettings,
        partition: int,
        let_through: Mapping[str, int],
        *,
        ways_on: str = WAYS_ON,
    ) -> None:
        """`ways_on` ends the message; `{topic}` and `{partition}` in it stand for those of the latest record."""
        self._settings = settings
        self._ways_on = ways_on
        self._partition = partition
        self._let_through = let_through
        self._processed = 0
        self._run = 0
        self._run_began: _Rejected | None = None
        self._rejected: deque[_Rejected] = deque()  # those within the window
        self.committed()

    def committed(self) -> None:
        """Remember what was counted, for `roll_back`."""
        self._at_commit = (self._processed, self._run, self._run_began, tuple(self._rejected))

    def roll_back(self) -> None:
        """Forget what was counted since the last commit."""
        self._processed, self._run, self._run_began, rejected = self._at_commit
        self._rejected = deque(rejected)

    def accepted(self, count: int) -> None:
        """Count records that were processed, one after the other."""
        if count > 0:
            self._processed += count
            self._run = 0

    def rejected(self, record: MergeRecord, rejection: Rejection) -> None:
        """Count one rejected record; raise TooManyRejected where that is one too many."""
        if record.offset < self._let_through.get(record.topic, 0):
            return
        settings, found = self._settings, self._rejected
        self._processed += 1
        latest = _Rejected(self._processed, record.topic, record.offset, rejection)
        self._run += 1
        if self._run == 1:
            self._run_began = latest
        found.append(latest)
        while found[0].number <= self._processed - settings.window_records:
            found.popleft()
        if self._run > settings.max_run_records:
            raise TooManyRejected(self._explained(f"{self._run} records in a row", self._run_began or latest, latest))
        seen = min(self._processed, settings.window_records)
        if len(found) >= settings.min_rejected and len(found) > settings.max_share * seen:
            raise TooManyRejected(self._explained(f"{len(found)} of the latest {seen} records", found[0], latest))

    def _explained(self, how_many: str, first: _Rejected, latest: _Rejected) -> str:
        place, reason = f"{first.topic}[{self._partition}] offset {first.offset}", first.rejection.reason
        then = latest.rejection
        and_latest = "" if then.reason == reason else f" The latest: {then.reason}, {then.message}."
        return (
            f"partition {self._partition} stops: {how_many} were rejected. The first: {place}, {reason}, field "
            f"{first.rejection.field or 'none'}: {first.rejection.message}.{and_latest} Nothing is lost, and a process "
            f"that is started again comes to the same place. What to do: {remedy_for(reason)}. "
            + self._ways_on.format(topic=latest.topic, partition=self._partition)
        )


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
