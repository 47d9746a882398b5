"""Records that are not quite as they should be are read where it is plain what was meant, and that is counted."""

from typing import Any, get_args

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import Decoder
from schemas.errors import InvalidRecord, RejectionReason
from schemas.events import MAX_ORDER_LINES, ClickEvent, Context, OrderLine, PrivacyEvent, Product, PurchaseEvent
from schemas.mending import MendWord

AT_MS = 1_700_000_000_000
VIEW: dict[str, Any] = {
    "event_id": "e1",
    "customer_id": "c1",
    "occurred_at": AT_MS,
    "kind": "item_view",
    "item_id": "i1",
}
ORDER: dict[str, Any] = {
    "event_id": "e1",
    "customer_id": "c1",
    "occurred_at": AT_MS,
    "kind": "order",
    "order_id": "o1",
}
REFUND = ORDER | {"kind": "refund"}
GOOD = {"item_id": "good", "unit_price": 50.0}
GOOD_LINE = OrderLine("good", unit_price=50.0)


def read(topic: str, tree: dict[str, Any]) -> tuple[Any, dict[str, int]]:
    """The record, and what was mended: ``what field`` → how often."""
    decoder = Decoder()
    record = decoder.decode(topic, orjson.dumps(tree))
    assert all(of == topic and mend.what in get_args(MendWord) for of, mend in decoder.mended)
    return record, {f"{mend.what} {mend.field}": n for (_, mend), n in decoder.mended.items()}


def rejected(topic: str, tree: dict[str, Any]) -> InvalidRecord:
    """The error for a record that is not mended; nothing is counted as mended then."""
    decoder = Decoder()
    with pytest.raises(InvalidRecord) as caught:
        decoder.decode(topic, orjson.dumps(tree))
    assert not decoder.mended
    return caught.value


# Null is absent


@pytest.mark.parametrize(
    ("topic", "tree", "record"),
    [
        ("products", {"item_id": "i1", "available": None, "restricted": None, "price": None}, Product("i1")),
        (
            "purchases",
            ORDER | {"amount": 12.5, "lines": None},
            PurchaseEvent("e1", "c1", AT_MS, "order", "o1", amount=12.5),
        ),
        (
            "purchases",
            ORDER | {"lines": [{"item_id": "i1", "quantity": None, "unit_price": None, "brand": None}]},
            PurchaseEvent("e1", "c1", AT_MS, "order", "o1", (OrderLine("i1"),)),
        ),
        (
            "clickstream",
            VIEW | {"session_id": None, "context": {"device": None, "country": "DE"}},
            ClickEvent(**VIEW, context=Context(country="DE")),
        ),
        (
            "privacy",
            VIEW | {"kind": "erasure", "channel": None, "purpose": None, "granted": None},
            PrivacyEvent("e1", "c1", AT_MS, "erasure"),
        ),
    ],
)
def test_null_in_an_optional_field_is_as_good_as_leaving_it_out(topic: str, tree: dict[str, Any], record: Any) -> None:
    """At every depth, and it is nothing that would have to be counted."""
    assert read(topic, tree) == (record, {})


@pytest.mark.parametrize("field", ["event_id", "customer_id", "occurred_at", "kind", "order_id"])
def test_null_in_a_field_that_is_needed_is_rejected(field: str) -> None:
    """There is no default to take."""
    assert rejected("purchases", ORDER | {"amount": 1.0, field: None}).field == field


# Types that say the same


@pytest.mark.parametrize(
    ("changes", "expected", "mend"),
    [
        ({"price": "59.90"}, {"price": 59.9}, "number_from_text price"),
        ({"price": " 5 "}, {"price": 5.0}, "number_from_text price"),
        ({"n_results": "12"}, {"n_results": 12}, "number_from_text n_results"),
        ({"n_results": 12.0}, {"n_results": 12}, "whole_number n_results"),
        ({"occurred_at": str(AT_MS)}, {"occurred_at": AT_MS}, "number_from_text occurred_at"),
        ({"occurred_at": float(AT_MS)}, {"occurred_at": AT_MS}, "whole_number occurred_at"),
        ({"occurred_at": AT_MS + 0.75}, {"occurred_at": AT_MS}, "fraction occurred_at"),
        ({"occurred_at": "2023-11-14T22:13:20Z"}, {"occurred_at": AT_MS}, "time_from_text occurred_at"),
        ({"occurred_at": "2023-11-14T23:13:20.000+01:00"}, {"occurred_at": AT_MS}, "time_from_text occurred_at"),
        ({"customer_id": 17}, {"customer_id": "17"}, "text_from_number customer_id"),
        ({"customer_id": 17.0}, {"customer_id": "17"}, "text_from_number customer_id"),
        ({"category": 1051}, {"category": "1051"}, "text_from_number category"),
        ({"context": {"region": 7}}, {"context": Context(region="7")}, "text_from_number context.region"),
        ({"session_id": ""}, {}, "empty_text session_id"),
        ({"price": ""}, {}, "empty_text price"),
    ],
)
def test_what_was_meant_is_read_and_counted(changes: dict[str, Any], expected: dict[str, Any], mend: str) -> None:
    """Numbers as text, whole numbers with a point, ids as numbers, times in ISO 8601 with an offset."""
    assert read("clickstream", VIEW | changes) == (ClickEvent(**VIEW | expected), {mend: 1})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"price": "59,90"}, "wrong_type"),
        ({"price": "1,234.50"}, "wrong_type"),
        ({"price": "NaN"}, "wrong_type"),
        ({"price": "1_000"}, "wrong_type"),
        ({"price": "٣"}, "wrong_type"),
        ({"price": "-1"}, "out_of_range"),
        ({"price": "1" * 5_000}, "wrong_type"),
        ({"price": False}, "wrong_type"),
        ({"n_results": 1.5}, "wrong_type"),
        ({"n_results": "1.5"}, "wrong_type"),
        ({"occurred_at": "2023-11-14"}, "wrong_type"),
        ({"occurred_at": "2023-11-14T22:13:20"}, "wrong_type"),
        ({"occurred_at": "soon"}, "wrong_type"),
        ({"occurred_at": True}, "wrong_type"),
        ({"customer_id": 17.5}, "wrong_type"),
        ({"customer_id": True}, "wrong_type"),
        ({"customer_id": 2.0**60}, "wrong_type"),
        ({"customer_id": ""}, "out_of_range"),
        ({"item_id": ""}, "missing_field"),
        ({"context": "mobile"}, "wrong_type"),
    ],
)
def test_what_could_mean_two_things_is_rejected(changes: dict[str, Any], reason: str) -> None:
    """A decimal comma may separate thousands, a time without a zone is no instant, a rounded id is somebody else."""
    assert rejected("clickstream", VIEW | changes).reason == reason


@pytest.mark.parametrize(("written", "flag"), [("true", True), ("False", False), (1, True), (0, False), ("0", False)])
def test_a_flag_may_be_written_as_text_or_number(written: Any, flag: bool) -> None:
    """As columns without a type of their own for it are exported."""
    product, mends = read("products", {"item_id": "i1", "available": written})
    assert (product, mends) == (Product("i1", available=flag), {"flag_from_text available": 1})
    assert read("privacy", VIEW | {"kind": "consent", "granted": written})[0].granted is flag
    assert rejected("products", {"item_id": "i1", "available": "in stock"}).reason == "wrong_type"


def test_clean_records_are_not_counted() -> None:
    """The counts are of what somebody should mend at the source."""
    assert read("clickstream", VIEW)[1] == {}
    assert read("purchases", ORDER | {"lines": [GOOD]})[1] == {}


def test_our_own_records_are_read_strictly() -> None:
    """What is odd in them is damage."""
    session = {"session_id": "s", "ended_at": "5", "items": [], "categories": [], "weights": []}
    assert rejected("sessions", session).reason == "wrong_type"


# Orders


@pytest.mark.parametrize(
    ("odd", "total", "mends"),
    [
        ({"item_id": "i", "quantity": 0, "unit_price": 9.0}, 50.0, {"removed_line lines": 1}),
        ({"item_id": "i", "quantity": 0.0}, 50.0, {"removed_line lines": 1, "whole_number lines[].quantity": 1}),
        ({"item_id": "coupon", "unit_price": -3.0}, 47.0, {"negative_line lines": 1}),
        ({"item_id": "i", "quantity": -2, "unit_price": 4.0}, 42.0, {"negative_line lines": 1}),
        ({"item_id": "i", "quantity": -0.5, "unit_price": 4.0}, 48.0, {"negative_line lines": 1}),
        ({"unit_price": 4.5}, 54.5, {"unreadable_line lines": 1}),
        ({"item_id": None}, 50.0, {"unreadable_line lines": 1}),
        ({"item_id": ["i"], "unit_price": {}}, 50.0, {"unreadable_line lines": 1}),
        (None, 50.0, {"unreadable_line lines": 1}),
        ("shipping", 50.0, {"unreadable_line lines": 1}),
    ],
)
def test_an_order_with_one_odd_line_is_still_an_order(odd: Any, total: float, mends: dict[str, int]) -> None:
    """The line is left out and counted; the money in it counts as far as it can be read."""
    order, found = read("purchases", ORDER | {"lines": [GOOD, odd]})
    assert (order.lines, order.total) == ((GOOD_LINE,), pytest.approx(total))
    assert {name: n for name, n in found.items() if not name.startswith("unreadable_field")} == mends


@pytest.mark.parametrize("odd", [{"item_id": "coupon", "unit_price": -3.0}, {"item_id": "i", "quantity": 0}, None, 7])
def test_an_amount_that_was_given_is_kept(odd: Any) -> None:
    """It is what was paid, whatever the lines say; also where no line is left."""
    order, _ = read("purchases", ORDER | {"lines": [GOOD, odd], "amount": 33.0})
    assert (order.lines, order.amount) == ((GOOD_LINE,), 33.0)
    order, mends = read("purchases", ORDER | {"lines": [odd], "amount": "33.0"})
    assert (order.lines, order.amount) == ((), 33.0)
    assert mends["number_from_text amount"] == 1


@pytest.mark.parametrize(
    ("odd", "reason", "field"),
    [
        ([{"unit_price": 4.0}], "missing_field", "lines[0].item_id"),
        ([{"item_id": "i", "quantity": 0}], "out_of_range", "lines[0].quantity"),
        ([{"item_id": "i", "unit_price": -4.0}], "out_of_range", "lines[0].unit_price"),
        (["i"], "wrong_type", "lines[0]"),
        ("i", "wrong_type", "lines"),
        ([], "missing_field", "lines"),
    ],
)
@pytest.mark.parametrize("amount", [{}, {"amount": None}, {"amount": "n/a"}])
def test_an_order_without_a_usable_line_and_without_an_amount_is_rejected(
    odd: Any, reason: str, field: str, amount: dict[str, Any]
) -> None:
    """For what is wrong with its lines, unless its amount is wrong as well."""
    invalid = rejected("purchases", ORDER | {"lines": odd} | amount)
    assert (invalid.reason, invalid.field) in ((reason, field), ("wrong_type", "amount"))


def test_a_quantity_of_weight_is_a_measure() -> None:
    """Three quarters of a kilogram at 5 the kilogram."""
    order, mends = read("purchases", ORDER | {"lines": [{"item_id": "cheese", "quantity": 0.75, "unit_price": 5}]})
    assert order.lines == (OrderLine("cheese", quantity=1, unit_price=5.0, measure=0.75),)
    assert (order.total, mends) == (3.75, {"fraction lines[].quantity": 1})
    order, mends = read("purchases", ORDER | {"lines": [{"item_id": "c", "quantity": "1.250", "unit_price": "4.00"}]})
    assert (order.lines[0].measure, order.total) == (1.25, 5.0)


def test_lines_say_their_numbers_in_other_types() -> None:
    """Text for prices, a point in whole quantities, numeric ids."""
    order, mends = read("purchases", ORDER | {"lines": [{"item_id": 17, "quantity": 2.0, "unit_price": "59.90"}]})
    assert order.lines == (OrderLine("17", quantity=2, unit_price=59.9),)
    assert mends == {
        "text_from_number lines[].item_id": 1,
        "whole_number lines[].quantity": 1,
        "number_from_text lines[].unit_price": 1,
    }


def test_a_line_whose_details_cannot_be_read_is_still_a_line() -> None:
    """The item was bought; what is unreadable beside it is left out and counted."""
    line = {"item_id": "i", "unit_price": "free", "category": ["a"], "brand": "b"}
    order, mends = read("purchases", ORDER | {"lines": [line]})
    assert order.lines == (OrderLine("i", brand="b"),)
    assert mends == {"unreadable_field lines[].unit_price": 1, "unreadable_field lines[].category": 1}


def test_an_amount_that_cannot_be_read_is_the_sum_of_the_lines() -> None:
    """But an order of less than nothing is no order: it is rejected rather than counted as one."""
    order, mends = read("purchases", ORDER | {"lines": [GOOD], "amount": "n/a"})
    assert (order.total, mends) == (50.0, {"unreadable_field amount": 1})
    invalid = rejected("purchases", ORDER | {"lines": [GOOD], "amount": -5.0})
    assert (invalid.reason, invalid.field) == ("out_of_range", "amount")


def test_of_too_many_lines_the_first_are_kept_and_all_are_paid() -> None:
    """A wholesale order is an order."""
    lines = [{"item_id": f"i{n}", "unit_price": "2.0"} for n in range(MAX_ORDER_LINES + 5)]
    order, mends = read("purchases", ORDER | {"lines": lines})
    assert [line.item_id for line in order.lines] == [f"i{n}" for n in range(MAX_ORDER_LINES)]
    assert order.total == 2.0 * (MAX_ORDER_LINES + 5)
    assert mends["too_many_lines lines"] == 5
    order, _ = read("purchases", ORDER | {"lines": [{"item_id": f"i{n}"} for n in range(MAX_ORDER_LINES + 1)]})
    assert (len(order.lines), order.amount) == (MAX_ORDER_LINES, None)


def test_an_order_of_more_discount_than_price_cost_nothing() -> None:
    """A voucher worth more than the cart."""
    order, _ = read("purchases", ORDER | {"lines": [GOOD, {"item_id": "voucher", "unit_price": -80.0}]})
    assert (order.lines, order.total) == ((GOOD_LINE,), 0.0)


def test_a_single_line_may_stand_without_its_list() -> None:
    """As converters from XML write it."""
    assert read("purchases", ORDER | {"lines": GOOD})[0].lines == (GOOD_LINE,)


def test_a_refund_may_carry_its_sign() -> None:
    """Minus signs in all of a refund say no more than its kind does."""
    refund, mends = read("purchases", REFUND | {"amount": -12.5})
    assert (refund.total, mends) == (12.5, {"negative_refund amount": 1})
    refund, mends = read("purchases", REFUND | {"lines": [{"item_id": "i", "quantity": -2, "unit_price": 4.0}]})
    assert (refund.lines, refund.total) == ((OrderLine("i", quantity=2, unit_price=4.0),), 8.0)
    assert mends == {"negative_refund lines[].quantity": 1}
    refund, _ = read("purchases", REFUND | {"lines": [{"item_id": "i", "unit_price": -4.0}], "amount": -4})
    assert (refund.lines, refund.total) == ((OrderLine("i", unit_price=4.0),), 4.0)


def test_a_refund_with_a_fee_is_what_was_given_back_in_the_end() -> None:
    """A negative line among positive ones is taken off, as in an order."""
    refund, mends = read("purchases", REFUND | {"lines": [GOOD, {"item_id": "fee", "unit_price": -5.0}]})
    assert (refund.lines, refund.total) == ((GOOD_LINE,), 45.0)
    assert mends == {"negative_line lines": 1}


def test_a_failed_payment_counts_whatever_its_lines_are() -> None:
    """What failed is the payment; nobody needs its lines."""
    failed, mends = read("purchases", ORDER | {"kind": "payment_failed", "lines": [{}]})
    assert (failed.kind, failed.lines, mends) == ("payment_failed", (), {"unreadable_line lines": 1})
    assert rejected("purchases", REFUND | {"lines": [{}]}).field == "lines[0].item_id"


oddities = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "5", "-0.5", "1e99", "true", "x", "2023-11-14T22:13:20Z", "0001-01-01T00:00:00+23:59"]),
    st.just([]),
    st.just({}),
)
odd_lines = st.dictionaries(st.sampled_from(["item_id", "quantity", "unit_price", "measure", "brand"]), oddities)


@settings(max_examples=500)
@given(
    changes=st.dictionaries(st.sampled_from([*ORDER, "amount", "currency", "context"]), oddities),
    lines=st.lists(odd_lines | oddities, max_size=4) | oddities,
    kind=st.sampled_from(["order", "refund", "payment_failed"]),
)
def test_whatever_is_odd_gives_a_record_or_a_reason(changes: dict[str, Any], lines: Any, kind: str) -> None:
    """Mending never raises anything of its own, and what it mends is a record like any other."""
    decoder, record, reason = Decoder(), None, None
    try:
        record = decoder.decode("purchases", orjson.dumps(ORDER | {"kind": kind, "lines": lines} | changes))
    except InvalidRecord as invalid:
        reason = invalid.reason
    if record is None:
        assert reason in get_args(RejectionReason)
        assert not decoder.mended
    else:
        assert record.total >= 0
