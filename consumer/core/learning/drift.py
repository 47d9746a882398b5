"""Drift: whether the losses of the model in force, or the features it sees, have moved.

Each series is watched by ADWIN2 (Bifet and Gavaldà 2007, "Learning from time-changing data with adaptive windowing"):
a window that grows while its mean holds, and forgets its older part once that differs. It is written out here, not
taken from River, as its state has to be plain data: a trainer that goes on from a snapshot must see what it would
have seen anyway. Given the same numbers it keeps the same windows as River's, and a test says so.
"""

from collections.abc import Sequence
from math import log, sqrt

import msgspec

LOSS = "log_loss"  # what moved, beside the names of the features
FEATURE_EXAMPLES = 64  # the mean of so many examples is one value of a feature's series
REST_EXAMPLES = 2_000  # that were lost on, between two loosenings: one move is noticed several times over
_LOSS_CAP = 0.01  # a probability given to what happened counts as at least this: one sure mistake is no drift
_BUCKETS = 5  # of each size
_ROWS = 15  # sizes: 1, 2, 4, …; so at most 163,835 values are remembered, in 75 buckets
_CHECK_EVERY = 32  # values
_LEAST_VALUES = 5  # of either part of the window
_GRACE_VALUES = 10
_ROUNDING = 1e-9  # of the largest value: sums of equal values differ in their last bits, and that is no drift


class Drift(msgspec.Struct, frozen=True):
    """One move: the mean of the values forgotten, and of those that remain."""

    what: str  # LOSS, or the name of a feature
    before: float
    after: float


class AdwinState(msgspec.Struct, frozen=True, array_like=True):
    """A window as plain data. Rows of buckets by size (1, 2, 4, … values), the oldest bucket first."""

    n_values: int = 0
    total: float = 0.0
    variance: float = 0.0  # times n_values
    ticks: int = 0
    low: float = 0.0
    high: float = 0.0
    totals: tuple[tuple[float, ...], ...] = ((),)
    variances: tuple[tuple[float, ...], ...] = ((),)  # times the size


class Adwin:
    """The window over one series. `delta` is the chance of a false alarm at any one look."""

    __slots__ = ("_delta", "_high", "_low", "_n", "_ticks", "_total", "_totals", "_variance", "_variances")

    def __init__(self, delta: float, state: AdwinState | None = None) -> None:
        state = state or AdwinState()
        self._delta = delta
        self._n, self._total, self._variance, self._ticks = state.n_values, state.total, state.variance, state.ticks
        self._low, self._high = state.low, state.high
        self._totals = [list(row) for row in state.totals]
        self._variances = [list(row) for row in state.variances]

    def add(self, value: float) -> tuple[float, float] | None:
        """Take a value; return the means of what is forgotten and of what remains, where the series has moved."""
        n = self._n
        if n:
            self._variance += n * (value - self._total / n) ** 2 / (n + 1)
        if not self._ticks:
            self._low = self._high = value
        elif value < self._low:
            self._low = value
        elif value > self._high:
            self._high = value
        self._n = n + 1
        self._total += value
        self._totals[0].append(value)
        self._variances[0].append(0.0)
        if len(self._totals[0]) > _BUCKETS:
            self._compress()
        self._ticks += 1
        if self._ticks % _CHECK_EVERY or self._n <= _GRACE_VALUES:
            return None
        return self._shrink()

    def _compress(self) -> None:
        """Merge the two oldest buckets of each size that has too many; beyond the last size, forget."""
        totals, variances = self._totals, self._variances
        row, size = 0, 1
        while len(totals[row]) > _BUCKETS:
            if row + 1 == _ROWS:
                self._forget_oldest()
                return
            if row + 1 == len(totals):
                totals.append([])
                variances.append([])
            first, second = totals[row][:2]
            between = (first - second) ** 2 / (2 * size)
            totals[row + 1].append(first + second)
            variances[row + 1].append(variances[row][0] + variances[row][1] + between)
            del totals[row][:2], variances[row][:2]
            row += 1
            size *= 2

    def _shrink(self) -> tuple[float, float] | None:
        """Forget the oldest buckets as long as some older part of the window differs from the rest."""
        n, total = self._n, self._total
        while self._differs():
            self._forget_oldest()
        if self._n == n:
            return None
        return (total - self._total) / (n - self._n), self._total / self._n

    def _differs(self) -> bool:
        """Return whether the means on both sides of any cut differ by more than chance: Theorem 3.2, with variance."""
        n, least = self._n, _LEAST_VALUES
        confidence = log(2.0 * log(n) / self._delta)
        spread = 2.0 * self._variance / n * confidence
        # The bound is for values in [0, 1]: others are judged by the range that was seen.
        span = 2.0 / 3.0 * confidence * (self._high - self._low)
        rounding = _ROUNDING * max(abs(self._low), abs(self._high))
        old_n, old_total, new_n, new_total = 0, 0.0, n, self._total
        for row in range(len(self._totals) - 1, -1, -1):
            size = 1 << row
            for bucket in self._totals[row]:
                old_n += size
                new_n -= size
                old_total += bucket
                new_total -= bucket
                if new_n < least:
                    return False
                if old_n < least:
                    continue
                inverse = 1.0 / (old_n - least + 1) + 1.0 / (new_n - least + 1)
                if abs(old_total / old_n - new_total / new_n) > sqrt(inverse * spread) + span * inverse + rounding:
                    return True
        return False

    def _forget_oldest(self) -> None:
        row = len(self._totals) - 1
        size = 1 << row
        total, variance = self._totals[row].pop(0), self._variances[row].pop(0)
        self._n -= size
        self._total -= total
        rest = self._n
        gap = total / size - self._total / rest
        self._variance = max(0.0, self._variance - variance - size * rest * gap * gap / (size + rest))
        while len(self._totals) > 1 and not self._totals[-1]:
            self._totals.pop()
            self._variances.pop()

    def state(self) -> AdwinState:
        """Return everything that the next `add` depends on."""
        return AdwinState(
            n_values=self._n,
            total=self._total,
            variance=self._variance,
            ticks=self._ticks,
            low=self._low,
            high=self._high,
            totals=tuple(map(tuple, self._totals)),
            variances=tuple(map(tuple, self._variances)),
        )


class DriftState(msgspec.Struct, frozen=True):
    """A monitor as plain data. `features` and `sums` are in the order of the features' names."""

    loss: AdwinState
    features: tuple[AdwinState, ...]
    sums: tuple[float, ...]  # of the examples since the last value
    n_summed: int
    n_since_loosening: int


class DriftMonitor:
    """Watches the prequential loss of one head, and the mean of each feature over batches of examples.

    `delta` is the chance of a false alarm at a look over all series: each gets its share of it (Bonferroni).
    """

    def __init__(self, names: Sequence[str], delta: float, state: DriftState | None = None) -> None:
        self._names = tuple(names)
        share = delta / (len(self._names) + 1)
        if state is None:
            empty = AdwinState()
            n = len(self._names)
            state = DriftState(loss=empty, features=(empty,) * n, sums=(0.0,) * n, n_summed=0, n_since_loosening=0)
        if len(state.features) != len(self._names):
            raise ValueError("the state of the drift monitor has other features than this build")
        self._loss = Adwin(share, state.loss)
        self._features = [Adwin(share, each) for each in state.features]
        self._sums = list(state.sums)
        self._n_summed = state.n_summed
        self._n_since_loosening = state.n_since_loosening

    def see_features(self, features: Sequence[float]) -> list[Drift]:
        """Take the features of one example; return which of them have moved."""
        self._sums = [total + value for total, value in zip(self._sums, features, strict=True)]
        self._n_summed += 1
        if self._n_summed < FEATURE_EXAMPLES:
            return []
        sums, self._sums, self._n_summed = self._sums, [0.0] * len(self._names), 0
        moves = []
        for name, series, total in zip(self._names, self._features, sums, strict=True):
            moved = series.add(total / FEATURE_EXAMPLES)
            if moved is not None:
                moves.append(Drift(name, *moved))
        return moves

    def see_loss(self, label: float, predicted: float) -> Drift | None:
        """Take the label of a prediction; return a move where the losses are no longer what they were."""
        self._n_since_loosening += 1
        moved = self._loss.add(-log(max(_LOSS_CAP, predicted if label else 1.0 - predicted)))
        return None if moved is None else Drift(LOSS, *moved)

    def calls_for_longer_steps(self, drift: Drift) -> bool:
        """Return whether the model should unlearn faster: its losses have grown, and it was not told so just now."""
        if drift.what != LOSS or drift.after <= drift.before or self._n_since_loosening < REST_EXAMPLES:
            return False
        self._n_since_loosening = 0
        return True

    def state(self) -> DriftState:
        """Return everything that the next example is judged by."""
        return DriftState(
            loss=self._loss.state(),
            features=tuple(series.state() for series in self._features),
            sums=tuple(self._sums),
            n_summed=self._n_summed,
            n_since_loosening=self._n_since_loosening,
        )
