"""The trainers of a replay: one for each family, folding examples in log order, as those behind the topics do."""

from collections.abc import Iterable

import msgspec

from consumer.core.catalogue import Catalogue
from consumer.core.learner import Learner, new_learner
from consumer.core.settings import CoreSettings
from schemas.records import FAMILIES, Family, TrainingExample


class PublishedSnapshot(msgspec.Struct, frozen=True):
    """One snapshot as published: `offset` is that of the last example in it."""

    family: Family
    offset: int
    data: bytes


class Trainers:
    """The log of training examples, by family, and what was learned from it so far."""

    def __init__(self, settings: CoreSettings, catalogue: Catalogue) -> None:
        self._every = settings.learner.snapshot_examples
        self._learners: dict[Family, Learner] = {
            family: new_learner(family, settings, catalogue) for family in FAMILIES
        }

    def fold(self, examples: Iterable[TrainingExample]) -> list[PublishedSnapshot]:
        """Append `examples` to their logs and learn from them; return the snapshots that became due, in order."""
        published: list[PublishedSnapshot] = []
        for example in examples:
            family = example.family
            learner = self._learners[family]
            offset = learner.last_offset + 1
            learner.learn(offset, example)
            if (offset + 1) % self._every == 0:
                published.append(PublishedSnapshot(family, offset, learner.snapshot()))
        return published
