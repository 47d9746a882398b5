"""The reward model: P(outcome | context, arm), one logistic model that all arms share.

    logit = prior logit of the arm                                     (catalogue; never learned)
          + bias + sum(weight x feature)                               (the same for all arms)
          + offset of the arm + sum(weight of the arm x cross feature) (the arm's own)

All learned weights start at 0, so the catalogue's priors hold until outcomes say otherwise.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from math import cos, exp2, log, log1p, pi, sin
from operator import mul
from struct import Struct

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
from consumer.core.decision.catalogue import NOTHING, TRIGGERS, Catalogue
from consumer.core.decision.gates import DecisionRequest
from consumer.core.hashing import name_of
from consumer.core.learning.linear import LinearLearner, LinearState, sigmoid
from consumer.core.settings import DAY_MS, CoreSettings
from schemas.records import TrainingExample

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
    return name_of("policy", *REWARD_FEATURES, repr(float(outcome_days)))


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
