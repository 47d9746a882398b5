"""The decision: probabilities add up and are kept, learning starts from the catalogue, the hold-out stays out."""

from collections import Counter
from dataclasses import replace
from math import log, sqrt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.catalogue import NOTHING, TRIGGERS, Catalogue
from consumer.core.customer.counters import N_COUNTERS
from consumer.core.customer.customer import Consent, Contact
from consumer.core.customer.segments import SEGMENTS
from consumer.core.decision.gates import Allowed
from consumer.core.decision.policy import Choice, decide, draw_probabilities, in_hold_out
from consumer.core.hashing import uniform
from consumer.core.knowledge.knowledge import Knowledge
from consumer.core.knowledge.learner import new_learner, restore_learner
from consumer.core.knowledge.snapshot import RefusedSnapshot
from consumer.core.reward.features import CROSS_FEATURES, REWARD_FEATURES, reward_feature_set, reward_features
from consumer.core.reward.model import RewardLearner, RewardScorer
from consumer.core.settings import CoreSettings, PolicySettings
from consumer.default_catalogue import default_catalogue
from schemas.records import TrainingExample
from schemas.units import DAY_MS
from tests.core.decisions import NOON_MS, SETTINGS, a_customer, a_request, changed, small_mapping

CATALOGUE = Catalogue.from_mapping(small_mapping())
SHIPPED = default_catalogue()
HOLD_OUT = replace(SETTINGS, policy=PolicySettings(hold_out_share=1.0))


def choose(decision_id: str = "d1", catalogue: Catalogue = CATALOGUE, told: CoreSettings = SETTINGS) -> Choice:
    """Return the decision with `decision_id`, before anything was learned."""
    return decide(a_request(decision_id=decision_id), catalogue, RewardScorer(catalogue), told)


def with_policy(**fields: Any) -> CoreSettings:
    """Return the settings of these tests with `fields` of the policy set."""
    return replace(SETTINGS, policy=PolicySettings(**{"hold_out_share": 0.0} | fields))


def an_example(arm: str, label: float, features: tuple[float, ...] | None = None, **fields: Any) -> TrainingExample:
    """Return a matured example of `arm`."""
    values = features or (0.5,) * len(REWARD_FEATURES)
    return TrainingExample(
        "policy", "reward", reward_feature_set(3.0), values, 1, label, 1.0, NOON_MS, NOON_MS + DAY_MS, arm=arm, **fields
    )


# --- propensities ---


@given(
    trigger=st.sampled_from(TRIGGERS),
    segment=st.sampled_from(SEGMENTS),
    risk=st.none() | st.floats(0, 1),
    now_ms=st.integers(NOON_MS, NOON_MS + 7 * DAY_MS),
    n_orders=st.integers(0, 10),
    cart=st.lists(st.text(max_size=3), max_size=2),
    decision_id=st.text(max_size=8),
    hold_out=st.booleans(),
)
def test_propensities_always_sum_to_one(
    trigger: str,
    segment: str,
    risk: float | None,
    now_ms: int,
    n_orders: int,
    cart: list[str],
    decision_id: str,
    hold_out: bool,
) -> None:
    """Whatever is eligible, *nothing* is listed first, keeps its floor, and all probabilities add up to 1."""
    request = a_request(
        a_customer(n_orders=n_orders, cart=cart),
        trigger=trigger,
        segment=segment,
        churn_probability=risk,
        now_ms=now_ms,
        decision_id=decision_id,
    )
    choice = decide(request, SHIPPED, RewardScorer(SHIPPED), HOLD_OUT if hold_out else SETTINGS)
    assert choice.eligible[0].action == NOTHING
    assert choice.eligible[0].propensity >= 0.05
    assert abs(sum(arm.propensity for arm in choice.eligible) - 1.0) < 1e-12
    logged = [(arm.action, arm.channel, arm.variant, arm.propensity) for arm in choice.eligible]
    assert (choice.action, choice.channel, choice.variant, choice.propensity) in logged


def test_the_logged_propensity_is_how_often_it_happens() -> None:
    """Over many decisions each (action, channel, variant) comes as often as was logged, within four deviations."""
    n = 6_000
    drawn = Counter((c.action, c.channel, c.variant) for c in (choose(f"decision {i}") for i in range(n)))
    logged = choose().eligible
    assert len(logged) == 6
    for arm in logged:
        p = arm.propensity
        share = drawn[arm.action, arm.channel, arm.variant] / n
        assert abs(share - p) < 4 * sqrt(p * (1 - p) / n), arm


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=32),
    st.integers(0, 10**9),
    st.floats(0.001, 1e6),
    st.floats(0, 1),
)
def test_every_arm_keeps_its_floor(values: list[float], n: int, exploration: float, floor: float) -> None:
    """However bad an arm looks and however much was learned, it keeps min(floor, .1/K), and *nothing* its own."""
    arms = SHIPPED.arms + SHIPPED.arms + SHIPPED.arms
    allowed = [Allowed(arm, 0, 1) for arm in arms[: len(values)]]
    told = PolicySettings(exploration=exploration, propensity_floor=floor)
    drawn = draw_probabilities(allowed, [0.0, *values], n, told)
    assert abs(sum(drawn) - 1.0) < 1e-9
    assert drawn[0] >= 0.05
    assert min(drawn[1:]) >= min(floor, 0.1 / len(drawn)) * (1 - 1e-12)


def test_inverse_gap_weighting_is_the_published_one() -> None:
    """Two actions of one channel each: 1 / (K + γ gap) for the worse, the rest for the best, floors mixed in."""
    arms = [arm for arm in CATALOGUE.arms if arm.channel_id != "push"]
    told = PolicySettings(exploration=20.0, exploration_growth=0.5, propensity_floor=0.02, nothing_floor=0.05)
    drawn = draw_probabilities([Allowed(arm, 0, 1) for arm in arms], [0.0, 1.0, -0.5], 100, told)
    gamma = 20.0 * 10.0 / 20.0  # γ at 100 examples, values in units of the margin
    nothing, call = 1 / (3 + gamma * 1.0), 1 / (3 + gamma * 1.5)
    mixed = [0.05 + 0.91 * nothing, 0.02 + 0.91 * (1 - nothing - call), 0.02 + 0.91 * call]
    assert drawn == pytest.approx(mixed, abs=1e-12)


def test_an_action_with_more_channels_is_not_drawn_more_for_that() -> None:
    """Two actions of the same value share their probability alike, however many channels each has."""
    drawn = draw_probabilities(
        [Allowed(arm, 0, 1) for arm in CATALOGUE.arms], [0.0, 1.0, 1.0, 1.0], 1, PolicySettings(exploration=1e-9)
    )
    extra_floor = 0.02
    assert drawn[1] + drawn[2] - extra_floor == pytest.approx(drawn[3], abs=1e-6)
    assert drawn[1] == pytest.approx(drawn[2])


def test_exploration_fades_with_what_was_learned() -> None:
    """The best arm gets more of the probability the more examples have matured."""
    allowed = [Allowed(arm, 0, 1) for arm in CATALOGUE.arms]
    best = [draw_probabilities(allowed, [0.0, 1.0, 0.2, -3.0], n, PolicySettings())[1] for n in (0, 100, 10_000)]
    assert best == sorted(best)
    assert best[0] < 0.5
    assert best[2] > 0.8


# --- what is chosen ---


def test_the_same_request_gives_the_same_choice() -> None:
    """Nothing but the arguments decides: two calls agree, and other decision ids give other choices."""
    assert choose("a") == choose("a")
    assert len({choose(str(i)).action for i in range(30)}) == 3


def test_value_is_incremental_and_after_cost() -> None:
    """What would have happened anyway is not counted; contact, discount, budget price and fatigue are paid for."""
    catalogue = changed(cost=0.5, cost_per_outcome=4.0, channels=["email"], variants=[])
    told = with_policy(action_budget_price=0.5, fatigue_cost=0.1, nothing_floor=0.05)
    customer = a_customer(contacts=[Contact(NOON_MS - 2 * DAY_MS, "hint", "push")])
    reward = RewardScorer(catalogue)
    choices = [
        decide(a_request(customer, trigger="churn_risk", decision_id=str(i)), catalogue, reward, told)
        for i in range(60)
    ]
    offer = next(c for c in choices if c.action == "offer")
    expected = (0.1 - 0.05) * 20 - 0.1 * 4 - 0.51 * 1.5 - 0.1
    assert offer.expected_value == pytest.approx(expected)
    assert offer.predicted == pytest.approx(0.1)
    assert offer.predicted_nothing == pytest.approx(0.05)
    assert offer.best_arm == NOTHING
    assert offer.is_exploration
    nothing = next(c for c in choices if c.action == NOTHING)
    assert (nothing.expected_value, nothing.deliver_after, nothing.purpose) == (0.0, None, None)
    assert not nothing.is_exploration


def test_nothing_is_all_there_is_where_nothing_is_eligible() -> None:
    """Without an eligible arm *nothing* has propensity 1, and the reasons are there."""
    choice = decide(a_request(a_customer(consent=Consent(objected=True))), CATALOGUE, RewardScorer(CATALOGUE), SETTINGS)
    assert (choice.action, choice.propensity, len(choice.eligible)) == (NOTHING, 1.0, 1)
    assert {why for _, why in choice.gated} == {"objection"}


# --- the hold-out ---


def test_the_hold_out_gets_nothing_and_shows_what_it_could_have_got() -> None:
    """A held-out customer gets *nothing* for certain; the eligible arms are logged with propensity 0."""
    choice = choose(told=HOLD_OUT)
    assert (choice.action, choice.hold_out, choice.propensity) == (NOTHING, True, 1.0)
    assert not choice.is_exploration
    assert {(arm.action, arm.propensity) for arm in choice.eligible[1:]} == {("offer", 0.0), ("call", 0.0)}


def test_the_hold_out_is_of_the_share_asked_for_and_rotates() -> None:
    """Membership holds for a whole period, and another period has other members."""
    told = PolicySettings(hold_out_share=0.1, hold_out_rotation_days=90)
    period = 90 * DAY_MS
    members = [{i for i in range(4_000) if in_hold_out(f"c{i}", at, told)} for at in (0, period - 1, period)]
    assert members[0] == members[1] != members[2]
    for who in members:
        assert abs(len(who) / 4_000 - 0.1) < 4 * sqrt(0.09 / 4_000)


# --- features and the model ---


def test_features_are_finite_and_in_order() -> None:
    """A customer of whom next to nothing is known and one of whom much is known give a full vector of small numbers."""
    known = a_customer(counters=[1e3] * (2 * N_COUNTERS), cart=["tea"] * 30)
    for customer in (a_customer(counters=[], n_orders=0, first_seen_ms=0), known):
        for risk in (None, 0.0, 1.0):
            features = reward_features(a_request(customer, churn_probability=risk), 3)
            assert len(features) == len(REWARD_FEATURES)
            assert max(map(abs, features)) < 3.0
    one_hot = dict(zip(REWARD_FEATURES, reward_features(a_request(), 0), strict=True))
    assert [name for name, value in one_hot.items() if name.startswith("trigger_") and value] == ["trigger_session_end"]
    assert (one_hot["late"], one_hot["new"], one_hot["day"]) == (1.0, 0.0, 1.0)


def test_before_anything_was_learned_the_catalogue_is_believed() -> None:
    """The probability of each arm is its prior, whatever the context."""
    scorer = RewardScorer(CATALOGUE)
    assert scorer.n_examples == 0
    for value in (0.0, 1.0):
        found = scorer.probabilities((value,) * len(REWARD_FEATURES), [NOTHING, "offer|email", "call|phone"])
        assert found == pytest.approx([0.05, 0.1, 0.1])


def test_a_few_outcomes_do_not_overturn_the_prior() -> None:
    """One order after an offer moves its probability, by little; other arms move less."""
    learner = RewardLearner(SETTINGS, CATALOGUE)
    context = (0.0,) * len(REWARD_FEATURES)
    learner.learn(an_example("offer|email", 1.0, context))
    scorer = RewardScorer(CATALOGUE, learner.state())
    offer, call = scorer.probabilities(context, ["offer|email", "call|phone"])
    assert 0.1 < call < offer < 0.12


def test_outcomes_are_learned_by_arm_and_context() -> None:
    """Given enough outcomes the model finds who answers to what, where the priors were wrong."""
    told = with_policy(reward_learning_rate=0.1)
    learner = RewardLearner(told, CATALOGUE)
    risk = REWARD_FEATURES.index("churn_risk")
    truth = {(NOTHING, 0): 0.2, (NOTHING, 1): 0.1, ("offer|email", 0): 0.2, ("offer|email", 1): 0.5}
    contexts = [tuple(float(high) if i == risk else 0.0 for i in range(len(REWARD_FEATURES))) for high in (0, 1)]
    for i in range(8_000):
        arm, high = (NOTHING, "offer|email")[i % 2], i // 2 % 2
        happened = uniform("outcome", str(i)) < truth[arm, high]
        learner.learn(an_example(arm, float(happened), contexts[high]))
    scorer = RewardScorer(CATALOGUE, learner.state())
    assert scorer.n_examples == 8_000
    for (arm, high), p in truth.items():
        assert abs(scorer.probabilities(contexts[high], [arm])[0] - p) < 0.05, (arm, high)


def test_the_hold_out_and_strange_examples_teach_nothing() -> None:
    """Held-out customers, arms that are gone and features of another build leave the model as it was."""
    learner = RewardLearner(SETTINGS, CATALOGUE)
    before = learner.state()
    learner.learn(an_example(NOTHING, 1.0, hold_out=True))
    learner.learn(an_example("gone|email", 1.0))
    old = an_example(NOTHING, 1.0)
    learner.learn(TrainingExample("policy", "reward", "other", old.features, 1, 1.0, 1.0, 0, 0, arm=NOTHING))
    assert learner.state() == before


arms = st.sampled_from([NOTHING, *(arm.id for arm in CATALOGUE.arms)])
vectors = st.lists(st.floats(-1, 1, width=32), min_size=len(REWARD_FEATURES), max_size=len(REWARD_FEATURES)).map(tuple)
streams = st.lists(st.tuples(arms, st.sampled_from([0.0, 1.0]), vectors), max_size=12)


@settings(max_examples=25)
@given(streams, st.integers(0, 12))
def test_a_saved_learner_goes_on_as_if_never_stopped(stream: list[tuple[Any, ...]], at: int) -> None:
    """Saving and loading anywhere in the stream changes no later state, not in the last bit."""
    straight, stopped = RewardLearner(SETTINGS, CATALOGUE), RewardLearner(SETTINGS, CATALOGUE)
    for i, (arm, label, features) in enumerate(stream):
        if i == at:
            stopped = RewardLearner(SETTINGS, CATALOGUE, stopped.state())
        for learner in (straight, stopped):
            learner.learn(an_example(arm, label, features))
    assert stopped.state() == straight.state()


@settings(max_examples=25)
@given(streams, vectors)
def test_the_scorer_predicts_what_the_state_says(stream: list[tuple[Any, ...]], context: tuple[float, ...]) -> None:
    """The logit of an arm is prior + shared part + own part, read from the named weights."""
    learner = RewardLearner(SETTINGS, CATALOGUE)
    for arm, label, features in stream:
        learner.learn(an_example(arm, label, features))
    state = learner.state()
    weights = dict(zip(state.names, state.weights, strict=True))
    x = dict(zip(REWARD_FEATURES, context, strict=True))
    scorer = RewardScorer(CATALOGUE, state)
    for arm in CATALOGUE.arms:
        logit = arm.prior_logit + weights["bias"] + weights[arm.id]
        logit += sum(weights[name] * value for name, value in x.items())
        logit += sum(weights[f"{arm.id}*{name}"] * x[name] for name in CROSS_FEATURES)
        p = scorer.probabilities(context, [arm.id])[0]
        assert log(p / (1 - p)) == pytest.approx(logit, abs=1e-9)


def test_a_model_of_another_meaning_is_refused() -> None:
    """Other arms or priors refuse a saved model; other costs and words do not."""
    snapshot = new_learner("policy", SETTINGS, CATALOGUE).snapshot()
    for other in (changed(channels=["email"]), changed(prior_probability=0.2)):
        with pytest.raises(RefusedSnapshot, match="rebuild"):
            Knowledge(SETTINGS, other).adopt(snapshot)
        with pytest.raises(RefusedSnapshot, match="rebuild"):
            restore_learner(snapshot, SETTINGS, other)
    assert Knowledge(SETTINGS, changed(margin=99.0, words="say hello", cooldown_days=3)).adopt(snapshot)
    with pytest.raises(ValueError, match="rebuild"):
        RewardScorer(changed(channels=["email"]), RewardLearner(SETTINGS, CATALOGUE).state())


def test_a_policy_that_could_not_be_evaluated_is_refused() -> None:
    """Settings that would leave *nothing* without its floor are an error at once."""
    for fields in ({"nothing_floor": 0.01}, {"hold_out_share": 1.5}, {"exploration": 0.0}, {"eligible_limit": 0}):
        with pytest.raises(ValueError, match=next(iter(fields))):
            PolicySettings(**fields)
