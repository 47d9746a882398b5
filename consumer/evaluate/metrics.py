"""How good predictions were: ranking, calibration, and how sure one can be of the figure.

All functions take arrays of one length, a place a row: `predicted` the probability of label 1, `labels` 0 or 1.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CALIBRATION_BINS = 15
LIFT_SHARE = 0.1
RESAMPLES = 200
SEED = 20_110_109  # of the resampling alone: the same file gives the same intervals
_SMALLEST_PROBABILITY = 1e-12


class Interval(NamedTuple):
    """The middle 95 % of what the figure is on resampled customers."""

    low: float
    high: float


class RankingFigures(msgspec.Struct, frozen=True):
    """What is said of one set of rows. A figure is None where the rows can't give it: none, or one class alone."""

    n: int
    churn_rate: float | None
    auc: float | None
    auc_within_tick: float | None
    log_loss: float | None
    ece: float | None
    lift_at_10: float | None


def ranking_figures(predicted: Floats, labels: Floats, ticks: Ints) -> RankingFigures:
    """Return all figures of these rows. `ticks`: which rows were predicted in one round and are ranked together."""
    n = len(predicted)
    if not n:
        return RankingFigures(0, None, None, None, None, None, None)
    return RankingFigures(
        n=n,
        churn_rate=float(labels.mean()),
        auc=auc(predicted, labels),
        auc_within_tick=auc_within(predicted, labels, ticks),
        log_loss=log_loss(predicted, labels),
        ece=calibration_error(predicted, labels),
        lift_at_10=lift(predicted, labels),
    )


def auc(predicted: "Sequence[float] | Floats", labels: "Sequence[int] | Floats") -> float | None:
    """Return the area under the ROC curve, ties as a half (Mann and Whitney 1947); None for one class alone."""
    return auc_within(predicted, labels, None)


def auc_within(
    predicted: "Sequence[float] | Floats",
    labels: "Sequence[int] | Floats",
    ticks: Ints | None,
) -> float | None:
    """Return the mean AUC of each tick's rows, weighted by their number.

    The AUC of all rows also measures whether the season was foreseen; this one, whether customers are ranked within
    it. Ticks of one class alone have no AUC and are left out; None where that leaves nothing.
    """
    return Ranking(predicted, labels, ticks).auc()


class Ranking:
    """Rows sorted once by tick and prediction, so that the AUC under many weightings is cheap."""

    def __init__(self, predicted: Any, labels: Any, ticks: Ints | None) -> None:
        scores: Floats = np.asarray(predicted, dtype=np.float64)
        if ticks is None:
            ticks = np.zeros(len(scores), dtype=np.int64)
        self._order: Ints = np.lexsort((scores, ticks))
        scores, ticks = scores[self._order], ticks[self._order]
        self._positive: Floats = np.asarray(labels, dtype=np.float64)[self._order]
        new_tick: npt.NDArray[np.bool_] = np.ones(len(scores), dtype=np.bool_)
        new_tick[1:] = ticks[1:] != ticks[:-1]
        new_tie = new_tick.copy()
        new_tie[1:] |= scores[1:] != scores[:-1]
        self._ties: Ints = new_tie.nonzero()[0]  # where each run of equal predictions starts
        self._ticks: Ints = np.flatnonzero(new_tick[self._ties])  # where each tick starts, among these runs

    def auc(self, weights: Floats | None = None) -> float | None:
        """Return the mean AUC of each tick's rows; `weights` count a row more than once, or not at all."""
        if not len(self._order):
            return None
        mass = np.ones(len(self._order)) if weights is None else weights[self._order]
        positive = np.add.reduceat(mass * self._positive, self._ties)
        negative = np.add.reduceat(mass * (1.0 - self._positive), self._ties)
        below = negative.cumsum() - negative / 2.0  # negatives ranked below each run, ties as a half
        start = np.repeat(
            negative.cumsum()[self._ticks] - negative[self._ticks],
            np.diff(np.append(self._ticks, len(self._ties))),
        )
        won = np.add.reduceat(positive * (below - start), self._ticks)
        positives = np.add.reduceat(positive, self._ticks)
        negatives = np.add.reduceat(negative, self._ticks)
        both = (positives > 0.0) & (negatives > 0.0)
        if not both.any():
            return None
        areas = won[both] / (positives[both] * negatives[both])
        return float(np.average(areas, weights=(positives + negatives)[both]))


def log_losses(predicted: Floats, labels: Floats) -> Floats:
    """Return −log of the probability given to what happened, bounded, for each row."""
    happened = np.where(labels > 0.0, predicted, 1.0 - predicted)
    return -np.log(np.maximum(_SMALLEST_PROBABILITY, happened))


def log_loss(predicted: Floats, labels: Floats) -> float | None:
    """Return the mean of `log_losses`."""
    return float(log_losses(predicted, labels).mean()) if len(predicted) else None


def calibration_error(predicted: Floats, labels: Floats) -> float | None:
    """Return the expected calibration error over bins of equal mass (Naeini et al. 2015).

    It is the mean over rows of |mean prediction − share of 1| of the row's bin.
    """
    n = len(predicted)
    if not n:
        return None
    order = predicted.argsort(kind="stable")
    gaps = (predicted - labels)[order]
    return float(sum(abs(part.sum()) for part in np.array_split(gaps, CALIBRATION_BINS)) / n)


def lift(predicted: Floats, labels: Floats, share: float = LIFT_SHARE) -> float | None:
    """Return how many times the mean rate of 1 is found in the `share` of rows with the highest predictions.

    Rows tied at the border count as their mean, so that no order among them matters.
    """
    rate = labels.mean() if len(labels) else 0.0
    if not rate:
        return None
    n_top = max(1, round(share * len(predicted)))
    border = np.partition(predicted, len(predicted) - n_top)[len(predicted) - n_top]
    above, tied = predicted > border, predicted == border
    found = labels[above].sum() + (n_top - above.sum()) * labels[tied].mean()
    return float(found / n_top / rate)


def resampled(clusters: Ints, figure: Callable[[Floats], float | None]) -> Interval | None:
    """Return the 95 % interval of `figure` on resampled clusters (the bootstrap, clustered: Field and Welsh 2007).

    `clusters` is which customer (or session) each row is of; rows of one are drawn together, for they are not
    independent. `figure` is told how often each row was drawn. None where too few draws have a figure.
    """
    names, of_row = np.unique(clusters, return_inverse=True)
    if len(names) < 2:
        return None
    chance = np.random.default_rng(SEED)
    found = []
    for _ in range(RESAMPLES):
        drawn = np.bincount(chance.integers(len(names), size=len(names)), minlength=len(names)).astype(np.float64)
        value = figure(drawn[of_row])
        if value is not None:
            found.append(value)
    if len(found) < RESAMPLES // 2:
        return None
    low, high = np.quantile(found, (0.025, 0.975)).tolist()
    return Interval(low, high)


def auc_interval(predicted: Floats, labels: Floats, ticks: Ints | None, clusters: Ints) -> Interval | None:
    """Return the interval of `auc_within` (of `auc` where `ticks` is None)."""
    return resampled(clusters, Ranking(predicted, labels, ticks).auc)


def mean_interval(values: Floats, clusters: Ints) -> Interval | None:
    """Return the interval of the mean of `values`; they are summed by cluster first, so that rows may be many."""
    names, of_row = np.unique(clusters, return_inverse=True)
    sums = np.bincount(of_row, weights=values, minlength=len(names))
    sizes = np.bincount(of_row, minlength=len(names))

    def mean(drawn: Floats) -> float | None:
        return float((drawn * sums).sum() / (drawn * sizes).sum())

    return resampled(np.arange(len(names)), mean)


class ListFigures(msgspec.Struct, frozen=True):
    """How often what came stood in the list (`hit_rate`), and the mean of 1/rank, 0 where it did not (`mrr`)."""

    n: int
    hit_rate: float | None
    mrr: float | None


def list_figures(ranks: Ints) -> ListFigures:
    """Return the figures of `ranks`: 1 at the top, 0 where what came was not in the list."""
    if not len(ranks):
        return ListFigures(0, None, None)
    return ListFigures(len(ranks), float((ranks > 0).mean()), float(reciprocals(ranks).mean()))


def reciprocals(ranks: Ints) -> Floats:
    """Return 1/rank, 0 for rank 0."""
    return (ranks > 0) / np.maximum(ranks, 1)


class Exposure(msgspec.Struct, frozen=True):
    """How evenly lists are spread over the catalogue.

    `coverage`: share of its items that were in any list. `gini`: 0 where all are listed equally often, near 1 where
    few are listed always.
    """

    n_items: int
    coverage: float | None
    gini: float | None


def exposure(times_listed: Sequence[int], n_items: int) -> Exposure:
    """Return the figures of items that were listed `times_listed` times each, among `n_items`."""
    if not n_items or not times_listed:
        return Exposure(n_items, None, None)
    counts = np.sort(np.array(times_listed, dtype=np.float64))
    places = np.arange(n_items - len(counts) + 1, n_items + 1)  # those never listed stand before
    gini = float((2.0 * (places * counts).sum() / counts.sum() - (n_items + 1)) / n_items)
    return Exposure(n_items, len(counts) / n_items, gini)


class Microseconds(msgspec.Struct, frozen=True):
    """How long a call took: half of them at most `p50`, all but one in a hundred at most `p99`."""

    p50: float | None
    p99: float | None


def microseconds(nanoseconds: Sequence[int]) -> Microseconds:
    """Return the quantiles of measured times."""
    if not nanoseconds:
        return Microseconds(None, None)
    p50, p99 = np.quantile(np.array(nanoseconds) / 1000.0, (0.5, 0.99)).tolist()
    return Microseconds(p50, p99)
