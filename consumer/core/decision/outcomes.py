"""Outcomes: what followed a decision, measured alike for actions, randomised nothing and the hold-out."""

from struct import pack, unpack

from consumer.core.catalogue import NOTHING, Catalogue
from consumer.core.churn import churn
from consumer.core.customer.counters import ORDERS, add_to_counter, take_from_counter
from consumer.core.customer.customer import Contact, Customer, PendingDecision
from consumer.core.customer.orders import Change, earned_orders
from consumer.core.decision.gates import remember_contact
from consumer.core.decision.policy import Choice
from consumer.core.reward.features import reward_feature_set
from consumer.core.settings import CoreSettings
from schemas.records import TrainingExample
from schemas.units import DAY_MS


def remember_decision(
    customer: Customer,
    choice: Choice,
    trigger: str,
    at_ms: int,
    *,
    settings: CoreSettings,
    catalogue: Catalogue,
) -> None:
    """Keep the decision until its outcome has matured, and note what it does to churn labels and contact caps.

    Where as many as allowed are kept already, it is not kept: to drop the oldest instead would drop each one before
    its outcome has matured, wherever decisions are many to an outcome window.
    """
    values = choice.reward_features
    pending = customer.pending.decisions
    # Where nothing else was possible there is nothing to learn, and treated, untreated and hold-out customers are only
    # alike where each of them could have been treated.
    had_a_choice = len(choice.eligible) > 1
    if had_a_choice and len(pending) < settings.state.pending_decisions:
        pending.append(
            PendingDecision(
                decided_at=at_ms,
                arm=choice.arm,
                features=pack(f"<{len(values)}e", *values),
                predicted=choice.predicted,
                propensity=choice.propensity,
                hold_out=choice.hold_out,
                orders=0,
                spent=0,
            )
        )
    _note_treatment(customer, choice, trigger, catalogue)
    if choice.action != NOTHING:
        contact = Contact(at=at_ms, action=choice.action, channel=choice.channel or "")
        limit = max(settings.state.contacts, catalogue.contacts_to_remember())
        customer.contacts = remember_contact(customer.contacts, contact, limit)


def _note_treatment(customer: Customer, choice: Choice, trigger: str, catalogue: Catalogue) -> None:
    """Note for the churn predictions still open whether the customer was treated, or how probable it was not to be.

    A treatment is what is done to keep a customer: an offer, or anything that a high risk triggered. What a shop does
    day by day for those who visit is no treatment: a visit brings it about, so that hardly anybody who came back would
    be left untreated, and the model would learn that nobody does.
    """

    def treats(action: str) -> bool:
        return action != NOTHING and (trigger == "churn_risk" or catalogue.actions[action].kind == "offer")

    treated = treats(choice.action)
    untreated_propensity = 1.0 - sum(arm.propensity for arm in choice.eligible if treats(arm.action))
    for prediction in customer.pending.churn:
        if prediction.signal_at:
            continue  # its label is known: what is done now cannot change it
        if treated:
            prediction.treated = True
        else:
            prediction.untreated_propensity *= untreated_propensity


def note_order(customer: Customer, at_ms: int, amount: float, settings: CoreSettings) -> None:
    """Credit an order to every decision within whose outcome window it falls."""
    window_ms = int(settings.policy.outcome_days * DAY_MS)
    for pending in customer.pending.decisions:
        if pending.decided_at < at_ms <= pending.decided_at + window_ms:
            pending.orders += 1
            pending.spent += amount


def follow_order(customer: Customer, change: Change, settings: CoreSettings) -> None:
    """Let counts, outcomes and churn labels that have not matured follow what an order is now known to have brought."""
    before, after = change.before, change.after
    if before == after:
        return
    if before is not None:
        take_from_counter(customer, ORDERS, before.at)
        _take_back_order(customer, before.at, before.amount, settings)
    if after is not None:
        add_to_counter(customer, ORDERS, after.at)
        note_order(customer, after.at, after.amount, settings)
    if settings.churn.signal != "purchase":
        return
    if before is None and after is not None:
        churn.note_signal(customer, after.at)
    else:
        settled_ms = customer.settled_orders.last_ms if customer.settled_orders else 0
        churn.note_signals_anew(customer, [each.at for each in earned_orders(customer)], settled_ms)


def _take_back_order(customer: Customer, at_ms: int, amount: float, settings: CoreSettings) -> None:
    """Take back what `note_order` credited."""
    window_ms = int(settings.policy.outcome_days * DAY_MS)
    for pending in customer.pending.decisions:
        if pending.decided_at < at_ms <= pending.decided_at + window_ms and pending.orders:
            pending.orders -= 1
            pending.spent = max(0, pending.spent - amount) if pending.orders else 0


def reveal_outcomes(customer: Customer, now_ms: int, settings: CoreSettings) -> list[TrainingExample]:
    """Return the examples of decisions whose outcome has matured by `now_ms`, oldest first."""
    window_ms = int(settings.policy.outcome_days * DAY_MS)
    pending = customer.pending.decisions
    examples: list[TrainingExample] = []
    while pending and pending[0].decided_at + window_ms <= now_ms:
        decision = pending.pop(0)
        examples.append(
            TrainingExample(
                family="policy",
                head="reward",
                feature_set=reward_feature_set(settings.policy.outcome_days),
                features=unpack(f"<{len(decision.features) // 2}e", decision.features),
                rows=1,
                label=1.0 if decision.orders else 0.0,
                weight=1.0,
                predicted_at=decision.decided_at,
                matured_at=decision.decided_at + window_ms,
                predicted=decision.predicted,
                arm=decision.arm,
                propensity=decision.propensity,
                hold_out=decision.hold_out,
                treated=decision.arm != NOTHING,
                value=float(decision.spent),
            )
        )
    return examples
