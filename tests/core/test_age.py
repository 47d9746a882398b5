"""What is old by the worker's time teaches and decides nothing, and verify comes to the same."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from consumer.core.customer.working_set import WorkingSet
from consumer.core.journal import ClosedCommit
from consumer.core.merge import MergeRecord
from consumer.core.step import Reference, ScoringTask
from consumer.core.task import Task
from consumer.replay.rerun import Rerun
from consumer.store.memory import MemoryState
from schemas.events import ClickEvent
from schemas.units import DAY_MS, HOUR_MS, MINUTE_MS
from tests.core.streams import SETTINGS, T0, Stream, new_core

AGED_AFTER_MS = 15 * MINUTE_MS


def task_at(now_ms: int) -> ScoringTask:
    """Return a live task whose worker's time is `now_ms`."""
    reference = Reference(now_ms, now_ms - AGED_AFTER_MS)
    return ScoringTask(0, new_core(), WorkingSet(MemoryState()), reference=reference)


def test_an_event_from_long_ago_that_arrives_now_decides_nothing() -> None:
    """Whatever the mode of the commit; it teaches as any other, and is counted."""
    for age_ms, decides in ((AGED_AFTER_MS + 1, False), (AGED_AFTER_MS, True)):
        stream = Stream(task_at(T0 + age_ms))
        stream.click("ann", T0, "cart_add")
        outputs, ann = stream.task.take_outputs(), stream.task.state.get("ann")
        assert bool(outputs.decisions) is decides
        assert stream.task.counters["aged"] == (not decides)
        assert ann is not None
        assert ann.cart == ["i1"]


def test_timers_that_old_events_set_off_decide_nothing() -> None:
    """While all that comes is old, the ends of visits are old as well; what they teach is kept."""
    stream = Stream(task_at(T0 + 30 * DAY_MS))
    for n in range(20):
        stream.click("ann", T0 + n * 3 * HOUR_MS, "cart_add", item_id=f"i{n}")
    outputs = stream.task.take_outputs()
    assert outputs.decisions == []
    assert len(outputs.sessions) > 10


@pytest.mark.parametrize("by_stream", [True, False])
def test_no_decision_is_published_whose_time_has_passed(by_stream: bool) -> None:
    """A timer may fire long after its moment: what had to be delivered by now is not chosen any more."""
    late_ms = T0 + 23 * HOUR_MS
    core = new_core(replace(SETTINGS, policy=replace(SETTINGS.policy, decide_every_ms=0)))
    reference = None if by_stream else Reference(late_ms, 0)
    stream = Stream(ScoringTask(0, core, WorkingSet(MemoryState()), reference=reference))
    for customer in range(60):
        stream.click(f"c{customer}", T0 + customer, "cart_add")
    before = stream.task.take_outputs().decisions
    stream.task.advance_to(late_ms if by_stream else T0 + HOUR_MS)
    after = stream.task.take_outputs().decisions
    assert before
    assert len(after) == 60  # the abandoned carts; an action that is still in time may be chosen
    judged = after if by_stream else before + after
    assert all(each.deliver_before is None or each.deliver_before > late_ms for each in judged)


class _Recorded:
    """As much of a recording as one commit without knowledge needs."""

    def __init__(self, records: list[MergeRecord]) -> None:
        self._records = records

    def decisions(self, _number: int) -> Iterator[Any]:
        return iter(())

    def inputs(self, _task: int, _topic: str, first: int) -> Iterator[MergeRecord]:
        return iter(self._records[first:])

    def products(self, _first: int, _last: int) -> Iterator[Any]:
        return iter(())

    sessions = products


def closed_at(now_ms: int, records: list[MergeRecord]) -> ClosedCommit:
    task = Task(0, new_core(), WorkingSet(MemoryState()))
    commit = task.open("live", Reference(now_ms, now_ms - AGED_AFTER_MS))
    for record in records:
        commit.process(record)
    return commit.close()


def test_a_commit_is_derived_again_with_the_time_that_its_journal_names() -> None:
    """The worker's clock is an input like any other: written down, so that the same comes of it."""
    records = [
        MergeRecord("clickstream", n, T0, b"ann", b"{}", ClickEvent(f"e{n}", "ann", T0 + n, "cart_add", item_id="a"))
        for n in range(3)
    ]
    for now_ms in (T0, T0 + DAY_MS):
        closed = closed_at(now_ms, records)
        assert (closed.journal.reference_time, closed.journal.aged_before) == (now_ms, now_ms - AGED_AFTER_MS)
        assert bool(closed.outputs.decisions) is (now_ms == T0)
        rerun = Rerun(0, new_core(), MemoryState(), _Recorded(records))  # type: ignore[arg-type]  # all that it asks for
        assert rerun.close(closed.journal).journal == closed.journal
