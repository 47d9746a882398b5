"""Challengers of the churn model: they learn from the same examples, and are judged on the same rows.

A prediction knows the labels that had matured when it was made. When its own label is known, a model that goes on
learning knows a horizon's worth of others. So a challenger answers as it was then: with the newest of a few copies
taken before the prediction. It may know up to an eighth of the head's window less than the model in force knew, never
more.
"""

from collections import deque
from contextlib import suppress
from copy import deepcopy
from dataclasses import fields, replace
from struct import Struct
from typing import Any, Generic, Protocol, TypeVar

from river import preprocessing

from consumer.core.catalogue import Catalogue
from consumer.core.churn.churn import HAZARD, HORIZON, ChurnScorer, feature_set
from consumer.core.churn.features import CHURN_FEATURES
from consumer.core.knowledge.families import ChurnModels, Models
from consumer.core.knowledge.learner import Folded, Learner, new_learner, restore_learner
from consumer.core.knowledge.river_classifier import UnknownModel, river_classifier, takes_weight
from consumer.core.knowledge.snapshot import ChallengerSpec, RefusedSnapshot, read_snapshot
from consumer.core.learning.linear import sigmoid
from consumer.core.settings import BUILT_IN, ChallengerSettings, ChurnSettings, CoreSettings, LearnerSettings
from schemas.records import TrainingExample
from schemas.units import DAY_MS

JUDGED_HEADS = (HORIZON, HAZARD)  # of customers who can churn
COPIES = 8  # to a window
_FIXED = ("snapshot_examples", "drift_delta")  # not the challenger's to choose

_PACKED = Struct(f"<{len(CHURN_FEATURES)}f")
Scorer = TypeVar("Scorer")


class Challenger(Protocol):
    """What a challenger's trainer does with any of them."""

    @property
    def next_offset(self) -> int:
        """Return the offset to read next."""

    def probability(self, example: TrainingExample) -> float | None:
        """Return what it would have said when the example was predicted; None where it knew nothing yet."""

    def fold(self, offset: int, example: TrainingExample) -> Folded:
        """Fold the example at `offset` in."""


def new_challenger(
    settings: ChallengerSettings, core: CoreSettings, catalogue: Catalogue, snapshot: bytes | None = None
) -> Challenger:
    """Return a challenger that goes on from its `snapshot`, or has seen nothing where that is of no use.

    Raises UnknownModel where the settings name no model.
    """
    try:
        if settings.model == BUILT_IN:
            return BuiltInChallenger(_learner(spec_of(settings), core, catalogue, snapshot), core.churn)
        return RiverChallenger(settings, core.churn)
    except UnknownModel as error:
        raise UnknownModel(f"challenger {settings.name}: {error}") from None


def _learner(spec: ChallengerSpec, core: CoreSettings, catalogue: Catalogue, snapshot: bytes | None) -> Learner:
    """Return the learner of a built-in challenger; one of its name that learned with other settings is another."""
    with suppress(RefusedSnapshot):
        if snapshot is not None and read_snapshot(snapshot).challenger == spec:
            return restore_learner(snapshot, core, catalogue)
    return new_learner("churn", core, catalogue, spec)


def spec_of(settings: ChallengerSettings) -> ChallengerSpec:
    """Return what a snapshot says of a built-in challenger; raise UnknownModel where a parameter is none."""
    known = {each.name: each.default for each in fields(LearnerSettings) if each.name not in _FIXED}
    for key, value in settings.parameters.items():
        if key not in known:
            raise UnknownModel(f"{BUILT_IN} has no parameter {key}; it takes {', '.join(known)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value < 1e300:
            raise UnknownModel(f"parameter {key} of {BUILT_IN} is {value!r}; it must be a number, 0 or more")
    numbers = {key: float(value) for key, value in sorted(settings.parameters.items())}
    try:
        replace(LearnerSettings(), **dict[str, Any](numbers))
    except ValueError as error:
        raise UnknownModel(f"{BUILT_IN}: {error}") from None
    return ChallengerSpec(settings.name, numbers)


class BuiltInChallenger:
    """The model that comes along, learning with other settings. It has a plain-data form, and so can be promoted."""

    def __init__(self, learner: Learner, settings: ChurnSettings) -> None:
        self._learner = learner
        self._settings = settings
        self._copies: dict[str, _Copies[ChurnScorer]] = _copies_of_heads(settings, latest_label_ms(learner.models()))

    @property
    def next_offset(self) -> int:
        """Return the offset to read next."""
        return self._learner.next_offset

    def probability(self, example: TrainingExample) -> float | None:
        """Return what it would have said when the example was predicted."""
        scorer = self._copies[example.head].at(example.predicted_at)
        hazard = None if scorer is None else scorer.hazard_logit(example.features)
        if scorer is None or hazard is None:
            return None
        if example.head == HAZARD:
            return sigmoid(hazard)
        bias, contributions = scorer.contributions(_PACKED.pack(*example.features), example.predicted_at)
        return sigmoid(bias + sum(contributions))

    def fold(self, offset: int, example: TrainingExample) -> Folded:
        """Fold the example at `offset` in."""
        due = [copies for copies in self._copies.values() if copies.due(example.matured_at)]
        if due:
            models = self._learner.models()
            scorer = ChurnScorer(self._settings, models.churn if isinstance(models, ChurnModels) else None)
            for copies in due:
                copies.keep(scorer)
        folded = self._learner.fold(offset, example)
        for copies in self._copies.values():  # both heads are in either answer
            copies.moved_to(example.matured_at)
        return folded


class RiverChallenger:
    """A classifier of River's for each head. It has no plain-data form: it learns anew when it starts."""

    def __init__(self, settings: ChallengerSettings, churn: ChurnSettings) -> None:
        self.next_offset = 0
        self._feature_set = feature_set(churn)
        self._models = {head: river_classifier(settings.model, settings.parameters) for head in JUDGED_HEADS}
        self._weighted = takes_weight(self._models[HORIZON])
        # Any: River's methods carry no types.
        self._scalers: dict[str, Any] = {
            head: preprocessing.StandardScaler() if settings.scaled else None for head in JUDGED_HEADS
        }
        self._copies: dict[str, _Copies[tuple[Any, Any]]] = _copies_of_heads(churn)

    def probability(self, example: TrainingExample) -> float | None:
        """Return what it would have said when the example was predicted."""
        kept = self._copies[example.head].at(example.predicted_at)
        if kept is None:
            return None
        model, scaler = kept
        x = dict(zip(CHURN_FEATURES, example.features, strict=True))
        return float(model.predict_proba_one(x if scaler is None else scaler.transform_one(x)).get(True, 0.0))

    def fold(self, offset: int, example: TrainingExample) -> Folded:
        """Fold the example at `offset` in. As in the model that comes along, one without weight teaches nothing."""
        self.next_offset = offset + 1
        copies = self._copies.get(example.head)
        if copies is None or example.feature_set != self._feature_set or example.weight <= 0.0:
            return Folded()
        model, scaler = self._models[example.head], self._scalers[example.head]
        if copies.due(example.matured_at):
            copies.keep((deepcopy(model), deepcopy(scaler)))
        x = dict(zip(CHURN_FEATURES, example.features, strict=True))
        if scaler is not None:
            scaler.learn_one(x)
            x = scaler.transform_one(x)
        if self._weighted:
            model.learn_one(x, bool(example.label), w=example.weight)
        else:
            model.learn_one(x, bool(example.label))
        copies.moved_to(example.matured_at)
        return Folded()  # trees and forests can't be told as plain data


class _Copies(Generic[Scorer]):
    """The last copies of a model that learns, by the event time up to which it knew labels."""

    def __init__(self, window_ms: int, known_ms: int | None) -> None:
        self._step_ms = max(1, window_ms // COPIES)
        self._kept: deque[tuple[int, Scorer]] = deque(maxlen=COPIES + 2)
        self._knows_until_ms = known_ms

    def due(self, matured_at: int) -> bool:
        """Return whether the model is to be copied before it learns a label that matured at `matured_at`."""
        if self._knows_until_ms is None or matured_at <= self._knows_until_ms:
            return False
        return not self._kept or self._knows_until_ms >= self._kept[-1][0] + self._step_ms

    def keep(self, scorer: Scorer) -> None:
        """Keep a copy of the model as it is."""
        assert self._knows_until_ms is not None  # noqa: S101 - `due` said so
        self._kept.append((self._knows_until_ms, scorer))

    def moved_to(self, matured_at: int) -> None:
        """Note that the model knows a label that matured at `matured_at`."""
        self._knows_until_ms = max(matured_at, self._knows_until_ms or 0)

    def at(self, moment_ms: int) -> Scorer | None:
        """Return the newest copy that knew no label matured after `moment_ms`."""
        for knew_until_ms, scorer in reversed(self._kept):
            if knew_until_ms <= moment_ms:
                return scorer
        return None


def latest_label_ms(models: Models) -> int | None:
    """Return the event time at which the latest label in a churn model was known, in epoch ms; None before any."""
    state = models.churn if isinstance(models, ChurnModels) else None
    if state is None:
        return None
    return max((head.latest_ms for head in state.heads.values()), default=0) or None


def _copies_of_heads(settings: ChurnSettings, known_ms: int | None = None) -> "dict[str, _Copies[Any]]":
    days = {HORIZON: settings.horizon_days, HAZARD: settings.hazard_days}
    return {head: _Copies(int(window * DAY_MS), known_ms) for head, window in days.items()}


def judged_prediction(example: TrainingExample, settings: ChurnSettings) -> float | None:
    """Return what the model in force said, where this example judges it and so can judge a challenger; else None."""
    judges = example.head in JUDGED_HEADS and example.weight > 0.0 and example.feature_set == feature_set(settings)
    return example.predicted if judges else None
