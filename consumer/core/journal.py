"""One commit of one task: the inputs it took, what came of them, and the journal record that makes it repeatable.

Nothing here does I/O: the shell writes what `close` returns.
"""

from collections.abc import Mapping
from hashlib import blake2b
from struct import Struct

import msgspec

from consumer.core.decision.budget import Spending
from consumer.core.intake import NO_EVENT, Rejection
from consumer.core.merge import REPLAYED, MergeRecord
from consumer.core.step import Outputs, ScoringTask
from schemas.records import MAX_REJECTED, JournalRecord, Rejected, Run

TASK_RECORD_FORMAT = 1
_INPUT_HEADER = Struct(">qqii")
_pack = msgspec.msgpack.Encoder(order="deterministic").encode


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the changelog holds of the task itself, under a key that no customer can have."""

    format: int = TASK_RECORD_FORMAT
    build: str = ""
    settings_digest: str = ""
    stream_time_ms: int = 0
    next_offsets: dict[str, int] = {}  # logical topic → next to read
    sequence: int = 0  # of the latest journal record
    journal_checksum: str = ""
    spending: Spending = Spending()
    products_judged: int = 0  # of task 0: next to read for rejected product records


_task_record_decoder = msgspec.msgpack.Decoder(TaskRecord)


class RefusedTaskRecord(Exception):
    """A task record that this build cannot go on from; the message says what to do."""


def encode_task_record(record: TaskRecord) -> bytes:
    """Return the record as it stands in the changelog and the store."""
    return _pack(record)


def decode_task_record(data: bytes) -> TaskRecord:
    """Return the record in `data`; raise RefusedTaskRecord where its format is another."""
    try:
        record = _task_record_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedTaskRecord(f"the task's record in the changelog cannot be read: {error}") from error
    if record.format != TASK_RECORD_FORMAT:
        raise RefusedTaskRecord(
            f"the task's record has format {record.format}, this build reads {TASK_RECORD_FORMAT}: "
            "run the build that wrote it, or an upgrade of it"
        )
    return record


class ClosedCommit(msgspec.Struct, frozen=True):
    """Everything one commit has to write, and nothing it has written yet."""

    journal: JournalRecord
    task_record: TaskRecord
    outputs: Outputs
    changes: dict[str, bytes | None]
    counters: Mapping[str, int]  # events, duplicates, late, aged, moves of segment …: told, and written nowhere


class OpenCommit:
    """Collects one commit of one task, from its first input to its journal record. Knowledge holds still meanwhile."""

    def __init__(self, scoring: ScoringTask, previous: TaskRecord) -> None:
        self.scoring = scoring
        self._previous = previous
        self._versions = dict(scoring.knowledge.model_versions)
        self._sessions_offset = scoring.knowledge.sessions_offset
        self._products_offset = scoring.knowledge.products_offset
        self._runs: list[Run] = []
        self._run_topic: str | None = None
        self._run_count = 0
        self._first_offsets: dict[str, int] = {}
        self.next_offsets = dict(previous.next_offsets)  # logical topic → next to read
        self.products_judged = previous.products_judged
        self._inputs = blake2b(digest_size=16)
        self._rejected: list[Rejected] = []
        self._rejected_left_out = 0

    def process(self, record: MergeRecord) -> Rejection | None:
        """Take one record in the merge order; return why it was rejected, if it was."""
        topic, offset, event = record.topic, record.offset, record.event
        if topic == self._run_topic:
            self._run_count += 1
        else:
            self._end_run()
            self._run_topic, self._run_count = topic, 1
        if topic not in self._first_offsets:
            self._first_offsets[topic] = offset
        self.next_offsets[topic] = offset + 1
        self._inputs.update(digest_input(record))
        if isinstance(event, Rejection):
            rejection: Rejection | None = event
        else:
            rejection = self.scoring.step(topic, offset, event, replayed=record.replayed)
        if rejection is not None and rejection.reason != NO_EVENT:
            self._note_rejected(topic, rejection.reason, offset)
        return rejection

    def _note_rejected(self, topic: str, reason: str, offset: int) -> None:
        last = self._rejected[-1] if self._rejected else None
        if last is not None and (last.topic, last.reason, last.offset + last.count) == (topic, reason, offset):
            self._rejected[-1] = msgspec.structs.replace(last, count=last.count + 1)
        elif len(self._rejected) < MAX_REJECTED:
            self._rejected.append(Rejected(topic, reason, offset, 1))
        else:
            self._rejected_left_out += 1

    def advance_to(self, stream_time_ms: int) -> None:
        """Move stream time without a record: a heartbeat of an idle partition."""
        self._end_run()
        self._runs.append(Run(topic=None, count=0, advance_to=stream_time_ms))
        self.scoring.advance_to(stream_time_ms)

    def pass_to(self, offsets: Mapping[str, int]) -> None:
        """Go on reading at `offsets`, by topic: what lies before is no record, such as the markers of transactions."""
        self.next_offsets |= offsets

    def _end_run(self) -> None:
        if self._run_topic is not None:
            self._runs.append(Run(topic=self._run_topic, count=self._run_count))
            self._run_topic = None

    def close(self) -> ClosedCommit:
        """End the commit and return what it has to write. The task's buffers are empty after."""
        self._end_run()
        task, previous, core = self.scoring, self._previous, self.scoring.core
        outputs = task.take_outputs()
        changes = task.state.changes()
        unsealed = JournalRecord(
            task=task.partition,
            sequence=previous.sequence + 1,
            build=core.build,
            settings_digest=core.settings_digest,
            catalogue_digest=core.catalogue_digest,
            mode=task.mode,
            model_versions=self._versions,
            sessions_offset=self._sessions_offset,
            products_offset=self._products_offset,
            runs=tuple(self._runs),
            first_offsets=self._first_offsets,
            next_offsets=self.next_offsets,
            stream_time=task.stream_time_ms,
            inputs_digest=self._inputs.hexdigest(),
            outputs_digest=_digest(outputs.decisions),
            examples_digest=_digest((outputs.examples, outputs.sessions)),
            state_digest=_digest(changes),
            grants=task.budget.grants,
            previous_checksum=previous.journal_checksum,
            checksum="",
            rejected=tuple(self._rejected),
            rejected_left_out=self._rejected_left_out,
            reference_time=None if task.reference is None else task.reference.now_ms,
            aged_before=None if task.reference is None else task.reference.aged_before_ms,
        )
        journal = msgspec.structs.replace(unsealed, checksum=checksum_of(unsealed))
        return ClosedCommit(
            journal=journal,
            task_record=TaskRecord(
                build=core.build,
                settings_digest=core.settings_digest,
                stream_time_ms=task.stream_time_ms,
                next_offsets=self.next_offsets,
                sequence=journal.sequence,
                journal_checksum=journal.checksum,
                spending=task.budget.spending(),
                products_judged=self.products_judged,
            ),
            outputs=outputs,
            changes=changes,
            counters=task.counters,
        )


def digest_input(record: MergeRecord) -> bytes:
    """Return the bytes that stand for one input record in `inputs_digest`: all that its processing can depend on."""
    key, value = record.key or b"", record.value or b""
    lengths = (-1 if record.key is None else len(key), -1 if record.value is None else len(value))
    replayed = REPLAYED.encode() if record.replayed else b""
    return _INPUT_HEADER.pack(record.offset, record.timestamp_ms, *lengths) + key + value + replayed


def checksum_of(journal: JournalRecord) -> str:
    """Return the checksum that `journal` must carry: over all its other fields, the previous checksum among them."""
    return _digest(msgspec.structs.replace(journal, checksum=""))


def _digest(value: object) -> str:
    return blake2b(_pack(value), digest_size=16).hexdigest()
