"""Segments: where a customer stands, by the customer's own rhythm, and without flapping."""

from math import log1p
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.customer import Customer
from consumer.core.segments import DEFAULT_THRESHOLDS, SEGMENTS, own_gap_days, segment_of, update_segment
from consumer.core.settings import DAY_MS

NOW_MS = 20_000 * DAY_MS


def buyer(days_since_order: float, n_orders: int = 3, gap_days: float = 45.0, **fields: Any) -> Customer:
    """Return a customer with orders, the last one `days_since_order` ago."""
    known: dict[str, Any] = {
        "first_seen_ms": NOW_MS - 400 * DAY_MS,
        "first_order_ms": NOW_MS - 390 * DAY_MS,
        "last_seen_ms": NOW_MS,
        "last_order_ms": round(NOW_MS - days_since_order * DAY_MS),
        "n_orders": n_orders,
        "order_gap_log_mean": log1p(gap_days) if n_orders > 1 else 0.0,
        "segment": "active",
    }
    return Customer("ann", **(known | fields))


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
        (buyer(3, n_orders=1, first_order_ms=NOW_MS - 3 * DAY_MS), "new"),
        (buyer(80), "slipping"),
        (buyer(120), "at_risk"),
        (buyer(200, n_orders=8, spend=2_000.0), "lost"),
        (buyer(2, segment="lost"), "won_back"),
        (buyer(2, n_orders=1, first_order_ms=NOW_MS - 2 * DAY_MS, segment="lost"), "new"),
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
    customer.last_order_ms = later_ms - DAY_MS
    assert not update_segment(customer, later_ms, None)
    customer.last_order_ms += 2 * DAY_MS
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
        first_order_ms=st.integers(NOW_MS - 400 * DAY_MS, NOW_MS),
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
