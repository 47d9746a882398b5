"""One decision: predict, recommend, choose, explain, and remember it until its outcome has matured."""

import msgspec

from consumer.core import churn, outcomes
from consumer.core.budget import Budget
from consumer.core.catalogue import NOTHING, Catalogue
from consumer.core.customer import Customer
from consumer.core.explain import ChurnPrediction, explain
from consumer.core.features import CHURN_FAMILIES, CHURN_FEATURES
from consumer.core.gates import zone_name, zone_of
from consumer.core.hashing import name_of
from consumer.core.knowledge import Knowledge
from consumer.core.policy import Choice, DecisionRequest, decide
from consumer.core.preference import recommend
from consumer.core.segments import update_segment
from consumer.core.settings import CoreSettings
from schemas.records import Coordinates, Mode, NextBestAction, Recommendation


class Moment(msgspec.Struct, frozen=True, gc=False):
    """What a decision is about: why now, when, and which input record it follows from."""

    trigger: str
    at_ms: int
    origin: Coordinates
    mode: Mode
    trouble: str = ""  # the kind of event, where the trigger is a service problem


def decide_for(
    customer: Customer,
    moment: Moment,
    settings: CoreSettings,
    catalogue: Catalogue,
    knowledge: Knowledge,
    budget: Budget,
) -> NextBestAction:
    """Return the decision for `customer`, who remembers it as pending from here on."""
    at_ms, origin = moment.at_ms, moment.origin
    decision_id = name_of(
        customer.customer_id, origin.topic, str(origin.partition), str(origin.offset), moment.trigger, str(at_ms)
    )
    estimate = knowledge.churn.estimate(customer, at_ms)
    has_estimate = estimate.probability >= 0.0 and (settings.churn.signal == "activity" or customer.n_orders > 0)
    probability = estimate.probability if has_estimate else None
    update_segment(customer, at_ms, probability)
    recommendations = recommend(
        knowledge.items,
        knowledge.ranker,
        customer,
        settings.preference.content_items,
        exclude_bought=moment.trigger == "purchase",
        exclude_cart=True,
    )
    request = DecisionRequest(
        decision_id=decision_id,
        now_ms=at_ms,
        trigger=moment.trigger,
        customer=customer,
        segment=customer.segment,
        churn_probability=probability,
        n_recommendations=len(recommendations),
        trouble=moment.trouble,
        grants=budget.left(at_ms, origin.partition),
    )
    choice = decide(request, catalogue, knowledge.reward, settings)
    prediction = _churn_prediction(estimate, knowledge.churn) if has_estimate else None
    reasons = explain(choice, moment.trigger, catalogue, prediction, CHURN_FAMILIES)
    if choice.action != NOTHING:
        budget.spend(at_ms, choice.action, choice.channel)
    outcomes.remember_decision(customer, choice, decision_id, moment.trigger, at_ms, settings, catalogue)
    return NextBestAction(
        decision_id=decision_id,
        customer_id=customer.customer_id,
        occurred_at=at_ms,
        trigger=moment.trigger,
        action=choice.action,
        channel=choice.channel,
        variant=choice.variant,
        content=_content(customer, choice, moment.trigger, recommendations, settings.preference.content_items),
        deliver_after=choice.deliver_after,
        deliver_before=choice.deliver_before,
        time_zone=zone_name(zone_of(customer.time_zone, settings.policy.default_time_zone)),
        propensity=choice.propensity,
        eligible=choice.eligible,
        churn_probability=probability,
        churn_signal=settings.churn.signal,
        segment=customer.segment,
        hold_out=choice.hold_out,
        reasons=reasons,
        model_versions=knowledge.versions(),
        origin=origin,
        mode=moment.mode,
    )


def _content(
    customer: Customer, choice: Choice, trigger: str, recommendations: list[Recommendation], limit: int
) -> tuple[Recommendation, ...]:
    """Return the items that the action is about: what lies in the cart, what runs out, what is recommended."""
    if choice.kind is None or choice.kind == "service":
        return ()
    if trigger == "abandonment" and choice.kind != "recommend":
        return tuple(Recommendation(item_id, 1.0, "cart") for item_id in customer.cart[-limit:])
    if trigger == "replenishment" and customer.replenish_item:
        due = Recommendation(customer.replenish_item, 1.0, "replenish")
        return (due, *(r for r in recommendations if r.item_id != customer.replenish_item))[:limit]
    return tuple(recommendations)


def _churn_prediction(estimate: churn.ChurnEstimate, scorer: churn.ChurnScorer) -> ChurnPrediction:
    bias, contributions = scorer.contributions(estimate.features)
    return ChurnPrediction(estimate.probability, bias, CHURN_FEATURES, contributions)
