"""The decision: one shared reward model, expected incremental value, and exploration with logged propensities.

What an arm (one action on one channel) is worth to the shop, in its currency:

    (P(outcome | arm) - P(outcome | nothing)) x margin - P(outcome | arm) x cost per outcome
        - cost x (1 + budget price) - fatigue

*Nothing* is worth 0. Probabilities come from one logistic model of the outcome, shared by all arms:

    logit = prior logit of the arm                                     (catalogue; never learned)
          + bias + sum(weight x feature)                               (the same for all arms)
          + offset of the arm + sum(weight of the arm x cross feature) (the arm's own)

All learned weights start at 0, so the catalogue's priors hold until outcomes say otherwise. Arms are drawn with
inverse gap weighting (SquareCB: Foster & Rakhlin 2020, "Beyond UCB"), first the action, then its channel, then the
variant. Every arm that may be chosen keeps a floor under its probability, so that what was logged can be evaluated.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from math import cos, exp2, log, log1p, pi, sin
from operator import mul
from struct import Struct
from typing import NamedTuple

import msgspec

from consumer.core.customer.customer import (
    CARTS,
    FAST_HALF_LIFE_DAYS,
    IMPRESSIONS,
    RESPONSES,
    SESSIONS,
    SUPPORT,
    TROUBLE,
    VIEWS,
    Customer,
)
from consumer.core.customer.segments import DEFAULT_THRESHOLDS, gaps_since_order
from consumer.core.decision.catalogue import NOTHING, TRIGGERS, Arm, Catalogue
from consumer.core.decision.gates import (
    Allowed,
    ContactHistory,
    DecisionRequest,
    Gated,
    allowed_arms,
    local_time,
    zone_of,
)
from consumer.core.hashing import name_of, uniform
from consumer.core.learning.linear import LinearLearner, LinearState, sigmoid
from consumer.core.settings import DAY_MS, CoreSettings, PolicySettings
from schemas.records import EligibleArm, TrainingExample

__all__ = [
    "REWARD_FEATURES",
    "Choice",
    "DecisionRequest",
    "PolicyLearner",
    "RewardScorer",
    "RewardState",
    "decide",
    "draw_probabilities",
    "in_hold_out",
    "reward_feature_set",
    "reward_features",
]

MIN_NOTHING_FLOOR = 0.05  # P(outcome | nothing) is learned from randomised nothing: there must be some
MAX_FLOORS = 0.1  # what the floors of all arms may take together

# What a decision is made with and an example carries, in this order. Scaled by hand to about [-1, 1], so that the
# model needs no scaler and a feature that is 0 leaves its weight alone.
_CONTEXT = (
    "churn_risk",
    "overdue",
    "recency",
    "never_ordered",
    "silence",
    "orders",
    "spend",
    "views",
    "carts",
    "sessions",
    "trouble",
    "responsiveness",
    "contacts",
    "cart",
    "recommendations",
    "day",
    "morning",
    "new",
    "loyal",
    "late",
)
REWARD_FEATURES: tuple[str, ...] = _CONTEXT + tuple(f"trigger_{trigger}" for trigger in TRIGGERS)
PACKED = Struct(f"<{len(REWARD_FEATURES)}e")  # 16 bits each are what is kept of them, and so what is predicted with
# The features whose effect may differ from arm to arm.
CROSS_FEATURES = ("churn_risk", "overdue", "orders", "trouble", "responsiveness", "cart", "late")
_CROSSED = tuple(REWARD_FEATURES.index(name) for name in CROSS_FEATURES)

_GROUP_OF_SEGMENT = {"new": 0, "loyal": 1, "big_spender": 1, "slipping": 2, "at_risk": 2, "lost": 2}
_GROUPS = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0))
_NO_GROUP = 3
_TRIGGERS: dict[str, tuple[float, ...]] = {t: tuple(float(t == other) for other in TRIGGERS) for t in TRIGGERS}
_NO_TRIGGER = (0.0,) * len(TRIGGERS)


@lru_cache(maxsize=8)
def reward_feature_set(outcome_days: float) -> str:
    """Return what stands for features and labels: an outcome within another time is another label."""
    return name_of("policy", *REWARD_FEATURES, repr(outcome_days))


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
    nothing_propensity: float
    gated: tuple[Gated, ...]

    @property
    def is_exploration(self) -> bool:
        """Whether another arm than the best one was drawn."""
        return not self.hold_out and self.arm != self.best_arm


# --- context -----------------------------------------------------------------------------------------------------


def reward_features(request: DecisionRequest, local_hour: float, n_contacts: int) -> tuple[float, ...]:
    """Return the context of a decision in the order of REWARD_FEATURES, as it is kept for learning.

    `local_hour` is the customer's, 0 to 24.
    """
    customer, now_ms = request.customer, request.now_ms
    risk = request.churn_probability
    ordered = customer.n_orders > 0
    n = _decayed(customer, now_ms)
    angle = local_hour * (pi / 12.0)
    packed = PACKED.pack(
        0.0 if risk is None else _clamp(log(max(risk, 1e-4) / max(1.0 - risk, 1e-4)) / 4.0),
        min(gaps_since_order(customer, now_ms, DEFAULT_THRESHOLDS.typical_gap_days) / 4.0, 1.0),
        log1p(max(now_ms - customer.last_order_ms, 0) / DAY_MS) / 6.0 if ordered else 0.0,
        0.0 if ordered else 1.0,
        log1p(max(now_ms - customer.last_seen_ms, 0) / DAY_MS) / 6.0,
        log1p(customer.n_orders) / 3.0,
        log1p(max(customer.spend, 0.0)) / 8.0,
        log1p(n[VIEWS]) / 4.0,
        log1p(n[CARTS]) / 3.0,
        log1p(n[SESSIONS]) / 3.0,
        log1p(n[TROUBLE] + n[SUPPORT]) / 2.0,
        _clamp(log((n[RESPONSES] + 0.5) / (n[IMPRESSIONS] + 5.0) / 0.1) / 3.0),
        n_contacts / 4.0,
        log1p(len(customer.cart)) / 2.0,
        1.0 if request.n_recommendations else 0.0,
        -cos(angle),  # 1 at noon, -1 at midnight
        sin(angle),  # 1 at six in the morning, -1 at six in the evening
        *_GROUPS[_GROUP_OF_SEGMENT.get(request.segment, _NO_GROUP)],
        *_TRIGGERS.get(request.trigger, _NO_TRIGGER),
    )
    return PACKED.unpack(packed)


def _decayed(customer: Customer, now_ms: int) -> Sequence[float]:
    """Return the customer's fast counters as of `now_ms`."""
    counters = customer.counters
    if not counters:
        return _NO_COUNTS
    factor = exp2(-max(now_ms - customer.first_seen_ms, 0) / (FAST_HALF_LIFE_DAYS * DAY_MS))
    return [max(value * factor, 0.0) for value in counters[::2]]


_NO_COUNTS = (0.0,) * 12


def _clamp(value: float) -> float:
    return min(max(value, -1.0), 1.0)


# --- the reward model --------------------------------------------------------------------------------------------


class RewardState(msgspec.Struct, frozen=True):
    """A reward model as plain data. `meaning` stands for the features, arms and priors that its weights belong to."""

    meaning: str
    linear: LinearState


def model_names(catalogue: Catalogue) -> tuple[str, ...]:
    """Return the names of the model's weights in their order: shared ones, then each arm's own, *nothing* first."""
    own = [
        name
        for arm in (NOTHING, *(a.id for a in catalogue.arms))
        for name in (arm, *(f"{arm}*{c}" for c in CROSS_FEATURES))
    ]
    return ("bias", *REWARD_FEATURES, *own)


def model_meaning(catalogue: Catalogue) -> str:
    """Return a digest of what the weights of a reward model mean. Costs, caps and words are not part of it."""
    priors = [catalogue.nothing_prior_logit, *(arm.prior_logit for arm in catalogue.arms)]
    return blake2b(msgspec.json.encode((model_names(catalogue), priors)), digest_size=16).hexdigest()


class RewardScorer:
    """A frozen reward model: P(outcome | context, arm) for every arm of the catalogue it was made for."""

    __slots__ = ("_arms", "_bias", "_shared", "n_examples")

    def __init__(self, catalogue: Catalogue, linear: LinearState | None = None) -> None:
        priors = [(NOTHING, catalogue.nothing_prior_logit), *((arm.id, arm.prior_logit) for arm in catalogue.arms)]
        n_shared, n_own = 1 + len(REWARD_FEATURES), 1 + len(CROSS_FEATURES)
        weights = linear.weights if linear is not None else (0.0,) * (n_shared + n_own * len(priors))
        self.n_examples = linear.n_iterations if linear is not None else 0
        self._bias, self._shared = weights[0], weights[1:n_shared]
        self._arms: dict[str, tuple[float, tuple[float, ...]]] = {}
        for i, (arm, prior) in enumerate(priors):
            own = weights[n_shared + i * n_own : n_shared + (i + 1) * n_own]
            self._arms[arm] = (prior + own[0], own[1:])

    @classmethod
    def from_state(cls, state: RewardState, catalogue: Catalogue) -> "RewardScorer":
        """Return the scorer of `state`; ValueError where it was learned for other arms, priors or features."""
        _check_meaning(state, catalogue)
        return cls(catalogue, state.linear)

    def probabilities(self, features: Sequence[float], arms: Sequence[str]) -> list[float]:
        """Return P(outcome | features, arm) for each of `arms` (KeyError for an arm that is not in the catalogue)."""
        shared = self._bias + sum(map(mul, self._shared, features))
        crossed = [features[i] for i in _CROSSED]
        found = []
        for arm in arms:
            level, own = self._arms[arm]
            found.append(sigmoid(shared + level + sum(map(mul, own, crossed))))
        return found


class PolicyLearner:
    """The trainer's side of the reward model: one gradient step a matured, randomised example."""

    def __init__(self, catalogue: Catalogue, settings: CoreSettings) -> None:
        self._names = model_names(catalogue)
        self._meaning = model_meaning(catalogue)
        self._feature_set = reward_feature_set(settings.policy.outcome_days)
        self._priors = {NOTHING: catalogue.nothing_prior_logit} | {arm.id: arm.prior_logit for arm in catalogue.arms}
        self._position = {arm: i for i, arm in enumerate(self._priors)}
        policy = settings.policy
        # An accumulator that does not start at 0 keeps the first few outcomes from outweighing the catalogue's priors.
        self._linear = LinearLearner(
            self._names,
            learning_rate=policy.reward_learning_rate,
            l2=settings.learner.l2,
            scaled=False,
            with_intercept=False,
            accumulator=policy.reward_prior_strength,
        )

    @classmethod
    def from_state(cls, state: RewardState, catalogue: Catalogue, settings: CoreSettings) -> "PolicyLearner":
        """Return a learner that goes on exactly where `state` was taken; ValueError where it means something else."""
        _check_meaning(state, catalogue)
        learner = cls(catalogue, settings)
        learner._linear = LinearLearner.from_state(state.linear)
        return learner

    def learn(self, example: TrainingExample) -> bool:
        """Fold one example in; return whether it was used.

        Not used: the hold-out (it measures the programme as a whole and is never learned from), arms that the catalogue
        does not have, features of another feature set.
        """
        arm = example.arm
        if example.hold_out or arm not in self._position or example.feature_set != self._feature_set:
            return False
        self._linear.learn(self._row(arm, example.features), example.label, example.weight, offset=self._priors[arm])
        return True

    def state(self) -> RewardState:
        """Return everything that the next `learn` depends on."""
        return RewardState(self._meaning, self._linear.state())

    def _row(self, arm: str, features: Sequence[float]) -> list[float]:
        row = [0.0] * len(self._names)
        row[0] = 1.0
        row[1 : 1 + len(REWARD_FEATURES)] = features
        start = 1 + len(REWARD_FEATURES) + self._position[arm] * (1 + len(CROSS_FEATURES))
        row[start : start + 1 + len(CROSS_FEATURES)] = [1.0, *(features[i] for i in _CROSSED)]
        return row


def _check_meaning(state: RewardState, catalogue: Catalogue) -> None:
    if state.meaning != model_meaning(catalogue):
        raise ValueError("the reward model was learned for other arms, priors or features; rebuild it")


# --- deciding ----------------------------------------------------------------------------------------------------


def in_hold_out(customer_id: str, now_ms: int, settings: PolicySettings) -> bool:
    """Return whether the customer belongs to the universal hold-out in the rotation period of `now_ms`."""
    period = now_ms // (settings.hold_out_rotation_days * DAY_MS)
    return uniform("hold-out", settings.seed, customer_id, str(period)) < settings.hold_out_share


class Passed(NamedTuple):
    """What came through the gates of one request, and what did not."""

    local: datetime  # the customer's wall clock
    history: ContactHistory
    allowed: list[Allowed]
    gated: list[Gated]


def pass_gates(request: DecisionRequest, catalogue: Catalogue, settings: CoreSettings) -> Passed:
    """Return which arms may be chosen for `request`."""
    customer, policy = request.customer, settings.policy
    local = local_time(request.now_ms, zone_of(customer.time_zone, policy.default_time_zone))
    history = ContactHistory(customer.contacts, request.now_ms, catalogue)
    allowed, gated = allowed_arms(
        request,
        catalogue,
        history,
        local,
        default_consent=settings.privacy.default_consent,
        limit=policy.eligible_limit,
    )
    return Passed(local, history, allowed, gated)


def decide(
    request: DecisionRequest,
    catalogue: Catalogue,
    reward: RewardScorer,
    settings: CoreSettings,
    passed: Passed | None = None,
) -> Choice:
    """Return the decision for `request`: a function of its arguments and nothing else.

    `passed` is what `pass_gates` returned for the same arguments, where it is known.
    """
    policy, customer = settings.policy, request.customer
    local, history, allowed, gated = passed if passed is not None else pass_gates(request, catalogue, settings)
    features = reward_features(request, local.hour + local.minute / 60.0, history.week)
    predicted = reward.probabilities(features, [NOTHING, *[a.arm.id for a in allowed]])
    values = [0.0]
    for one, p in zip(allowed, predicted[1:], strict=True):
        values.append(_value(one.arm, p, predicted[0], history.week, policy))
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
        nothing_propensity=draw[0],
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


def _value(arm: Arm, p_arm: float, p_nothing: float, n_contacts: int, settings: PolicySettings) -> float:
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
