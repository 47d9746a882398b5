"""Tastes: what a customer goes for, in a few bounded counts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.customer.customer import Customer, LastContext, decode_customer, encode_customer
from consumer.core.customer.tastes import (
    DAY_PARTS,
    UNKNOWN_BANDS,
    PriceBands,
    day_part_of,
    note_item,
    note_visit,
    price_band_of,
    taste_words,
    tastes_of,
)
from consumer.core.decision.gates import pass_gates
from schemas.codec import JsonEncoder
from schemas.events import Context, OrderLine, Product, PurchaseEvent
from schemas.records import Tastes
from schemas.units import DAY_MS, HOUR_MS
from tests.core.decisions import SETTINGS, a_customer, a_request, changed
from tests.core.streams import T0, Stream, new_task

BANDS = PriceBands(10.0, 100.0)


def test_of_a_new_customer_nothing_is_known() -> None:
    """There is no taste before the first event."""
    assert tastes_of(Customer("ann"), BANDS) is None


def test_tastes_name_what_was_looked_at_and_bought_most() -> None:
    """A stream of views and an order become categories, brands, a price band, a part of the day and a device."""
    task = new_task()
    stream = Stream(task)
    evening_ms = T0 + 19 * HOUR_MS
    phone = Context(device="mobile", time_zone="UTC")
    for day in range(3):
        at_ms = evening_ms + day * DAY_MS
        stream.click("ann", at_ms, item_id=f"i{day}", category="shoes", brand="acme", price=40.0, context=phone)
    stream.click("ann", evening_ms + 4 * DAY_MS, item_id="i9", category="hats", brand="zeta", price=40.0, context=phone)
    customer = task.state.get("ann")
    assert customer is not None
    assert tastes_of(customer, BANDS) == Tastes(("shoes", "hats"), ("acme", "zeta"), "mid", "evening", "mobile")


def test_brand_and_price_come_from_the_products_where_the_event_has_none() -> None:
    """A shop that sends item ids alone still gets tastes from its product records."""
    task = new_task()
    task.knowledge.apply_product(0, "i1", Product("i1", brand="acme", price=500.0))
    stream = Stream(task)
    stream.click("ann", T0, item_id="i1")
    order = PurchaseEvent("p1", "bob", T0, "order", "o1", (OrderLine("i1"),))
    task.step("purchases", 0, order)
    for name in ("ann", "bob"):
        customer = task.state.get(name)
        assert customer is not None
        assert (list(customer.tastes.brands), price_band_of(customer, BANDS)) == (["acme"], "high")


def test_what_our_recommendation_led_to_counts_less() -> None:
    """A view that we caused is no sign of taste; a cart that we caused is half a sign."""
    stream = Stream(new_task())
    stream.click("ann", T0, brand="acme", decision_id="d1")
    stream.click("ann", T0 + 1, "cart_add", brand="zeta", decision_id="d1")
    customer = stream.task.state.get("ann")
    assert customer is not None
    assert customer.tastes.brands == {"zeta": 1}


@pytest.mark.parametrize(("decision_id", "weight"), [(None, 4), ("d1", 2)])
def test_an_order_that_our_recommendation_led_to_is_half_a_sign(decision_id: str | None, weight: int) -> None:
    """Else what we recommend would become what the customer is said to like."""
    task = new_task()
    lines = (OrderLine("i1", brand="acme"),)
    task.step("purchases", 0, PurchaseEvent("p1", "ann", T0, "order", "o1", lines, decision_id=decision_id))
    customer = task.state.get("ann")
    assert customer is not None
    assert customer.tastes.brands == {"acme": weight}


def test_who_objected_leaves_no_new_tastes() -> None:
    """Nothing is counted of a customer who objects to profiling."""
    stream = Stream(new_task())
    stream.click("ann", T0)
    customer = stream.task.state.get("ann")
    assert customer is not None
    before = list(customer.tastes.day_parts)
    customer.consent.objected = True
    stream.task.state.put(customer)
    stream.click("ann", T0 + DAY_MS, brand="acme", price=10.0)
    customer = stream.task.state.get("ann")
    assert customer is not None
    assert (customer.tastes.brands, customer.tastes.n_prices, customer.tastes.day_parts) == ({}, 0, before)


def test_a_new_taste_overtakes_an_old_one() -> None:
    """Counts fade by halving, so a brand of long ago does not rule for ever."""
    customer = Customer("ann")
    for _ in range(1_000):
        note_item(customer, "old", None, 1, max_brands=8)
    for _ in range(70):
        note_item(customer, "new", None, 1, max_brands=8)
    tastes = tastes_of(customer, BANDS)
    assert tastes is not None
    assert tastes.brands == ("new", "old")


def test_the_price_band_is_a_third_of_the_shops_customers() -> None:
    """Bands are unknown until prices were sampled; a price at the bound belongs to the upper band."""
    customer = Customer("ann")
    assert price_band_of(customer, BANDS) is None
    note_item(customer, None, 9.0, 1, max_brands=8)
    assert (price_band_of(customer, UNKNOWN_BANDS), price_band_of(customer, BANDS)) == (None, "low")
    for _ in range(200):
        note_item(customer, None, 5_000.0, 1, max_brands=8)
    assert price_band_of(customer, BANDS) == "high"


def test_the_hours_of_a_day_have_names() -> None:
    """Of three hours each, from midnight on."""
    assert [day_part_of(hour) for hour in (0, 5, 12, 23)] == ["night", "small_hours", "noon", "late_evening"]


def test_words_for_people_name_the_strongest() -> None:
    """One category, one brand and the prices are said; of hours and devices alone there is nothing to say."""
    assert taste_words(Tastes(("shoes", "hats"), ("acme",), "mid", None, None)) == (
        "Goes for shoes, acme, medium prices"
    )
    assert not taste_words(Tastes((), (), None, "evening", "mobile"))


@pytest.mark.parametrize(
    ("who", "why"),
    [
        ({"devices": ["mobile"]}, None),
        ({"devices": ["desktop"]}, "device"),
        ({"countries": ["DE"]}, None),
        ({"countries": ["FR"]}, "country"),
        ({"day_parts": ["noon", "evening"]}, None),
        ({"day_parts": ["night"]}, "day_part"),
        ({"categories": ["hats", "shoes"], "brands": ["acme"], "price_bands": ["mid"]}, None),
        ({"categories": ["hats"]}, "tastes"),
        ({"brands": ["zeta"]}, "tastes"),
        ({"price_bands": ["low", "high"]}, "tastes"),
    ],
)
def test_an_action_can_be_meant_for_a_place_a_device_an_hour_or_a_taste(who: dict[str, Any], why: str | None) -> None:
    """Eligibility by context and taste rules an action out with a reason of its own."""
    tastes = Tastes(("shoes",), ("acme",), "mid", "evening", "mobile")
    request = a_request(a_customer(context=LastContext(device="mobile", country="DE")), tastes=tastes)
    assert reasons(who, request) == ({why} if why else set())


def test_what_is_not_known_matches_no_taste() -> None:
    """An action for a taste is not for those of whom nothing is known."""
    assert reasons({"price_bands": ["low", "mid", "high"]}, a_request()) == {"tastes"}
    assert reasons({"devices": ["mobile"]}, a_request()) == {"device"}


def reasons(who: dict[str, Any], request: Any) -> set[str]:
    """Return why the arms of the offer are ruled out at noon, UTC."""
    catalogue = changed("offer", eligibility=who)
    gated = pass_gates(request, catalogue, SETTINGS).gated
    return {why for arm, why in gated if arm.startswith("offer")}


names = st.text(max_size=80)


@given(
    st.lists(st.tuples(names, st.floats(0, 1e12), st.sampled_from([1, 2, 4]), names, st.integers(0, 23)), max_size=200)
)
def test_whatever_comes_tastes_stay_small(events: list[tuple[str, float, int, str, int]]) -> None:
    """Hostile brands, devices and prices leave bounded counts that survive being stored."""
    customer = Customer("ann")
    for brand, price, weight, device, hour in events:
        note_item(customer, brand, price, weight, max_brands=8)
        note_visit(customer, hour, device, 4)
    assert len(customer.tastes.brands) <= 8
    assert len(customer.tastes.devices) <= 4
    assert len(customer.tastes.day_parts) in (0, len(DAY_PARTS))
    assert all(0 < n < 64 for n in (*customer.tastes.brands.values(), *customer.tastes.devices.values()))
    assert all(n < 64 for n in customer.tastes.day_parts)
    assert decode_customer(encode_customer(customer)) == customer
    before = encode_customer(customer)
    tastes_of(customer, BANDS)
    assert encode_customer(customer) == before


def test_a_decision_says_the_segment_and_the_tastes() -> None:
    """The record names both, with the reason for the segment; what is not known is left out."""
    stream = Stream(new_task())
    stream.click("ann", T0, category="shoes", brand="acme", price=30.0)
    stream.task.take_outputs()
    stream.click("ann", T0 + DAY_MS)
    *_, second = stream.task.take_outputs().decisions
    assert second.tastes == Tastes(("shoes",), ("acme",))
    (reason,) = [each for each in second.reasons if each.name == "segment"]
    assert (reason.words, reason.value) == ("New: first seen 1 day ago, has not ordered yet", 1.0)
    encoded = JsonEncoder().encode("next-best-actions", second)
    assert b'"tastes":{"categories":["shoes"],"brands":["acme"]}' in encoded
    assert b"first_purchase_probability" not in encoded
