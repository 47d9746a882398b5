"""Gradient-boosted trees (LightGBM, Ke et al. 2017) on the features of our own model: as shops would do it, retrained
every 28 days, and with hindsight, which no shop has.
"""

from typing import Any

import numpy as np

from consumer.evaluate.baselines.refits import refits
from consumer.evaluate.churn import ChurnRun
from consumer.evaluate.metrics import Floats

FOLDS = 3
ROUNDS = 100
# The best of those tried on the orders of UCI Online Retail II, by the very rows it is reported on: in its favour.
_SETTINGS: dict[str, Any] = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.5,
    "bagging_freq": 1,
    "num_threads": 1,  # the same file gives the same figures on every machine
    "deterministic": True,
    "force_row_wise": True,
    "seed": 1,
    "verbose": -1,
}


class MissingExtra(Exception):
    """LightGBM is not installed; the message says how to install it."""


def require_lightgbm() -> Any:
    """Return the module lightgbm (Any: it is not always there); raise MissingExtra where it can't be imported."""
    try:
        import lightgbm  # noqa: PLC0415 - one of an extra: most installs do without
    except (ImportError, OSError) as error:  # OSError: libgomp is not there
        raise MissingExtra(f"--baselines needs LightGBM ({error}): pip install 'nextbest[evaluate]'") from None
    return lightgbm


def retrained_trees(run: ChurnRun) -> Floats:
    """Return the probability of churn for each row, by trees retrained every 28 days on the rows matured by then.

    Before there are labels of both classes it is their mean, or a half.
    """
    rows = _with_features(run)
    probability: Floats = np.full(len(run.rows), 0.5)
    for refit in refits(run):
        labels = run.rows.churned[refit.matured]
        if len(labels):
            probability[refit.predicts] = _fitted(rows[refit.matured], labels, rows[refit.predicts])
    return probability


def trees_in_hindsight(run: ChurnRun) -> Floats:
    """Return the probability of churn for each row, by trees trained on all rows, past and future, of other customers.

    Nobody can have it in time: it says how much there is to know.
    """
    rows = _with_features(run)
    fold = run.rows.customer % FOLDS  # customers are numbered by a digest of their id
    probability: Floats = np.zeros(len(run.rows))
    for held_out in range(FOLDS):
        inside, outside = fold == held_out, fold != held_out
        if inside.any():
            labels = run.rows.churned[outside]
            probability[inside] = _fitted(rows[outside], labels, rows[inside]) if len(labels) else 0.5
    return probability


def _with_features(run: ChurnRun) -> Any:
    if len(run.rows.features) != len(run.rows):
        raise ValueError("the rows have no features; run_churn(..., keep_features=True) keeps them")
    return run.rows.features


def _fitted(seen: Any, labels: Floats, asked: Any) -> Any:
    """Return the probabilities of `asked`, by trees fitted to `seen`; the mean label where there is one class."""
    if labels.min() == labels.max():
        return labels.mean()
    lightgbm = require_lightgbm()
    model = lightgbm.train(_SETTINGS, lightgbm.Dataset(seen, label=labels), num_boost_round=ROUNDS)
    return model.predict(asked)
