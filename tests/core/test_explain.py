"""Explanations: the numbers add up to the model's, the words say what happened and name nobody."""

from dataclasses import replace
from math import fsum

from hypothesis import given
from hypothesis import strategies as st

from consumer.core.catalogue import Catalogue
from consumer.core.churn.features import CHURN_FAMILIES, CHURN_FEATURES
from consumer.core.customer.customer import Consent
from consumer.core.decision.explain import (
    FAMILY_WORDS,
    ChurnPrediction,
    by_family,
    churn_reasons,
    decision_reasons,
    explain,
)
from consumer.core.decision.policy import Choice, decide
from consumer.core.learning.linear import LinearScorer, LinearState, sigmoid
from consumer.core.reward.model import RewardScorer
from consumer.core.settings import CoreSettings, PolicySettings
from tests.core.decisions import SETTINGS, a_customer, a_request, changed, small_mapping

CATALOGUE = Catalogue.from_mapping(small_mapping())
numbers = st.floats(-5, 5)
vectors = st.lists(numbers, min_size=len(CHURN_FEATURES), max_size=len(CHURN_FEATURES)).map(tuple)


def choices(told: CoreSettings = SETTINGS, customer_id: str = "ann", catalogue: Catalogue = CATALOGUE) -> list[Choice]:
    """Return sixty decisions about one request that differ in their ids alone."""
    reward, customer = RewardScorer(catalogue), a_customer(customer_id)
    return [decide(a_request(customer, decision_id=str(i)), catalogue, reward, told) for i in range(60)]


def words_of(choice: Choice, catalogue: Catalogue = CATALOGUE) -> dict[str, str]:
    """Return the words of each reason by its name."""
    return {r.name: r.words for r in decision_reasons(choice, "session_end", catalogue)}


@given(vectors, vectors, numbers)
def test_base_and_families_add_up_to_the_logit(
    weights: tuple[float, ...], features: tuple[float, ...], intercept: float
) -> None:
    """What the reasons say of the families, with the base, is the model's log-odds, whichever families are shown."""
    n = len(CHURN_FEATURES)
    state = LinearState(
        CHURN_FEATURES, weights, intercept, (9,) * n, (0.5,) * n, (2.0,) * n, (1.0,) * n, 9, 0.1, 0.0, True
    )
    scorer = LinearScorer(state)
    logit = scorer.logit(features)
    contributions = scorer.contributions(features)
    families = by_family(CHURN_FEATURES, contributions, CHURN_FAMILIES)
    assert abs(fsum([scorer.bias, *families.values()]) - logit) < 1e-9
    churn = ChurnPrediction(sigmoid(logit), scorer.bias, CHURN_FEATURES, contributions)
    reasons = churn_reasons(churn, CHURN_FAMILIES)
    assert abs(fsum(reason.value for reason in reasons[1:]) - logit) < 1e-9
    assert reasons[0].value == sigmoid(logit)


def test_the_largest_families_come_first_and_say_their_direction() -> None:
    """Three families are told in the order of their size, the rest in one reason."""
    churn = ChurnPrediction(0.7, -1.0, ("a", "b", "c", "d", "e", "f"), (0.1, -2.0, 0.5, 1.5, 0.2, -0.4))
    reasons = churn_reasons(churn, {"a": "recency", "d": "recency"})
    assert [r.name for r in reasons] == [
        "churn",
        "churn.base",
        "churn.b",
        "churn.recency",
        "churn.c",
        "churn.other",
    ]
    assert reasons[0].words == "The risk of churn is 70%"
    assert reasons[2].words == "B: lowers the risk (-2.00)"
    assert reasons[3].words == f"{FAMILY_WORDS['recency'].capitalize()}: raises the risk (+1.60)"


def test_every_churn_family_has_words() -> None:
    """No family of the churn model is explained by its bare name."""
    assert set(CHURN_FAMILIES.values()) <= set(FAMILY_WORDS)


def test_a_chosen_action_is_told_with_its_value_over_nothing() -> None:
    """The words name the action, the channel, the money and both probabilities."""
    choice = next(c for c in choices() if c.arm == "offer|push" and not c.is_exploration)
    words = words_of(choice)
    assert words["trigger.session_end"] == "The customer has just left the shop"
    assert words["value"] == (
        "Making an offer by push message should bring 1.00 EUR more than doing nothing: "
        "an order with 10.0% instead of 5.0%"
    )
    assert set(words) == {"trigger.session_end", "value"}


def test_chance_is_called_chance() -> None:
    """An exploratory draw says its probability and what would have been best; *nothing* drawn by chance too."""
    drawn = {c.arm: c for c in choices() if c.is_exploration}
    call = words_of(drawn["call|phone"])["exploration"]
    assert call.startswith(f"Drawn by chance ({drawn['call|phone'].propensity:.1%})")
    assert call.endswith("expected to be best: making an offer by push message")
    assert "EUR less than doing nothing" in words_of(drawn["call|phone"])["value"]
    nothing = words_of(drawn["nothing"])
    assert nothing["value"] == "Making an offer by push message was expected to bring 1.00 EUR more than doing nothing"
    assert "exploration" in nothing


def test_the_probability_of_a_draw_is_that_of_the_action_on_its_channel() -> None:
    """The variant is drawn after it: its share is in the logged propensity, and not in the words."""
    choice = next(c for c in choices() if c.arm == "offer|email" and c.is_exploration)
    reason = next(r for r in decision_reasons(choice, "session_end", CATALOGUE) if r.name == "exploration")
    share = {"small": 0.75, "large": 0.25}[choice.variant or ""]
    assert abs(reason.value * share - choice.propensity) < 1e-9
    assert f"{reason.value:.1%}" in reason.words


def test_nothing_says_why() -> None:
    """No worthwhile action, no possible action, and the hold-out are different reasons."""
    worthless = changed(margin=0.0)
    kept = next(c for c in choices(catalogue=worthless) if c.arm == "nothing")
    assert words_of(kept, worthless)["value"] == "No possible action is expected to bring more than it costs"
    objected = decide(
        a_request(a_customer(consent=Consent(objected=True))), CATALOGUE, RewardScorer(CATALOGUE), SETTINGS
    )
    assert words_of(objected) == {
        "trigger.session_end": "The customer has just left the shop",
        "value": "No action was possible",
        "gates": "Ruled out: the customer objects to profiling (3 arms)",
    }
    held_out = choices(replace(SETTINGS, policy=PolicySettings(hold_out_share=1.0)))[0]
    assert "hold_out" in words_of(held_out)
    assert "exploration" not in words_of(held_out)


@given(st.text("0123456789", min_size=12), st.integers(0, 59))
def test_no_words_hold_the_id_of_a_customer(customer_id: str, position: int) -> None:
    """Whatever the id and whatever is decided, the reasons speak of the customer without it."""
    request = a_request(a_customer(customer_id), decision_id=str(position))
    choice = decide(request, CATALOGUE, RewardScorer(CATALOGUE), SETTINGS)
    churn = ChurnPrediction(0.6, 0.1, ("orders",), (0.3,))
    reasons = explain(choice, request.trigger, CATALOGUE, churn)
    assert len(reasons) >= 5
    assert [r for r in reasons if customer_id in r.words or customer_id in r.name] == []


def test_without_a_churn_model_the_decision_is_explained_alone() -> None:
    """Before anything was learned there are no churn reasons."""
    choice = choices()[0]
    assert explain(choice, "session_end", CATALOGUE, None) == decision_reasons(choice, "session_end", CATALOGUE)
