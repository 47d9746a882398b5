"""The terms of the churn model: finite whatever a customer did, and silence is what time does to the features."""

from math import fsum, isclose, isfinite

from hypothesis import example, given
from hypothesis import strategies as st

from consumer.core.churn.churn_basis import CHURN_TERMS, Silence, by_feature, churn_terms
from consumer.core.churn.features import CHURN_FEATURES, churn_features, unpack_churn
from consumer.core.customer.customer import Customer
from consumer.core.customer.updates import apply_click, new_customer, take_order
from consumer.core.settings import ChurnSettings, CoreSettings
from schemas.events import ClickEvent, PurchaseEvent
from schemas.units import DAY_MS

SETTINGS = CoreSettings(churn=ChurnSettings(horizon_days=30.0))
T0 = 10_000 * DAY_MS

orders = st.lists(st.tuples(st.integers(0, 400 * DAY_MS), st.floats(0.0, 1e30)), max_size=30)


def buyer(made: list[tuple[int, float]], n_views: int = 0) -> Customer:
    customer = new_customer("ann", T0)
    for n in range(n_views):
        apply_click(customer, ClickEvent(f"v{n}", "ann", T0 + n, "item_view", item_id="i"), None, SETTINGS)
    for at, amount in made:
        take_order(customer, PurchaseEvent(f"{at}", "ann", T0 + at, "order", f"{at}", amount=amount), SETTINGS)
        customer.last_seen_ms = max(customer.last_seen_ms, T0 + at)
    return customer


def features_at(customer: Customer, at_ms: int) -> tuple[float, ...]:
    return unpack_churn(churn_features(customer, at_ms, SETTINGS.churn.horizon_days))


@given(orders, st.sampled_from([0, 1, DAY_MS, 500 * DAY_MS, 10**14]))
def test_every_term_is_a_number_whatever_was_ordered_and_when(made: list[tuple[int, float]], later_ms: int) -> None:
    """Amounts of 1e30, orders late or at the same moment, a time far ahead: the terms stay finite."""
    values = features_at(buyer(made), T0 + later_ms)
    later = Silence(45.0, 30.0).after(values)
    for each in (values, later):
        assert len(each) == len(CHURN_FEATURES)
        terms = churn_terms(each, 30.0)
        assert len(terms) == len(CHURN_TERMS)
        assert all(isfinite(term) for term in terms)


def test_thousands_of_orders_a_day_are_a_number_too() -> None:
    """A customer that is a machine spoils no model."""
    customer = buyer([(n, 1e30) for n in range(3_000)])
    assert all(isfinite(term) for term in churn_terms(features_at(customer, T0 + DAY_MS), 30.0))


@given(orders.map(sorted), st.integers(0, 5), st.integers(0, 200), st.integers(1, 100))
@example(made=[(400 * DAY_MS, 1e30)] * 8, n_views=0, wait_days=0, silent_days=30)
def test_silence_makes_of_the_features_what_time_makes_of_them(
    made: list[tuple[int, float]], n_views: int, wait_days: int, silent_days: int
) -> None:
    """The customer of today, silent for so long, is the customer who will then have been silent."""
    customer = buyer(made, n_views)
    now = T0 + 400 * DAY_MS + wait_days * DAY_MS
    foreseen = Silence(silent_days, 30.0).after(features_at(customer, now))
    seen = features_at(customer, now + silent_days * DAY_MS)
    for name, value, expected in zip(CHURN_FEATURES, foreseen, seen, strict=True):
        assert isclose(value, expected, rel_tol=1e-3, abs_tol=1e-4), name


def test_orders_count_with_half_lives_of_the_horizon() -> None:
    """A horizon later an order counts half in orders_slow, whatever the order in which late ones arrive."""
    day = DAY_MS
    for made in ([(0, 8.0), (30 * day, 8.0)], [(30 * day, 8.0), (0, 8.0)]):
        customer = buyer(made)
        assert [round(count, 9) for count in customer.orders.recent[1:2]] == [1.5]
        assert isclose(customer.orders.recent[3], 12.0)


@given(st.lists(st.floats(-5, 5), min_size=len(CHURN_TERMS), max_size=len(CHURN_TERMS)))
def test_accounting_by_feature_leaves_nothing_out(contributions: list[float]) -> None:
    """Each term is accounted to one feature."""
    assert isclose(fsum(by_feature(tuple(contributions))), fsum(contributions), abs_tol=1e-9)
