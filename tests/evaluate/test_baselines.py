"""The baselines of churn: they know what a shop would have known, and no more."""

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.settings import CoreSettings
from consumer.evaluate.baselines.bg_nbd import BgNbd, Histories, bg_nbd, fit
from consumer.evaluate.baselines.churn import BASELINES, churn_baselines
from consumer.evaluate.baselines.recency import churned_by_recency, rank_by_recency
from consumer.evaluate.baselines.refits import refits
from consumer.evaluate.baselines.trees import MissingExtra, retrained_trees, trees_in_hindsight
from consumer.evaluate.churn import ChurnRun, Orders, figures_of, run_churn
from consumer.evaluate.metrics import Floats
from schemas.units import DAY_MS

PUBLISHED = BgNbd(r=0.243, alpha=4.414, a=0.793, b=2.426)  # of the paper, fitted to CDNOW, in weeks
HORIZON_DAYS, EVERY_DAYS = 10, 3


def shop(n_customers: int = 60, n_days: int = 120) -> ChurnRun:
    """Return the backtest of a small shop: each customer has a rhythm, and a third stop one day."""
    chance = np.random.default_rng(1)
    customer, at_ms = [], []
    for number in range(n_customers):
        rhythm, day = chance.uniform(2.0, 15.0), chance.uniform(0.0, 40.0)
        last = chance.uniform(40.0, 80.0) if number % 3 == 0 else float(n_days)
        while day < last:
            customer.append(number)
            at_ms.append(int((1_000 + day) * DAY_MS))
            day += rhythm * chance.uniform(0.5, 1.5)
    orders = Orders([f"c{number}" for number in range(n_customers)], customer, at_ms, [10.0] * len(customer))
    return run_churn(orders, settings(), HORIZON_DAYS, EVERY_DAYS, keep_features=True)


def settings() -> CoreSettings:
    whole = CoreSettings()
    return replace(whole, churn=replace(whole.churn, hazard_days=2.0))


RUN = shop()


def histories(*customers: tuple[float, float, float]) -> Histories:
    return Histories(*(np.array(column) for column in zip(*customers, strict=True)))


def simulated(model: BgNbd, n: int, days: float) -> Histories:
    chance = np.random.default_rng(2)
    found = []
    for rate, leaving in zip(
        chance.gamma(model.r, 1.0 / model.alpha, n), chance.beta(model.a, model.b, n), strict=True
    ):
        x, now = 0, 0.0
        while chance.random() >= leaving or not x:
            wait = chance.exponential(1.0 / rate)
            if now + wait > days:
                break
            x, now = x + 1, now + wait
        found.append((float(x), now, days))
    return histories(*found)


def test_bg_nbd_expects_what_the_paper_expects() -> None:
    """Its example: 2 repeat orders, the last in week 30.43 of 38.86; 1.226 orders in the 39 weeks to come."""
    expected = PUBLISHED.expected_orders(histories((2.0, 30.43, 38.86)), 39.0)
    assert expected.tolist() == pytest.approx([1.226], abs=5e-4)


def test_bg_nbd_fits_at_least_as_well_as_the_truth() -> None:
    """The likelihood of the fitted parameters is no less than that of those which the customers were made with."""
    truth = BgNbd(r=0.6, alpha=20.0, a=0.7, b=3.0)
    seen = simulated(truth, 500, 200.0)
    fitted = fit(seen)
    assert fitted.log_likelihood(seen) >= truth.log_likelihood(seen)
    assert fitted.r / fitted.alpha == pytest.approx(truth.r / truth.alpha, rel=0.4)


@given(st.integers(0, 3_000), st.floats(0.0, 1.0), st.floats(0.01, 3_000.0), st.floats(0.5, 365.0))
def test_bg_nbd_is_finite_for_any_customer(x: int, share: float, t: float, days: float) -> None:
    """Thousands of orders in an hour, or none in years: a probability, and a number of orders not below 0."""
    seen = histories((float(x), share * t if x else 0.0, t))
    for model in (PUBLISHED, replace(PUBLISHED, a=1.0), replace(PUBLISHED, a=3.0)):
        assert 0.0 <= model.no_order(seen, days)[0] <= 1.0
        assert 0.0 <= model.expected_orders(seen, days)[0] < np.inf


def test_each_row_is_predicted_by_one_fit_that_saw_matured_labels_alone() -> None:
    """The stretches cover the rows without gap or overlap; what a fit learns from had matured before its day."""
    covered = np.zeros(len(RUN.rows), dtype=int)
    for refit in refits(RUN):
        covered[refit.predicts] += 1
        assert (RUN.rows.day[refit.predicts] >= refit.day).all()
        assert (RUN.rows.day[refit.matured] + HORIZON_DAYS < refit.day).all()
        late = RUN.rows.day[refit.matured.stop : refit.predicts.start]
        assert (late + HORIZON_DAYS >= refit.day).all()  # and none that had matured is left out
    assert (covered == 1).all()


@pytest.mark.parametrize("baseline", [churned_by_recency, retrained_trees])
def test_a_label_is_not_known_before_it_has_matured(baseline: Callable[[ChurnRun], Floats]) -> None:
    """Turning round every label that matures on a day or later changes no prediction up to that day."""
    day = 70
    secret = RUN.rows.day + HORIZON_DAYS >= day
    turned = replace(RUN.rows, churned=np.where(secret, 1.0 - RUN.rows.churned, RUN.rows.churned))
    before, after = baseline(RUN), baseline(replace(RUN, rows=turned))
    early = RUN.rows.day <= day
    assert np.array_equal(before[early], after[early])
    assert not np.array_equal(before, after)


def test_bg_nbd_knows_no_order_of_the_future() -> None:
    """Leaving out every order after a day changes no prediction up to that day."""
    day = 66
    kept = RUN.orders.day <= day
    orders = replace(RUN.orders, **{name: getattr(RUN.orders, name)[kept] for name in ("day", "customer", "amount")})
    early = RUN.rows.day <= day
    for before, after in zip(bg_nbd(RUN), bg_nbd(replace(RUN, orders=orders)), strict=True):
        assert np.array_equal(before[early], after[early])
        assert not np.array_equal(before, after)


def test_hindsight_knows_nothing_of_the_customer_it_predicts() -> None:
    """Turning round all labels of one fold of customers changes no prediction of theirs."""
    own = RUN.rows.customer % 3 == 0
    turned = replace(RUN.rows, churned=np.where(own, 1.0 - RUN.rows.churned, RUN.rows.churned))
    before, after = trees_in_hindsight(RUN), trees_in_hindsight(replace(RUN, rows=turned))
    assert np.array_equal(before[own], after[own])
    assert not np.array_equal(before, after)


def test_each_baseline_has_figures_on_the_rows_that_ours_has() -> None:
    """As many rows, the same rate; and each ranks better than chance in a shop with a rhythm to find."""
    ours = figures_of(RUN, RUN.rows.probability)
    told: list[tuple[int, int]] = []
    found = churn_baselines(RUN, progress=lambda done, total: told.append((done, total)))
    assert list(found) == list(BASELINES)
    assert told == [(n, len(BASELINES)) for n in range(1, len(BASELINES) + 1)]
    for figures in found.values():
        assert (figures.all.n, figures.all.churn_rate) == (ours.all.n, ours.all.churn_rate)
        assert figures.all.auc is not None
        assert figures.all.auc > 0.55


def test_recency_ranks_by_the_days_of_silence() -> None:
    """Whoever bought longer ago is ranked as more likely gone."""
    assert (rank_by_recency(RUN) == RUN.rows.day - RUN.rows.last_order_day).all()


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence with the command to type, before anything is computed."""
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(MissingExtra, match=r"pip install 'nextbest\[evaluate\]'"):
        churn_baselines(RUN)
