"""Judging models by the examples that their trainers fold in."""

from consumer.kafka.models.records import Comparison, Judged, Score
from consumer.measure.prequential import Prequential


class Scoreboard:
    """One model beside the one in force, head by head, on the same rows."""

    def __init__(self, model: str, kind: str, *, promotable: bool) -> None:
        self.model = model
        self.failed: str | None = None  # why it learns no more
        self._kind = kind
        self._promotable = promotable
        self._heads: dict[str, tuple[Prequential, Prequential]] = {}
        self._from_offset = self._offset = -1
        self._examples = 0
        self._told_examples = 0

    def folded(self, offset: int) -> None:
        """Count an example, judged or not."""
        if self._from_offset < 0:
            self._from_offset = offset
        self._offset = offset
        self._examples += 1

    def add(self, head: str, label: float, own: float, in_force: float) -> None:
        """Judge both models by one row."""
        mine, theirs = self._heads.setdefault(head, (Prequential(), Prequential()))
        mine.add(label, own)
        theirs.add(label, in_force)

    @property
    def has_news(self) -> bool:
        """Return whether anything was counted since `score` was called last."""
        return self._examples > self._told_examples

    def score(self) -> Score:
        """Return the figures so far."""
        self._told_examples = self._examples
        return Score(
            model=self.model,
            kind=self._kind,
            promotable=self._promotable,
            offset=self._offset,
            from_offset=self._from_offset,
            examples=self._examples,
            failed=self.failed,
            heads={
                head: Comparison(_judged(mine), _judged(theirs)) for head, (mine, theirs) in sorted(self._heads.items())
            },
        )


def _judged(judge: Prequential) -> Judged:
    return Judged(all=judge.all(), recent=judge.recent())
