"""The share of churners as it was known at a moment: what a prediction has to be better than.

A prediction knows the labels that had matured when it was made, and so does the base rate it is compared with. The
share among all labels so far would know labels that lay in the future of the prediction.
"""

from array import array
from bisect import bisect_right

MAX_REMEMBERED = 200_000  # matured labels; beyond it the older half is known as a sum alone


class BaseRate:
    """Labels in the order in which they matured, and what share of them was 1 at any moment."""

    def __init__(self) -> None:
        self._matured_at = array("q")
        self._positive = array("d")  # so far, with the one at the same place
        self._n_forgotten = 0
        self._positive_forgotten = 0.0

    def add(self, matured_at: int, label: float) -> None:
        """Count a label. One that comes out of order counts as matured with the one before it."""
        before = self._positive[-1] if self._positive else self._positive_forgotten
        self._matured_at.append(max(matured_at, self._matured_at[-1]) if self._matured_at else matured_at)
        self._positive.append(before + label)
        if len(self._matured_at) > MAX_REMEMBERED:
            half = MAX_REMEMBERED // 2
            self._n_forgotten += half
            self._positive_forgotten = self._positive[half - 1]
            del self._matured_at[:half], self._positive[:half]

    def at(self, moment_ms: int) -> float:
        """Return the share of 1 among the labels matured by `moment_ms`, one of each in advance."""
        n = bisect_right(self._matured_at, moment_ms)
        positive = self._positive[n - 1] if n else self._positive_forgotten
        return (positive + 1.0) / (self._n_forgotten + n + 2.0)
