"""A made-up shop: a few hundred customers with tastes, the same stream for the same seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from schemas.codec import JsonEncoder
from schemas.events import ClickEvent, Event, PrivacyEvent, PurchaseEvent
from schemas.partitioning import partition_of
from schemas.topics import EventTopic, Topic

START_MS = 1_700_000_000_000
_ITEMS_PER_TASTE = 12
_TASTES = 6
_encoder = JsonEncoder()


@dataclass(frozen=True, slots=True)
class InputRecord:
    """One record to produce. `topic` is the logical name."""

    topic: Topic
    partition: int
    key: bytes | None
    value: bytes | None


def shop_events(customers: int, sessions: int, seed: int = 1) -> Iterator[tuple[EventTopic, Event]]:
    """Yield (logical topic, event) in event-time order: consents first, then `sessions` visits over forty days."""
    draw = random.Random(seed)
    names = [f"customer-{number}" for number in range(customers)]
    for number, name in enumerate(names):
        yield "privacy", PrivacyEvent(f"p{number}", name, START_MS + number, "consent", granted=True)
    at_ms, serial = START_MS + 60_000, 0
    step_ms = 40 * 86_400_000 // sessions
    for visit in range(sessions):
        name = draw.choice(names)
        taste = int(name.rpartition("-")[2]) % _TASTES
        at_ms += draw.randrange(step_ms // 2, step_ms * 3 // 2)
        for click in range(draw.randrange(2, 9)):
            serial += 1
            item = f"item-{taste}-{draw.randrange(_ITEMS_PER_TASTE)}"
            kind = "cart_add" if draw.random() < 0.15 else "item_view"
            yield (
                "clickstream",
                ClickEvent(
                    f"c{serial}", name, at_ms + click * 20, kind, session_id=f"s{visit}",  # type: ignore[arg-type]
                    item_id=item, category=f"category-{taste}", price=float(10 + taste),
                ),
            )  # fmt: skip
        if draw.random() < 0.3:
            serial += 1
            line = {"item_id": f"item-{taste}-{draw.randrange(_ITEMS_PER_TASTE)}", "unit_price": 12.5}
            order = {
                "event_id": f"o{serial}", "customer_id": name, "occurred_at": at_ms + 400, "kind": "order",
                "order_id": f"order-{serial}", "lines": [line],
            }  # fmt: skip
            yield "purchases", msgspec.convert(order, PurchaseEvent)


def input_record(topic: EventTopic, event: Event, partitions: int) -> InputRecord:
    """Return `event` as a producer of ours would send it."""
    key = event.customer_id.encode()
    return InputRecord(topic, partition_of(key, partitions), key, _encoder.encode(topic, event))


def shop_stream(customers: int, sessions: int, partitions: int, seed: int = 1) -> list[InputRecord]:
    """Return the made-up stream as records, in event-time order."""
    return [input_record(topic, event, partitions) for topic, event in shop_events(customers, sessions, seed)]
