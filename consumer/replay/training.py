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
        self._learners: dict[Family, Learner] = {
            family: new_learner(family, settings, catalogue) for family in FAMILIES
        }
        self.drifts: list[NotedDrift] = []  # the first MAX_DRIFTS

    def fold(self, examples: Iterable[TrainingExample]) -> list[PublishedSnapshot]:
        """Append `examples` to their logs and learn from them; return the snapshots that became due, in order."""
        published: list[PublishedSnapshot] = []
        for example in examples:
            learner = self._learners[example.family]
            folded = learner.fold(learner.next_offset, example)
            for move in folded.moves:
                if len(self.drifts) < MAX_DRIFTS:
                    noted = NotedDrift(example.family, move.what, example.matured_at, move.before, move.after)
                    self.drifts.append(noted)
            if folded.snapshot is not None:
                published.append(PublishedSnapshot(example.family, learner.last_offset, folded.snapshot))
        return published
