"""The trainers of a replay: one for each family, folding examples in log order, as those behind the topics do."""

from collections.abc import Iterable

import msgspec

from consumer.core.catalogue import Catalogue
from consumer.core.knowledge.learner import Learner, new_learner
from consumer.core.settings import CoreSettings
from schemas.records import FAMILIES, Family, TrainingExample

MAX_DRIFTS = 1_000


class PublishedSnapshot(msgspec.Struct, frozen=True):
    """One snapshot as published: `offset` is that of the last example in it."""

    family: Family
    offset: int
    data: bytes


class NotedDrift(msgspec.Struct, frozen=True):
    """Something that was found to have moved: the mean of the losses, or of a feature, before and after."""

    family: Family
    what: str
    at_ms: int  # event time of the label that showed it
    before: float
    after: float


class Trainers:
    """The log of training examples, by family, and what was learned from it so far."""

    def __init__(self, settings: CoreSettings, catalogue: Catalogue) -> None:
        self._every = settings.learner.snapshot_examples
        self._learners: dict[Family, Learner] = {
            family: new_learner(family, settings, catalogue) for family in FAMILIES
        }
        self.drifts: list[NotedDrift] = []  # the first MAX_DRIFTS
        self._n_examples: dict[Family, int] = dict.fromkeys(FAMILIES, 0)

    def fold(self, examples: Iterable[TrainingExample]) -> list[PublishedSnapshot]:
        """Append `examples` to their logs and learn from them; return the snapshots that became due, in order."""
        published: list[PublishedSnapshot] = []
        for example in examples:
            snapshot = self.fold_at(self._learners[example.family].last_offset + 1, example)
            if snapshot is not None:
                published.append(snapshot)
        return published

    def fold_at(self, offset: int, example: TrainingExample) -> PublishedSnapshot | None:
        """Learn from the example at `offset` of its log; return the snapshot that is due after it, if one is.

        Examples are counted, not offsets: in Kafka's logs the markers of transactions take offsets as well.
        """
        learner = self._learners[example.family]
        for move in learner.learn(offset, example):
            if len(self.drifts) < MAX_DRIFTS:
                noted = NotedDrift(example.family, move.what, example.matured_at, move.before, move.after)
                self.drifts.append(noted)
        self._n_examples[example.family] += 1
        if self._n_examples[example.family] % self._every:
            return None
        return PublishedSnapshot(example.family, offset, learner.snapshot())
