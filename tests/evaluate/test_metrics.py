"""The figures, against counting by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.evaluate.metrics import (
    CALIBRATION_BINS,
    Floats,
    Ranking,
    auc,
    auc_interval,
    auc_within,
    calibration_error,
    exposure,
    lift,
    list_figures,
    log_loss,
    mean_interval,
    microseconds,
    ranking_figures,
)

Rows = list[tuple[int, int, bool, int]]  # tick, prediction, label, weight
ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 4), st.booleans(), st.integers(0, 3)), min_size=1, max_size=30
)


def by_pairs(rows: Rows) -> float | None:
    """Count all pairs of one tick, each row as often as its weight says."""
    area = n = 0.0
    for tick in {row[0] for row in rows}:
        members = [row for row in rows if row[0] == tick]
        ones = [row for row in members if row[2] and row[3]]
        zeros = [row for row in members if not row[2] and row[3]]
        if ones and zeros:
            won = sum(a[3] * b[3] * ((a[1] > b[1]) + 0.5 * (a[1] == b[1])) for a in ones for b in zeros)
            positives, negatives = sum(a[3] for a in ones), sum(b[3] for b in zeros)
            area += won / (positives * negatives) * (positives + negatives)
            n += positives + negatives
    return area / n if n else None


def columns(rows: Rows) -> tuple[Floats, Floats, "np.ndarray[tuple[int], np.dtype[np.int64]]", Floats]:
    ticks, predicted, labels, weights = zip(*rows, strict=True)
    return np.array(predicted) / 4.0, np.array(labels, dtype=float), np.array(ticks), np.array(weights, dtype=float)


@given(ROWS)
def test_auc_within_ticks_is_the_share_of_pairs_in_the_right_order(rows: Rows) -> None:
    """Ties count as a half, ticks by their rows, ticks of one class not at all; pooled, it is one tick of all."""
    predicted, labels, ticks, weights = columns(rows)
    for found, expected in (
        (Ranking(predicted, labels, ticks).auc(weights), by_pairs(rows)),
        (auc_within(predicted, labels, ticks), by_pairs([(*row[:3], 1) for row in rows])),
        (auc(predicted, labels), by_pairs([(0, row[1], row[2], 1) for row in rows])),
    ):
        assert found == (None if expected is None else pytest.approx(expected))


def test_log_loss_and_calibration_by_hand() -> None:
    """Two rows in each of two of the bins: the gaps are .1 and .25."""
    predicted, labels = np.array([0.8, 0.7, 0.2, 0.2]), np.array([1.0, 0.0, 0.0, 0.6])
    exact = np.repeat(np.linspace(0.9, 0.99, CALIBRATION_BINS - 2), 2)  # as predicted, in the bins above
    error = calibration_error(np.append(predicted, exact), np.append(labels, exact))
    assert error == pytest.approx((0.25 + 0.1) / CALIBRATION_BINS)
    assert log_loss(np.array([0.5, 1.0]), np.array([1.0, 1.0])) == pytest.approx(np.log(2) / 2)
    assert log_loss(np.array([0.0]), np.array([1.0])) == pytest.approx(-np.log(1e-12))


def test_lift_counts_the_border_by_its_mean() -> None:
    """Two of twenty rows are the top tenth; the second is drawn among four tied rows, one of which churned."""
    predicted = np.array([0.9, *[0.8] * 4, *[0.1] * 15])
    labels = np.array([1.0, 1.0, 0.0, 0.0, 0.0, *[1.0, 0.0, 0.0] * 5])
    assert lift(predicted, labels) == pytest.approx((1 + 1 / 4) / 2 / labels.mean())
    assert lift(predicted, np.zeros(20)) is None


def test_figures_of_nothing_are_none() -> None:
    """No rows, no figures, and one class alone has no AUC."""
    nothing = np.zeros(0)
    assert ranking_figures(nothing, nothing, np.zeros(0, dtype=int)).auc is None
    one_class = ranking_figures(np.array([0.5]), np.array([1.0]), np.array([0]))
    assert (one_class.auc, one_class.auc_within_tick, one_class.churn_rate) == (None, None, 1.0)


def test_intervals_are_the_same_each_time_and_wider_where_rows_belong_together() -> None:
    """A hundred rows of ten customers say less than a hundred rows of a hundred customers."""
    chance = np.random.default_rng(0)
    values = chance.normal(size=10).repeat(10)
    few = mean_interval(values, np.arange(10).repeat(10))
    many = mean_interval(values, np.arange(100))
    assert few is not None
    assert many is not None
    assert few == mean_interval(values, np.arange(10).repeat(10))
    assert few.low < values.mean() < few.high
    assert few.high - few.low > 1.5 * (many.high - many.low)
    predicted, labels = chance.random(200), (chance.random(200) > 0.5).astype(float)
    interval = auc_interval(predicted, labels, None, np.arange(200))
    area = auc(predicted, labels)
    assert interval is not None
    assert area is not None
    assert interval.low < area < interval.high


def test_lists_are_judged_by_hits_and_reciprocal_ranks() -> None:
    """Rank 0 is no hit."""
    figures = list_figures(np.array([1, 4, 0]))
    assert (figures.n, figures.hit_rate, figures.mrr) == pytest.approx((3, 2 / 3, 1.25 / 3))


def test_exposure_is_even_at_0_and_all_on_one_item_near_1() -> None:
    """Gini over the whole catalogue, those never listed included."""
    assert exposure([3, 3, 3, 3], 4).gini == pytest.approx(0.0)
    lopsided = exposure([7], 4)
    assert (lopsided.coverage, lopsided.gini) == pytest.approx((0.25, 0.75))
    assert exposure([], 4).gini is None


def test_times_are_told_in_microseconds() -> None:
    """Half of the calls took at most p50."""
    assert microseconds([1000, 2000, 3000]).p50 == 2.0
    assert microseconds([]).p99 is None
