"""What was bought is remembered compactly, and comes back to mind when it is due."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.customer.bought import by_usage, due_items, note_bought, schedule_replenishment
from consumer.core.customer.customer import Customer, decode_customer, encode_customer
from schemas.events import PrivacyEvent
from schemas.records import NextBestAction
from schemas.units import DAY_MS
from tests.core.streams import SETTINGS, T0, Stream, new_task

DAY0 = T0 // DAY_MS
HOUR_MS = DAY_MS // 24


def buyer(*days: int, item_id: str = "milk") -> Customer:
    """Return a customer who bought one item on `days` after day 0."""
    customer = Customer("ann")
    for day in days:
        note_bought(customer, [item_id], DAY0 + day, 20)
        customer.orders.last_ms = T0 + day * DAY_MS
    return customer


def replenishments(*days: int, silent_until: int, item_id: str = "milk") -> list[NextBestAction]:
    """Return the decisions about what is due, after orders on `days` and silence since."""
    stream = Stream(new_task())
    for day in days:
        stream.order("ann", T0 + day * DAY_MS, item_id)
    for day in range(days[-1], silent_until + 1):
        stream.task.advance_to(T0 + day * DAY_MS)
    decisions = stream.task.take_outputs().decisions
    return [decision for decision in decisions if decision.trigger == "replenishment"]


def due_days(decisions: list[NextBestAction]) -> list[int]:
    return [(decision.occurred_at - T0) // DAY_MS for decision in decisions]


def test_what_is_bought_in_a_rhythm_is_due_a_little_before_the_gap_is_over() -> None:
    """Bought every 30 days, it is due 27 days after the last time, once."""
    assert due_days(replenishments(0, 30, 60, silent_until=200)) == [87]


def test_a_reminder_says_how_often_and_when_last_and_starts_with_the_item() -> None:
    """The reason holds both numbers, the content leads with what is due, and nothing names the customer."""
    (decision,) = replenishments(0, 40, 80, item_id="22423", silent_until=120)
    (reason,) = [reason for reason in decision.reasons if reason.name == "replenishment"]
    assert reason.words == "Buys 22423 about every 40 days; last bought 36 days ago"
    assert reason.value == pytest.approx(0.9)
    assert not any("ann" in each.words.split() for each in decision.reasons)
    assert (decision.content[0].item_id, decision.content[0].why) == ("22423", "replenish")


def test_two_purchases_are_no_rhythm() -> None:
    """Three are the least from which a gap can be told from chance."""
    assert replenishments(0, 30, silent_until=100) == []
    assert replenishments(0, 30, 60, silent_until=100) != []


def test_purchases_at_random_times_are_no_rhythm() -> None:
    """Gaps of 3, 60 and 5 days promise nothing."""
    assert replenishments(0, 3, 63, 68, silent_until=200) == []


def test_what_is_bought_every_day_needs_no_reminder() -> None:
    """A gap of a day or less is a habit, or one purchase in parts."""
    assert replenishments(0, 1, 2, 3, 4, silent_until=60) == []


def test_one_long_pause_leaves_the_rhythm_nearly_as_it_was() -> None:
    """After eight gaps of 10 days and one of 100, the usual gap is still well under a fifth of the pause."""
    customer = buyer(*range(0, 90, 10), 180)
    assert 100 <= customer.bought["milk"].gap <= 140


def test_what_was_bought_meanwhile_is_not_due() -> None:
    """An early purchase moves the date."""
    assert due_days(replenishments(0, 30, 60, 85, silent_until=109))[:1] != [87]
    assert all(day > 100 for day in due_days(replenishments(0, 30, 60, 85, silent_until=130)))


def test_items_due_within_days_of_each_other_come_in_one_reminder() -> None:
    """Two items bought a day apart each month are one decision with two reasons."""
    stream = Stream(new_task())
    for month in (0, 30, 60):
        stream.order("ann", T0 + month * DAY_MS, "milk")
        stream.order("ann", T0 + (month + 1) * DAY_MS, "bread")
    for day in range(62, 120):
        stream.task.advance_to(T0 + day * DAY_MS)
    decisions = [d for d in stream.task.take_outputs().decisions if d.trigger == "replenishment"]
    assert due_days(decisions) == [87]
    words = [reason.words for reason in decisions[0].reasons if reason.name == "replenishment"]
    assert [word.split()[1] for word in words] == ["milk", "bread"]


def test_a_reminder_comes_at_the_hour_of_the_latest_order() -> None:
    """Midnight is nobody's hour."""
    customer = buyer(0, 30, 60)
    customer.orders.last_ms += 15 * HOUR_MS
    schedule_replenishment(customer, customer.orders.last_ms)
    assert customer.due.replenish_ms == T0 + 87 * DAY_MS + 15 * HOUR_MS


def test_the_reminded_item_is_scheduled_again_only_after_it_was_bought() -> None:
    """Who did not want it is left alone; who bought it has a new date."""
    customer = buyer(0, 30, 60)
    schedule_replenishment(customer, T0 + 87 * DAY_MS, reminded=True)
    assert (customer.due.replenish_ms, customer.due.replenish_item) == (0, "")
    note_bought(customer, ["milk"], DAY0 + 90, 20)
    schedule_replenishment(customer, T0 + 90 * DAY_MS)
    assert customer.due.replenish_ms == T0 + 117 * DAY_MS


def test_who_objected_is_not_reminded() -> None:
    """An objection stops what was scheduled, and orders after it schedule nothing."""
    stream = Stream(new_task())
    for day in (0, 30, 60):
        stream.order("ann", T0 + day * DAY_MS, "milk")
    stream.task.step("privacy", 0, PrivacyEvent("e", "ann", T0 + 61 * DAY_MS, "objection"))
    stream.order("ann", T0 + 62 * DAY_MS, "milk")
    stream.task.take_outputs()
    stream.task.advance_to(T0 + 120 * DAY_MS)
    assert stream.task.take_outputs().decisions == []


def test_orders_of_one_day_are_one_purchase() -> None:
    """A basket sent in two parts is no rhythm of zero days."""
    customer = buyer(0, 0, 30)
    assert (customer.bought["milk"].times, customer.bought["milk"].gap) == (2, 300)


def test_the_least_usual_item_goes_first() -> None:
    """What was bought five times stays, though others were bought since; of those the latest stays."""
    customer = buyer(0, 7, 14, 21, 28)
    for day, item_id in enumerate("abcdef"):
        note_bought(customer, [item_id], DAY0 + 30 + day, 3)
    assert set(customer.bought) == {"milk", "e", "f"}
    assert by_usage(customer, DAY0 + 40) == ["milk", "f", "e"]


def test_what_was_long_ago_gives_way_to_what_is_new() -> None:
    """A count fades: three purchases two years ago are worth less than one today."""
    customer = buyer(0, 10, 20, item_id="old")
    note_bought(customer, ["new"], DAY0 + 750, 1)
    assert set(customer.bought) == {"new"}


@given(st.lists(st.tuples(st.text(max_size=20), st.integers(-5, 400)), max_size=60), st.integers(1, 8))
def test_records_stay_small_and_bounded(purchases: list[tuple[str, int]], limit: int) -> None:
    """Whatever is bought in whatever order of days: at most `limit` items of whole numbers that say something true."""
    customer = Customer("ann")
    for item_id, day in purchases:
        note_bought(customer, [item_id], DAY0 + day, limit)
        assert len(customer.bought) <= limit
    for known in customer.bought.values():
        assert known.times >= 1
        assert known.weight >= 1_000
        assert (known.gap > 0) == (known.times > 1)
        assert known.spread >= 0
        assert len(msgspec.msgpack.encode(known)) <= 16
    schedule_replenishment(customer, T0 + 400 * DAY_MS)
    assert customer.due.replenish_item in {*customer.bought, ""}
    assert all(due.item_id in customer.bought for due in due_items(customer, DAY0 + 10))
    assert decode_customer(encode_customer(customer)) == customer


def test_settings_bound_what_is_remembered() -> None:
    """An order of more items than may be remembered leaves as many as may."""
    task = new_task()
    Stream(task).order("ann", T0, *(f"i{n}" for n in range(300)))
    customer = task.state.get("ann")
    assert customer is not None
    assert len(customer.bought) == SETTINGS.state.bought_items
