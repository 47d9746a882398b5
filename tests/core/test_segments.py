"""Segments: where a customer stands, by the customer's own rhythm, and without flapping."""

from dataclasses import replace
from math import log1p

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.customer.customer import Customer, Orders
from consumer.core.customer.segments import (
    DEFAULT_THRESHOLDS,
    SEGMENTS,
    Thresholds,
    own_gap_days,
    segment_of,
    segment_words,
    transition,
    transitions,
    update_segment,
)
from consumer.core.settings import ChurnSettings
from schemas.units import DAY_MS
from tests.core.streams import SETTINGS, T0, Stream, new_task

NOW_MS = 20_000 * DAY_MS


def buyer(
    days_since_order: float,
    n_orders: int = 3,
    gap_days: float = 45.0,
    *,
    first_order_days: float = 390.0,
    spend: float = 0.0,
    segment: str = "active",
    segment_since_ms: int = 0,
) -> Customer:
    """Return a customer with orders, the first and the last one so many days ago."""
    orders = Orders(
        n_orders,
        first_ms=round(NOW_MS - first_order_days * DAY_MS),
        last_ms=round(NOW_MS - days_since_order * DAY_MS),
        spend=spend,
        gap_log_mean=log1p(gap_days) if n_orders > 1 else 0.0,
    )
    return Customer(
        "ann",
        first_seen_ms=NOW_MS - 400 * DAY_MS,
        last_seen_ms=NOW_MS,
        orders=orders,
        segment=segment,
        segment_since_ms=segment_since_ms,
    )


def visitor(known_days: float, idle_days: float, segment: str = "new") -> Customer:
    """Return a customer who never ordered."""
    return Customer(
        "bob",
        first_seen_ms=round(NOW_MS - known_days * DAY_MS),
        last_seen_ms=round(NOW_MS - idle_days * DAY_MS),
        segment=segment,
    )


@pytest.mark.parametrize(
    ("customer", "expected"),
    [
        (buyer(10), "active"),
        (buyer(10, n_orders=8), "loyal"),
        (buyer(10, n_orders=8, spend=2_000.0), "big_spender"),
        (buyer(3, n_orders=1, first_order_days=3), "new"),
        (buyer(80), "slipping"),
        (buyer(120), "at_risk"),
        (buyer(200, n_orders=8, spend=2_000.0), "lost"),
        (buyer(2, segment="lost"), "won_back"),
        (buyer(2, n_orders=1, first_order_days=2, segment="lost"), "new"),
        (visitor(3, 1), "new"),
        (visitor(50, 1), "active"),
        (visitor(50, 20), "slipping"),
        (visitor(90, 70), "lost"),
    ],
)
def test_each_stage_of_a_customers_life_has_its_name(customer: Customer, expected: str) -> None:
    """The segments tell who just came, who is in time, who is late and who came back."""
    assert segment_of(customer, NOW_MS, 0.2) == expected


def test_late_is_measured_against_the_customers_own_rhythm() -> None:
    """Forty days without an order are nothing for a quarterly buyer and a loss for a weekly one."""
    assert segment_of(buyer(40, n_orders=8, gap_days=90), NOW_MS, None) == "loyal"
    assert segment_of(buyer(40, n_orders=20, gap_days=7), NOW_MS, None) == "lost"
    assert own_gap_days(buyer(1, n_orders=1), 45.0) == 45.0
    assert 7 < own_gap_days(buyer(1, n_orders=2, gap_days=7), 45.0) < 45


def test_a_high_risk_alone_is_no_alarm_but_with_a_late_order_it_is() -> None:
    """The probability lifts a slipping customer to at risk, and leaves one who ordered last week alone."""
    assert segment_of(buyer(10), NOW_MS, 0.95) == "active"
    assert segment_of(buyer(80), NOW_MS, 0.95) == "at_risk"


def test_who_was_won_back_stays_so_for_a_while() -> None:
    """After the days of grace the customer is judged like every other."""
    customer = buyer(2, n_orders=8, segment="lost")
    assert update_segment(customer, NOW_MS, None)
    assert (customer.segment, customer.segment_since_ms) == ("won_back", NOW_MS)
    later_ms = NOW_MS + 59 * DAY_MS
    customer.orders.last_ms = later_ms - DAY_MS
    assert not update_segment(customer, later_ms, None)
    customer.orders.last_ms += 2 * DAY_MS
    assert update_segment(customer, later_ms + 2 * DAY_MS, None)
    assert customer.segment == "loyal"


def test_an_edge_is_left_only_by_a_margin() -> None:
    """A risk that wavers around its threshold does not make the segment waver."""
    edge = DEFAULT_THRESHOLDS.at_risk_probability
    customer = buyer(80)
    names = []
    for risk in (edge - 0.01, edge + 0.01, edge - 0.01, edge - 0.05, edge * 0.89, edge - 0.01):
        update_segment(customer, NOW_MS, risk)
        names.append(customer.segment)
    assert names == ["slipping", "at_risk", "at_risk", "at_risk", "slipping", "slipping"]


customers = st.one_of(
    st.builds(
        buyer,
        st.floats(0, 500),
        n_orders=st.integers(1, 20),
        gap_days=st.floats(0, 300),
        spend=st.floats(0, 5_000),
        first_order_days=st.floats(0, 400),
        segment=st.sampled_from(SEGMENTS),
        segment_since_ms=st.integers(0, NOW_MS),
    ),
    st.builds(visitor, st.floats(0, 500), st.floats(0, 500), segment=st.sampled_from(SEGMENTS)),
)
risks = st.none() | st.floats(0, 1)


@given(customers, risks)
def test_asked_twice_the_answer_is_the_same(customer: Customer, risk: float | None) -> None:
    """At one moment a customer has one segment: updating again changes nothing."""
    update_segment(customer, NOW_MS, risk)
    assert customer.segment in SEGMENTS
    assert not update_segment(customer, NOW_MS, risk)


@given(customers, risks, st.lists(st.floats(0.01, 60), min_size=1, max_size=20))
def test_in_silence_a_customer_only_ever_gets_later(customer: Customer, risk: float | None, days: list[float]) -> None:
    """Without an order or a visit nobody moves from lost back to slipping, or from late back to in time."""
    late = {"slipping": 1, "at_risk": 2, "lost": 3}
    now_ms = NOW_MS
    update_segment(customer, now_ms, risk)
    stage = late.get(customer.segment, 0)
    for step in days:
        now_ms += round(step * DAY_MS)
        update_segment(customer, now_ms, risk)
        assert late.get(customer.segment, 0) >= stage
        stage = late.get(customer.segment, 0)


@pytest.mark.parametrize(
    ("customer", "risk", "words"),
    [
        (buyer(62, gap_days=33), None, "Slipping: 62 days without an order, 1.7 times the usual 37"),
        (
            buyer(80),
            0.95,
            "At risk: 80 days without an order, 1.8 times the usual 45, and a high risk of churn",
        ),
        (buyer(200), None, "Lost: 200 days without an order, 4.4 times the usual 45"),
        (buyer(10), None, "Active: 10 days without an order, 0.2 times the usual 45"),
        (buyer(10, n_orders=8), None, "Loyal: 8 orders, 5 or more are loyal"),
        (
            buyer(10, n_orders=8, spend=2_000.0),
            None,
            "Big spender: has spent 2,000, a big spender has 1,000 EUR or more",
        ),
        (buyer(1, n_orders=1, first_order_days=1), None, "New: first order 1 day ago"),
        (buyer(2, segment="lost"), None, "Won back: was lost, ordered again 0 days ago"),
        (visitor(3, 1), None, "New: first seen 3 days ago, has not ordered yet"),
        (visitor(50, 20), None, "Slipping: 20 days without a visit, has never ordered"),
    ],
)
def test_every_segment_is_explained(customer: Customer, risk: float | None, words: str) -> None:
    """The words name the number that counts, and its threshold where it is not the customer's own."""
    update_segment(customer, NOW_MS, risk)
    assert segment_words(customer, NOW_MS, DEFAULT_THRESHOLDS, "EUR")[0] == words


def test_the_number_of_an_explanation_is_the_one_in_its_words() -> None:
    """Machines read the value, people the words: both say how late."""
    customer = buyer(62, gap_days=33)
    update_segment(customer, NOW_MS, None)
    assert segment_words(customer, NOW_MS, DEFAULT_THRESHOLDS, "EUR")[1] == pytest.approx(1.7, abs=0.05)


@given(customers, risks)
def test_whatever_the_segment_it_can_be_explained(customer: Customer, risk: float | None) -> None:
    """There are words and a finite number for every customer."""
    update_segment(customer, NOW_MS, risk)
    words, value = segment_words(customer, NOW_MS, DEFAULT_THRESHOLDS, "")
    assert words.startswith(customer.segment.replace("_", " ").capitalize())
    assert abs(value) < 1e12


def test_in_another_shop_the_same_silence_is_another_segment() -> None:
    """With thresholds of a shop of weekly buyers, who bought once is lost after a month and a half."""
    once = buyer(45, n_orders=1)
    assert segment_of(once, NOW_MS, None) == "active"
    assert segment_of(once, NOW_MS, None, Thresholds(typical_gap_days=7.0)) == "lost"


def walk(days_and_orders: list[tuple[int, bool]], *, signal: str = "purchase") -> list[str]:
    """Return the segments that a customer goes through: a visit or an order on each of the days, then two years."""
    task = new_task(replace(SETTINGS, churn=ChurnSettings(signal=signal)))  # type: ignore[arg-type]  # one of the two
    stream = Stream(task)
    names: list[str] = []
    for day in range(days_and_orders[-1][0] + 400):
        at_ms = T0 + day * DAY_MS
        task.advance_to(at_ms)
        for on_day, is_order in days_and_orders:
            if on_day == day:
                stream.order("ann", at_ms, price=100.0) if is_order else stream.click("ann", at_ms)
        customer = task.state.get("ann")
        if customer is not None and (not names or names[-1] != customer.segment):
            names.append(customer.segment)
    assert sum(transitions(task.counters).values()) == len(names) - 1
    return names


def test_a_buyers_life_leads_through_the_segments_and_back() -> None:
    """Every week a tick looks: new, active, late by stages, lost; an order wins back, for a while."""
    assert walk([(0, True)]) == ["new", "active", "slipping", "at_risk", "lost"]
    assert walk([(0, True), (300, True)]) == [
        "new", "active", "slipping", "at_risk", "lost", "won_back", "active", "slipping", "at_risk",
    ]  # fmt: skip


def test_orders_make_a_customer_loyal_and_then_a_big_spender() -> None:
    """A monthly buyer is loyal with the fifth order and a big spender with the tenth of 100; silence ends both."""
    every_month = [(30 * month, True) for month in range(12)]
    assert walk(every_month[:7]) == ["new", "active", "loyal", "slipping", "at_risk", "lost"]
    assert walk(every_month) == ["new", "active", "loyal", "big_spender", "slipping", "at_risk", "lost"]
    back = [*every_month[:6], (500, True), (530, True), (560, True), (590, True)]
    assert walk(back)[5:9] == ["lost", "won_back", "loyal", "big_spender"]


def test_who_never_bought_is_new_active_slipping_lost_and_back_with_the_next_visit() -> None:
    """Visits alone never make at risk, loyal or won back; a first order after long silence makes new."""
    visits = [(day, False) for day in (0, 10, 20, 30, 40)]
    assert walk(visits) == walk(visits, signal="activity")
    assert walk(visits, signal="activity") == ["new", "active", "slipping", "lost"]
    assert walk([*visits, (150, False)], signal="activity") == [
        "new", "active", "slipping", "lost", "active", "slipping", "lost",
    ]  # fmt: skip
    assert walk([*visits, (150, True)], signal="activity")[3:5] == ["lost", "new"]


def test_moves_are_counted_by_where_from_and_where_to() -> None:
    """What a task counts beside the moves is left out."""
    counters = {transition("lost", "won_back"): 2, transition("new", "active"): 5, "events": 9}
    assert transitions(counters) == {("lost", "won_back"): 2, ("new", "active"): 5}
