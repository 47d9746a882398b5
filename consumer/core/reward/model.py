"""The reward model: P(outcome | context, arm), one logistic model that all arms share.

    logit = prior logit of the arm                                     (catalogue; never learned)
          + bias + sum(weight x feature)                               (the same for all arms)
          + offset of the arm + sum(weight of the arm x cross feature) (the arm's own)

All learned weights start at 0, so the catalogue's priors hold until outcomes say otherwise.
"""

from collections.abc import Sequence
from hashlib import blake2b
from operator import mul

import msgspec

from consumer.core.catalogue import NOTHING, Catalogue
from consumer.core.learning.linear import LinearLearner, LinearState, sigmoid
from consumer.core.reward.features import CROSS_FEATURES, CROSSED, REWARD_FEATURES, reward_feature_set
from consumer.core.settings import CoreSettings
from schemas.records import TrainingExample


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
        crossed = [features[i] for i in CROSSED]
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
        row[start : start + 1 + len(CROSS_FEATURES)] = [1.0, *(features[i] for i in CROSSED)]
        return row


def _check_meaning(state: RewardState, catalogue: Catalogue) -> None:
    if state.meaning != model_meaning(catalogue):
        raise ValueError("the reward model was learned for other arms, priors or features; rebuild it")
