"""One decision: predict, recommend, choose, explain, and remember it until its outcome has matured."""

import msgspec

from consumer.core.catalogue import NOTHING
from consumer.core.churn import churn
from consumer.core.churn.features import CHURN_FEATURES
from consumer.core.customer.bought import due_items
from consumer.core.customer.customer import Customer
from consumer.core.customer.segments import update_segment
from consumer.core.customer.tastes import tastes_of
from consumer.core.decision import outcomes
from consumer.core.decision.budget import Budget
from consumer.core.decision.explain import (
    ChurnPrediction,
    audience_reason,
    explain,
    replenishment_reasons,
    segment_reason,
    taste_reason,
)
from consumer.core.decision.exploration import explore
from consumer.core.decision.gates import pass_gates
from consumer.core.decision.policy import Choice, decide
from consumer.core.hashing import name_of
from consumer.core.preference.basket import recommend_basket
from consumer.core.preference.preference import recommend
from consumer.core.reward.request import DecisionRequest
from consumer.core.shared import Core
from schemas.records import Coordinates, Mode, NextBestAction, Recommendation
from schemas.units import DAY_MS

SCORE_DIGITS = 4  # after the point: a score orders the items of one decision
_BASKET_TRIGGERS = frozenset({"purchase", "replenishment"})  # what comes next is an order, not a click


class Moment(msgspec.Struct, frozen=True, gc=False):
    """What a decision is about: why now, when, and which input record it follows from."""

    trigger: str
    at_ms: int
    origin: Coordinates
    mode: Mode
    trouble: str = ""  # the kind of event, where the trigger is a service problem
    decided_ms: int = 0  # when it is decided: what had to be done before is too late


def decide_for(customer: Customer, moment: Moment, core: Core, budget: Budget) -> NextBestAction:
    """Return the decision for `customer`, who remembers it as pending from here on."""
    settings, catalogue, knowledge = core.settings, core.catalogue, core.knowledge
    at_ms, origin = moment.at_ms, moment.origin
    decision_id = name_of(
        customer.customer_id, origin.topic, str(origin.partition), str(origin.offset), moment.trigger, str(at_ms)
    )
    estimate = knowledge.churn.estimate(customer, at_ms)
    probability, first_purchase = estimate.probability, estimate.first_purchase_probability
    update_segment(customer, at_ms, probability, knowledge.thresholds)
    tastes = tastes_of(customer, knowledge.price_bands)
    audience = knowledge.audience.probabilities(customer, catalogue.audiences.get(moment.trigger, ()), at_ms)
    request = DecisionRequest(
        decision_id=decision_id,
        now_ms=at_ms,
        local=core.local_time.clock(at_ms, customer.context.time_zone),
        trigger=moment.trigger,
        customer=customer,
        segment=customer.segment,
        churn_probability=probability,
        n_recommendations=settings.preference.content_items,  # as if: what cannot be done needs none to be made
        trouble=moment.trouble,
        tastes=tastes,
        audience=audience,
        decided_ms=moment.decided_ms,
        grants=budget.left(at_ms, origin.partition),
    )
    passed = pass_gates(request, catalogue, settings)
    recommendations: list[Recommendation] = []
    if passed.allowed:
        recommendations = _recommendations(customer, moment, core, decision_id)
        request = msgspec.structs.replace(request, n_recommendations=len(recommendations))
        if not recommendations:
            passed = pass_gates(request, catalogue, settings)
    choice = decide(request, catalogue, knowledge.reward, settings, passed=passed)
    prediction = None if probability is None else _churn_prediction(probability, estimate, knowledge.churn, at_ms)
    about = (
        segment_reason(customer, at_ms, knowledge.thresholds, catalogue.currency),
        *replenishment_reasons(due_items(customer, at_ms // DAY_MS), recommendations),
        *audience_reason(choice, catalogue, audience, settings.audience.within_days),
        *taste_reason(tastes if choice.kind == "recommend" else None),
    )
    reasons = explain(choice, moment.trigger, catalogue, prediction, about=about)
    if choice.action != NOTHING:
        budget.spend(at_ms, choice.action, choice.channel)
    outcomes.remember_decision(customer, choice, moment.trigger, at_ms, settings=settings, catalogue=catalogue)
    return NextBestAction(
        decision_id=decision_id,
        customer_id=customer.customer_id,
        occurred_at=at_ms,
        trigger=moment.trigger,
        action=choice.action,
        channel=choice.channel,
        variant=choice.variant,
        content=_content(customer, choice, moment.trigger, core, recommendations=recommendations),
        deliver_after=choice.deliver_after,
        deliver_before=choice.deliver_before,
        time_zone=core.local_time.zone_name(customer.context.time_zone),
        propensity=_short(choice.propensity),
        eligible=tuple([msgspec.structs.replace(arm, propensity=_short(arm.propensity)) for arm in choice.eligible]),
        churn_probability=None if probability is None else _short(probability),
        churn_signal=settings.churn.signal,
        segment=customer.segment,
        hold_out=choice.hold_out,
        reasons=reasons,
        model_versions=knowledge.versions(),
        origin=origin,
        mode=moment.mode,
        first_purchase_probability=None if first_purchase is None else _short(first_purchase),
        tastes=tastes,
    )


def _rounded(item: Recommendation) -> Recommendation:
    propensity = None if item.propensity is None else _short(item.propensity)
    return Recommendation(item.item_id, round(item.score, SCORE_DIGITS), item.why, propensity)


def _short(probability: float) -> float:
    """Return `probability` with 10 significant digits: what lies behind them fills records and says nothing."""
    return float(f"{probability:.10g}")


def _recommendations(customer: Customer, moment: Moment, core: Core, decision_id: str) -> list[Recommendation]:
    """Return what runs out, then the next basket of who bought, or else the next items, of which one slot explores."""
    settings, knowledge, limit = core.settings, core.knowledge, core.settings.preference.content_items
    is_offerable, day = knowledge.items.is_offerable, moment.at_ms // DAY_MS
    found: list[Recommendation] = []
    if moment.trigger == "replenishment":
        due = [each.item_id for each in due_items(customer, day)]
        found = [Recommendation(item_id, 1.0, "replenish") for item_id in due if is_offerable(item_id)][:limit]
    left_out = {*customer.cart, *(item_id for item_id, known in customer.bought.items() if known.last_day >= day)}
    if moment.trigger in _BASKET_TRIGGERS or (customer.bought and not customer.session.started_ms):
        exclude = left_out | {each.item_id for each in found}
        found += recommend_basket(
            knowledge.baskets,
            knowledge.basket_ranker,
            customer,
            moment.at_ms,
            limit=limit - len(found),
            exclude=exclude,
            is_offerable=is_offerable,
        )
    if len(found) < limit:
        exclude = left_out | {each.item_id for each in found}
        ranked = recommend(
            knowledge.items,
            knowledge.ranker,
            customer,
            limit - len(found) + settings.preference.explore_items,
            exclude_bought=moment.trigger == "purchase",
            exclude=exclude,
        )
        share = settings.preference.explore_share
        found += explore(ranked, limit - len(found), share, (settings.policy.seed, decision_id))
    return found


def _content(
    customer: Customer, choice: Choice, trigger: str, core: Core, *, recommendations: list[Recommendation]
) -> tuple[Recommendation, ...]:
    """Return the items that the action is about: what lies in the cart, or what is recommended."""
    if choice.kind is None or choice.kind == "service":
        return ()
    if trigger == "abandonment" and choice.kind != "recommend":
        cart = [item_id for item_id in customer.cart if core.knowledge.items.is_offerable(item_id)]
        limit = core.settings.preference.content_items
        return tuple(Recommendation(item_id, 1.0, "cart") for item_id in cart[-limit:])
    return tuple([_rounded(each) for each in recommendations])


def _churn_prediction(
    probability: float, estimate: churn.ChurnEstimate, scorer: churn.ChurnScorer, at_ms: int
) -> ChurnPrediction:
    bias, contributions = scorer.contributions(estimate.features, at_ms)
    return ChurnPrediction(_short(probability), bias, CHURN_FEATURES, contributions)
