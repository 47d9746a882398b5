"""A repetition is found as long as it could be taken in, within a bound."""

from dataclasses import replace

from consumer.core.customer.customer import EVENT_DIGEST_SIZE
from consumer.core.settings import DAY_MS
from tests.core.streams import SETTINGS, T0, Stream, new_task


def test_a_repetition_is_found_among_a_hundred_events_a_week_later() -> None:
    """Not among a few dozen only: it is found for as long as it would not be too late."""
    stream = Stream(new_task())
    for n in range(100):
        stream.click("ann", T0 + n, event_id=f"e{n}")
    stream.click("ann", T0 + 7 * DAY_MS - 1, event_id="later")
    for n in range(100):
        assert stream.click("ann", T0 + n, event_id=f"e{n}") is None
    assert stream.task.counters["duplicates"] == 100


def test_what_could_not_be_taken_in_again_is_not_remembered() -> None:
    """An event further back is turned down as late, so that its id needs no room."""
    stream = Stream(new_task())
    for day in range(30):
        for n in range(3):
            stream.click("ann", T0 + day * DAY_MS + n, event_id=f"e{day}-{n}")
    ann = stream.task.state.get("ann")
    assert ann is not None
    assert sum(ann.event_days[1::2]) * EVENT_DIGEST_SIZE == len(ann.event_ids)
    assert len(ann.event_ids) == 3 * 8 * EVENT_DIGEST_SIZE
    for day in range(30):
        stream.click("ann", T0 + day * DAY_MS, event_id=f"e{day}-0")
    assert stream.task.counters["duplicates"] + stream.task.counters["late"] == 30


def test_the_latest_are_remembered_where_they_are_more_than_the_bound() -> None:
    """Beyond the bound a repetition counts as an event of its own."""
    stream = Stream(new_task(replace(SETTINGS, time=replace(SETTINGS.time, duplicate_window=10))))
    for n in range(30):
        stream.click("ann", T0 + n * DAY_MS // 8, event_id=f"e{n}")
    for n in (29, 20, 19):
        stream.click("ann", T0 + n * DAY_MS // 8, event_id=f"e{n}")
    assert stream.task.counters["duplicates"] == 2
