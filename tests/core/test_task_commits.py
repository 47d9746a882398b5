"""A task: what it takes in, what it commits, and the way back to its last commit."""

from dataclasses import replace

import pytest

from consumer.core.customer.working_set import WorkingSet
from consumer.core.journal import ClosedCommit, TaskRecord, decode_task_record
from consumer.core.merge import MergeRecord
from consumer.core.task import Task
from consumer.store.memory import MemoryState
from schemas.events import ClickEvent
from schemas.topics import EVENT_TOPICS
from tests.core.streams import T0, new_core


def task_of(state: MemoryState | None = None, record: TaskRecord | None = None) -> Task:
    core = replace(new_core(), grants={"email": 0.5})
    return Task(
        0,
        core,
        WorkingSet(MemoryState() if state is None else state),
        record,
        start_offsets={"privacy": 0, "purchases": 0, "clickstream": 3},
    )


def click(offset: int, customer: str = "ann") -> MergeRecord:
    event = ClickEvent(f"e{offset}", customer, T0 + offset * 60_000, "item_view", item_id=f"i{offset}")
    return MergeRecord("clickstream", offset, T0, customer.encode(), b"{}", event)


def run(task: Task, *offsets: int) -> None:
    """Take these clicks in and process what may be."""
    for offset in offsets:
        task.take(click(offset))
    for topic in EVENT_TOPICS:
        task.end_reached(topic)
    while (record := task.next()) is not None:
        (task.commit or task.open("live")).process(record)


def close(task: Task) -> ClosedCommit:
    assert task.commit is not None
    return task.commit.close()


def test_a_commit_is_in_the_state_only_once_it_is_said_to_be_committed() -> None:
    """The state is never ahead of what was written elsewhere."""
    state = MemoryState()
    task = task_of(state)
    run(task, 3, 4)
    closed = close(task)
    assert (len(state), state.task_record()) == (0, None)
    task.committed(closed, 7)
    assert (len(state), state.changelog_offset()) == (1, 7)
    assert decode_task_record(state.task_record() or b"") == task.record == closed.task_record
    assert task.record.next_offsets == {"clickstream": 5}
    assert task.commit is None


def test_what_was_rolled_back_is_processed_again_to_the_same_commit() -> None:
    """The way back is to the last commit, whatever was taken in, closed or learned of customers since."""
    task = task_of()
    run(task, 3, 4)
    task.committed(close(task))
    journals = []
    for _ in range(2):
        run(task, 5, 6, 7)
        task.take(click(8))
        assert task.stream_time_ms == T0 + 7 * 60_000
        journals.append(close(task).journal)
        task.roll_back()
        assert task.next_to_take["clickstream"] == 5
        assert (task.commit, task.waits, task.stream_time_ms) == (None, False, T0 + 4 * 60_000)
    assert journals[0] == journals[1]


def test_a_task_goes_on_from_its_record_as_if_it_had_never_stopped() -> None:
    """Stream time, offsets, the journal's chain and what was spent: two commits in one life or in two are the same."""
    state, again = MemoryState(), MemoryState()
    unbroken, first = task_of(state), task_of(again)
    for task in (unbroken, first):
        run(task, 3, 4)
        task.committed(close(task))
    restarted = task_of(again, decode_task_record(again.task_record() or b""))
    for task in (unbroken, restarted):
        run(task, 5)
    assert close(restarted).journal == close(unbroken).journal


def test_it_begins_where_it_is_told_and_takes_nothing_twice() -> None:
    """Records below the start, or that were taken before, are left out."""
    task = task_of()
    for offset in (2, 3, 3, 4, 3):
        task.take(click(offset))
    assert task.queued("clickstream") == 2
    assert task.next_to_take == {"clickstream": 5, "purchases": 0, "privacy": 0}


def test_offsets_of_all_topics_that_it_began_with_are_committed() -> None:
    """Also of those in which nothing came."""
    task = Task(0, new_core(), WorkingSet(MemoryState()), start_offsets=dict.fromkeys(EVENT_TOPICS, 2))
    run(task, 3)
    assert task.offsets_to_commit(close(task)) == {"privacy": 2, "purchases": 2, "clickstream": 4}


def test_a_task_does_not_begin_where_a_topic_was_forgotten() -> None:
    """It would read that topic from 0, whatever was processed of it."""
    with pytest.raises(ValueError, match="task 4: it is not said where to begin in privacy, purchases"):
        Task(4, new_core(), WorkingSet(MemoryState()), start_offsets={"clickstream": 3})


def test_it_is_idle_once_the_ends_are_reached_and_nothing_waits_or_is_open() -> None:
    """A heartbeat would else fire timers before events that are on their way."""
    task = task_of()
    seen = [task.idle]
    run(task)
    seen.append(task.idle)
    task.take(click(3))
    seen.append(task.idle)
    run(task)
    seen.append(task.idle)
    task.committed(close(task))
    assert [*seen, task.idle] == [False, True, False, False, True]
