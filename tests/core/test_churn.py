"""Churn: labels are held to the horizon for both classes, and an event never completes its own example."""

from math import fsum, isclose, isfinite, log
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.churn import churn
from consumer.core.churn.features import CHURN_FEATURES, churn_features
from consumer.core.customer.counters import new_counters
from consumer.core.customer.customer import Customer, Orders
from consumer.core.customer.updates import new_customer, take_order
from consumer.core.learning.drift import REST_EXAMPLES
from consumer.core.learning.linear import sigmoid
from consumer.core.settings import ChurnSettings, CoreSettings, LearnerSettings
from schemas.events import PurchaseEvent
from schemas.records import TrainingExample
from schemas.units import DAY_MS
from tests.core.streams import Stream, new_task, told

SETTINGS = ChurnSettings(signal="purchase", horizon_days=10, hazard_days=2, tick_days=2)
T0 = 1_000 * DAY_MS


def predicted_at(*moments: int) -> Customer:
    customer = Customer(
        "ann", first_seen_ms=T0, last_seen_ms=T0, orders=Orders(last_ms=T0, n=1), counters=new_counters()
    )
    for moment in moments:
        estimate = churn.ChurnScorer(SETTINGS).estimate(customer, moment)
        churn.remember_prediction(customer, estimate, moment, SETTINGS, limit=16)
    return customer


def test_an_early_return_is_not_learned_early() -> None:
    """A customer who buys on the first day is an example only once the horizon is over, like one who does not."""
    customer = predicted_at(T0)
    churn.note_signal(customer, T0 + 1)
    assert churn.reveal(customer, T0 + 2 * DAY_MS - 1, SETTINGS) == []
    hazard = churn.reveal(customer, T0 + 10 * DAY_MS - 1, SETTINGS)
    horizon = churn.reveal(customer, T0 + 10 * DAY_MS, SETTINGS)
    assert [(e.head, e.label) for e in (*hazard, *horizon)] == [("hazard", 0.0), ("horizon", 0.0)]
    assert customer.pending.churn == []


def test_a_purchase_after_the_hazard_window_counts_for_the_horizon_only() -> None:
    """The short head says no purchase within its window; the long one says there was one."""
    customer = predicted_at(T0)
    churn.note_signal(customer, T0 + 5 * DAY_MS)
    examples = churn.reveal(customer, T0 + 10 * DAY_MS, SETTINGS)
    assert {e.head: e.label for e in examples} == {"hazard": 1.0, "horizon": 0.0}


def test_a_purchase_at_the_moment_of_the_prediction_is_not_a_return() -> None:
    """The window is open at its start: (t, t + H]."""
    customer = predicted_at(T0)
    churn.note_signal(customer, T0)
    assert {e.label for e in churn.reveal(customer, T0 + 10 * DAY_MS, SETTINGS)} == {1.0}


@given(st.lists(st.integers(0, 30 * DAY_MS), min_size=1, max_size=20), st.lists(st.integers(0, 6), unique=True))
def test_labels_are_what_the_definition_says_whatever_the_order_of_arrival(
    signals: list[int], ticks: list[int]
) -> None:
    """Late signals count as if they had come in time, as long as the label has not matured."""
    moments = [T0 + 2 * DAY_MS * tick for tick in sorted(ticks)]
    customer = predicted_at(*moments)
    for signal in signals:
        churn.note_signal(customer, T0 + signal)
    examples = churn.reveal(customer, T0 + 60 * DAY_MS, SETTINGS)
    for example in examples:
        window = SETTINGS.horizon_days if example.head == churn.HORIZON else SETTINGS.hazard_days
        returned = any(example.predicted_at < T0 + s <= example.predicted_at + window * DAY_MS for s in signals)
        assert example.label == (0.0 if returned else 1.0)
    assert len(examples) == 2 * len(moments)


def test_treated_examples_teach_nothing_and_untreated_ones_speak_for_them() -> None:
    """The model is to learn the risk without treatment."""
    customer = predicted_at(T0, T0 + 1)
    customer.pending.churn[0].treated = True
    customer.pending.churn[1].untreated_propensity = 0.5
    weights = [e.weight for e in churn.reveal(customer, T0 + 20 * DAY_MS, SETTINGS) if e.head == churn.HORIZON]
    assert weights == [0.0, 2.0]


def test_a_model_that_has_learned_nothing_says_so() -> None:
    """Rather than .5, the probability is unknown."""
    customer = predicted_at(T0)
    assert churn.ChurnScorer(SETTINGS).estimate(customer, T0).probability is None


def test_both_heads_learn_and_the_estimate_lies_between_them() -> None:
    """Customers who come back every time get a lower probability than those who never do."""
    learner = churn.ChurnLearner(LearnerSettings(), SETTINGS)
    for n in range(200):
        back = n % 2 == 0
        customer = predicted_at(T0 + n * DAY_MS)
        customer.pending.churn[0].features = churn_features(
            customer, T0 + (1 if back else 90) * DAY_MS, SETTINGS.horizon_days
        )
        if back:
            churn.note_signal(customer, T0 + n * DAY_MS + 1)
        for example in churn.reveal(customer, T0 + 1_000 * DAY_MS, SETTINGS):
            learner.learn(example)
    scorer = churn.ChurnScorer(SETTINGS, learner.state())
    customer = predicted_at()
    soon, late = scorer.estimate(customer, T0 + DAY_MS), scorer.estimate(customer, T0 + 90 * DAY_MS)
    assert told(soon.probability) < 0.5 < told(late.probability)
    for estimate, at_ms in ((soon, T0 + DAY_MS), (late, T0 + 90 * DAY_MS)):
        bias, contributions = scorer.contributions(estimate.features, at_ms)
        assert len(contributions) == len(CHURN_FEATURES)
        assert isclose(sigmoid(bias + fsum(contributions)), told(estimate.probability), rel_tol=1e-9)


# The learned model


def customer_of(customer_id: str, order_days: list[float], amount: float = 10.0) -> Customer:
    """A customer met at T0 who ordered so many days later."""
    customer = new_customer(customer_id, T0)
    for day in order_days:
        at_ms = T0 + round(day * DAY_MS)
        event = PurchaseEvent(f"{day}", customer_id, at_ms, "order", f"{day}", amount=amount)
        take_order(customer, event, CoreSettings(churn=SETTINGS))
        customer.last_seen_ms = max(customer.last_seen_ms, at_ms)
    return customer


def lived(n_customers: int, seed: int = 0) -> list[TrainingExample]:
    """The examples of customers who order every 3 days or so until they stop, and of some who never order."""
    chance, examples = Random(seed), []
    for number in range(n_customers):
        stops_day = chance.uniform(0.0, 60.0) if number % 3 else -1.0
        days = [day + chance.random() for day in range(0, 60, 3) if day < stops_day]
        for tick in range(1, 60, 7):
            customer = customer_of(f"c{number}", [day for day in days if day <= tick])
            at_ms = T0 + tick * DAY_MS
            estimate = churn.ChurnScorer(SETTINGS).estimate(customer, at_ms)
            churn.remember_prediction(customer, estimate, at_ms, SETTINGS, limit=16)
            for day in days:
                if day > tick:
                    churn.note_signal(customer, T0 + round(day * DAY_MS))
            examples += churn.reveal(customer, at_ms + 10 * DAY_MS, SETTINGS)
    return sorted(examples, key=lambda example: example.matured_at)


EXAMPLES = lived(60)


def learned(examples: list[TrainingExample], state: churn.ChurnState | None = None) -> churn.ChurnState:
    learner = churn.ChurnLearner(LearnerSettings(), SETTINGS, state)
    for example in examples:
        learner.learn(example)
    return learner.state()


MODEL = learned(EXAMPLES)


@settings(max_examples=20)
@given(st.integers(0, len(EXAMPLES)))
def test_a_learner_restored_anywhere_ends_where_an_unbroken_one_does(cut: int) -> None:
    """Save → load → learn → predict is the same to the last bit."""
    saved = msgspec.msgpack.decode(msgspec.msgpack.encode(learned(EXAMPLES[:cut])), type=churn.ChurnState)
    resumed = learned(EXAMPLES[cut:], saved)
    assert resumed == MODEL
    customer = customer_of("ann", [0.0, 2.5, 7.0])
    estimates = [churn.ChurnScorer(SETTINGS, state).estimate(customer, T0 + 9 * DAY_MS) for state in (resumed, MODEL)]
    assert estimates[0] == estimates[1]


def test_the_same_stream_gives_the_same_model() -> None:
    """Nothing but the examples and their order is in a model."""
    assert learned(lived(60)) == MODEL


@given(st.lists(st.floats(0.0, 50.0), max_size=8), st.floats(0.0, 1e30), st.floats(0.0, 1e6))
def test_prediction_changes_nothing_and_its_parts_add_up(days: list[float], amount: float, asked_day: float) -> None:
    """Bias and contributions are the logit of the probability, whoever is asked about; the model stays as it was."""
    customer = customer_of("ann", sorted(days), amount)
    scorer, at_ms = churn.ChurnScorer(SETTINGS, MODEL), T0 + round(asked_day * DAY_MS)
    estimate = scorer.estimate(customer, at_ms)
    assert scorer.estimate(customer, at_ms) == estimate
    silent = told(estimate.probability) if days else 1.0 - told(estimate.first_purchase_probability)
    assert 0.0 <= silent <= 1.0
    bias, contributions = scorer.contributions(estimate.features, at_ms)
    assert isclose(sigmoid(bias + fsum(contributions)), silent, rel_tol=1e-9, abs_tol=1e-9)


def test_who_never_bought_has_no_risk_but_a_chance_of_a_first_purchase() -> None:
    """It is learned from those who had not bought either, and from nobody else."""
    scorer = churn.ChurnScorer(SETTINGS, MODEL)
    visitor, buyer = customer_of("ann", []), customer_of("bob", [0.5, 3.0])
    asked = scorer.estimate(visitor, T0 + 4 * DAY_MS)
    assert asked.probability is None
    assert 0.0 < told(asked.first_purchase_probability) < 0.2  # hardly one of those in EXAMPLES ever did
    assert scorer.estimate(buyer, T0 + 4 * DAY_MS).first_purchase_probability is None
    assert {e.head for e in EXAMPLES if e.features[CHURN_FEATURES.index("orders")] == 0.0} == {
        churn.FIRST_HORIZON,
        churn.FIRST_HAZARD,
    }
    by_buyers = learned([e for e in EXAMPLES if e.head in (churn.HORIZON, churn.HAZARD)])
    unknown = churn.ChurnScorer(SETTINGS, by_buyers).estimate(visitor, T0 + 4 * DAY_MS)
    assert unknown.first_purchase_probability is None


def test_where_any_activity_is_the_signal_everybody_has_a_risk() -> None:
    """Who looks around and never buys can stop doing that."""
    by_activity = ChurnSettings(signal="activity", horizon_days=10, hazard_days=2, tick_days=2)
    learner = churn.ChurnLearner(LearnerSettings(), by_activity)
    customer = customer_of("ann", [])
    estimate = churn.ChurnScorer(by_activity).estimate(customer, T0)
    churn.remember_prediction(customer, estimate, T0, by_activity, limit=16)
    examples = churn.reveal(customer, T0 + 20 * DAY_MS, by_activity)
    assert [e.head for e in examples] == [churn.HAZARD, churn.HORIZON]
    for example in 50 * examples:
        learner.learn(example)
    known = churn.ChurnScorer(by_activity, learner.state()).estimate(customer, T0)
    assert told(known.probability) > 0.5
    assert known.first_purchase_probability is None


def test_a_new_customer_has_the_risk_of_new_customers() -> None:
    """Nine in ten of the new ones stay away, one in five of the others: nobody is given the rate of all, or .5."""
    examples, chance = [], Random(1)
    for n in range(1_500):
        is_new = n % 3 == 0
        customer = customer_of("ann", [0.0] if is_new else [0.0, 3.0, 6.0, 9.0])
        at_ms = T0 + (1 if is_new else 10) * DAY_MS
        churn.remember_prediction(
            customer, churn.ChurnScorer(SETTINGS).estimate(customer, at_ms), at_ms, SETTINGS, limit=16
        )
        if chance.random() > (0.9 if is_new else 0.2):
            churn.note_signal(customer, at_ms + round(chance.uniform(0.0, 10.0) * DAY_MS))
        examples += churn.reveal(customer, at_ms + 10 * DAY_MS, SETTINGS)
    scorer = churn.ChurnScorer(SETTINGS, learned(examples))
    assert scorer.estimate(customer_of("new", [0.0]), T0 + DAY_MS).probability == pytest.approx(0.9, abs=0.06)
    old = scorer.estimate(customer_of("old", [0.0, 3.0, 6.0, 9.0]), T0 + 10 * DAY_MS)
    assert told(old.probability) < 0.5


def test_losses_that_grow_loosen_the_hazard_head_once_and_no_other() -> None:
    """One move is noticed several times over; the losses of the other heads nobody watches."""
    hazard, horizon = (next(e for e in EXAMPLES if e.head == head) for head in (churn.HAZARD, churn.HORIZON))
    right = msgspec.structs.replace(hazard, label=1.0, predicted=0.9)
    wrong = msgspec.structs.replace(hazard, label=0.0, predicted=0.9)
    learning = LearnerSettings(prior_strength=300.0, drift_loosening=2.0)
    learner = churn.ChurnLearner(learning, SETTINGS)
    rows = [horizon, *[right] * (REST_EXAMPLES + 100), *[right, wrong] * 200]
    moves = [move for row in rows for move in learner.learn(row)]
    assert len(moves) > 1
    # All rows are alike, so that their standardised features are 0 and the sums of squares stay where they began.
    assert set(learner.state().heads[churn.HAZARD].gradient_squares) == {150.0}
    assert set(learner.state().heads[churn.HORIZON].gradient_squares) == {300.0}


def test_a_prediction_from_other_features_is_forgotten_and_teaches_nothing() -> None:
    """State written by an older build holds vectors that this one cannot read."""
    customer = predicted_at(T0)
    customer.pending.churn[0].features = b"\0" * 12
    assert churn.reveal(customer, T0 + 20 * DAY_MS, SETTINGS) == []
    assert customer.pending.churn == []


def test_a_hazard_that_falls_in_silence_is_rolled_forward_as_it_falls() -> None:
    """Halfway through the silence a customer in rhythm is late: the risk is more than today's hazard times the days."""
    scorer = churn.ChurnScorer(SETTINGS, learned([e for e in EXAMPLES if e.head == churn.HAZARD]))
    estimate = scorer.estimate(customer_of("ann", [3.0 * n for n in range(8)]), T0 + 22 * DAY_MS)
    hazard = told(estimate.hazard_probability)
    of_today = sigmoid(log(hazard / (1.0 - hazard))) ** 5.0
    assert isfinite(of_today)
    assert told(estimate.probability) > of_today + 0.05


def test_a_visitor_who_never_buys_is_looked_at_and_is_no_risk() -> None:
    """The chance of a first purchase is learned from silent visitors too, and nothing is done about their churn."""
    task = new_task()
    stream = Stream(task)
    stream.click("eve", T0, "item_view")
    task.advance_to(T0 + 25 * DAY_MS)
    outputs = task.take_outputs()
    heads = {example.head for example in outputs.examples if example.family == "churn"}
    assert heads >= {churn.FIRST_HORIZON, churn.FIRST_HAZARD}
    assert not heads & {churn.HORIZON, churn.HAZARD}
    assert "churn_risk" not in {decision.trigger for decision in outputs.decisions}
