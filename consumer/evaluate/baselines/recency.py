"""Recency alone: who has not bought for longest is most likely gone. What every other model has to beat."""

import numpy as np

from consumer.evaluate.baselines.refits import refits
from consumer.evaluate.churn import ChurnRun
from consumer.evaluate.metrics import Floats, Ints

BIN_DAYS = 7  # days since the last order are told apart so finely
MAX_BINS = 200  # whoever bought longer ago is in the last one
_PRIOR_ROWS = 10.0  # a bin counts as if it had seen so many rows of the average


def rank_by_recency(run: ChurnRun) -> Floats:
    """Return the days since the last order, for each row."""
    return (run.rows.day - run.rows.last_order_day).astype(np.float64)


def churned_by_recency(run: ChurnRun) -> Floats:
    """Return for each row the share of churners among matured rows with as many days since the last order.

    Shares are counted anew each day and shrunk to that of all matured rows; with none of them, it is a half.
    """
    bins: Ints = np.minimum((run.rows.day - run.rows.last_order_day) // BIN_DAYS, MAX_BINS - 1)
    probability: Floats = np.full(len(run.rows), 0.5)
    n_rows, n_churned, known = np.zeros(MAX_BINS), np.zeros(MAX_BINS), 0
    for refit in refits(run, every_days=1):
        new = slice(known, refit.matured.stop)
        known = refit.matured.stop
        n_rows += np.bincount(bins[new], minlength=MAX_BINS)
        n_churned += np.bincount(bins[new], weights=run.rows.churned[new], minlength=MAX_BINS)
        if known:
            share = (n_churned + _PRIOR_ROWS * n_churned.sum() / n_rows.sum()) / (n_rows + _PRIOR_ROWS)
            probability[refit.predicts] = share[bins[refit.predicts]]
    return probability
