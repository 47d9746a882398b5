"""Churn: labels are held to the horizon for both classes, and an event never completes its own example."""

from math import fsum, isclose

from hypothesis import given
from hypothesis import strategies as st

from consumer.core import churn
from consumer.core.customer import Customer
from consumer.core.features import CHURN_FEATURES, churn_features, new_counters
from consumer.core.linear import sigmoid
from consumer.core.settings import DAY_MS, ChurnSettings, LearnerSettings

SETTINGS = ChurnSettings(signal="purchase", horizon_days=10, hazard_days=2, tick_days=2)
T0 = 1_000 * DAY_MS


def predicted_at(*moments: int) -> Customer:
    customer = Customer("ann", first_seen_ms=T0, last_seen_ms=T0, last_order_ms=T0, n_orders=1, counters=new_counters())
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
    assert customer.pending_churn == []


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
    customer.pending_churn[0].treated = True
    customer.pending_churn[1].untreated_propensity = 0.5
    weights = [e.weight for e in churn.reveal(customer, T0 + 20 * DAY_MS, SETTINGS) if e.head == churn.HORIZON]
    assert weights == [0.0, 2.0]


def test_a_model_that_has_learned_nothing_says_so() -> None:
    """Rather than .5, the probability is unknown."""
    customer = predicted_at(T0)
    assert churn.ChurnScorer(SETTINGS).estimate(customer, T0).probability == churn.UNKNOWN


def test_both_heads_learn_and_the_estimate_lies_between_them() -> None:
    """Customers who come back every time get a lower probability than those who never do."""
    learner = churn.ChurnLearner(LearnerSettings(), SETTINGS)
    for n in range(200):
        back = n % 2 == 0
        customer = predicted_at(T0 + n * DAY_MS)
        customer.pending_churn[0].features = churn_features(customer, T0 + (1 if back else 90) * DAY_MS)
        if back:
            churn.note_signal(customer, T0 + n * DAY_MS + 1)
        for example in churn.reveal(customer, T0 + 1_000 * DAY_MS, SETTINGS):
            learner.learn(example)
    scorer = churn.ChurnScorer(SETTINGS, learner.state())
    customer = predicted_at()
    soon, late = scorer.estimate(customer, T0 + DAY_MS), scorer.estimate(customer, T0 + 90 * DAY_MS)
    assert soon.probability < 0.5 < late.probability
    for estimate in (soon, late):
        bias, contributions = scorer.contributions(estimate.features)
        assert len(contributions) == len(CHURN_FEATURES)
        assert isclose(sigmoid(bias + fsum(contributions)), estimate.probability, rel_tol=1e-9)
