"""Linear models: River learns them, plain data carries them, frozen scorers predict with them."""

from math import fsum, isclose
from random import Random
from statistics import pstdev

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.learning.linear import LinearLearner, LinearScorer, LinearState, from_weights, sigmoid, untaught

NAMES = ("a", "b", "c")
value = st.floats(-1e3, 1e3, width=32)
vector = st.tuples(value, value, value)
examples = st.lists(st.tuples(vector, st.booleans(), st.sampled_from([0.5, 1.0, 3.0])), max_size=30)


def learner_of(
    rows: list[tuple[tuple[float, ...], bool, float]], *, scaled: bool = True, averaged: bool = False
) -> LinearLearner:
    if scaled:
        learner = LinearLearner(untaught(NAMES, learning_rate=0.05, l2=1e-4, averaged=averaged))
    else:
        learner = LinearLearner(from_weights(dict.fromkeys(NAMES, 0.1), learning_rate=0.05, l2=1e-4))
    for features, label, weight in rows:
        learner.learn(features, label, weight)
    return learner


@given(examples, examples, st.booleans(), st.booleans())
def test_a_learner_goes_on_from_a_snapshot_to_the_last_bit(
    before: list[tuple[tuple[float, ...], bool, float]],
    after: list[tuple[tuple[float, ...], bool, float]],
    scaled: bool,
    averaged: bool,
) -> None:
    """Save → load → learn gives the same state as learning without a break."""
    unbroken = learner_of(before + after, scaled=scaled, averaged=averaged)
    saved = msgspec.msgpack.encode(learner_of(before, scaled=scaled, averaged=averaged).state())
    resumed = LinearLearner(msgspec.msgpack.decode(saved, type=LinearState))
    for features, label, weight in after:
        resumed.learn(features, label, weight)
    assert resumed.state() == unbroken.state()


@given(examples, vector, st.booleans(), st.booleans())
def test_the_frozen_scorer_says_what_the_learner_says(
    rows: list[tuple[tuple[float, ...], bool, float]], features: tuple[float, ...], scaled: bool, averaged: bool
) -> None:
    """The scorer's probability is River's own, or that of the averaged weights, but for the order of additions."""
    learner = learner_of(rows, scaled=scaled, averaged=averaged)
    scorer = LinearScorer(learner.state())
    assert isclose(sigmoid(scorer.logit(features)), learner.probability(features), rel_tol=1e-6, abs_tol=1e-6)


@given(examples, vector, st.booleans())
def test_bias_and_contributions_add_up_to_the_logit(
    rows: list[tuple[tuple[float, ...], bool, float]], features: tuple[float, ...], averaged: bool
) -> None:
    """An explanation leaves nothing out."""
    scorer = LinearScorer(learner_of(rows, averaged=averaged).state())
    total = fsum((scorer.bias, *scorer.contributions(features)))
    assert isclose(total, scorer.logit(features), rel_tol=1e-9, abs_tol=1e-6)


@given(examples, st.lists(vector, max_size=5))
def test_prediction_changes_nothing(
    rows: list[tuple[tuple[float, ...], bool, float]], asked: list[tuple[float, ...]]
) -> None:
    """Neither River's prediction nor ours leaves a trace in the model."""
    learner = learner_of(rows)
    before = learner.state()
    for features in asked:
        learner.probability(features)
        LinearScorer(before).logit(features)
    assert learner.state() == before


def weights_that_predict(*, averaged: bool) -> list[float]:
    """The weight of a feature that says nothing, after each of the last 500 of 3,000 coin tosses."""
    chance = Random(1)
    learner = LinearLearner(untaught(("a",), learning_rate=0.2, l2=0.0, averaged=averaged))
    weights = []
    for n in range(3_000):
        learner.learn((chance.gauss(0.0, 1.0),), float(chance.random() < 0.5))
        if n >= 2_500:
            state = learner.state()
            weights.append((state.averages or state.weights)[0])
    return weights


def test_averaged_weights_keep_still_where_there_is_nothing_to_learn() -> None:
    """The noise of the single steps averages out: predictions move half as much, or less."""
    assert pstdev(weights_that_predict(averaged=True)) < 0.5 * pstdev(weights_that_predict(averaged=False))


def test_averaged_weights_follow_a_feature_that_turns() -> None:
    """The average forgets: what held for the first examples does not weigh on it for good."""
    learner = LinearLearner(untaught(("a",), learning_rate=0.2, l2=0.0, averaged=True))
    for n in range(1_000):
        learner.learn((float(n % 2),), float(n % 2))
    assert learner.state().averages[0] > 0.5
    for n in range(6_000):
        learner.learn((float(n % 2),), float(1 - n % 2))
    assert learner.state().averages[0] < -0.5


def rate_after(labels_a_day: int, days: int) -> float:
    """The rate that an intercept with a memory of 2 days gives once all labels have turned from 0 to 1."""
    day_ms = 86_400_000
    learner = LinearLearner(untaught(NAMES, learning_rate=0.05, l2=0.0, memory_ms=2 * day_ms))
    for n in range(20 * labels_a_day):
        learner.learn((0.0, 0.0, 0.0), 0.0, at_ms=n * day_ms // labels_a_day)
    for n in range(days * labels_a_day):
        learner.learn((0.0, 0.0, 0.0), 1.0, at_ms=20 * day_ms + n * day_ms // labels_a_day)
    return sigmoid(learner.intercept)


def test_an_intercept_follows_in_time_however_many_labels_come() -> None:
    """Where labels are many, a few hours of them are not the new level."""
    assert rate_after(2_000, 1) < 0.9
    assert isclose(rate_after(2_000, 1), rate_after(4_000, 1), abs_tol=0.05)


@given(examples, examples)
def test_a_memory_in_time_survives_a_snapshot(
    before: list[tuple[tuple[float, ...], bool, float]], after: list[tuple[tuple[float, ...], bool, float]]
) -> None:
    """What is remembered and since when is part of the state."""

    def learn_all(learner: LinearLearner, rows: list[tuple[tuple[float, ...], bool, float]], start: int) -> None:
        for n, (features, label, weight) in enumerate(rows, start):
            learner.learn(features, label, weight, at_ms=1_000 * n)

    unbroken = LinearLearner(untaught(NAMES, learning_rate=0.05, l2=1e-4, memory_ms=5_000))
    learn_all(unbroken, before + after, 0)
    first = LinearLearner(untaught(NAMES, learning_rate=0.05, l2=1e-4, memory_ms=5_000))
    learn_all(first, before, 0)
    saved = msgspec.msgpack.encode(first.state())
    resumed = LinearLearner(msgspec.msgpack.decode(saved, type=LinearState))
    learn_all(resumed, after, len(before))
    assert resumed.state() == unbroken.state()


def test_a_loosened_learner_takes_a_longer_step() -> None:
    """As if it had seen less, it follows what comes next."""
    rows: list[tuple[tuple[float, ...], bool, float]] = [
        ((float(n % 3), float(n % 5), 1.0), n % 2 == 0, 1.0) for n in range(40)
    ]

    def moved_by(factor: float) -> float:
        learner = learner_of(rows)
        before = learner.state().weights
        learner.loosen(factor)
        learner.learn((2.0, 0.0, 1.0), 0.0)
        return sum(abs(new - old) for new, old in zip(learner.state().weights, before, strict=True))

    assert moved_by(4.0) > 1.5 * moved_by(1.0) > 0.0
