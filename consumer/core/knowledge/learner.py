"""The trainer's side of knowledge: folds the examples of one family, in log order, and takes snapshots."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from msgspec import structs
from river.__version__ import __version__ as river_version

from consumer.core.catalogue import Catalogue
from consumer.core.knowledge.families import FAMILY_SPECS, Models
from consumer.core.knowledge.snapshot import ChallengerSpec, Snapshot, decode_snapshot, encode_snapshot
from consumer.core.learning.drift import Drift
from consumer.core.settings import CoreSettings
from schemas.records import Family, TrainingExample


class Folded(NamedTuple):
    """What came of one example."""

    moves: Sequence[Drift] = ()  # what it shows to have moved
    snapshot: bytes | None = None  # due after it


class Learner:
    """The models of one family, or of one of its challengers, and the offset up to which they have learned."""

    def __init__(self, snapshot: Snapshot, settings: CoreSettings, catalogue: Catalogue) -> None:
        """Go on where `snapshot` was taken."""
        self._snapshot = snapshot
        self._spec = FAMILY_SPECS[snapshot.family]
        if snapshot.challenger is not None:
            numbers: Mapping[str, Any] = snapshot.challenger.parameters
            settings = replace(settings, learner=replace(settings.learner, **numbers))
        self._learners = self._spec.learners(settings, catalogue, snapshot.models)
        self._every = settings.learner.snapshot_examples
        self._since_snapshot = 0
        self.family: Family = snapshot.family
        self.model = snapshot.model  # its name
        self.challenger = snapshot.challenger
        self.last_offset = snapshot.offset

    @property
    def next_offset(self) -> int:
        """Return the offset to read next."""
        return self.last_offset + 1

    def fold(self, offset: int, example: TrainingExample) -> Folded:
        """Fold the example at `offset` in; offsets must rise (ValueError).

        A snapshot is due after every so many examples, and nowhere else. They are counted, not their offsets: in
        Kafka's logs the markers of transactions take offsets as well. Counting from a snapshot gives the same places as
        counting from the beginning of the log, for the snapshot was taken at such a place: as long as
        `snapshot_examples` stays, and the log is whole. A learner that begins with a log of which retention has taken
        the beginning, or goes on under another `snapshot_examples`, takes its snapshots elsewhere.
        """
        if offset <= self.last_offset:
            raise ValueError(f"example {offset} after {self.last_offset}: the {self.family} log must be read in order")
        moves = [move for each in self._learners.values() for move in each.learn(example) or ()]
        self.last_offset = offset
        self._since_snapshot += 1
        if self._since_snapshot < self._every:
            return Folded(moves)
        self._since_snapshot = 0
        return Folded(moves, self.snapshot())

    def models(self) -> Models:
        """Return the models as they stand: a function of the log up to `last_offset`."""
        models: Models = self._spec.models(**{name: each.state() for name, each in self._learners.items()})
        return models

    def snapshot(self) -> bytes:
        """Return the models as they stand, for the models topic."""
        return encode_snapshot(structs.replace(self._snapshot, offset=self.last_offset, models=self.models()))


def new_learner(
    family: Family, settings: CoreSettings, catalogue: Catalogue, challenger: ChallengerSpec | None = None
) -> Learner:
    """Return a learner that has seen nothing: the family's own, or that of a challenger."""
    spec = FAMILY_SPECS[family]
    nothing_yet = Snapshot(
        river_version=river_version,
        offset=-1,
        meaning=spec.meaning(settings, catalogue),
        models=spec.models(),
        challenger=challenger,
    )
    return Learner(nothing_yet, settings, catalogue)


def restore_learner(data: bytes, settings: CoreSettings, catalogue: Catalogue) -> Learner:
    """Return a learner that goes on where the snapshot in `data` was taken; raise RefusedSnapshot if it may not."""
    return Learner(decode_snapshot(data, settings, catalogue), settings, catalogue)
