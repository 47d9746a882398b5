"""The models of evidence, learned again from its examples and compared with the snapshots that were kept."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from consumer.core.catalogue import Catalogue
from consumer.core.knowledge.learner import Learner, new_learner
from consumer.core.knowledge.snapshot import RefusedSnapshot, family_of, read_snapshot
from consumer.core.settings import CoreSettings
from consumer.replay.evidence import Evidence
from consumer.replay.order_free_digest import OrderFreeDigest
from schemas.records import FAMILIES, Family, TrainingExample

_encode = msgspec.json.Encoder(order="deterministic").encode


class Relearned:
    """All models of evidence: learned with its commits, or from its log of examples where that was kept.

    What differs is returned in words, and then nothing after it means anything.
    """

    def __init__(self, evidence: Evidence, settings: CoreSettings, catalogue: Catalogue) -> None:
        self._evidence = evidence
        self._settings = settings
        self._catalogue = catalogue
        self._own = {family: new_learner(family, settings, catalogue) for family in FAMILIES}
        self._logs = {family: evidence.examples(family) for family in FAMILIES}
        self._emitted = {family: OrderFreeDigest() for family in FAMILIES}
        self._promoted: dict[str, int] = {}  # challenger in force → offset of one of its snapshots
        self.snapshots = 0  # found the same
        self.notes: list[str] = []  # what was not derived, and why

    def take_commit(self, model_versions: Mapping[str, int], examples: Iterable[TrainingExample]) -> str | None:
        """Learn from what a commit has emitted, in order; return the first difference."""
        self._promoted |= {model: at for model, at in model_versions.items() if model != family_of(model)}
        for example in examples:
            self._emitted[example.family].add(_encode(example))
            if self._logs[example.family] is None:
                learner = self._own[example.family]
                difference = self._fold(learner, learner.next_offset, example)
                if difference is not None:
                    return difference
        return None

    def take_logs(self) -> str | None:
        """Once all commits are taken: learn from the logs that were kept; return the first difference."""
        differences = (self._take_log(family, log) for family, log in self._logs.items() if log is not None)
        return next((difference for difference in differences if difference is not None), None)

    def _take_log(self, family: Family, log: Iterator[tuple[int, TrainingExample]]) -> str | None:
        logged = OrderFreeDigest()
        learners = [self._own[family], *self._challengers(family)]
        for offset, example in log:
            if not logged.n and offset > 0:
                self.notes.append(f"the examples of {family} before {offset} have expired: its models were not derived")
                return None
            logged.add(_encode(example))
            for learner in learners:
                difference = self._fold(learner, offset, example)
                if difference is not None:
                    return difference
        if logged != self._emitted[family]:
            return f"the examples of {family} in the log are not those that the tasks published"
        return None

    def _challengers(self, family: Family) -> Iterator[Learner]:
        """Yield the learners of the challengers of a family that were in force, as one of their snapshots says."""
        for model, offset in self._promoted.items():
            data = self._evidence.snapshot(model, offset) if family_of(model) == family else None
            spec = read_snapshot(data).challenger if data is not None else None
            if spec is not None:
                yield new_learner(family, self._settings, self._catalogue, spec)

    def _fold(self, learner: Learner, offset: int, example: TrainingExample) -> str | None:
        """Fold one example in; return a difference where the snapshot that is due is not the one that was kept."""
        due = learner.fold(offset, example).snapshot
        kept = self._evidence.snapshot(learner.model, offset) if due is not None else None
        if kept is None:
            return None  # expired, or never taken: only those in force are needed, and they were
        if kept == due:
            self.snapshots += 1
        elif not _is_of_another(kept, learner):
            return f"the snapshot {learner.model}@{offset} does not follow from its examples"
        return None


def _is_of_another(kept: bytes, learner: Learner) -> bool:
    """Return whether a snapshot is of a challenger of the same name that learned with other settings."""
    try:
        return read_snapshot(kept).challenger != learner.challenger
    except RefusedSnapshot:
        return False
