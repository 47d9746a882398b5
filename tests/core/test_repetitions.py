"""A repetition is found as long as it could be taken in, within a bound."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from consumer.core.customer.customer import EVENT_DIGEST_SIZE
from consumer.core.customer.repetitions import is_repetition
from consumer.core.customer.updates import new_customer
from consumer.core.settings import TimeSettings
from schemas.units import DAY_MS
from tests.core.streams import SETTINGS, T0, Stream, new_task


def test_a_repetition_is_found_among_dozens_of_events_a_week_later() -> None:
    """Not among the latest few only: it is found for as long as it would not be too late."""
    stream = Stream(new_task())
    for n in range(71):
        stream.click("ann", T0 + n, event_id=f"e{n}")
    stream.click("ann", T0 + 7 * DAY_MS - 1, event_id="later")
    for n in range(71):
        assert stream.click("ann", T0 + n, event_id=f"e{n}") is None
    assert stream.task.counters["duplicates"] == 71


def test_what_could_not_be_taken_in_again_is_not_remembered() -> None:
    """An event further back is turned down as late, so that its id needs no room."""
    stream = Stream(new_task())
    for day in range(30):
        for n in range(3):
            stream.click("ann", T0 + day * DAY_MS + n, event_id=f"e{day}-{n}")
    ann = stream.task.state.get("ann")
    assert ann is not None
    assert sum(ann.event_days[1:]) * EVENT_DIGEST_SIZE == len(ann.event_ids)
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


@given(
    st.lists(st.tuples(st.floats(0.0, 4.0), st.integers(0, 30)), max_size=80),
    st.integers(1, 12),
    st.sampled_from([0, 1, 7]),
)
def test_each_day_knows_how_many_came_on_it(events: list[tuple[float, int]], window: int, late_days: int) -> None:
    """Whatever comes when, what is remembered is the latest within the bound, and none that could not come again."""
    settings = TimeSettings(duplicate_window=window, late_by_ms=late_days * DAY_MS)
    customer, time_ms, days = new_customer("ann", T0), T0, list[int]()
    for after_days, number in events:
        time_ms += int(after_days * DAY_MS)
        if not is_repetition(customer, f"e{number}", time_ms, settings):
            days = [*days, time_ms // DAY_MS][-window:]
        first_day, *counts = customer.event_days
        remembered = [first_day + place for place, n in enumerate(counts) for _ in range(n)]
        assert len(customer.event_ids) == EVENT_DIGEST_SIZE * len(remembered) > 0
        assert remembered == days[len(days) - len(remembered) :]
        forgotten = days[: len(days) - len(remembered)]
        assert all(day < time_ms // DAY_MS - late_days for day in forgotten)
