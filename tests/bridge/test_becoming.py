"""What source records become."""

import json
from typing import Any

import pytest

from consumer.bridge.becoming import SOURCE_HEADER, Becoming, Bridged, Place
from consumer.core.intake import Rejection
from consumer.core.merge import MergeRecord
from consumer.inputs.configure import mapping_of
from consumer.inputs.mapper import Mapper
from schemas.codec import Decoder, JsonEncoder
from schemas.partitioning import partition_of
from schemas.topics import INPUT_TOPICS

NOW_MS = 1_700_000_000_000
MAX_BYTES = 2_000
SECTION: dict[str, Any] = {
    "topics": ["shop"],
    "fields": {"event_id": "id", "customer_id": "who || _key", "occurred_at": "at"},
    "events": [
        {"when": "seen", "kind": "item_view", "item_id": "seen", "category": "category"},
        {
            "when": "bought",
            "kind": "order",
            "order_id": "id",
            "currency": {"value": "EUR"},
            "lines": {"item_id": "bought", "unit_price": "price"},
        },
        {"when": "sku", "kind": "product", "item_id": "sku"},
    ],
}


def bridged(record: dict[str, Any] | bytes | None, **given: Any) -> Bridged:
    mapper = Mapper(mapping_of("shop", SECTION))
    partitions: dict[str, int] = {topic: 1 if topic == "products" else 4 for topic in INPUT_TOPICS}
    becoming = Becoming({"shop": mapper}, JsonEncoder(), partitions, MAX_BYTES)
    value = json.dumps(record).encode() if isinstance(record, dict) else record
    source = MergeRecord(
        topic="shop",
        offset=17,
        timestamp_ms=NOW_MS,
        key=b"session-5",
        value=value,
        event=Rejection("not_read", None, ""),
        headers=given.get("headers", ()),
    )
    return becoming.of(Place("shop", 9), source, NOW_MS + 60_000)


def rejection_of(found: Bridged) -> Rejection:
    assert found.rejected is not None
    assert isinstance(found.rejected.event, Rejection)
    return found.rejected.event


def test_an_event_is_keyed_by_its_customer_and_put_on_the_partition_of_that_key() -> None:
    """Whatever the key and partition of the source were."""
    (written,) = bridged({"id": 1, "who": "ann", "at": NOW_MS, "seen": "kettle"}).written
    assert (written.topic, written.key, written.partition) == ("clickstream", b"ann", partition_of(b"ann", 4))
    assert Decoder().decode("clickstream", written.value).item_id == "kettle"


def test_headers_say_where_an_event_comes_from_beside_those_that_were_there() -> None:
    """Topic, partition, offset, and which of the record's events."""
    found = bridged(
        {"id": 1, "who": "ann", "at": NOW_MS, "seen": "kettle", "bought": "kettle", "price": 3},
        headers=(("trace", b"x"),),
    )
    assert [written.topic for written in found.written] == ["clickstream", "purchases"]
    assert [written.headers for written in found.written] == [
        (("trace", b"x"), (SOURCE_HEADER, b"shop/9/17/0")),
        (("trace", b"x"), (SOURCE_HEADER, b"shop/9/17/1")),
    ]


def test_the_key_of_the_source_can_be_mapped() -> None:
    """As `_key`; a worker on its own topics can't."""
    (written,) = bridged({"id": 1, "at": NOW_MS, "seen": "kettle"}).written
    assert written.key == b"session-5"


def test_a_record_that_becomes_no_event_is_neither_written_nor_rejected() -> None:
    """A tombstone is one of them."""
    for record in ({"id": 1, "who": "ann", "at": NOW_MS}, None):
        assert bridged(record) == Bridged(17, None, (), None)


def test_what_cannot_be_mapped_is_kept_as_received_with_the_reason() -> None:
    """Its bytes, key and coordinates are those of the source."""
    found = bridged(b"{oops")
    assert rejection_of(found).reason == "malformed_json"
    assert found.rejected is not None
    assert (found.rejected.value, found.rejected.key, found.rejected.offset) == (b"{oops", b"session-5", 17)
    assert (found.written, found.time_ms) == ((), None)


def test_good_events_of_a_record_are_written_though_another_of_its_events_is_bad() -> None:
    """The record becomes a dead letter as well."""
    found = bridged({"id": 1, "who": "ann", "at": NOW_MS, "seen": "kettle", "bought": ["kettle"]})
    assert [written.topic for written in found.written] == ["clickstream"]
    assert rejection_of(found).field == "lines[0].item_id"


def test_an_event_further_ahead_than_a_clock_may_be_is_rejected() -> None:
    """It would hold back everything behind it, and move the stream time of its task."""
    found = bridged({"id": 1, "who": "ann", "at": NOW_MS + 60_001, "seen": "kettle"})
    assert rejection_of(found).reason == "ahead_of_time"
    assert found.written == ()


def test_an_event_that_no_topic_would_take_is_rejected() -> None:
    """With key and headers: a commit that can't be made would stop the bridge for ever."""
    fits = {"id": 1, "who": "ann", "at": NOW_MS, "seen": "kettle", "category": "c" * 200}
    assert bridged(fits).rejected is None
    assert rejection_of(bridged(fits, headers=(("trace", b"x" * MAX_BYTES),))).reason == "too_large"


def test_a_product_goes_to_the_only_partition_keyed_by_the_item() -> None:
    """It has no time of its own, and so none to be ordered by."""
    found = bridged({"sku": "kettle"})
    assert [(written.topic, written.partition, written.key) for written in found.written] == [
        ("products", 0, b"kettle")
    ]


@pytest.mark.parametrize("at", [NOW_MS, NOW_MS - 5_000])
def test_the_time_of_a_record_is_its_event_time(at: int) -> None:
    """By which it is ordered among those of other partitions."""
    assert bridged({"id": 1, "who": "ann", "at": at, "seen": "kettle"}).time_ms == at
