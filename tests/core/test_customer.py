"""Customer state: what is remembered stays small, and earlier formats are read."""

from dataclasses import replace
from zlib import crc32

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.customer.customer import (
    EVENT_DIGEST_SIZE,
    Customer,
    PendingDecision,
    decode_customer,
    encode_customer,
)
from consumer.core.customer.words import LONGEST_WORD, remembered
from schemas.events import Context, Product
from tests.core.streams import SETTINGS, T0, Stream, new_task


def test_pending_decisions_and_event_ids_of_the_former_format_are_upgraded() -> None:
    """A record of format 1 held ids of decisions, features of 32 bits, clicks, and digests as numbers."""
    values = msgspec.msgpack.decode(msgspec.msgpack.encode(Customer("ann", scheduled_ms=5)))
    names = Customer.__struct_fields__
    features = bytes.fromhex("0000803f0000003f")  # 1.0 and 0.5
    values[names.index("pending_decisions")] = [(T0, "d1", "offer|email", features, 0.1, 0.3, False, 1, 9.5, True)]
    values[names.index("event_ids")] = [0x0102030405060708, 1 << 63]
    body, due = msgspec.msgpack.encode(values), (5).to_bytes(8, "big", signed=True)
    upgraded = decode_customer(b"\x01" + crc32(body, crc32(due)).to_bytes(4, "big") + due + body)
    assert upgraded.pending_decisions == [
        PendingDecision(T0, "offer|email", bytes.fromhex("003c0038"), 0.1, 0.3, False, 1, 9.5)
    ]
    assert upgraded.event_ids == bytes.fromhex("010203040506" + "800000000000")
    assert decode_customer(encode_customer(upgraded)) == upgraded


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
    assert list(ann.categories) == [remembered(category)]
