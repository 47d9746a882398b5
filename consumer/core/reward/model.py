"""The reward model: P(outcome | context, arm), one logistic model that all arms share.

    logit = prior logit of the arm                                     (catalogue; never learned)
          + bias + sum(weight x feature)                               (the same for all arms)
          + offset of the arm + sum(weight of the arm x cross feature) (the arm's own)

All learned weights start at 0, so the catalogue's priors hold until outcomes say otherwise. The policy chooses among
arms with what this model says of them, and its choices are what the model learns from: so their family is called
``policy`` in topics and metrics.
"""

from collections.abc import Sequence
from hashlib import blake2b
from operator import mul

import msgspec

from consumer.core.catalogue import NOTHING, Catalogue
from consumer.core.learning.linear import LinearLearner, LinearState, from_weights, require_names, sigmoid
from consumer.core.reward.features import CROSS_FEATURES, CROSSED, REWARD_FEATURES, reward_feature_set
from consumer.core.settings import CoreSettings
from schemas.records import TrainingExample


def weight_names(catalogue: Catalogue) -> tuple[str, ...]:
    """Return the names of the model's weights in their order: shared ones, then each arm's own, *nothing* first."""
    own = [name for arm in _priors(catalogue) for name in (arm, *(f"{arm}*{c}" for c in CROSS_FEATURES))]
    return ("bias", *REWARD_FEATURES, *own)


def model_meaning(catalogue: Catalogue) -> str:
    """Return a digest of what the weights of a reward model mean. Costs, caps and words are not part of it."""
    priors = list(_priors(catalogue).values())
    return blake2b(msgspec.json.encode((weight_names(catalogue), priors)), digest_size=16).hexdigest()


def _priors(catalogue: Catalogue) -> dict[str, float]:
    """Return the prior logit of each arm, *nothing* first."""
    return {NOTHING: catalogue.nothing_prior_logit} | {arm.id: arm.prior_logit for arm in catalogue.arms}


class RewardScorer:
    """A frozen reward model: P(outcome | context, arm) for every arm of the catalogue it was made for."""

    __slots__ = ("_arms", "_bias", "_shared", "n_examples")

    def __init__(self, catalogue: Catalogue, state: LinearState | None = None) -> None:
        """Raise ValueError where `state` was learned for other arms or features."""
        names = weight_names(catalogue)
        weights = (0.0,) * len(names) if state is None else require_names(state, names, "reward model").weights
        n_shared, n_own = 1 + len(REWARD_FEATURES), 1 + len(CROSS_FEATURES)
        self.n_examples = 0 if state is None else state.n_iterations
        self._bias, self._shared = weights[0], weights[1:n_shared]
        self._arms: dict[str, tuple[float, tuple[float, ...]]] = {}
        for i, (arm, prior) in enumerate(_priors(catalogue).items()):
            own = weights[n_shared + i * n_own : n_shared + (i + 1) * n_own]
            self._arms[arm] = (prior + own[0], own[1:])

    def probabilities(self, features: Sequence[float], arms: Sequence[str]) -> list[float]:
        """Return P(outcome | features, arm) for each of `arms` (KeyError for an arm that is not in the catalogue)."""
        shared = self._bias + sum(map(mul, self._shared, features))
        crossed = [features[i] for i in CROSSED]
        found = []
        for arm in arms:
            level, own = self._arms[arm]
            found.append(sigmoid(shared + level + sum(map(mul, own, crossed))))
        return found


class RewardLearner:
    """The trainer's side of the reward model: one gradient step a matured, randomised example."""

    def __init__(self, settings: CoreSettings, catalogue: Catalogue, state: LinearState | None = None) -> None:
        """`state`: where to go on exactly; ValueError where it was learned for other arms or features."""
        self._names = weight_names(catalogue)
        self._feature_set = reward_feature_set(settings.policy.outcome_days)
        self._priors = _priors(catalogue)
        self._position = {arm: i for i, arm in enumerate(self._priors)}
        untaught = from_weights(
            dict.fromkeys(self._names, 0.0),
            learning_rate=settings.policy.reward_learning_rate,
            l2=settings.learner.l2,
            accumulator=settings.policy.reward_prior_strength,  # the first few outcomes do not outweigh the priors
        )
        self._linear = LinearLearner(require_names(state or untaught, self._names, "reward model"))

    def learn(self, example: TrainingExample) -> None:
        """Fold one example in.

        Nothing is learned from the hold-out (it measures the programme as a whole), from arms that the catalogue does
        not have, and from features of another feature set.
        """
        arm = example.arm
        if example.hold_out or arm not in self._position or example.feature_set != self._feature_set:
            return
        self._linear.learn(self._row(arm, example.features), example.label, example.weight, offset=self._priors[arm])

    def state(self) -> LinearState:
        """Return everything that the next `learn` depends on."""
        return self._linear.state()

    def _row(self, arm: str, features: Sequence[float]) -> list[float]:
        row = [0.0] * len(self._names)
        row[0] = 1.0
        row[1 : 1 + len(REWARD_FEATURES)] = features
        start = 1 + len(REWARD_FEATURES) + self._position[arm] * (1 + len(CROSS_FEATURES))
        row[start : start + 1 + len(CROSS_FEATURES)] = [1.0, *(features[i] for i in CROSSED)]
        return row
