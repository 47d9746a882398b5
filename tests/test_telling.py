"""What a worker says in words: the first rejection of each kind at once, then counts."""

import logging

import pytest

from consumer.core.intake import Rejection
from consumer.core.journal import OpenCommit, TaskRecord
from consumer.kafka.observer import CommittedTask, RejectedRecord
from consumer.kafka.remedies import REMEDIES, remedy_for
from consumer.telling import LATELY_S, Telling
from tests.core.streams import SETTINGS, new_task

WRONG = Rejection("wrong_partition", "key", "`key` is on partition 1 and belongs on 2 of 4")


class Clock:
    """A clock that the test sets."""

    now_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    """Return a clock at zero."""
    return Clock()


def committed(n_events: int, *rejected: tuple[int, Rejection]) -> CommittedTask:
    """Return a commit with so many clicks, and these rejected, by offset."""
    commit = OpenCommit(new_task(SETTINGS), TaskRecord()).close()
    records = [RejectedRecord("clickstream", 1, offset, why) for offset, why in rejected]
    return CommittedTask(commit, {("clickstream", "item_view"): n_events}, records, customers=1)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was said since the last call."""
    said = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return said


def test_the_first_rejection_of_a_reason_is_said_with_place_and_remedy_and_the_next_is_counted(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a wrong partition with the setting of each client."""
    telling = Telling(60.0, clock)
    telling.committed(committed(5, (7, WRONG), (8, WRONG)))
    telling.committed(committed(5, (9, WRONG)))
    (said,) = lines(caplog)
    assert "clickstream[1] offset 7, wrong_partition, field key" in said
    for client in ("Java", "Python", "Go", "Node"):
        assert client in said


def test_a_line_now_and_then_says_events_decisions_rejections_and_lag(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Each counts what came since the one before; the lag is that of now, of the tasks that are here."""
    caplog.set_level(logging.INFO)
    telling = Telling(60.0, clock)
    telling.committed(committed(5, (7, WRONG)))
    telling.lag("clickstream", 0, 3)
    telling.lag("clickstream", 1, 400)
    telling.stopped(1)
    lines(caplog)
    clock.now_s = 59.0
    telling.came_round()
    assert lines(caplog) == []
    clock.now_s = 60.0
    telling.came_round()
    assert lines(caplog) == [
        "in 60 s: 5 events, 0 decisions, 1 rejected (1 clickstream wrong_partition); lag 3 records"
    ]
    clock.now_s = 121.0
    telling.came_round()
    assert lines(caplog) == ["in 61 s: 0 events, 0 decisions, 0 rejected; lag 3 records"]


def test_no_line_is_said_where_none_is_asked_for(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A setting of 0."""
    caplog.set_level(logging.INFO)
    telling = Telling(0.0, clock)
    clock.now_s = 1e6
    telling.came_round()
    assert lines(caplog) == []


def test_the_share_rejected_is_that_of_the_last_minutes(clock: Clock) -> None:
    """It is told by reason, and forgotten with time."""
    telling = Telling(60.0, clock)
    telling.committed(committed(3, (1, WRONG)))
    assert telling.lately == "25.0% rejected of the 4 records of the last 5 minutes (1 clickstream wrong_partition)"
    clock.now_s = LATELY_S + 1
    telling.came_round()
    assert telling.lately == "0.0% rejected of the 0 records of the last 5 minutes"


def test_every_reason_has_a_remedy() -> None:
    """Those without one of their own have the common one."""
    assert all(remedy_for(reason) == words for reason, words in REMEDIES.items())
    assert "nextbest inputs try" in remedy_for("wrong_type")
