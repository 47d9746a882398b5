"""The protocol of the basket backtest: what a basket is, which ones count, and what is listed for them."""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.settings import CoreSettings
from consumer.evaluate.basket import PARTS, BasketRun, OrderLines, run_basket
from consumer.evaluate.learning import learned_share
from schemas.units import DAY_MS

FIRST_DAY = 18_000
Line = tuple[str, str, float]  # customer, item, day


def run(rows: Sequence[Line], top: int = 2, first_day: int = FIRST_DAY) -> BasketRun:
    customers = sorted({customer for customer, _, _ in rows}, reverse=True)
    items = sorted({item for _, item, _ in rows}, reverse=True)
    lines = OrderLines(
        customers,
        items,
        [customers.index(customer) for customer, _, _ in rows],
        [items.index(item) for _, item, _ in rows],
        [int((first_day + day) * DAY_MS) for _, _, day in rows],
    )
    return run_basket(lines, CoreSettings(), top)


def figures(of: BasketRun) -> dict[tuple[str, str], tuple[int, float | None, float | None]]:
    found = {}
    for model in ("ours", "popularity", "personal_frequency"):
        for part in PARTS:
            each = of.figures(model, part)
            found[model, part] = each.n, each.recall, each.hit_rate
    return found


def test_a_basket_is_what_a_customer_orders_on_one_day() -> None:
    """Lines of one UTC day are one basket, an item twice is one item, and the first basket is not predicted."""
    found = run([("a", "x", 0.1), ("a", "y", 0.9), ("a", "x", 1.2), ("a", "x", 1.3), ("b", "x", 5)])
    assert found.n_baskets == 3
    report = found.report()
    assert (report.n, report.recall, report.hit_rate) == (1, 1.0, 1.0)
    assert (report.repeat.n, report.explore.n) == (1, 0)


def test_recall_is_by_basket_with_repeat_and_explore_apart() -> None:
    """By hand: the customer's usual items fill the list, so of one old and one new item it holds the old."""
    found = figures(run([("a", "x", 0), ("a", "y", 0), ("a", "x", 1), ("a", "new", 1), ("a", "y", 1)]))
    assert found["personal_frequency", "all"] == pytest.approx((1, 2 / 3, 1.0))
    assert found["personal_frequency", "repeat"] == (1, 1.0, 1.0)
    assert found["personal_frequency", "explore"] == (1, 0.0, 0.0)


def test_baskets_of_one_day_are_predicted_before_any_is_learned() -> None:
    """What another customer orders on the same day is not known, on the next day it is."""
    before = [("a", "x", 0), ("b", "y", 0), ("c", "z", 0)]
    same = run([*before, ("a", "n", 1), ("b", "n", 1), ("c", "n", 1)], top=9)
    assert figures(same)["popularity", "all"] == (3, 0.0, 0.0)
    later = run([*before, ("a", "n", 1), ("b", "n", 2), ("c", "n", 3)], top=9)
    assert figures(later)["popularity", "all"] == pytest.approx((3, 2 / 3, 2 / 3))
    assert figures(later)["popularity", "explore"] == pytest.approx((3, 2 / 3, 2 / 3))


def test_older_orders_count_less_for_what_is_usual() -> None:
    """Two orders a year ago are less than one last week; ties go by id."""
    rows = [("a", "old", 0), ("a", "old", 1), ("a", "late", 360), ("a", "late", 367)]
    assert figures(run(rows, top=1))["personal_frequency", "all"][1] == pytest.approx(2 / 3)  # without decay a third


LINES = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from("uvwxyz"), st.integers(1, 30)), min_size=1, max_size=60
)


@given(LINES, LINES, st.integers(1, 30))
@settings(max_examples=20)
def test_the_future_changes_no_earlier_prediction(one: list[Line], other: list[Line], today: int) -> None:
    """Up to a day, two files that differ only after it get the same hits."""
    past = [line for line in one if line[2] <= today]
    n = len({(customer, day) for customer, _, day in past}) - len({customer for customer, _, _ in past})
    hits = []
    for future in (one, other):
        found = run([("first", "u", 0), *past, *(line for line in future if line[2] > today)])
        hits.append({key: list(column[:n]) for key, column in found._hits.items()})
    assert hits[0] == hits[1]


@given(LINES, st.randoms(use_true_random=False))
@settings(max_examples=15)
def test_the_order_of_rows_makes_no_difference(rows: list[Line], chance: Random) -> None:
    """The file need not be sorted."""
    shuffled = rows.copy()
    chance.shuffle(shuffled)
    assert figures(run(rows)) == figures(run(shuffled))


def test_the_days_around_1970_are_days_as_well() -> None:
    """Four hundred years on the same weekdays come again: the figures are the same."""
    rows = [(name, item, day) for day in range(0, 40, 5) for name, item in (("a", "x"), ("b", "y"), ("a", "z"))]
    assert figures(run(rows, first_day=0)) == figures(run(rows, first_day=146_097))


def test_of_many_baskets_the_ranker_learns_from_a_sample() -> None:
    """As many as a backtest has time for, or the share that a worker is configured to learn from."""
    assert learned_share(10, 0.05) == 1.0
    assert learned_share(100_000, 0.05) == 0.5
    assert learned_share(100_000_000, 0.05) == 0.05
