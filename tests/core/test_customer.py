"""Customer state: what is remembered stays small, and earlier formats are read."""

from dataclasses import replace
from pathlib import Path
from struct import pack
from zlib import crc32

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.customer.customer import (
    EVENT_DIGEST_SIZE,
    FORMAT,
    Bought,
    Consent,
    Contact,
    CorruptState,
    Customer,
    DueTimes,
    LastContext,
    OpenSession,
    Orders,
    Pending,
    PendingAudience,
    PendingChurn,
    PendingDecision,
    TasteCounts,
    decode_customer,
    encode_customer,
    scheduled_ms_of,
)
from consumer.core.customer.words import LONGEST_WORD, remembered
from schemas.events import Context, Product
from schemas.units import DAY_MS
from tests.core.streams import SETTINGS, T0, Stream, new_task

FORMATS = Path(__file__).parent / "formats"  # a record of each former format, as it was written then
_DAY = 19_000
_AT = _DAY * DAY_MS


def customer_of_format_2() -> Customer:
    """Return the customer who was written in format 2. Nearly all values differ, so that none passes for another."""
    return Customer(
        "ann",
        scheduled_ms=_AT + 1,
        due=DueTimes(tick_ms=_AT + 12, replenish_ms=_AT + 13, replenish_item="i6"),
        first_seen_ms=_AT + 2,
        last_seen_ms=_AT + 3,
        longest_absence_days=26,
        origin_topic="clickstream",
        origin_offset=4,
        event_ids=bytes.fromhex("01020304" + "80000000"),
        event_days=[_DAY, 2],
        context=LastContext("Europe/Berlin", "phone", "DE"),
        consent=Consent(
            {"email:*": True, "push:marketing": False},
            {"email:*": _AT + 20, "push:marketing": _AT + 21},
            True,
            _AT + 22,
        ),
        counters=[n + 0.5 for n in range(24) if n not in {6, 7}],  # those of spend are gone
        orders=Orders(
            n=5,
            first_ms=_AT + 6,
            last_ms=_AT + 7,
            spend=8.5,
            gap_log_mean=9.5,
            gap_log_squares=30.5,
            last_gap_log=31.5,
            longest_gap_days=25,
            recent=[1.25, 1.5, 1.75, 32.5],
        ),
        settled_orders=Orders(5, _AT + 6, _AT + 7, 8.5, 9.5, 30.5, 31.5, 0, [1.25, 1.5, 1.75, 32.5]),
        bought={"milk": Bought(3, _DAY, 2_500, 380, 120), "pan": Bought(1, _DAY, 1_000)},
        bought_categories={"tea": Bought(2, _DAY - 10, 1_500, 90, 30)},
        session=OpenSession("visit", _AT + 10, _AT + 11, ["i1", "i2"], ["tea", None], [1.0, 0.25], carted=True),
        cart=["i3"],
        history=["i4", "i5"],
        tastes=TasteCounts({"tea": 1.5, "pans": 0.5}, {"acme": 3}, {"phone": 2}, [0, 1, 2, 3, 4, 5, 6, 7], 3.5, 24),
        segment="loyal",
        segment_since_ms=_AT + 19,
        contacts=[Contact(_AT + 16, "offer", "email")],
        last_decision_ms=_AT + 17,
        risk_decided_ms=_AT + 18,
        pending=Pending(
            [PendingChurn(_AT + 14, pack("<2f", 1.0, 0.5), 0.125, 0.25, True, _AT + 15, False, 0.75, True)],
            [PendingDecision(_AT + 23, "offer|email", pack("<2e", 1.0, 0.5), 0.1, 0.3, False, 1, 9.5)],
            [PendingAudience(_AT + 27, "tea", pack("<2e", 0.5, 2.0), 0.28, 290)],
        ),
    )


def customer_of_format_1() -> Customer:
    """Return the customer who was written in format 1: the same, with less remembered."""
    customer = customer_of_format_2()
    customer.longest_absence_days = customer.orders.longest_gap_days = 0
    customer.orders.gap_log_squares, customer.orders.last_gap_log, customer.orders.recent = 0, 0, []
    customer.settled_orders = Orders(5, _AT + 6, _AT + 7, 8.5, 9.5)
    customer.tastes = TasteCounts({"tea": 1.5, "pans": 0.5})
    customer.bought = {"milk": Bought(3, _DAY, 3_000, 380), "pan": Bought(1, _DAY, 1_000)}
    customer.bought_categories, customer.pending.audience = {}, []
    return customer


@pytest.mark.parametrize(("fmt", "expected"), [(1, customer_of_format_1()), (2, customer_of_format_2())])
def test_records_of_former_formats_are_read(fmt: int, expected: Customer) -> None:
    """What a former build wrote is found in its new place, and written as records are today."""
    record = (FORMATS / f"customer-{fmt}.bin").read_bytes()
    assert record[0] == fmt
    customer = decode_customer(record)
    assert customer == expected
    assert decode_customer(encode_customer(customer)) == customer
    assert encode_customer(customer)[0] == FORMAT
    assert scheduled_ms_of(record) == scheduled_ms_of(encode_customer(customer)) == customer.scheduled_ms


def test_a_record_of_a_later_format_is_refused() -> None:
    """Better no start than a wrong one."""
    record = bytes([FORMAT + 1]) + encode_customer(Customer("ann"))[1:]
    with pytest.raises(CorruptState, match=f"format {FORMAT + 1}; this build reads formats 1 to {FORMAT}"):
        decode_customer(record)


@pytest.mark.parametrize(
    ("fmt", "body"),
    [(FORMAT, [1]), (FORMAT, {}), (2, ["ann", 0]), (2, 7), (1, ["ann"]), (1, ["ann"] + [None] * 80)],
)
def test_a_record_that_holds_something_else_is_refused_in_words(fmt: int, body: object) -> None:
    """Its checksum holds, and still no customer is in it."""
    packed, due = msgspec.msgpack.encode(body), bytes(8)
    header = bytes([fmt]) + crc32(packed, crc32(due)).to_bytes(4, "big") + due
    with pytest.raises(CorruptState, match=f"format {fmt} cannot be read"):
        decode_customer(header + packed)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60))
def test_an_event_is_a_duplicate_while_it_is_among_the_latest(numbers: list[int]) -> None:
    """Ids are remembered up to the bound, the oldest forgotten first; a repetition is not remembered again."""
    task = new_task(replace(SETTINGS, time=replace(SETTINGS.time, duplicate_window=5)))
    stream = Stream(task)
    latest: list[int] = []
    for n, number in enumerate(numbers):
        before = task.counters["duplicates"]
        stream.click("ann", T0 + n, event_id=f"e{number}")
        assert task.counters["duplicates"] - before == (number in latest)
        if number not in latest:
            latest = [*latest, number][-5:]
    ann = task.state.get("ann")
    assert ann is not None
    assert len(ann.event_ids) == EVENT_DIGEST_SIZE * len(latest)


def test_the_encoded_state_is_the_same_before_and_after_it_was_read() -> None:
    """What is 0 stays as short as it was, and what is not stays as it is: digests of the state depend on it."""
    task = new_task()
    stream = Stream(task)
    stream.click("ann", T0, item_id="i1")
    stream.order("ann", T0 + 1, "i1")
    ann = task.state.get("ann")
    assert ann is not None
    assert encode_customer(decode_customer(encode_customer(ann))) == encode_customer(ann)


@given(st.text(max_size=200), st.text(max_size=200))
def test_words_are_remembered_in_a_bounded_form_of_their_own(one: str, other: str) -> None:
    """A short word is itself; long ones are cut and still differ."""
    assert len(remembered(one)) <= LONGEST_WORD
    assert remembered(one) == one or len(one) > LONGEST_WORD
    assert remembered(remembered(one)) == remembered(one)
    assert (remembered(one) == remembered(other)) == (one == other)


def test_long_words_do_not_swell_a_customer() -> None:
    """Categories, devices, countries and zones as long as an event may have them take no more than short ones."""
    sizes = []
    for length in (LONGEST_WORD, 1024):
        task = new_task()
        stream = Stream(task)
        for n in range(20):
            word = f"{n:02}".ljust(length, "x")
            context = Context(device=word, country=word, time_zone=word)
            stream.click("ann", T0 + n, item_id=f"i{n}", category=word, brand=word[:64], context=context)
        ann = task.state.get("ann")
        assert ann is not None
        sizes.append(len(encode_customer(ann)))
    assert sizes[0] == sizes[1]


def test_a_long_category_is_the_same_word_from_events_and_products() -> None:
    """What a product's record says of its category counts like what an event says."""
    category = "home > " * 20
    task = new_task()
    task.knowledge.apply_product(0, "i1", Product("i1", category=category))
    stream = Stream(task)
    stream.click("ann", T0, item_id="i1")
    stream.click("ann", T0 + 1, item_id="i2", category=category)
    ann = task.state.get("ann")
    assert ann is not None
    assert list(ann.tastes.categories) == [remembered(category)]
