"""The mappings that come along: each makes the right events of a small example of its format."""

import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from consumer.inputs.configure import mapping_of
from consumer.inputs.mapper import MappedEvent, Mapper
from consumer.inputs.shipped import OWN, shipped_names, shipped_text
from producers.readers.mapped import what_becomes
from schemas.events import ClickEvent, PrivacyEvent, Product, PurchaseEvent

EXAMPLES = Path(__file__).parent / "examples"

# What comes of each example, record by record: the kind, the customer, the time, and what it is about.
EXPECTED: dict[str, list[str]] = {
    "segment.jsonl": [
        "item_view anon-7 2024-05-02 08:00:00 kettle 34.5",
        "search u-9 2024-05-02 08:01:00 tea 1",
        "order u-9 2024-05-02 08:02:00 o-1 71 EUR: 2×kettle 34.5, 1×tea-green 2",
        "nothing",
        "page_view u-9 2024-05-02 08:04:00",
        "nothing",
    ],
    "rudderstack.jsonl": [
        "cart_add u-3 2024-05-02 08:00:00 lamp 20",
        "order u-3 2024-05-02 08:05:00 812 20 USD: 1×lamp 20",
        "nothing",
    ],
    "ga4.jsonl": [
        "item_view 77.88 2024-05-02 08:00:00 lamp 20",
        "cart_add 77.88 2024-05-02 08:01:00 lamp",
        "cart_add 77.88 2024-05-02 08:01:00 bulb",
        "search 77.88 2024-05-02 08:02:00 bulbs 1",
        "order c-5 2024-05-02 08:03:00 T-1 26 EUR: 1×lamp 20, 2×bulb 3",
        "nothing",
    ],
    "snowplow.jsonl": [
        "page_view dev-1 2024-05-02 08:00:00",
        "item_view u-2 2024-05-02 08:01:00 sofa 499",
        "order u-2 2024-05-02 08:02:00 t-9 499 EUR: 1×sofa 499",
        "search u-2 2024-05-02 08:03:00 blue sofa 0",
        "nothing",
    ],
    "shopify.jsonl": [
        "order 9001 2024-05-02 08:00:05 5501 41.5 EUR: 2×31 18.25, 1×32 5",
        "nothing",
        "order 9002 2024-05-02 10:00:00 5503 5 EUR: 1×32 5",
        "cancellation 9002 2024-05-03 10:00:00 5503 5 EUR",
    ],
    "woocommerce.json": [
        "order 26 2024-05-02 08:00:10 727 29.35 EUR: 2×93 10",
        "nothing",
        "order 27 2024-05-02 10:00:00 729 5 EUR: 1×94 5",
        "refund 27 2024-05-09 10:00:00 729 5 EUR",
        "nothing",
    ],
    "stripe.jsonl": [
        "order cus_1 2024-05-02 08:00:00 A-17 59.9 EUR",
        "order cus_2 2024-05-02 08:01:40 pi_2 5990 JPY",
        "payment_failed cus_1 2024-05-02 08:03:20 pi_3 1 EUR",
        "refund cus_2 2024-05-03 08:00:00 pi_2 1000 JPY",
        "nothing",
    ],
    "rees46.csv": [
        "item_view 5201 2024-05-02 08:00:00 1001 489.07",
        "cart_add 5201 2024-05-02 08:00:05 1001 489.07",
        "order 5201 2024-05-02 08:01:00 4d3b-30da 2024-05-02 08:01:00 UTC: 1×1001 489.07, 1×1002 10",
    ],
    "yoochoose-clicks.dat": [
        "item_view 11 2024-05-02 08:00:00 214536502",
        "item_view 11 2024-05-02 08:03:00 214536500",
    ],
    "yoochoose-buys.dat": [
        "order 11 2024-05-02 08:09:00 11 2024-05-02T08:09:00.523Z: 1×214536500 12462, 1×214536502 0",
    ],
    "retailrocket.csv": [
        "item_view 7 2024-05-02 08:00:00 10",
        "cart_add 7 2024-05-02 08:00:30 10",
        "order 7 2024-05-02 08:01:00 0: 1×10 0, 1×11 0",
    ],
    "taobao.csv": [
        "item_view 1 2017-11-24 16:00:00 11",
        "nothing",
        "order 1 2017-11-25 08:53:21 1-1511600001: 1×11 0, 1×12 0",
    ],
    "olist.csv": [
        "order 7c39 2017-10-02 13:56:33 e481 BRL: 1×87285b 29.99, 1×595fac 118.7",
        "nothing",
    ],
    "instacart.csv": [
        "order 1 2017-01-01 08:00:00 2539329: 1×196 0, 1×14084 0",
        "order 1 2017-01-16 08:00:00 2398795: 1×196 0",
    ],
    "online-retail.csv": [
        "order 17850 2010-12-01 08:26:00 536365 GBP: 6×85123A 2.55, 6×71053 3.39",
        "refund 14527 2011-07-01 08:41:00 C536379 GBP: 1×22632 27.5",
        "nothing",
    ],
    "online-retail-ii.csv": ["order 13085 2009-12-01 07:45:00 489434 GBP: 12×85048 6.95"],
    "own.jsonl": [
        "item_view 5 2024-05-02 08:00:00 9 2.5",
        "order 5 2024-05-02 08:01:00 o 5 EUR: 2×9 2.5",
        "nothing",
    ],
}


def mappers(name: str) -> dict[str, Mapper]:
    sections = tomllib.loads(shipped_text(name))["inputs"]
    return {each: Mapper(mapping_of(each, section)) for each, section in sections.items()}


def in_words(event: Any) -> str:
    """Return an event in a line."""
    about: list[object]
    lines = ""
    if isinstance(event, ClickEvent):
        about = [event.item_id, event.price, event.query, event.n_results]
    elif isinstance(event, PurchaseEvent):
        about = [event.order_id, event.amount, event.currency]
        lines = ", ".join(f"{line.quantity}×{line.item_id} {line.unit_price:g}" for line in event.lines)
    else:
        assert not isinstance(event, PrivacyEvent | Product)
        about = []
    at = datetime.fromtimestamp(event.occurred_at / 1000, UTC).replace(microsecond=0, tzinfo=None)
    words = [event.kind, event.customer_id, at, *(f"{x:g}" if isinstance(x, float) else x for x in about)]
    return " ".join(str(word) for word in words if word is not None) + (f": {lines}" if lines else "")


def read(name: str, mapper: Mapper) -> Iterator[str]:
    for found in what_becomes(EXAMPLES / name, mapper):
        assert isinstance(found, tuple), found
        events = found[2]
        assert all(isinstance(event, MappedEvent) for event in events), events
        yield from [in_words(event.event) for event in events if isinstance(event, MappedEvent)] or ["nothing"]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_an_example_of_each_format_becomes_the_right_events(name: str) -> None:
    """Ids, times, money and lines are those of the example; what is no event is none."""
    format_name = max((each for each in (*shipped_names(), OWN) if name.startswith(each)), key=len)
    candidates = mappers(format_name)
    mapper = candidates[name.partition(".")[0] if len(candidates) > 1 else next(iter(candidates))]
    assert list(read(name, mapper)) == EXPECTED[name]


def test_every_mapping_that_comes_along_has_an_example() -> None:
    """A new one without a test would be a promise that nobody keeps."""
    for name in shipped_names():
        assert any(example.startswith(name) for example in EXPECTED), name
    assert {path.name for path in EXAMPLES.iterdir()} == set(EXPECTED)


@pytest.mark.parametrize("name", [*shipped_names(), OWN])
def test_a_mapping_that_comes_along_says_how_to_try_it(name: str) -> None:
    """Its comments are where somebody begins."""
    text = shipped_text(name)
    assert text.startswith("# ")
    assert "nextbest inputs try " in text
    assert max(map(len, text.splitlines())) <= 160
