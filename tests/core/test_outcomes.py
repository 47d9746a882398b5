"""What a decision does to the labels of churn, and how its own outcome is revealed."""

from dataclasses import replace

from consumer.core.catalogue import NOTHING
from consumer.core.churn import churn
from consumer.core.customer.updates import new_customer
from consumer.core.decision.gates import ContactHistory
from consumer.core.decision.outcomes import note_order, remember_decision, reveal_outcomes
from consumer.core.decision.policy import Choice
from consumer.core.reward.features import REWARD_FEATURES
from consumer.default_catalogue import default_catalogue
from schemas.records import EligibleArm
from schemas.units import DAY_MS
from tests.core.streams import SETTINGS, T0, Stream, new_task

CATALOGUE = default_catalogue()


def choice_of(action: str, *, offer_propensity: float = 0.3) -> Choice:
    """A choice between nothing, a recommendation and an offer."""
    eligible = (
        EligibleArm(action=NOTHING, propensity=0.5),
        EligibleArm(action="recommend_items", channel="email", propensity=0.5 - offer_propensity),
        EligibleArm(action="win_back_offer", channel="email", propensity=offer_propensity),
    )
    return Choice(
        action=action,
        channel=None if action == NOTHING else "email",
        variant=None,
        arm=NOTHING if action == NOTHING else f"{action}|email",
        propensity=0.5,
        eligible=eligible,
        hold_out=False,
        deliver_after=None,
        deliver_before=None,
        purpose=None,
        kind=None,
        reward_features=(0.0,) * len(REWARD_FEATURES),
        predicted=0.1,
        predicted_nothing=0.1,
        expected_value=0.0,
        best_arm=NOTHING,
        best_value=0.0,
        gated=(),
    )


def weight_after(action: str, trigger: str) -> float:
    task = new_task()
    Stream(task).order("ann", T0)
    task.advance_to(T0 + 3 * DAY_MS)
    ann = task.state.get("ann")
    assert ann is not None
    assert ann.pending.churn
    remember_decision(ann, choice_of(action), trigger, T0 + 3 * DAY_MS, settings=SETTINGS, catalogue=CATALOGUE)
    return churn.reveal(ann, T0 + 90 * DAY_MS, SETTINGS.churn)[-1].weight


def test_an_offer_is_a_treatment_and_a_recommendation_to_a_visitor_is_not() -> None:
    """What is done day by day for those who visit does not take them out of what churn learns from."""
    assert weight_after("win_back_offer", "session_end") == 0.0
    assert weight_after("recommend_items", "session_end") > 1.0


def test_whatever_a_high_risk_triggered_is_a_treatment() -> None:
    """Then a recommendation is sent to keep the customer."""
    assert weight_after("recommend_items", "churn_risk") == 0.0


def test_the_untreated_speak_for_the_treated_in_proportion() -> None:
    """One who was not treated with a probability of one half counts twice."""
    assert weight_after(NOTHING, "churn_risk") == 2.0


def test_the_outcome_counts_orders_within_its_window_alone() -> None:
    """An order after the window is not the decision's."""
    task = new_task()
    stream = Stream(task)
    stream.click("ann", T0)
    stream.order("ann", T0 + 4 * DAY_MS)
    ann = task.state.get("ann")
    assert ann is not None
    examples = [e for e in task.take_outputs().examples if e.family == "policy"]
    assert [e.label for e in examples] == [0.0]
    assert reveal_outcomes(ann, T0, SETTINGS) == []


def test_caps_are_kept_whatever_the_catalogue_asks_to_remember() -> None:
    """A setting that is too small for the catalogue's limits must not make the shop forget contacts."""
    catalogue = default_catalogue()
    settings = replace(SETTINGS, state=replace(SETTINGS.state, contacts=1))
    customer = new_customer("ann", T0)
    made = catalogue.limits.max_per_week
    for n in range(made):
        choice = choice_of("recommend_items")
        remember_decision(customer, choice, "session_end", T0 + n * DAY_MS, settings=settings, catalogue=catalogue)
    assert ContactHistory(customer.contacts, T0 + made * DAY_MS, catalogue).week == made


def test_an_order_at_the_moment_of_a_decision_does_not_follow_from_it() -> None:
    """What was bought before or together with the decision is not its outcome."""
    for after_ms, credited in ((0, 0), (1, 1)):
        customer = new_customer("ann", T0)
        remember_decision(customer, choice_of(NOTHING), "purchase", T0, settings=SETTINGS, catalogue=CATALOGUE)
        note_order(customer, T0 + after_ms, 10.0, SETTINGS)
        assert customer.pending.decisions[0].orders == credited
