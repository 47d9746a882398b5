"""Why a decision came out as it did: in words for people, with the number each statement rests on.

The churn part is exact: what each feature adds to the log-odds (weight x scaled value) is summed for each family of
features, and base + families equals the model's log-odds. Words come from the catalogue, from this file and
`segments`, and from items, categories and brands, so they never hold the id of a customer.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from consumer.core.catalogue import NOTHING, Catalogue
from consumer.core.churn.features import CHURN_FAMILIES
from consumer.core.customer.bought import Due
from consumer.core.customer.customer import Customer
from consumer.core.customer.segments import Thresholds, segment_words
from consumer.core.customer.tastes import taste_words
from consumer.core.decision.gates import GATES
from consumer.core.decision.policy import Choice
from schemas.records import Reason, Recommendation, Tastes

MAX_FAMILIES = 3  # the others are summed up in one reason
_DIGITS = 10  # after the point, of log-odds, so that they add up: what lies behind fills records and says nothing
_VALUE_DIGITS = 6  # likewise, of all other numbers that a reason rests on
MAX_DUE = 3  # items that are said to be due

TRIGGER_WORDS: Mapping[str, str] = {
    "session_start": "The customer has just come to the shop",
    "session_end": "The customer has just left the shop",
    "cart_add": "The customer has put something into the cart",
    "abandonment": "The customer has left a filled cart behind",
    "purchase": "The customer has just ordered",
    "replenishment": "An item that the customer buys again and again is due",
    "churn_risk": "The risk that the customer does not come back has passed the threshold",
    "service_problem": "The customer has had a problem",
}

# What is said of a family of churn features. A family without words is said by its name.
FAMILY_WORDS: Mapping[str, str] = {
    "recency": "time since the last order and visit",
    "cadence": "the silence since the last order against the own rhythm",
    "tenure": "how long the customer has been known",
    "frequency": "how often the customer ordered",
    "money": "the money spent",
    "engagement": "visits, views and carts of late",
    "trouble": "errors, failed payments, refunds and contacts with support",
    "response": "how the customer took earlier contacts",
}


class ChurnPrediction(msgspec.Struct, frozen=True):
    """A churn probability with what it is made of. `names` and `contributions` are in the same order."""

    probability: float
    bias: float
    names: tuple[str, ...]
    contributions: tuple[float, ...]  # log-odds


def by_family(names: Sequence[str], contributions: Sequence[float], families: Mapping[str, str]) -> dict[str, float]:
    """Return the sum of the contributions of each family; a feature that has none is a family of its own."""
    sums: dict[str, float] = {}
    for name, contribution in zip(names, contributions, strict=True):
        family = families.get(name, name)
        sums[family] = sums.get(family, 0.0) + contribution
    return sums


def churn_reasons(churn: ChurnPrediction, families: Mapping[str, str]) -> tuple[Reason, ...]:
    """Return the reasons for a churn probability: the whole, the base, the largest families, the rest in one.

    The values of all but the first add up to the log-odds.
    """
    sums = by_family(churn.names, churn.contributions, families)
    # Ties by name, so that the order never depends on that of the features.
    ordered = sorted(sums.items(), key=lambda item: (-abs(item[1]), item[0]))
    shown, rest = ordered[:MAX_FAMILIES], ordered[MAX_FAMILIES:]
    digits = _VALUE_DIGITS if rest else _DIGITS
    base = round(churn.bias, digits)
    left = churn.bias - base  # by rounding; what is said of the rest takes it up
    reasons = [
        Reason("churn", f"The risk of churn is {churn.probability:.0%}", churn.probability),
        Reason("churn.base", f"The average risk, as log-odds ({base:+.2f})", base),
    ]
    for family, amount in shown:
        said = FAMILY_WORDS.get(family) or family.replace("_", " ")
        value = round(amount, digits)
        left += amount - value
        reasons.append(Reason(f"churn.{family}", f"{_sentence(said)}: {_direction(amount)}", value))
    if rest:
        amount = left + sum(value for _, value in rest)
        reasons.append(Reason("churn.other", f"All else together: {_direction(amount)}", round(amount, _DIGITS)))
    return tuple(reasons)


def decision_reasons(choice: Choice, trigger: str, catalogue: Catalogue) -> tuple[Reason, ...]:
    """Return the reasons for what was chosen: the trigger, the value, chance or hold-out, and what was ruled out."""
    reasons = [Reason(f"trigger.{trigger}", TRIGGER_WORDS.get(trigger, trigger.replace("_", " ")), 1.0)]
    reasons.append(_value_reason(choice, catalogue))
    if choice.hold_out:
        reasons.append(
            Reason(
                "hold_out", "The customer is in the hold-out: nothing is done, to measure what decisions are worth", 1.0
            )
        )
    elif choice.is_exploration:
        reasons.append(_exploration_reason(choice, catalogue))
    if choice.gated:
        reasons.append(_gates_reason(choice))
    return tuple(reasons)


def explain(
    choice: Choice,
    trigger: str,
    catalogue: Catalogue,
    churn: ChurnPrediction | None,
    *,
    about: tuple[Reason, ...] = (),
) -> tuple[Reason, ...]:
    """Return all reasons for one decision: the decision itself, what is said `about` the customer, the churn."""
    reasons = decision_reasons(choice, trigger, catalogue) + about
    return reasons if churn is None else reasons + churn_reasons(churn, CHURN_FAMILIES)


def segment_reason(customer: Customer, now_ms: int, thresholds: Thresholds, currency: str) -> Reason:
    """Return why the customer is in the present segment."""
    words, value = segment_words(customer, now_ms, thresholds, currency)
    return Reason("segment", words, round(value, 3))


def replenishment_reasons(due: Sequence[Due], recommendations: Sequence[Recommendation]) -> tuple[Reason, ...]:
    """Return why those of the recommended items come again that are due. The value is days since / usual days."""
    recommended = {each.item_id for each in recommendations}
    return tuple(
        Reason(
            "replenishment",
            f"Buys {each.item_id} about every {_days(round(each.gap_days))}; last bought {_days(each.days_ago)} ago",
            round(each.days_ago / each.gap_days, _VALUE_DIGITS),
        )
        for each in due
        if each.item_id in recommended
    )[:MAX_DUE]


def _days(n: int) -> str:
    return "1 day" if n == 1 else f"{n} days"


def audience_reason(
    choice: Choice, catalogue: Catalogue, audience: Mapping[str, float], within_days: float
) -> tuple[Reason, ...]:
    """Return why the customer is in the audience that the chosen action is for, if it is for one."""
    action = catalogue.actions.get(choice.action)
    asked = action.eligibility.audience if action is not None else None
    if asked is None or asked.category not in audience:
        return ()
    likely = audience[asked.category]
    words = f"Likely to buy in {asked.category} within {_days(round(within_days))}: {likely:.0%}"
    return (Reason("audience", words, round(likely, _VALUE_DIGITS)),)


def taste_reason(tastes: Tastes | None) -> tuple[Reason, ...]:
    """Return what is said of the customer's tastes, if anything."""
    words = taste_words(tastes) if tastes is not None else ""
    return (Reason("tastes", words, 1.0),) if words else ()


def _value_reason(choice: Choice, catalogue: Catalogue) -> Reason:
    money = catalogue.currency
    if choice.arm != NOTHING:
        words = (
            f"{_arm_words(choice.arm, catalogue)} should bring {_over_nothing(choice.expected_value, money)}: "
            f"an order with {choice.predicted:.1%} instead of {choice.predicted_nothing:.1%}"
        )
        return Reason("value", _sentence(words), round(choice.expected_value, _VALUE_DIGITS))
    others = choice.eligible[1:]
    if not others:
        return Reason("value", "No action was possible", 0.0)
    if choice.best_arm == NOTHING:
        return Reason("value", "No possible action is expected to bring more than it costs", 0.0)
    best = _over_nothing(choice.best_value, money)
    words = f"{_arm_words(choice.best_arm, catalogue)} was expected to bring {best}"
    return Reason("value", _sentence(words), round(choice.best_value, _VALUE_DIGITS))


def _exploration_reason(choice: Choice, catalogue: Catalogue) -> Reason:
    """Say that it was chance, with the probability of the action on its channel, whichever variant it has."""
    drawn = sum(
        arm.propensity for arm in choice.eligible if (arm.action, arm.channel) == (choice.action, choice.channel)
    )
    best = "doing nothing" if choice.best_arm == NOTHING else _arm_words(choice.best_arm, catalogue)
    words = f"Drawn by chance ({drawn:.1%}), to learn; expected to be best: {best}"
    return Reason("exploration", words, round(drawn, _DIGITS))


def _gates_reason(choice: Choice) -> Reason:
    counts = Counter(why for _, why in choice.gated)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    said = ", ".join(f"{GATES.get(why, why)} ({n} {'arm' if n == 1 else 'arms'})" for why, n in ordered)
    return Reason("gates", f"Ruled out: {said}", float(len(choice.gated)))


def _arm_words(arm: str, catalogue: Catalogue) -> str:
    action, _, channel = arm.partition("|")
    return f"{catalogue.actions[action].words} {catalogue.channels[channel].words}"


def _over_nothing(amount: float, currency: str) -> str:
    money = f"{abs(amount):.2f} {currency}".rstrip()
    return f"{money} {'less' if amount < 0.0 else 'more'} than doing nothing"


def _direction(amount: float) -> str:
    return f"{'raises' if amount > 0.0 else 'lowers'} the risk ({amount:+.2f})"


def _sentence(words: str) -> str:
    """Return words of the catalogue or of a feature as the beginning of a sentence."""
    return words[:1].upper() + words[1:]
