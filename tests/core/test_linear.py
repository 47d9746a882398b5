"""Linear models: River learns them, plain data carries them, frozen scorers predict with them."""

from math import fsum, isclose

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.linear import LinearLearner, LinearScorer, LinearState, sigmoid

NAMES = ("a", "b", "c")
value = st.floats(-1e3, 1e3, width=32)
vector = st.tuples(value, value, value)
examples = st.lists(st.tuples(vector, st.booleans(), st.sampled_from([0.5, 1.0, 3.0])), max_size=30)


def learner_of(rows: list[tuple[tuple[float, ...], bool, float]], *, scaled: bool = True) -> LinearLearner:
    learner = LinearLearner(NAMES, learning_rate=0.05, l2=1e-4, scaled=scaled, with_intercept=scaled)
    for features, label, weight in rows:
        learner.learn(features, label, weight)
    return learner


@given(examples, examples, st.booleans())
def test_a_learner_goes_on_from_a_snapshot_to_the_last_bit(
    before: list[tuple[tuple[float, ...], bool, float]],
    after: list[tuple[tuple[float, ...], bool, float]],
    scaled: bool,
) -> None:
    """Save → load → learn gives the same state as learning without a break."""
    unbroken = learner_of(before + after, scaled=scaled)
    saved = msgspec.msgpack.encode(learner_of(before, scaled=scaled).state())
    resumed = LinearLearner.from_state(msgspec.msgpack.decode(saved, type=LinearState))
    for features, label, weight in after:
        resumed.learn(features, label, weight)
    assert resumed.state() == unbroken.state()


@given(examples, vector, st.booleans())
def test_the_frozen_scorer_says_what_river_says(
    rows: list[tuple[tuple[float, ...], bool, float]], features: tuple[float, ...], scaled: bool
) -> None:
    """The scorer's probability is River's own, but for the order of additions."""
    learner = learner_of(rows, scaled=scaled)
    scorer = LinearScorer(learner.state())
    assert isclose(sigmoid(scorer.logit(features)), learner.probability(features), rel_tol=1e-6, abs_tol=1e-6)


@given(examples, vector)
def test_bias_and_contributions_add_up_to_the_logit(
    rows: list[tuple[tuple[float, ...], bool, float]], features: tuple[float, ...]
) -> None:
    """An explanation leaves nothing out."""
    scorer = LinearScorer(learner_of(rows).state())
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


def rate_after(labels_a_day: int, days: int) -> float:
    """The rate that an intercept with a memory of 2 days gives once all labels have turned from 0 to 1."""
    day_ms = 86_400_000
    learner = LinearLearner(NAMES, learning_rate=0.05, l2=0.0, memory_ms=2 * day_ms)
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

    unbroken = LinearLearner(NAMES, learning_rate=0.05, l2=1e-4, memory_ms=5_000)
    learn_all(unbroken, before + after, 0)
    first = LinearLearner(NAMES, learning_rate=0.05, l2=1e-4, memory_ms=5_000)
    learn_all(first, before, 0)
    saved = msgspec.msgpack.encode(first.state())
    resumed = LinearLearner.from_state(msgspec.msgpack.decode(saved, type=LinearState))
    learn_all(resumed, after, len(before))
    assert resumed.state() == unbroken.state()
