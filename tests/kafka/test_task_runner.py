"""One task in a worker: what it takes in, when it processes it, and how it goes back."""

import pytest

from consumer.core.decision.budget import Spending
from consumer.core.intake import Rejection
from consumer.core.journal import TaskRecord
from consumer.core.merge import MergeRecord
from consumer.core.settings import CoreSettings
from consumer.core.shared import Core
from consumer.default_catalogue import default_catalogue
from consumer.kafka.dead_letters import TooManyRejected
from consumer.kafka.state.restore import Restored
from consumer.kafka.task_runner import InvalidTransition, TaskRunner
from consumer.kafka.worker_settings import AgeReference, DeadLetterSettings, WorkerSettings
from consumer.store.memory import MemoryState
from consumer.zones import load_zone
from schemas.events import ClickEvent
from schemas.units import DAY_MS, HOUR_MS, MINUTE_MS, Ms, Seconds

NOW_MS = Ms(1_700_000_000_000)
START = {"clickstream": 0, "purchases": 0, "privacy": 0}


@pytest.fixture
def runner() -> TaskRunner:
    """Return a task with nothing behind it, that waits half a second after silence."""
    return runner_of()


def runner_of(
    record: TaskRecord | None = None,
    grants: dict[str, float] | None = None,
    dead_letters: DeadLetterSettings | None = None,
) -> TaskRunner:
    core = Core.new(CoreSettings(), default_catalogue(), load_zone, build="test", grants=grants)
    restored = Restored(MemoryState(), record or TaskRecord(), dict(START), 0)
    settings = WorkerSettings(
        catch_up_after_ms=MINUTE_MS, merge_wait_ms=Ms(500), dead_letters=dead_letters or DeadLetterSettings()
    )
    return TaskRunner(0, core, restored, settings)


def click(offset: int, at_ms: int = NOW_MS) -> MergeRecord:
    """Return one click of one customer."""
    event = ClickEvent(f"e{offset}", "c", at_ms, "item_view", item_id="a")
    return MergeRecord("clickstream", offset, at_ms, b"c", b"{}", event)


def all_ends_reached(runner: TaskRunner) -> None:
    """Say that the broker has no more of any topic."""
    for topic in START:
        runner.end_reached(topic)


def test_nothing_is_processed_while_a_topic_may_hold_earlier_records(runner: TaskRunner) -> None:
    """An empty queue holds the merge back until its topic is known to be read to the end."""
    runner.take(click(0))
    runner.end_reached("purchases")
    assert runner.process(10, NOW_MS, Seconds(0.0)) == 0
    assert runner.process(10, NOW_MS, Seconds(9.0)) == 0
    runner.end_reached("privacy")
    assert runner.process(10, NOW_MS, Seconds(9.0)) == 1


def test_after_silence_the_first_records_wait_for_those_of_other_topics(runner: TaskRunner) -> None:
    """For as long as the setting says, and not again while records keep coming."""
    all_ends_reached(runner)
    runner.take(click(0))
    runner.take(click(1))
    assert runner.process(1, NOW_MS, Seconds(0.0)) == 0
    assert runner.process(1, NOW_MS, Seconds(0.5)) == 1
    assert runner.process(1, NOW_MS, Seconds(0.6)) == 1


def test_a_record_that_was_taken_before_is_not_taken_again(runner: TaskRunner) -> None:
    """After a seek the client may deliver one anew."""
    all_ends_reached(runner)
    for offset in (0, 1, 0, 1):
        runner.take(click(offset))
    runner.process(10, NOW_MS, Seconds(0.0))
    assert runner.process(10, NOW_MS, Seconds(1.0)) == 2


def test_a_roll_back_drops_queues_and_state_and_names_the_committed_offsets(runner: TaskRunner) -> None:
    """What was processed since the last commit will be processed again, to the same commit."""
    journals = []
    for _ in range(2):
        all_ends_reached(runner)
        for offset in range(3):
            runner.take(click(offset))
        runner.process(2, NOW_MS, Seconds(0.0))
        assert runner.process(2, NOW_MS, Seconds(1.0)) == 2
        journals.append(runner.close_commit().journal)
        assert runner.roll_back() == START
        assert not runner.has_work
        assert len(runner.state) == 0
    assert journals[0] == journals[1]


def test_committed_offsets_are_sent_for_topics_without_records_too(runner: TaskRunner) -> None:
    """The group's check of them is what fences a former owner, also where only stream time moved."""
    all_ends_reached(runner)
    runner.take(click(4))
    runner.process(1, NOW_MS, Seconds(0.0))
    runner.process(1, NOW_MS, Seconds(1.0))
    closed = runner.close_commit()
    assert runner.offsets_to_commit(closed) == START | {"clickstream": 5}
    told = runner.committed(closed, 17)
    assert told.processed == {("clickstream", "item_view"): 1}
    assert (runner.state.changelog_offset(), len(runner.state)) == (17, 1)


def test_the_mode_of_a_commit_follows_the_lag_of_its_first_record(runner: TaskRunner) -> None:
    """A task that wakes up far behind begins in catch-up, not with one commit in the wrong mode."""
    all_ends_reached(runner)
    runner.take(click(0))
    runner.process(1, Ms(NOW_MS + HOUR_MS), Seconds(0.0))
    runner.process(1, Ms(NOW_MS + HOUR_MS), Seconds(1.0))
    assert runner.close_commit().journal.mode == "catch-up"


def test_a_heartbeat_moves_stream_time_of_an_idle_task_alone_and_never_back(runner: TaskRunner) -> None:
    """Not before the ends are reached, not with records waiting, not to an earlier time."""
    assert not runner.heartbeat(NOW_MS, NOW_MS)
    all_ends_reached(runner)
    runner.take(click(0))
    assert not runner.heartbeat(NOW_MS + 1, NOW_MS)
    all_ends_reached(runner)
    runner.process(1, NOW_MS, Seconds(0.0))
    runner.process(1, NOW_MS, Seconds(1.0))
    runner.committed(runner.close_commit(), 1)
    assert not runner.heartbeat(NOW_MS, NOW_MS)
    assert runner.heartbeat(NOW_MS + 1, NOW_MS)
    assert runner.close_commit().journal.stream_time == NOW_MS + 1


def test_a_suspended_task_does_nothing_until_it_is_resumed(runner: TaskRunner) -> None:
    """Its queue is dropped: the records come again, to it or to another worker."""
    all_ends_reached(runner)
    runner.take(click(0))
    runner.suspend()
    assert not runner.waits
    assert runner.next_to_take == START
    with pytest.raises(InvalidTransition, match="suspended"):
        runner.process(1, NOW_MS, Seconds(9.0))
    with pytest.raises(InvalidTransition, match="suspended"):
        runner.heartbeat(NOW_MS, NOW_MS)
    with pytest.raises(InvalidTransition, match="suspended: no take"):
        runner.take(click(0))
    runner.resume()
    assert runner.process(1, NOW_MS, Seconds(9.0)) == 0
    assert not runner.has_work


def test_a_task_that_is_committing_processes_nothing_and_is_not_taken_away(runner: TaskRunner) -> None:
    """What its transaction holds is either committed or rolled back first."""
    all_ends_reached(runner)
    runner.take(click(0))
    runner.process(1, NOW_MS, Seconds(0.0))
    runner.process(1, NOW_MS, Seconds(1.0))
    runner.close_commit()
    for forbidden in (runner.suspend, runner.close, runner.close_commit):
        with pytest.raises(InvalidTransition, match="committing"):
            forbidden()
    with pytest.raises(InvalidTransition, match="committing"):
        runner.process(1, NOW_MS, Seconds(2.0))
    runner.roll_back()
    runner.close()
    with pytest.raises(InvalidTransition, match="closed"):
        runner.resume()


def test_rejected_records_that_are_processed_again_count_once_towards_the_limit() -> None:
    """An abort is no reason to stop for bad records, and neither is a partition that went and came back."""
    runner = runner_of(dead_letters=DeadLetterSettings(max_run_records=2))
    bad = Rejection("wrong_type", "value", "`value` is bad")

    def suspend_and_resume() -> None:
        runner.suspend()
        runner.resume()

    for go_back in (runner.roll_back, suspend_and_resume, runner.close_commit):
        all_ends_reached(runner)
        for offset in (0, 1):
            runner.take(MergeRecord("clickstream", offset, NOW_MS, b"c", b"?", bad))
        runner.process(2, NOW_MS, Seconds(0.0))
        assert runner.process(2, NOW_MS, Seconds(1.0)) == 2
        go_back()
    runner.roll_back()
    all_ends_reached(runner)
    for offset in (0, 1):
        runner.take(MergeRecord("clickstream", offset, NOW_MS, b"c", b"?", bad))
    runner.process(2, NOW_MS, Seconds(0.0))
    runner.process(2, NOW_MS, Seconds(1.0))
    runner.committed(runner.close_commit(), 1)
    runner.take(MergeRecord("clickstream", 2, NOW_MS, b"c", b"?", bad))
    with pytest.raises(TooManyRejected, match="3 records in a row"):
        runner.process(1, NOW_MS, Seconds(3.0))


def test_what_was_rolled_back_is_not_committed_after_all(runner: TaskRunner) -> None:
    """The store would be ahead of Kafka."""
    all_ends_reached(runner)
    runner.take(click(0))
    runner.process(1, NOW_MS, Seconds(0.0))
    runner.process(1, NOW_MS, Seconds(1.0))
    closed = runner.close_commit()
    runner.roll_back()
    with pytest.raises(InvalidTransition, match="running"):
        runner.committed(closed, 1)


def test_rejections_are_kept_for_the_dead_letters_until_the_commit(runner: TaskRunner) -> None:
    """With the records they speak of."""
    all_ends_reached(runner)
    bad = MergeRecord("clickstream", 0, NOW_MS, b"c", b"?", Rejection("invalid", "value", "`value` is bad"))
    runner.take(bad)
    runner.process(1, NOW_MS, Seconds(0.0))
    runner.process(1, NOW_MS, Seconds(1.0))
    assert runner.rejected == [(bad, bad.event)]
    told = runner.committed(runner.close_commit(), 1)
    assert [each.rejection for each in told.rejected] == [bad.event]
    assert not runner.rejected


def test_a_task_has_its_grants_and_what_it_spent_before_a_restart() -> None:
    """The journal says what was granted; the task's record brings back what was spent of it."""
    spent = Spending(NOW_MS // DAY_MS, {"phone": 1.0})
    runner = runner_of(TaskRecord(spending=spent), {"phone": 2.0})
    all_ends_reached(runner)
    runner.take(click(0))
    runner.process(10, NOW_MS, Seconds(0.0))
    assert runner.process(10, NOW_MS, Seconds(1.0)) == 1
    closed = runner.close_commit()
    assert closed.journal.grants == {"phone": 2.0}
    assert closed.task_record.spending == spent


@pytest.mark.parametrize(("reference", "told"), [("clock", NOW_MS), ("stream", None)])
def test_the_age_of_events_is_measured_by_the_reference_that_is_set(reference: AgeReference, told: int | None) -> None:
    """By the worker's time, which the journal keeps; where time is simulated, by stream time alone."""
    core = Core.new(CoreSettings(), default_catalogue(), load_zone, build="test")
    settings = WorkerSettings(catch_up_after_ms=Ms(60_000), merge_wait_ms=Ms(1), age_reference=reference)
    runner = TaskRunner(0, core, Restored(MemoryState(), TaskRecord(), dict(START), 0), settings)
    all_ends_reached(runner)
    event = ClickEvent("e0", "c", NOW_MS - 30 * DAY_MS, "item_view", item_id="a")
    runner.take(MergeRecord("clickstream", 0, NOW_MS, b"c", b"{}", event))
    runner.process(10, NOW_MS, Seconds(0.0))
    runner.process(10, NOW_MS, Seconds(1.0))
    closed = runner.close_commit()
    assert closed.journal.mode == "live"  # the broker has it from just now
    assert closed.journal.reference_time == told
    assert closed.counters["aged"] == (reference == "clock")
    assert bool(closed.outputs.decisions) == (reference == "stream")


def test_markers_behind_the_last_record_are_committed_with_it_or_by_themselves(runner: TaskRunner) -> None:
    """The end of a log may lie beyond its last record; a record that waits holds its topic's offset back."""
    all_ends_reached(runner)
    runner.take(click(0))
    runner.end_reached("clickstream", 2)
    runner.note_passed()
    assert not runner.has_work
    runner.process(1, NOW_MS, Seconds(0.0))
    runner.process(1, NOW_MS, Seconds(1.0))
    closed = runner.close_commit()
    assert closed.task_record.next_offsets == closed.journal.next_offsets == {"clickstream": 2}
    runner.committed(closed, 1)

    runner.note_passed()
    assert not runner.has_work
    runner.end_reached("privacy", 7)
    runner.note_passed()
    closed = runner.close_commit()
    assert (closed.journal.runs, closed.task_record.next_offsets) == ((), {"clickstream": 2, "privacy": 7})
    assert runner.offsets_to_commit(closed) == {"clickstream": 2, "privacy": 7, "purchases": 0}
