"""Commits: what they hold, and that their digests notice every change."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from consumer.core.intake import Rejection
from consumer.core.journal import (
    ClosedCommit,
    OpenCommit,
    RefusedTaskRecord,
    TaskRecord,
    checksum_of,
    decode_task_record,
    encode_task_record,
)
from consumer.core.merge import REPLAYED, MergeRecord
from schemas.events import ClickEvent
from schemas.records import MAX_REJECTED, Rejected
from schemas.units import DAY_MS
from tests.core.streams import T0, new_task


def record(offset: int, topic: str = "clickstream", value: bytes = b"{}") -> MergeRecord:
    event = ClickEvent(f"{topic}{offset}", "ann", T0 + offset, "item_view", item_id=f"i{offset}")
    return MergeRecord(topic=topic, offset=offset, timestamp_ms=T0, key=b"ann", value=value, event=event)


def commit_of(*records: MergeRecord, previous: TaskRecord | None = None) -> ClosedCommit:
    commit = OpenCommit(new_task(), previous or TaskRecord())
    for item in records:
        commit.process(item)
    return commit.close()


def test_runs_offsets_and_sequence_say_what_was_processed() -> None:
    """The merge order is kept as runs; the next offsets are the last processed ones plus one."""
    closed = commit_of(record(5), record(6), record(0, "purchases"), record(9))
    runs = [(run.topic, run.count) for run in closed.journal.runs]
    assert runs == [("clickstream", 2), ("purchases", 1), ("clickstream", 1)]
    assert closed.journal.first_offsets == {"clickstream": 5, "purchases": 0}
    assert closed.task_record.next_offsets == {"clickstream": 10, "purchases": 1}
    assert closed.journal.sequence == 1


def test_offsets_of_topics_without_input_are_kept() -> None:
    """A commit that saw clicks alone does not forget how far purchases were read."""
    closed = commit_of(record(0), previous=TaskRecord(next_offsets={"purchases": 7}, sequence=3))
    assert closed.task_record.next_offsets == {"purchases": 7, "clickstream": 1}
    assert closed.journal.sequence == 4


def test_a_heartbeat_is_in_the_journal() -> None:
    """Stream time that moved without a record is a run of its own."""
    commit = OpenCommit(new_task(), TaskRecord())
    commit.process(record(0))
    commit.advance_to(T0 + 99)
    commit.process(record(1))
    runs = [(run.topic, run.count, run.advance_to) for run in commit.close().journal.runs]
    assert runs == [("clickstream", 1, None), (None, 0, T0 + 99), ("clickstream", 1, None)]


def test_a_rejected_record_moves_the_offset_and_is_handed_back() -> None:
    """Nothing is skipped silently: the caller gets what to dead-letter."""
    commit = OpenCommit(new_task(), TaskRecord())
    bad = Rejection("malformed_json", None, "not JSON")
    assert commit.process(replace(record(4), event=bad)) is bad
    closed = commit.close()
    assert closed.task_record.next_offsets == {"clickstream": 5}
    assert closed.changes == {}


def test_rejected_records_are_named_by_stretch_and_reason() -> None:
    """Those of one topic and one reason that follow each other are one entry."""
    late, bad = Rejection("late", None, "too late"), Rejection("malformed_json", None, "not JSON")
    commit = OpenCommit(new_task(), TaskRecord())
    for offset, rejection in ((4, bad), (5, bad), (7, bad), (8, late)):
        commit.process(replace(record(offset), event=rejection))
    commit.process(record(9))
    commit.process(replace(record(10), event=late))
    journal = commit.close().journal
    assert [(each.reason, each.offset, each.count) for each in journal.rejected] == [
        ("malformed_json", 4, 2), ("malformed_json", 7, 1), ("late", 8, 1), ("late", 10, 1),
    ]  # fmt: skip
    assert journal.rejected_left_out == 0


def test_a_journal_record_does_not_grow_with_what_is_rejected() -> None:
    """Beyond the limit, records are counted."""
    bad = Rejection("malformed_json", None, "not JSON")
    commit = OpenCommit(new_task(), TaskRecord())
    for number in range(MAX_REJECTED + 3):
        commit.process(replace(record(2 * number), event=bad))
    journal = commit.close().journal
    assert (len(journal.rejected), journal.rejected_left_out) == (MAX_REJECTED, 3)


@pytest.mark.parametrize(
    "changed",
    [
        {"value": b"{ }"},
        {"value": None},
        {"key": b"bob"},
        {"key": None},
        {"timestamp_ms": T0 + 1},
        {"offset": 1},
    ],
)
def test_the_input_digest_notices_every_part_of_a_record(changed: dict[str, object]) -> None:
    """Value, key, broker time and offset are all covered."""
    digest = commit_of(record(0)).journal.inputs_digest
    assert commit_of(replace(record(0), **changed)).journal.inputs_digest != digest


def test_the_checksum_covers_every_field_and_ties_records_together() -> None:
    """Changing any field of a journal record breaks its checksum."""
    journal = commit_of(record(0), previous=TaskRecord(sequence=1, journal_checksum="abc")).journal
    assert journal.previous_checksum == "abc"
    assert checksum_of(journal) == journal.checksum
    others: dict[type, Callable[[Any], object]] = {
        int: lambda n: n + 1,
        str: lambda s: s + "x",
        tuple: lambda each: each[1:] or (Rejected("clickstream", "invalid", 0, 1),),
        dict: lambda _: {"x": 1},
        type(None): lambda _: 1,
    }
    for name in journal.__struct_fields__:
        value = getattr(journal, name)
        if name != "checksum":
            other = others[type(value)](value)
            assert checksum_of(replace(journal, **{name: other})) != journal.checksum, name


def test_a_task_record_survives_its_encoding_and_refuses_another_format() -> None:
    """What the changelog holds of the task comes back as it was, or with a message that says what to do."""
    kept = TaskRecord(build="b", stream_time_ms=5, next_offsets={"clickstream": 3}, sequence=2, journal_checksum="c")
    assert decode_task_record(encode_task_record(kept)) == kept
    with pytest.raises(RefusedTaskRecord, match="format 99"):
        decode_task_record(encode_task_record(replace(kept, format=99)))
    with pytest.raises(RefusedTaskRecord):
        decode_task_record(b"\xff")


def test_a_record_that_is_published_again_is_never_late_and_triggers_nothing() -> None:
    """It counts as history, and the digest of the inputs knows of it."""
    header = ((REPLAYED, b"clickstream:0:3"),)
    late = ClickEvent("late", "bob", T0 - 400 * DAY_MS, "cart_add", item_id="kettle")
    fresh = ClickEvent("fresh", "cid", T0 + 1, "cart_add", item_id="kettle")
    commits = []
    for headers in ((), header):
        commit = OpenCommit(new_task(), TaskRecord())
        commit.process(record(0))
        rejected = [commit.process(replace(record(1 + n), event=event, headers=headers))
                    for n, event in enumerate((late, fresh))]  # fmt: skip
        commits.append((rejected, commit.close()))
    (plain, once), (again, history) = commits
    assert [each and each.reason for each in plain] == ["late", None]
    assert again == [None, None]
    assert {decision.customer_id for decision in once.outputs.decisions} == {"ann", "cid"}
    assert {decision.customer_id for decision in history.outputs.decisions} == {"ann"}
    assert set(history.changes) == {"ann", "bob", "cid"}
    assert once.journal.inputs_digest != history.journal.inputs_digest
