"""The decision: expected incremental value, and exploration with logged propensities.

What an arm (one action on one channel) is worth to the shop, in its currency:

    (P(outcome | arm) - P(outcome | nothing)) x margin - P(outcome | arm) x cost per outcome
        - cost x (1 + budget price) - fatigue

*Nothing* is worth 0. The probabilities are those of `reward`. Arms are drawn with inverse gap weighting (SquareCB:
Foster & Rakhlin 2020, "Beyond UCB"), first the action, then its channel, then the variant. Every arm that may be
chosen keeps a floor under its probability, so that what was logged can be evaluated.
"""

from collections.abc import Sequence

import msgspec

from consumer.core.catalogue import NOTHING, Arm, Catalogue
from consumer.core.decision.gates import Allowed, Gated, Passed, pass_gates
from consumer.core.hashing import uniform
from consumer.core.reward.features import reward_features
from consumer.core.reward.model import RewardScorer
from consumer.core.reward.request import DecisionRequest
from consumer.core.settings import CoreSettings, PolicySettings
from schemas.records import EligibleArm
from schemas.units import DAY_MS

MIN_NOTHING_FLOOR = 0.05  # P(outcome | nothing) is learned from randomised nothing: there must be some
MAX_FLOORS = 0.1  # what the floors of all arms may take together


class Choice(msgspec.Struct, frozen=True):
    """What was decided, and everything that explains it, logs it and is learned from it later."""

    action: str  # NOTHING is one of them
    channel: str | None
    variant: str | None
    arm: str  # action|channel, or NOTHING
    propensity: float  # joint, of (action, channel, variant)
    eligible: tuple[EligibleArm, ...]  # *nothing* first, then the catalogue's order; propensities sum to 1
    hold_out: bool
    deliver_after: int | None  # epoch ms
    deliver_before: int | None
    purpose: str | None
    kind: str | None
    reward_features: tuple[float, ...]  # in the order of REWARD_FEATURES, the same for every arm
    predicted: float  # P(outcome | chosen arm)
    predicted_nothing: float
    expected_value: float  # of the chosen arm over nothing, shop currency
    best_arm: str  # the arm of the highest expected value
    best_value: float
    gated: tuple[Gated, ...]

    @property
    def is_exploration(self) -> bool:
        """Whether another arm than the best one was drawn."""
        return not self.hold_out and self.arm != self.best_arm


def in_hold_out(customer_id: str, now_ms: int, settings: PolicySettings) -> bool:
    """Return whether the customer belongs to the universal hold-out in the rotation period of `now_ms`."""
    period = now_ms // (settings.hold_out_rotation_days * DAY_MS)
    return uniform("hold-out", settings.seed, customer_id, str(period)) < settings.hold_out_share


def decide(
    request: DecisionRequest,
    catalogue: Catalogue,
    reward: RewardScorer,
    settings: CoreSettings,
    *,
    passed: Passed | None = None,
) -> Choice:
    """Return the decision for `request`: a function of its arguments and nothing else.

    `passed` is what `pass_gates` returned for the same arguments, where it is known.
    """
    policy, customer = settings.policy, request.customer
    history, allowed, gated = passed if passed is not None else pass_gates(request, catalogue, settings)
    features = reward_features(request, history.week)
    predicted = reward.probabilities(features, [NOTHING, *[a.arm.id for a in allowed]])
    values = [0.0]
    for one, p in zip(allowed, predicted[1:], strict=True):
        values.append(_value(one.arm, p, predicted[0], policy, n_contacts=history.week))
    hold_out = in_hold_out(customer.customer_id, request.now_ms, policy)
    if hold_out:
        draw = [1.0] + [0.0] * len(allowed)
        chosen = 0
    else:
        draw = draw_probabilities(allowed, values, reward.n_examples, policy)
        chosen = _draw_arm(allowed, draw, request.decision_id, policy.seed)
    best = values.index(max(values))
    arm = allowed[chosen - 1].arm if chosen else None
    variant, share = _draw_variant(arm, request.decision_id, policy.seed)
    return Choice(
        action=arm.action_id if arm else NOTHING,
        channel=arm.channel_id if arm else None,
        variant=variant,
        arm=arm.id if arm else NOTHING,
        propensity=draw[chosen] * share,
        eligible=_eligible(allowed, draw),
        hold_out=hold_out,
        deliver_after=allowed[chosen - 1].deliver_after if chosen else None,
        deliver_before=allowed[chosen - 1].deliver_before if chosen else None,
        purpose=arm.action.purpose if arm else None,
        kind=arm.action.kind if arm else None,
        reward_features=features,
        predicted=predicted[chosen],
        predicted_nothing=predicted[0],
        expected_value=values[chosen],
        best_arm=allowed[best - 1].arm.id if best else NOTHING,
        best_value=values[best],
        gated=tuple(gated),
    )


def draw_probabilities(
    allowed: Sequence[Allowed], values: Sequence[float], n_examples: int, settings: PolicySettings
) -> list[float]:
    """Return the probability of *nothing* (first) and of each allowed arm; they sum to 1.

    `values` are expected values in shop currency, *nothing* first. They are compared in units of the largest margin
    among the arms, so that the exploration setting means the same in every currency. The floors are mixed in last:
    each arm keeps min(floor, .1 / number of arms), *nothing* its own.
    """
    if not allowed:
        return [1.0]
    gamma = settings.exploration * max(1, n_examples) ** settings.exploration_growth
    gamma /= max(one.arm.action.margin for one in allowed) or 1.0
    actions: dict[str, list[int]] = {NOTHING: [0]}
    for i, one in enumerate(allowed, start=1):
        actions.setdefault(one.arm.action_id, []).append(i)
    of_actions = _inverse_gap_weights([max(values[i] for i in arms) for arms in actions.values()], gamma)
    drawn = [0.0] * len(values)
    for p_action, arms in zip(of_actions, actions.values(), strict=True):
        for i, p in zip(arms, _inverse_gap_weights([values[i] for i in arms], gamma), strict=True):
            drawn[i] = p_action * p
    floor = min(settings.propensity_floor, MAX_FLOORS / len(values))
    nothing_floor = max(settings.nothing_floor, MIN_NOTHING_FLOOR, floor)
    rest = 1.0 - nothing_floor - floor * len(allowed)
    return [nothing_floor + rest * drawn[0], *[floor + rest * p for p in drawn[1:]]]


def _inverse_gap_weights(values: Sequence[float], gamma: float) -> list[float]:
    """SquareCB: 1 / (K + gamma x gap to the best), and the rest for the best; the first of equals is the best."""
    if len(values) == 1:
        return [1.0]
    top = max(values)
    best = values.index(top)
    weights = [1.0 / (len(values) + gamma * (top - value)) for value in values]
    weights[best] = 0.0
    weights[best] = 1.0 - sum(weights)
    return weights


def _value(arm: Arm, p_arm: float, p_nothing: float, settings: PolicySettings, *, n_contacts: int) -> float:
    """Return what `arm` is expected to bring over nothing, shop currency."""
    action = arm.action
    value = (p_arm - p_nothing) * action.margin - p_arm * action.cost_per_outcome
    value -= arm.cost * (1.0 + settings.action_budget_price)
    return value - settings.fatigue_cost * n_contacts if arm.channel.intrusive else value


def _draw_arm(allowed: Sequence[Allowed], draw: Sequence[float], decision_id: str, seed: str) -> int:
    """Return the position in `draw` of what was drawn: first an action, then one of its channels."""
    actions: dict[str, float] = {NOTHING: draw[0]}
    for one, p in zip(allowed, draw[1:], strict=True):
        actions[one.arm.action_id] = actions.get(one.arm.action_id, 0.0) + p
    action = list(actions)[_pick(list(actions.values()), uniform("action", seed, decision_id))]
    if action == NOTHING:
        return 0
    arms = [i for i, one in enumerate(allowed, start=1) if one.arm.action_id == action]
    if len(arms) == 1:
        return arms[0]
    return arms[_pick([draw[i] for i in arms], uniform("channel", seed, decision_id))]


def _draw_variant(arm: Arm | None, decision_id: str, seed: str) -> tuple[str | None, float]:
    """Return the variant and its share; (None, 1) where there are none."""
    if arm is None or not arm.shares:
        return None, 1.0
    i = _pick(arm.shares, uniform("variant", seed, decision_id)) if len(arm.shares) > 1 else 0
    return arm.action.variants[i].id, arm.shares[i]


def _pick(weights: Sequence[float], chance: float) -> int:
    """Return the position at which the running sum of `weights` passes `chance` of the whole."""
    left = chance * sum(weights)
    for i, weight in enumerate(weights):
        left -= weight
        if left < 0.0:
            return i
    return len(weights) - 1  # rounding left nothing over


def _eligible(allowed: Sequence[Allowed], draw: Sequence[float]) -> tuple[EligibleArm, ...]:
    found = [EligibleArm(action=NOTHING, propensity=draw[0])]
    for one, p in zip(allowed, draw[1:], strict=True):
        arm = one.arm
        if arm.shares:
            for variant, share in zip(arm.action.variants, arm.shares, strict=True):
                found.append(_arm(arm, variant.id, p * share))
        else:
            found.append(_arm(arm, None, p))
    return tuple(found)


def _arm(arm: Arm, variant: str | None, propensity: float) -> EligibleArm:
    return EligibleArm(action=arm.action_id, channel=arm.channel_id, variant=variant, propensity=propensity)
