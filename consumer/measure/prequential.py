"""How good predictions were, each judged before it is learned from (Dawid 1984): of all so far, and of late.

Bounded: probabilities are counted in bins of their logit, so the area under the ROC curve is that of the bins.
"""

from array import array
from math import log

import msgspec

RECENT_EXAMPLES = 2_000  # *of late* means the last 2,000 to 4,000
_BINS = 240
_BIN_WIDTH = 0.1  # of the logit: from -12 to 12
_LOWEST = 1e-6  # a loss is capped here: one sure and wrong prediction should not drown the rest


class Figures(msgspec.Struct, frozen=True):
    """What was counted. `log_loss` is in nats; a figure is None where nothing, or one class alone, was seen."""

    n: int
    log_loss: float | None
    auc: float | None


class Tally:
    """Counts of predictions by bin and label."""

    def __init__(self) -> None:
        self.n = 0
        self.loss = 0.0
        self.counts = (array("q", bytes(8 * _BINS)), array("q", bytes(8 * _BINS)))  # label 0, label 1

    def add(self, label: float, predicted: float) -> None:
        """Count one prediction; `label` is 0 or 1."""
        p = min(max(predicted, _LOWEST), 1.0 - _LOWEST)
        self.n += 1
        self.loss -= log(p if label else 1.0 - p)
        place = int(log(p / (1.0 - p)) / _BIN_WIDTH + _BINS / 2)
        self.counts[1 if label else 0][min(max(place, 0), _BINS - 1)] += 1

    def plus(self, other: "Tally") -> "Tally":
        """Return both together."""
        both = Tally()
        both.n, both.loss = self.n + other.n, self.loss + other.loss
        for total, ours, theirs in zip(both.counts, self.counts, other.counts, strict=True):
            total[:] = array("q", [a + b for a, b in zip(ours, theirs, strict=True)])
        return both

    def figures(self) -> Figures:
        """Return the figures; a pair in one bin counts as a tie, by half."""
        if not self.n:
            return Figures(0, None, None)
        wins, n_negative = 0.0, 0
        for negative, positive in zip(*self.counts, strict=True):
            wins += positive * (n_negative + negative / 2.0)
            n_negative += negative
        n_positive = self.n - n_negative
        area = wins / (n_positive * n_negative) if n_positive and n_negative else None
        return Figures(self.n, self.loss / self.n, area)


class Prequential:
    """One model's predictions of one head."""

    def __init__(self) -> None:
        self._all = Tally()
        self._latest, self._before = Tally(), Tally()

    def add(self, label: float, predicted: float) -> None:
        """Judge one prediction."""
        self._all.add(label, predicted)
        if self._latest.n >= RECENT_EXAMPLES:
            self._latest, self._before = Tally(), self._latest
        self._latest.add(label, predicted)

    def all(self) -> Figures:
        """Return the figures of everything judged."""
        return self._all.figures()

    def recent(self) -> Figures:
        """Return the figures of what was judged of late."""
        return self._latest.plus(self._before).figures()
