"""Audiences in use: learned at ticks, published with the preference model, asked by the catalogue, said in reasons."""

from dataclasses import replace

import pytest

from consumer.core.catalogue import Catalogue, CatalogueError
from consumer.core.decision.budget import Budget
from consumer.core.decision.decide import Moment, decide_for
from consumer.core.decision.gates import pass_gates
from consumer.core.knowledge.knowledge import Knowledge
from consumer.core.knowledge.learner import new_learner, restore_learner
from consumer.core.preference.audience import HEAD
from consumer.core.preference.audience_model import AudienceLearner, AudienceScorer
from consumer.core.reward.request import DecisionRequest
from consumer.core.settings import AudienceSettings, LearnerSettings
from consumer.core.step import ScoringTask
from consumer.default_catalogue import default_catalogue
from schemas.events import OrderLine, PrivacyEvent, PurchaseEvent
from schemas.records import Coordinates, NextBestAction, TrainingExample
from schemas.units import DAY_MS
from tests.core.decisions import NOON_MS, SETTINGS, a_customer, a_request, changed
from tests.core.streams import SETTINGS as STREAM
from tests.core.streams import T0, Stream, new_core, new_task

COFFEE = {"audience": {"category": "coffee", "min_probability": 0.2}}
WITHIN_10 = replace(STREAM, audience=AudienceSettings(within_days=10, sample_share=1.0))


def gates_of(catalogue: Catalogue, request: DecisionRequest) -> dict[str, str]:
    return dict(pass_gates(request, catalogue, SETTINGS).gated)


def examples_of_a_shop(n_days: int = 60) -> list[TrainingExample]:
    """Ann orders coffee every other day; Bob ordered tea once. Return what their ticks are examples of."""
    task = new_task(WITHIN_10)
    order(task, "bob", T0, "tea", 0)
    for day in range(0, n_days, 2):
        order(task, "ann", T0 + day * DAY_MS, "coffee", day + 1)
    return [each for each in task.take_outputs().examples if each.head == HEAD]


def order(task: ScoringTask, customer_id: str, at_ms: int, category: str, offset: int) -> None:
    lines = (OrderLine(f"{category}-1", 1, 5.0, category=category),)
    task.step("purchases", offset, PurchaseEvent(f"p{offset}", customer_id, at_ms, "order", f"o{offset}", lines))


def knowing_ann() -> Knowledge:
    """Return knowledge in which those who bought coffee before buy it again."""
    settings, catalogue = SETTINGS, changed(eligibility=COFFEE)
    learner = AudienceLearner(AudienceSettings(within_days=10), LearnerSettings())
    for example in examples_of_a_shop():
        learner.learn(example)
    knowledge = Knowledge(settings, catalogue)
    knowledge.audience = AudienceScorer(settings.audience, learner.state())
    return knowledge


def decisions_for(bought: str, n: int = 40) -> list[NextBestAction]:
    core = replace(new_core(SETTINGS, changed(eligibility=COFFEE)), knowledge=knowing_ann())
    found = []
    for hour in range(n):
        customer = a_customer()
        task = new_task(WITHIN_10)
        for offset, days_ago in enumerate((6, 4, 2)):
            order(task, "cem", NOON_MS - days_ago * DAY_MS, bought, offset)
        cem = task.state.get("cem")
        assert cem is not None
        customer.bought_categories = cem.bought_categories
        moment = Moment("session_end", NOON_MS + hour, Coordinates("clickstream", 0, hour), "live")
        found.append(decide_for(customer, moment, core, Budget()))
    return found


def test_ticks_give_examples_of_categories_with_labels_of_the_window() -> None:
    """Ann's coffee is bought within each window and Bob's tea in none; they carry the category and no customer."""
    examples = examples_of_a_shop()
    labels = {(each.arm, each.label) for each in examples if each.features[1]}  # of what was bought before
    assert labels == {("coffee", 1.0), ("tea", 0.0)}
    assert all(each.matured_at == each.predicted_at + 10 * DAY_MS for each in examples)
    assert {each.family for each in examples} == {"preference"}


def test_an_objection_ends_it() -> None:
    """Whoever objects is predicted no more, and what was pending teaches nothing."""
    task = new_task(WITHIN_10)
    order(task, "ann", T0, "coffee", 0)
    task.advance_to(T0 + 4 * DAY_MS)
    customer = task.state.get("ann")
    assert customer is not None
    assert customer.pending.audience
    task.step("privacy", 0, PrivacyEvent("o1", "ann", T0 + 4 * DAY_MS, "objection"))
    task.advance_to(T0 + 40 * DAY_MS)
    assert customer.pending.audience == []
    assert not [each for each in task.take_outputs().examples if each.head == HEAD]


def test_the_learner_of_the_family_goes_on_where_its_snapshot_was_taken() -> None:
    """Same examples, same bytes: with a snapshot in between and without."""
    examples, catalogue = examples_of_a_shop(), default_catalogue()
    unbroken, first = (new_learner("preference", WITHIN_10, catalogue) for _ in range(2))
    for offset, example in enumerate(examples):
        unbroken.fold(offset, example)
        if offset < 10:
            first.fold(offset, example)
    resumed = restore_learner(first.snapshot(), WITHIN_10, catalogue)
    for offset, example in enumerate(examples[10:], start=10):
        resumed.fold(offset, example)
    assert resumed.snapshot() == unbroken.snapshot()


def test_a_task_predicts_with_the_snapshot_it_adopts() -> None:
    """After adoption a pair has a probability, the one that the learner's state gives."""
    catalogue = default_catalogue()
    learner = new_learner("preference", WITHIN_10, catalogue)
    for offset, example in enumerate(examples_of_a_shop()):
        learner.fold(offset, example)
    knowledge = Knowledge(WITHIN_10, catalogue)
    assert knowledge.audience.probabilities(a_customer(), ["coffee"], NOON_MS) == {}
    assert knowledge.adopt(learner.snapshot())
    assert 0.0 < knowledge.audience.probabilities(a_customer(), ["coffee"], NOON_MS)["coffee"] < 1.0
    assert knowledge.audience.categories == ("coffee", "tea")


@pytest.mark.parametrize(("likely", "gated"), [({}, True), ({"coffee": 0.19}, True), ({"coffee": 0.2}, False)])
def test_an_action_for_an_audience_needs_the_probability(likely: dict[str, float], gated: bool) -> None:
    """Below the limit, or where nothing is known, it is ruled out with that reason."""
    gates = gates_of(changed(eligibility=COFFEE), a_request(audience=likely))
    assert (gates.get("offer|push") == "audience") == gated


def test_the_catalogue_knows_which_categories_a_trigger_asks_about() -> None:
    """Only those are predicted at a decision; the condition is part of the digest."""
    catalogue = changed(eligibility=COFFEE)
    assert catalogue.audiences["session_end"] == ("coffee",)
    assert catalogue.audiences["service_problem"] == ()
    assert catalogue.digest() != changed().digest()


def test_a_misspelt_audience_says_where_and_what_was_meant() -> None:
    """The message names the action, the table and the key."""
    with pytest.raises(CatalogueError, match=r"action `offer`.*eligibility\.audience.*did you mean `category`"):
        changed(eligibility={"audience": {"categorie": "coffee", "min_probability": 0.2}})
    with pytest.raises(CatalogueError, match="min_probability"):
        changed(eligibility={"audience": {"category": "coffee", "min_probability": 20}})


def test_the_reason_says_how_likely_the_purchase_is() -> None:
    """For those who got the offer because they are in its audience; who is unlikely to buy never gets it."""
    offered = [each for each in decisions_for("coffee") if each.action == "offer"]
    assert offered
    for decision in offered:
        (reason,) = [each for each in decision.reasons if each.name == "audience"]
        assert reason.words == f"Likely to buy in coffee within 30 days: {reason.value:.0%}"
        assert reason.value >= 0.2
    assert not [each for each in decisions_for("tea") if each.action == "offer"]
    assert not [each for each in decisions_for("tea") for reason in each.reasons if reason.name == "audience"]


def test_with_a_share_of_0_no_audience_is_learned() -> None:
    """Nothing is predicted at any tick."""
    task = new_task(replace(STREAM, audience=AudienceSettings(sample_share=0.0)))
    stream = Stream(task)
    stream.order("ann", T0)
    task.advance_to(T0 + 5 * DAY_MS)
    customer = task.state.get("ann")
    assert customer is not None
    assert customer.pending.audience == []
