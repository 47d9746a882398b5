"""Records of all kinds survive encoding and decoding, and whatever is damaged is rejected, never a crash."""

from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.avro_schemas import STRUCTS
from schemas.codec import Encoder
from schemas.errors import RejectionReason
from schemas.events import ClickEvent, Context, OrderLine, PrivacyEvent, Product, PurchaseEvent
from schemas.records import (
    Coordinates,
    DeadLetter,
    EligibleArm,
    JournalRecord,
    NextBestAction,
    Reason,
    Recommendation,
    Rejected,
    Run,
    Session,
    TrainingExample,
)
from schemas.times import EARLIEST_MS, LATEST_MS
from tests.schemas.wire import AVRO, DECODER, IDS, JSON, invalid_or_none

# Records of all kinds, for round trips.
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
times = st.integers(EARLIEST_MS, LATEST_MS)
longs = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
money = st.floats(0, 1e12)
optional_text = st.none() | any_text
contexts = st.builds(Context, *[optional_text] * 6)
coordinates = st.builds(Coordinates, any_text, longs, longs)
offsets = st.dictionaries(any_text, longs, max_size=3)
clicks = st.builds(
    ClickEvent,
    event_id=text,
    customer_id=text,
    occurred_at=times,
    kind=st.sampled_from(["page_view", "login", "error", "support_contact"]),
    price=st.none() | money,
    n_results=st.none() | st.integers(0, 10**9),
    query=optional_text,
    context=st.none() | contexts,
)
measures = st.none() | st.floats(1e-3, 1e6)
lines = st.builds(OrderLine, text, st.integers(1, 10**6), money, optional_text, optional_text, measures)
purchases = st.builds(
    PurchaseEvent,
    event_id=text,
    customer_id=text,
    occurred_at=times,
    kind=st.sampled_from(["order", "refund", "payment_failed"]),
    order_id=text,
    lines=st.lists(lines, min_size=1, max_size=3).map(tuple),
    amount=st.none() | money,
    context=st.none() | contexts,
)
privacies = st.builds(
    PrivacyEvent,
    event_id=text,
    customer_id=text,
    occurred_at=times,
    kind=st.sampled_from(["consent", "objection", "erasure"]),
    granted=st.booleans(),
)
products = st.builds(
    Product, item_id=text, price=st.none() | money, margin=st.none() | st.floats(-1e12, 1e12), available=st.booleans()
)
arms = st.builds(EligibleArm, action=any_text, channel=optional_text, variant=optional_text, propensity=floats)
decisions = st.builds(
    NextBestAction,
    content=st.lists(st.builds(Recommendation, any_text, floats, any_text), max_size=2).map(tuple),
    eligible=st.lists(arms, max_size=2).map(tuple),
    reasons=st.lists(st.builds(Reason, any_text, any_text, floats), max_size=2).map(tuple),
    propensity=floats,
    churn_probability=st.none() | floats,
    deliver_after=st.none() | longs,
    deliver_before=st.none() | longs,
    occurred_at=longs,
    model_versions=offsets,
    origin=coordinates,
    **dict.fromkeys(
        ("decision_id", "customer_id", "trigger", "action", "time_zone", "churn_signal", "segment"), any_text
    ),
)
dead_letters = st.builds(
    DeadLetter,
    origin=coordinates,
    timestamp=longs,
    key=st.none() | st.binary(max_size=9),
    value=st.none() | st.binary(max_size=9),
    value_size_bytes=longs,
    headers=st.lists(st.tuples(any_text, st.none() | st.binary(max_size=5)), max_size=3).map(tuple),
)
examples = st.builds(
    TrainingExample,
    features=st.lists(floats, max_size=5).map(tuple),
    predicted=st.none() | floats,
    rank=st.none() | longs,
    propensity=st.none() | floats,
    treated=st.booleans(),
    **dict.fromkeys(("label", "weight", "value"), floats),
    **dict.fromkeys(("rows", "predicted_at", "matured_at"), longs),
)
sessions = st.builds(
    Session,
    ended_at=longs,
    categories=st.lists(optional_text, max_size=3).map(tuple),
    weights=st.lists(floats, max_size=3).map(tuple),
)
journals = st.builds(
    JournalRecord,
    runs=st.lists(st.builds(Run, optional_text, longs, st.none() | longs), max_size=3).map(tuple),
    grants=st.dictionaries(any_text, floats, max_size=3),
    rejected=st.lists(st.builds(Rejected, any_text, any_text, longs, longs), max_size=2).map(tuple),
    rejected_left_out=longs,
    **dict.fromkeys(("model_versions", "first_offsets", "next_offsets"), offsets),
    **dict.fromkeys(("task", "sequence", "sessions_offset", "products_offset", "stream_time"), longs),
)
RECORDS: dict[str, st.SearchStrategy[Any]] = {
    "clickstream": clicks,
    "purchases": purchases,
    "privacy": privacies,
    "products": products,
    "next-best-actions": decisions,
    "dead-letters": dead_letters,
    "training-examples": examples,
    "sessions": sessions,
    "journal": journals,
}


@pytest.mark.parametrize("encoder", [JSON, AVRO], ids=["json", "avro"])
@pytest.mark.parametrize("topic", STRUCTS)
@settings(max_examples=50)
@given(data=st.data())
def test_a_record_survives_encoding_and_decoding_to_the_last_bit(
    topic: str, encoder: Encoder, data: st.DataObject
) -> None:
    """Round trips are exact in both formats: equal records, and equal bytes when written again (so −0.0 stays −0.0)."""
    record = data.draw(RECORDS[topic])
    value = encoder.encode(topic, record)
    decoded = DECODER.decode(topic, value)
    assert decoded == record
    assert encoder.encode(topic, decoded) == value


@settings(max_examples=300)
@given(topic=st.sampled_from(list(STRUCTS)), start=st.sampled_from([b"", b"{", b"\x00"]), rest=st.binary(max_size=60))
def test_any_bytes_give_a_record_or_an_invalid_record(topic: str, start: bytes, rest: bytes) -> None:
    """No bytes on a topic can raise anything that the worker does not expect."""
    if start == b"\x00":
        start += IDS[topic].to_bytes(4, "big")
    invalid = invalid_or_none(topic, start + rest)
    assert invalid is None or invalid.reason in get_args(RejectionReason)


@settings(max_examples=300)
@given(data=st.data(), encoder=st.sampled_from([JSON, AVRO]), topic=st.sampled_from(list(STRUCTS)))
def test_a_damaged_record_gives_a_record_or_an_invalid_record(
    data: st.DataObject, encoder: Encoder, topic: str
) -> None:
    """A record with some bytes changed, or its end missing, is read or rejected, never a crash."""
    value = bytearray(encoder.encode(topic, data.draw(RECORDS[topic])))
    for _ in range(data.draw(st.integers(0, 3))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(value[: data.draw(st.integers(0, len(value)))])
    invalid = invalid_or_none(topic, damaged)
    assert invalid is None or invalid.reason in get_args(RejectionReason)
