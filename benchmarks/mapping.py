"""What a mapped record costs: from the bytes of a shop's record to a validated event, beside a canonical record.

In U: decoding one JSON event with orjson plus one River `StandardScaler | LogisticRegression` predict and learn with 16
features. Rounds of U and of the records take turns, so that a machine that slows down slows both; a ratio is the median
over the rounds. Measured is all that a worker does to a record until it has an event: parse, map, validate. The records
are those of a small shop, as well-known tools write them.

    python benchmarks/mapping.py [--json]
"""

import argparse
import json
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

if __package__ in (None, ""):  # started as a file: the project's folder is not on the path then
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import orjson
from river import linear_model, preprocessing

from benchmarks.budgets import N_FEATURES, unit_s
from consumer.inputs.configure import mapping_of
from consumer.inputs.mapper import MappedDecoder, MappedEvent, Mapper
from consumer.inputs.shipped import shipped_text
from schemas.codec import Decoder

BUDGET_U = 1.0
ROUNDS = 400
RECORDS_A_ROUND = 40  # under a millisecond: most rounds are not interrupted, even on a busy machine

AT = "2024-05-02T08:00:00.000Z"
ITEMS = [{"product_id": f"p{n}", "price": 10.5 + n, "quantity": 1, "category": "tea"} for n in range(3)]
SEGMENT: dict[str, Any] = {
    "type": "track", "messageId": "ajs-next-5f2c", "userId": "u-1", "anonymousId": "a-1", "timestamp": AT,
    "context": {"device": {"type": "ios"}, "timezone": "Europe/Berlin", "page": {"referrer": "https://example.org/"}},
}  # fmt: skip
GA4: dict[str, Any] = {
    "event_date": "20240502", "event_timestamp": "1714636800000000", "event_name": "view_item",
    "event_bundle_sequence_id": "7", "user_pseudo_id": "1111.2222", "device": {"category": "mobile"},
    "geo": {"country": "Germany", "region": "Berlin"},
    "event_params": [
        *({"key": name, "value": {"string_value": "x"}} for name in ("page_location", "page_title", "source")),
        {"key": "ga_session_id", "value": {"int_value": "1714636790"}},
        {"key": "page_referrer", "value": {"string_value": "https://example.org/"}},
    ],
    "items": [{"item_id": "p1", "item_category": "tea", "item_brand": "acme", "price": 10.5}],
}  # fmt: skip
SHOPIFY: dict[str, Any] = {
    "id": 450789469, "created_at": "2024-05-02T08:00:00-04:00", "currency": "EUR", "total_price": "31.50",
    "source_name": "web", "customer": {"id": 207119551}, "shipping_address": {"country_code": "DE"},
    "line_items": [{"product_id": 6329 + n, "quantity": 1, "price": "10.50", "vendor": "acme"} for n in range(3)],
}  # fmt: skip
STRIPE: dict[str, Any] = {
    "id": "evt_1", "object": "event", "type": "payment_intent.succeeded", "created": 1714636800,
    "data": {"object": {"id": "pi_1", "customer": "cus_1", "amount": 5990, "currency": "eur", "metadata": {}}},
}  # fmt: skip
RECORDS: dict[str, tuple[str, dict[str, Any]]] = {
    "Segment, a view": (
        "segment", {**SEGMENT, "event": "Product Viewed", "properties": {**ITEMS[0], "brand": "acme"}}
    ),
    "Segment, an order of three lines": (
        "segment",
        {**SEGMENT, "event": "Order Completed",
         "properties": {"order_id": "o-1", "total": 31.5, "currency": "EUR", "products": ITEMS}},
    ),
    "Google Analytics 4, a view": ("ga4", GA4),
    "Shopify, an order of three lines": ("shopify", SHOPIFY),
    "Stripe, a payment": ("stripe", STRIPE),
}  # fmt: skip


def seconds_each(work: Callable[[], object]) -> float:
    """Return the seconds that one call takes, over a round."""
    started_s = perf_counter()
    for _ in range(RECORDS_A_ROUND):
        work()
    return (perf_counter() - started_s) / RECORDS_A_ROUND


def measure(name: str, record: dict[str, Any]) -> dict[str, float]:
    """Return what a record costs that is mapped by `name`, and what the event that it becomes costs as it is, in U."""
    mapper = Mapper(mapping_of(name, tomllib.loads(shipped_text(name))["inputs"][name]))
    value = orjson.dumps(record)
    (becomes,) = mapper.of_value(value)
    assert isinstance(becomes, MappedEvent)
    topic, canonical = becomes.topic, becomes.value
    decoder, beside = Decoder(), MappedDecoder({"privacy": mapper})  # of another topic
    scaler, regression = preprocessing.StandardScaler(), linear_model.LogisticRegression()
    vectors = [{f"feature_{j}": ((i * 31 + j * 17) % 97) / 97 for j in range(N_FEATURES)} for i in range(64)]
    rounds = []
    for _ in range(ROUNDS):
        one_u_s = unit_s(value, scaler, regression, vectors, repeats=RECORDS_A_ROUND)
        mapped_s = seconds_each(lambda: mapper.of_value(value))
        canonical_s = seconds_each(lambda: decoder.decode_event(topic, canonical))
        beside_s = seconds_each(lambda: beside.decode_event(topic, canonical))
        rounds.append((mapped_s / one_u_s, canonical_s / one_u_s, beside_s / one_u_s))
    mapped, plain, beside_mapping = (median(each) for each in zip(*rounds, strict=True))
    return {"mapped_U": mapped, "canonical_U": plain, "canonical_beside_mapping_U": beside_mapping}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    as_json = parser.parse_args().json
    result = {title: measure(name, record) for title, (name, record) in RECORDS.items()}
    if as_json:
        print(json.dumps(result))
        return
    print(f"{'':<34} mapped, U  canonical, U  canonical beside a mapping, U   (budget: mapped {BUDGET_U:g})")
    for title, cost in result.items():
        mapped, plain, beside = cost.values()
        print(f"{title:<34} {mapped:9.2f}  {plain:12.2f}  {beside:28.2f}   {'met' if mapped <= BUDGET_U else 'over'}")


if __name__ == "__main__":
    main()
