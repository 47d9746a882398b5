"""What a family is: the models that learn from one log of examples, in its order, and are published together.

The table at the end is the only place that says so. A model is made, restored and asked in one way: its learner and
its scorer take the state that a snapshot holds of it, or None where nothing was learned yet; the learner takes
examples with `learn`, leaves those of other heads and feature sets alone, and tells its `state`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from consumer.core.catalogue import Catalogue
from consumer.core.churn.churn import ChurnLearner, ChurnScorer, ChurnState
from consumer.core.churn.churn import model_meaning as churn_meaning
from consumer.core.customer.segment_learner import SegmentLearner, SegmentState
from consumer.core.hashing import name_of
from consumer.core.learning.drift import Drift
from consumer.core.learning.linear import LinearState
from consumer.core.preference import audience
from consumer.core.preference.audience_model import AudienceLearner, AudienceScorer, AudienceState
from consumer.core.preference.basket import BASKET_FEATURES, BasketLearner, BasketRanker
from consumer.core.preference.preference import NextItemLearner, Ranker
from consumer.core.preference.rank_features import RANK_FEATURES
from consumer.core.reward.model import RewardLearner, RewardScorer
from consumer.core.reward.model import model_meaning as reward_meaning
from consumer.core.settings import CoreSettings
from schemas.records import Family, TrainingExample


class ChurnModels(msgspec.Struct, frozen=True, tag_field="family", tag="churn"):
    """Churn, and where segments begin: their samples come the same way."""

    churn: ChurnState | None = None
    segments: SegmentState | None = None


class PreferenceModels(msgspec.Struct, frozen=True, tag_field="family", tag="preference"):
    """What is wanted next: items in a visit, items in an order, categories within weeks."""

    next_item: LinearState | None = None
    basket: LinearState | None = None
    audience: AudienceState | None = None


class RewardModels(msgspec.Struct, frozen=True, tag_field="family", tag="policy"):
    """What each arm brings."""

    reward: LinearState | None = None


Models = ChurnModels | PreferenceModels | RewardModels
M = TypeVar("M", ChurnModels, PreferenceModels, RewardModels)


class ModelLearner(Protocol):
    """What a family does with the learner of each of its models."""

    def learn(self, example: TrainingExample) -> Sequence[Drift] | None:
        """Fold one example in; return what it shows to have moved, where that is watched."""

    def state(self) -> object:
        """Return everything that the next `learn` depends on, as plain data."""


@dataclass(frozen=True, kw_only=True)
class FamilySpec(Generic[M]):
    """One row of the table. The functions take the core's settings, the catalogue, and what is known of the models."""

    models: type[M]
    meaning: Callable[[CoreSettings, Catalogue], str]  # digest of what the numbers in the models rest on
    learners: Callable[[CoreSettings, Catalogue, M], Mapping[str, ModelLearner]]  # by field of `models`
    scorers: Callable[[CoreSettings, Catalogue, M], Mapping[str, object]]  # by attribute of `Knowledge`


FAMILY_SPECS: Mapping[Family, FamilySpec[Any]] = {
    "churn": FamilySpec[ChurnModels](
        models=ChurnModels,
        meaning=lambda settings, _: churn_meaning(settings.churn),
        learners=lambda settings, _, known: {
            "churn": ChurnLearner(settings.learner, settings.churn, known.churn),
            "segments": SegmentLearner(known.segments),
        },
        scorers=lambda settings, _, known: {
            "churn": ChurnScorer(settings.churn, known.churn),
            "thresholds": (known.segments or SegmentState()).thresholds,
            "price_bands": (known.segments or SegmentState()).price_bands,
        },
    ),
    "preference": FamilySpec[PreferenceModels](
        models=PreferenceModels,
        meaning=lambda settings, _: name_of(*RANK_FEATURES, *BASKET_FEATURES, audience.feature_set(settings.audience)),
        learners=lambda settings, _, known: {
            "next_item": NextItemLearner(settings.learner, known.next_item),
            "basket": BasketLearner(settings.learner, known.basket),
            "audience": AudienceLearner(settings.audience, settings.learner, known.audience),
        },
        scorers=lambda settings, _, known: {
            "ranker": Ranker(known.next_item),
            "basket_ranker": BasketRanker(known.basket),
            "audience": AudienceScorer(settings.audience, known.audience),
        },
    ),
    "policy": FamilySpec[RewardModels](
        models=RewardModels,
        meaning=lambda settings, catalogue: name_of(
            reward_meaning(catalogue), repr(float(settings.policy.outcome_days))
        ),
        learners=lambda settings, catalogue, known: {"reward": RewardLearner(settings, catalogue, known.reward)},
        scorers=lambda _, catalogue, known: {"reward": RewardScorer(catalogue, known.reward)},
    ),
}
