"""The protocol of the churn backtest: who counts when, and what was known then."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.churn import churn
from consumer.core.churn.churn import ChurnEstimate, ChurnLearner
from consumer.core.customer.customer import Customer
from consumer.core.hashing import digest64
from consumer.core.learning.drift import Drift
from consumer.core.settings import CoreSettings, Signal
from consumer.evaluate.churn import ChurnRun, Orders, TooShort, counted, figures_of, run_churn
from schemas.records import TrainingExample
from schemas.units import DAY_MS

HORIZON, EVERY = 6, 3
FIRST_DAY = 18_000  # 2019-04-14
N_DAYS = 80

Order = tuple[str, int, float]  # customer, day, amount
ORDERS = st.lists(
    st.tuples(st.sampled_from("abcdefg"), st.integers(1, N_DAYS - 1), st.sampled_from([0.0, 1.1, 20.7])), max_size=60
)


def core_settings(signal: Signal = "purchase") -> CoreSettings:
    whole = CoreSettings()
    return replace(whole, churn=replace(whole.churn, hazard_days=2.0, signal=signal))


def run(orders: Sequence[Order], signal: Signal = "purchase", first_day: int = FIRST_DAY) -> ChurnRun:
    names = sorted({customer for customer, _, _ in orders}, reverse=True)
    return run_churn(
        Orders(
            names,
            [names.index(customer) for customer, _, _ in orders],
            [(first_day + day) * DAY_MS + 3_600_000 for _, day, _ in orders],
            [amount for _, _, amount in orders],
        ),
        core_settings(signal),
        HORIZON,
        EVERY,
        keep_features=True,
    )


def whole(orders: Sequence[Order]) -> list[Order]:
    """Return the orders with one on the first and one on the last day, so that days are counted alike."""
    return [("first", 0, 1.0), *orders, ("last", N_DAYS - 1, 1.0)]


def predictions(of: ChurnRun) -> dict[tuple[str, int], float]:
    rows = of.rows
    return {
        (of.customer_ids[customer], day): probability
        for customer, day, probability in zip(rows.customer, rows.day, rows.probability, strict=True)
    }


@given(ORDERS)
@settings(max_examples=15)
def test_rows_and_labels_are_those_of_the_definition(orders: list[Order]) -> None:
    """Ticks from the first order on, on the customer's grid; labels and activity from the days of orders alone."""
    found = run(whole(orders))
    rows = found.rows
    seen: dict[tuple[str, int], tuple[int, ...]] = {}
    for place in range(len(rows)):
        key = (found.customer_ids[rows.customer[place]], int(rows.day[place]))
        flags = (bool(rows.churned[place]), bool(rows.is_active[place]), bool(rows.counts[place]))
        seen[key] = (*flags, *(int(each[place]) for each in (rows.n_orders, rows.first_order_day, rows.last_order_day)))
    expected: dict[tuple[str, int], tuple[int, ...]] = {}
    for name in {name for name, _, _ in whole(orders)}:
        days = sorted({day for customer, day, _ in whole(orders) if customer == name})
        for day in range(HORIZON + digest64("tick", name) % EVERY, N_DAYS - HORIZON, EVERY):
            before = [each for each in days if each <= day]
            if before:
                churned = not any(day < each <= day + HORIZON for each in days)
                active = day - HORIZON < before[-1]
                counts = 2 * HORIZON + 28 <= day <= N_DAYS - 1 - HORIZON
                expected[name, day] = (churned, active, counts, len(before), before[0], before[-1])
    assert seen == expected


@given(ORDERS, ORDERS, st.integers(HORIZON, N_DAYS - 2))
@settings(max_examples=15)
def test_the_future_changes_no_earlier_prediction(orders: list[Order], others: list[Order], today: int) -> None:
    """Whatever comes after a day, what was predicted up to it stays the same to the last bit."""
    past = [order for order in orders if order[1] <= today]
    one, other = (run(whole(past + [order for order in future if order[1] > today])) for future in (orders, others))
    before = {key: p for key, p in predictions(one).items() if key[1] <= today}
    assert before == {key: p for key, p in predictions(other).items() if key[1] <= today}


@given(ORDERS, st.randoms(use_true_random=False))
@settings(max_examples=15)
def test_the_order_of_rows_makes_no_difference(orders: list[Order], chance: Random) -> None:
    """The file need not be sorted, and the same orders give the same predictions."""
    shuffled = whole(orders)
    chance.shuffle(shuffled)
    one, other = run(whole(orders)), run(shuffled)
    assert predictions(one) == predictions(other)
    assert figures_of(one, one.rows.probability) == figures_of(other, other.rows.probability)


def test_a_label_is_learned_on_the_day_after_it_matured(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the models have learned when a day is predicted are all labels of windows that ended before it."""
    learned: list[TrainingExample] = []
    known: dict[int, list[TrainingExample]] = {}
    remember, learn = churn.remember_prediction, ChurnLearner.learn

    def remember_and_note(customer: Customer, estimate: ChurnEstimate, at_ms: int, *rest: Any, limit: int) -> None:
        known[at_ms // DAY_MS - FIRST_DAY] = learned.copy()
        remember(customer, estimate, at_ms, *rest, limit=limit)

    def learn_and_note(self: ChurnLearner, example: TrainingExample) -> list[Drift]:
        learned.append(example)
        return learn(self, example)

    monkeypatch.setattr(churn, "remember_prediction", remember_and_note)
    monkeypatch.setattr(ChurnLearner, "learn", learn_and_note)
    orders = [(name, day, 5.0) for name, gap in (("a", 2), ("b", 5), ("c", 17)) for day in range(0, N_DAYS, gap)]
    found = run(whole(orders))
    labels = {
        (int(day), int(tick)): churned
        for day, tick, churned in zip(found.rows.day, found.rows.tick, found.rows.churned, strict=True)
    }
    predicted = {day for day, _ in labels}
    for day, examples in known.items():
        matured = [(e.matured_at - FIRST_DAY * DAY_MS) // DAY_MS for e in examples]
        assert all(each < day for each in matured)
        horizon_days = {(e.predicted_at // DAY_MS) - FIRST_DAY for e in examples if e.head == churn.HORIZON}
        assert horizon_days == {each for each in predicted if each + HORIZON < day}
    rows = zip(found.rows.customer.tolist(), found.rows.day.tolist(), found.rows.churned.tolist(), strict=True)
    last = max(known)
    by_row = sorted((day, label) for _, day, label in rows if day + HORIZON < last)
    by_example = [e for e in known[last] if e.head == churn.HORIZON]
    assert by_row == sorted(((e.predicted_at // DAY_MS) - FIRST_DAY, e.label) for e in by_example)


def test_orders_of_a_day_are_one_order() -> None:
    """Two halves in the morning and the evening are what one whole is."""
    halves = [("a", 1, 2.5), ("a", 1, 2.5), ("a", 40, 1.0), ("b", 3, 0.1), ("b", 3, 0.2)]
    wholes = [("a", 1, 5.0), ("a", 40, 1.0), ("b", 3, 0.1 + 0.2)]
    one, other = run(whole(halves)), run(whole(wholes))
    assert np.allclose(one.rows.features, other.rows.features)
    assert (one.rows.n_orders == other.rows.n_orders).all()


def test_days_before_1970_and_at_its_start_are_days_as_well() -> None:
    """Four hundred years on, the same weekdays and dates come again: the predictions are the same."""
    orders = whole([("a", day, 5.0) for day in range(0, N_DAYS, 4)])
    at_start, later = run(orders, first_day=0), run(orders, first_day=146_097)
    assert at_start.day_0 == date(1970, 1, 1)
    assert predictions(at_start) == predictions(later)


def test_rows_that_a_model_met_without_knowledge_have_the_base_rate() -> None:
    """Before any label has matured that is a half, and such rows are marked."""
    rows = run(whole([("a", day, 5.0) for day in range(0, N_DAYS, 4)])).rows
    assert rows.is_base_rate[0]
    assert rows.probability[0] == 0.5
    assert not rows.is_base_rate[rows.counts].any()
    assert ((rows.probability > 0.0) & (rows.probability < 1.0)).all()


def test_reporting_from_a_date_leaves_what_is_learned_as_it_is() -> None:
    """Rows before it are not counted; the others keep their predictions."""
    found = run(whole([(name, day, 5.0) for name, gap in (("a", 3), ("b", 7)) for day in range(0, N_DAYS, gap)]))
    later = date.fromordinal(found.day_0.toordinal() + 60)
    rows = counted(found, later)
    assert set(found.rows.day[rows]) == {day for day in set(found.rows.day) if 60 <= day <= N_DAYS - 1 - HORIZON}
    assert figures_of(found, found.rows.probability, later).all.n == rows.sum() < counted(found).sum()


def test_activity_and_purchases_coincide_in_a_file_of_orders() -> None:
    """The rows and their labels are the same."""
    orders = whole([("a", day, 5.0) for day in range(0, N_DAYS, 4)])
    one, other = run(orders), run(orders, "activity")
    assert (one.rows.churned == other.rows.churned).all()
    assert (one.rows.is_active == other.rows.is_active).all()


def test_too_few_days_are_an_error_that_says_how_many_are_needed() -> None:
    """Three horizons and four weeks, the first day included."""
    days_needed = 3 * HORIZON + 28 + 1
    with pytest.raises(TooShort, match=f"span {days_needed - 1} days from .* needs {days_needed} "):
        run([("a", 0, 1.0), ("a", days_needed - 2, 1.0)])
    assert run([("a", 0, 1.0), ("a", days_needed - 1, 1.0)]).rows.counts.sum() <= 1
