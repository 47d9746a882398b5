"""The trainer's side of knowledge: folds the examples of one family, in log order, and takes snapshots."""

from typing import Protocol

from river.__version__ import __version__ as river_version

from consumer.core.catalogue import Catalogue
from consumer.core.churn.churn import HAZARD, ChurnLearner, feature_set
from consumer.core.churn.features import CHURN_FEATURES
from consumer.core.customer.segment_learner import SegmentLearner
from consumer.core.knowledge.snapshot import ChallengerSpec, Snapshot, decode_snapshot, encode_snapshot, meaning_of
from consumer.core.learning.drift import Drift, DriftMonitor
from consumer.core.preference.audience_model import AudienceLearner
from consumer.core.preference.basket import BasketLearner
from consumer.core.preference.preference import PreferenceLearner
from consumer.core.reward.model import PolicyLearner
from consumer.core.settings import CoreSettings
from schemas.records import Family, TrainingExample


class _Model(Protocol):
    def learn(self, example: TrainingExample) -> object: ...


class Learner:
    """One model of one family and the offset up to which it has learned.

    `challenger` says whose model it is, if it is not the family's own; `settings` are those it learns with.
    """

    def __init__(
        self,
        family: Family,
        settings: CoreSettings,
        catalogue: Catalogue,
        snapshot: Snapshot | None = None,
        challenger: ChallengerSpec | None = None,
    ) -> None:
        self.family: Family = family
        self.last_offset = -1 if snapshot is None else snapshot.offset
        self._meaning = meaning_of(family, settings, catalogue)
        self._challenger = challenger
        self._drift: DriftMonitor | None = None
        self._feature_set = feature_set(settings.churn)
        self._loosening = settings.learner.drift_loosening
        self._churn: ChurnLearner | None = None
        self._segments: SegmentLearner | None = None  # beside the churn model: its samples come the same way
        self._preference: PreferenceLearner | None = None
        self._basket: BasketLearner | None = None  # beside the preference model
        self._audience: AudienceLearner | None = None  # the same
        self._policy: PolicyLearner | None = None
        if family == "churn":
            self._churn = ChurnLearner(settings.learner, settings.churn, snapshot.churn if snapshot else None)
            self._segments = SegmentLearner(snapshot.segments if snapshot else None)
            if settings.learner.drift_delta:
                seen = snapshot.drift if snapshot else None
                self._drift = DriftMonitor(CHURN_FEATURES, settings.learner.drift_delta, seen)
        elif family == "preference":
            state = snapshot.preference if snapshot else None
            learning = settings.learner
            self._preference = PreferenceLearner.from_state(state, learning) if state else PreferenceLearner(learning)
            self._basket = BasketLearner(learning, snapshot.basket if snapshot else None)
            self._audience = AudienceLearner(settings.audience, learning, snapshot.audience if snapshot else None)
        else:
            policy = snapshot.policy if snapshot else None
            self._policy = (
                PolicyLearner.from_state(policy, catalogue, settings) if policy else PolicyLearner(catalogue, settings)
            )
        self._model: _Model = self._churn or self._preference or self._policy  # type: ignore[assignment]

    def learn(self, offset: int, example: TrainingExample) -> list[Drift]:
        """Fold the example at `offset` in; return what it shows to have moved. Offsets must rise."""
        if offset <= self.last_offset:
            raise ValueError(f"example {offset} after {self.last_offset}: the {self.family} log must be read in order")
        moves = self._watch(example)
        self._model.learn(example)
        if self._segments is not None:
            self._segments.learn(example)
        if self._basket is not None:
            self._basket.learn(example)
        if self._audience is not None:
            self._audience.learn(example)
        self.last_offset = offset
        return moves

    def _watch(self, example: TrainingExample) -> list[Drift]:
        """Look for drift in what the short head is asked and how right it was: its labels come soonest."""
        if self._drift is None or self._churn is None or example.head != HAZARD:
            return []
        if example.feature_set != self._feature_set or example.weight <= 0.0:
            return []
        moves = self._drift.see_features(example.features)
        move = None if example.predicted is None else self._drift.see_loss(example.label, example.predicted)
        if move is not None:
            moves.append(move)
            if self._drift.calls_for_longer_steps(move):
                self._churn.loosen(self._loosening)
        return moves

    def snapshot(self) -> bytes:
        """Return the model as it stands: a function of the log up to `last_offset`."""
        return encode_snapshot(
            Snapshot(
                river_version=river_version,
                family=self.family,
                offset=self.last_offset,
                meaning=self._meaning,
                churn=self._churn.state() if self._churn else None,
                segments=self._segments.state() if self._segments else None,
                preference=self._preference.state() if self._preference else None,
                basket=self._basket.state() if self._basket else None,
                audience=self._audience.state() if self._audience else None,
                policy=self._policy.state() if self._policy else None,
                drift=self._drift.state() if self._drift else None,
                challenger=self._challenger,
            )
        )


def new_learner(family: Family, settings: CoreSettings, catalogue: Catalogue) -> Learner:
    """Return a learner that has seen nothing."""
    return Learner(family, settings, catalogue)


def restore_learner(data: bytes, settings: CoreSettings, catalogue: Catalogue) -> Learner:
    """Return a learner that goes on where the snapshot in `data` was taken; raise RefusedSnapshot if it may not."""
    snapshot = decode_snapshot(data, settings, catalogue)
    return Learner(snapshot.family, settings, catalogue, snapshot)
