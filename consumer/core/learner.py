"""The trainer's side of knowledge: folds the examples of one family, in log order, and takes snapshots."""

from typing import Protocol

from river.__version__ import __version__ as river_version

from consumer.core.catalogue import Catalogue
from consumer.core.churn import ChurnLearner
from consumer.core.policy import PolicyLearner
from consumer.core.preference import PreferenceLearner
from consumer.core.settings import CoreSettings
from consumer.core.snapshot import Snapshot, decode_snapshot, encode_snapshot, meaning_of
from schemas.records import Family, TrainingExample


class _Model(Protocol):
    def learn(self, example: TrainingExample) -> object: ...


class Learner:
    """One model of one family and the offset up to which it has learned."""

    def __init__(
        self, family: Family, settings: CoreSettings, catalogue: Catalogue, snapshot: Snapshot | None = None
    ) -> None:
        self.family: Family = family
        self.last_offset = -1 if snapshot is None else snapshot.offset
        self._meaning = meaning_of(family, settings, catalogue)
        self._churn: ChurnLearner | None = None
        self._preference: PreferenceLearner | None = None
        self._policy: PolicyLearner | None = None
        if family == "churn":
            self._churn = ChurnLearner(settings.learner, settings.churn, snapshot.churn if snapshot else None)
        elif family == "preference":
            state = snapshot.preference if snapshot else None
            learning = settings.learner
            self._preference = PreferenceLearner.from_state(state, learning) if state else PreferenceLearner(learning)
        else:
            policy = snapshot.policy if snapshot else None
            self._policy = (
                PolicyLearner.from_state(policy, catalogue, settings) if policy else PolicyLearner(catalogue, settings)
            )
        self._model: _Model = self._churn or self._preference or self._policy  # type: ignore[assignment]

    def learn(self, offset: int, example: TrainingExample) -> None:
        """Fold the example at `offset` in. Offsets must rise."""
        if offset <= self.last_offset:
            raise ValueError(f"example {offset} after {self.last_offset}: the {self.family} log must be read in order")
        self._model.learn(example)
        self.last_offset = offset

    def snapshot(self) -> bytes:
        """Return the model as it stands: a function of the log up to `last_offset`."""
        return encode_snapshot(
            Snapshot(
                river_version=river_version,
                family=self.family,
                offset=self.last_offset,
                meaning=self._meaning,
                churn=self._churn.state() if self._churn else None,
                preference=self._preference.state() if self._preference else None,
                policy=self._policy.state() if self._policy else None,
            )
        )


def new_learner(family: Family, settings: CoreSettings, catalogue: Catalogue) -> Learner:
    """Return a learner that has seen nothing."""
    return Learner(family, settings, catalogue)


def restore_learner(data: bytes, settings: CoreSettings, catalogue: Catalogue) -> Learner:
    """Return a learner that goes on where the snapshot in `data` was taken; raise RefusedSnapshot if it may not."""
    snapshot = decode_snapshot(data, settings, catalogue)
    return Learner(snapshot.family, settings, catalogue, snapshot)
