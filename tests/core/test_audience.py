"""Audiences: labels are held to the end of the window, nothing grows, and prediction changes nothing."""

from dataclasses import replace
from math import inf, isclose

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.customer import updates
from consumer.core.customer.customer import Customer, decode_customer, encode_customer
from consumer.core.preference import audience
from consumer.core.preference.audience import AGAIN, AUDIENCE_FEATURES, FIRST, UNSURE, kind_of, note_purchase
from consumer.core.preference.audience_model import AudienceLearner, AudienceScorer, AudienceState, predict_pair
from consumer.core.settings import AudienceSettings, CoreSettings, LearnerSettings
from schemas.records import TrainingExample
from schemas.units import DAY_MS
from tests.core.streams import told

SETTINGS = CoreSettings(
    audience=AudienceSettings(within_days=10, bought_categories=3, category_slots=4, sample_share=1.0)
)
AUDIENCE = SETTINGS.audience
T0 = 1_000 * DAY_MS
CATEGORIES = ("bread", "coffee", "milk", "soap", "tea", "wine")


def ann(*bought: tuple[int, str]) -> Customer:
    """Return a customer who has bought on days after T0."""
    customer = updates.new_customer("ann", T0)
    for day, category in bought:
        note_purchase(customer, [category], T0 + day * DAY_MS, SETTINGS)
        customer.orders.n += 1
        customer.orders.last_ms = T0 + day * DAY_MS
    return customer


def predicted(customer: Customer, category: str, day: int, scorer: AudienceScorer | None = None) -> None:
    at_ms = T0 + day * DAY_MS
    estimate = (scorer or AudienceScorer(AUDIENCE)).estimate(customer, category, at_ms)
    audience.remember_prediction(customer, category, estimate, at_ms, limit=16)


def revealed(customer: Customer, day: int) -> list[TrainingExample]:
    return audience.reveal(customer, T0 + day * DAY_MS, AUDIENCE)


def example_of(customer: Customer, category: str, label: float, day: int = 30) -> TrainingExample:
    predicted(customer, category, day)
    if label:
        note_purchase(customer, [category], T0 + day * DAY_MS + 1, SETTINGS)
    (example,) = revealed(customer, day + 10)
    return example


def learned(*examples: TrainingExample, state: AudienceState | None = None) -> AudienceLearner:
    learner = AudienceLearner(AUDIENCE, LearnerSettings(), state)
    for example in examples:
        learner.learn(example)
    return learner


def some_examples(n: int = 60) -> list[TrainingExample]:
    """Whoever has bought coffee buys it again; nobody begins to."""
    examples = []
    for day in range(n):
        buys = day % 2 == 0
        customer = ann((0, "coffee" if buys else "tea"))
        examples.append(example_of(customer, "coffee", float(buys), day + 1))
    return examples


def test_a_purchase_is_not_learned_before_the_window_is_over() -> None:
    """Bought on the first day or not at all: the example comes once the window is over, neither sooner."""
    customer = ann((0, "coffee"), (0, "tea"))
    predicted(customer, "coffee", 1)
    predicted(customer, "tea", 1)
    note_purchase(customer, ["coffee"], T0 + 2 * DAY_MS, SETTINGS)
    assert audience.next_maturity_ms(customer, AUDIENCE) == T0 + 11 * DAY_MS
    assert audience.reveal(customer, T0 + 11 * DAY_MS - 1, AUDIENCE) == []
    examples = revealed(customer, 11)
    assert [(each.arm, each.label) for each in examples] == [("coffee", 1.0), ("tea", 0.0)]
    assert (customer.pending.audience, audience.next_maturity_ms(customer, AUDIENCE)) == ([], None)


@given(st.integers(-5, 20), st.integers(-1, 1))
def test_the_label_is_a_purchase_in_the_category_within_the_window(day: int, off_ms: int) -> None:
    """The window is (t, t + N], whenever the event arrives before the label matures."""
    customer = ann((0, "tea"))
    predicted(customer, "coffee", 5)
    at_ms = T0 + (5 + day) * DAY_MS + off_ms
    note_purchase(customer, ["tea"], T0 + 6 * DAY_MS, SETTINGS)
    note_purchase(customer, ["coffee"], at_ms, SETTINGS)
    (example,) = revealed(customer, 15)
    assert example.label == float(T0 + 5 * DAY_MS < at_ms <= T0 + 15 * DAY_MS)


def test_features_are_as_they_were_when_the_prediction_was_made() -> None:
    """What is bought after the prediction is in the label and in nothing else of the example."""
    quiet, buyer = ann((0, "tea")), ann((0, "tea"))
    for customer in (quiet, buyer):
        predicted(customer, "coffee", 5)
    note_purchase(buyer, ["coffee"], T0 + 6 * DAY_MS, SETTINGS)
    ((silent,), (bought,)) = revealed(quiet, 15), revealed(buyer, 15)
    assert silent.features == bought.features
    assert (silent.label, bought.label) == (0.0, 1.0)


def test_a_purchase_that_we_caused_counts_less() -> None:
    """Its weight is that of the cause, unless the customer bought of their own accord too."""
    customer = ann((0, "tea"))
    predicted(customer, "tea", 1)
    note_purchase(customer, ["tea"], T0 + 2 * DAY_MS, SETTINGS, weight=0.3)
    assert [each.weight for each in revealed(customer, 11)] == [0.3]
    predicted(customer, "tea", 20)
    note_purchase(customer, ["tea"], T0 + 21 * DAY_MS, SETTINGS, weight=0.3)
    note_purchase(customer, ["tea"], T0 + 22 * DAY_MS, SETTINGS)
    assert [each.weight for each in revealed(customer, 30)] == [1.0]


def test_what_is_learned_can_be_seen_in_the_probability() -> None:
    """Who buys coffee again and again is likely to; who never did is not; and a stranger's category is in between."""
    scorer = AudienceScorer(AUDIENCE, learned(*some_examples()).state())
    at_ms = T0 + 40 * DAY_MS
    again = scorer.estimate(ann((0, "coffee")), "coffee", at_ms).probability
    never = scorer.estimate(ann((0, "tea")), "coffee", at_ms).probability
    assert told(never) < 0.4
    assert told(again) > 0.6
    assert scorer.probabilities(ann((0, "coffee")), ["coffee"], at_ms) == {"coffee": again}


def test_before_anything_was_learned_nothing_is_claimed() -> None:
    """No probability, so that no audience condition holds; the features are kept to learn from."""
    scorer = AudienceScorer(AUDIENCE)
    assert scorer.probabilities(ann((0, "tea")), ["tea"], T0) == {}
    estimate = scorer.estimate(ann((0, "tea")), "tea", T0)
    assert estimate.probability is None
    assert len(audience.unpack(estimate.features)) == len(AUDIENCE_FEATURES)


@given(st.lists(st.text(min_size=1, max_size=80), max_size=60))
def test_no_name_grows_anything(names: list[str]) -> None:
    """However many categories there are and however long: slots, memory of a customer and predictions are bounded."""
    customer, learner = ann((0, "tea")), learned()
    (example,) = some_examples(1)
    for number, name in enumerate(names):
        note_purchase(customer, [name], T0 + number * DAY_MS, SETTINGS)
        predict_pair(customer, AudienceScorer(AUDIENCE, learner.state()), T0 + number * DAY_MS, SETTINGS)
        learner.learn(msgspec.structs.replace(example, arm=name))
    assert len(customer.bought_categories) <= AUDIENCE.bought_categories
    assert len(customer.pending.audience) <= SETTINGS.state.pending_audience
    assert len(learner.state().categories) <= AUDIENCE.category_slots
    assert all(
        len(name) <= audience.LONGEST_NAME for name in (*customer.bought_categories, *learner.state().categories)
    )
    assert len(learner.state().model.names) == len(AUDIENCE_FEATURES)


def test_a_category_met_often_outlives_a_flood_of_names() -> None:
    """The slots that give way are those of the names met least."""
    learner = learned(*some_examples())
    (example,) = some_examples(1)
    for number in range(1_000):
        learner.learn(msgspec.structs.replace(example, arm=f"flood-{number}", matured_at=example.matured_at))
    assert "coffee" in learner.state().categories


def test_who_may_have_forgotten_is_not_taken_for_one_who_never_bought() -> None:
    """Once as many categories are remembered as there may be, an unknown one is unsure."""
    customer = ann((0, "bread"), (1, "tea"))
    assert (kind_of(customer, "tea", AUDIENCE), kind_of(customer, "wine", AUDIENCE)) == (AGAIN, FIRST)
    note_purchase(customer, ["milk", "soap"], T0 + 2 * DAY_MS, SETTINGS)
    assert kind_of(customer, "wine", AUDIENCE) == UNSURE
    assert "bread" not in customer.bought_categories  # bought least and longest ago


@given(
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from(CATEGORIES)), max_size=20),
    st.sampled_from(CATEGORIES),
    st.integers(-10, 5_000),
)
def test_predicting_changes_nothing_and_is_finite(bought: list[tuple[int, str]], category: str, day: int) -> None:
    """Neither the customer nor the model differ afterwards; late events and long silence give a probability too."""
    customer = ann(*sorted(bought))
    learner = learned(*some_examples(4))
    scorer = AudienceScorer(AUDIENCE, learner.state())
    before, model = encode_customer(customer), learner.state()
    first = scorer.estimate(customer, category, T0 + day * DAY_MS)
    assert scorer.estimate(customer, category, T0 + day * DAY_MS) == first
    assert 0.0 < told(first.probability) < 1.0
    assert all(-inf < value < inf for value in audience.unpack(first.features))
    assert (encode_customer(customer), learner.state()) == (before, model)


@given(st.integers(0, 40))
def test_saved_and_loaded_it_learns_and_predicts_the_same_bits(cut: int) -> None:
    """A model taken up from plain data goes on exactly as one that was never put down."""
    examples = some_examples(40)
    unbroken = learned(*examples)
    saved = msgspec.msgpack.encode(learned(*examples[:cut]).state())
    resumed = learned(*examples[cut:], state=msgspec.msgpack.decode(saved, type=AudienceState))
    assert resumed.state() == unbroken.state()
    customer, at_ms = ann((0, "coffee"), (9, "coffee")), T0 + 20 * DAY_MS
    assert AudienceScorer(AUDIENCE, resumed.state()).estimate(customer, "coffee", at_ms) == AudienceScorer(
        AUDIENCE, unbroken.state()
    ).estimate(customer, "coffee", at_ms)


def test_a_loaded_customer_predicts_the_same_bits() -> None:
    """The state of a customer carries all that the features are made of."""
    customer = ann((0, "coffee"), (9, "coffee"), (30, "tea"))
    predicted(customer, "tea", 31)
    scorer = AudienceScorer(AUDIENCE, learned(*some_examples()).state())
    loaded = decode_customer(encode_customer(customer))
    at_ms = T0 + 33 * DAY_MS
    assert scorer.estimate(loaded, "coffee", at_ms) == scorer.estimate(customer, "coffee", at_ms)
    assert loaded.pending.audience == customer.pending.audience


def test_examples_of_another_window_teach_nothing() -> None:
    """An example is labelled by a window; where the settings say another, it is not for this model."""
    other = AudienceLearner(AudienceSettings(within_days=30), LearnerSettings())
    for example in some_examples(10):
        other.learn(example)
    assert other.state().model.n_iterations == 0


def test_at_ticks_own_and_other_categories_are_drawn() -> None:
    """Own ones for what is bought again, others for what is begun; the draw depends on customer and time alone."""
    customer = ann((0, "coffee"), (1, "tea"))
    known = ("bread", "milk", "wine")
    draws = [audience.drawn_category(customer, known, T0 + day * DAY_MS, 0.5) for day in range(400)]
    assert draws == [audience.drawn_category(customer, known, T0 + day * DAY_MS, 0.5) for day in range(400)]
    assert isclose(draws.count(None), 200, abs_tol=50)
    assert all(draws.count(name) > 10 for name in ("coffee", "tea", *known))
    assert isclose(draws.count("coffee") + draws.count("tea"), 100, abs_tol=30)
    assert audience.drawn_category(updates.new_customer("bob", T0), (), T0, 1.0) is None
    assert {audience.drawn_category(customer, known, T0 + day, 0.0) for day in range(50)} == {None}


@pytest.mark.parametrize("bad", [{"within_days": 0}, {"sample_share": -1}, {"category_slots": 0}])
def test_settings_that_make_no_sense_are_refused(bad: dict[str, int]) -> None:
    """The message names the setting."""
    with pytest.raises(ValueError, match=next(iter(bad))):
        AudienceSettings(**bad)


def test_what_nobody_met_for_long_gives_way_and_says_less() -> None:
    """Rates fade with time and not only with their own examples: a season that is over holds no slot for ever."""
    learner = AudienceLearner(replace(AUDIENCE, category_slots=2), LearnerSettings())
    for day, category, n in ((30, "skis", 20), (700, "tents", 3), (700, "boats", 1)):
        for _ in range(n):
            learner.learn(example_of(ann(), category, 1.0, day))
    assert set(learner.state().categories) == {"tents", "boats"}

    def rate_of_skis(latest_day: int) -> float:
        others = [example_of(ann(), "tents", 0.0, latest_day)] * 20
        state = learned(*[example_of(ann(), "skis", 1.0, 30)] * 20, *others).state()
        return audience.unpack(AudienceScorer(AUDIENCE, state).estimate(ann(), "skis", T0).features)[0]

    assert rate_of_skis(700) < rate_of_skis(30) - 1.0
