"""BG/NBD: customers buy at rates of their own and may leave for good after any order.

P. S. Fader, B. G. S. Hardie and K. L. Lee, "'Counting your customers' the easy way: an alternative to the Pareto/NBD
model", Marketing Science 24 (2005) 275-284. While active, a customer orders as a Poisson process whose rate is drawn
from a gamma distribution (shape r, rate α); after each order the customer leaves with a probability drawn from a beta
distribution (a, b). Of a customer it needs x, the orders after the first, t_x, the time from the first to the last
order, and T, the time from the first order until now; all times here are in days.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special  # type: ignore[import-untyped]  # it carries no types

from consumer.evaluate.baselines.refits import refits
from consumer.evaluate.churn import ChurnRun
from consumer.evaluate.metrics import Floats

_START = (0.5, 1.0, 1.0, 2.0)  # r, α as a share of the mean T, a, b
_LOG_BOUNDS = (-8.0, 8.0)  # parameters lie within these powers of e of where the search starts
_UNIT_A = 1e-6  # the expected number has a gap at a = 1 that both sides of it agree on


@dataclass(frozen=True, slots=True)
class Histories:
    """Customers up to one moment, a place each: repeat orders, and days from the first order to the last and to now."""

    x: Floats
    t_x: Floats
    t: Floats

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, slots=True)
class BgNbd:
    """The four parameters; `alpha` in days."""

    r: float
    alpha: float
    a: float
    b: float

    def log_likelihood(self, seen: Histories) -> float:
        """Return the mean log-likelihood of a customer (equation 6 of the paper, kept in logarithms)."""
        r, alpha, a, b = self.r, self.alpha, self.a, self.b
        x = seen.x
        rate = special.gammaln(r + x) - special.gammaln(r) + r * np.log(alpha)
        staying = special.betaln(a, b + x) - special.betaln(a, b)
        still_active = -(r + x) * np.log(alpha + seen.t)
        gone = np.where(x > 0, np.log(a / (b + np.maximum(x, 1.0) - 1.0)) - (r + x) * np.log(alpha + seen.t_x), -np.inf)
        return float(np.mean(rate + staying + np.logaddexp(still_active, gone)))

    def active(self, seen: Histories) -> Floats:
        """Return the probability that each customer has not left."""
        r, alpha = self.r, self.alpha
        logit_gone = np.log(self.a / (self.b + np.maximum(seen.x, 1.0) - 1.0)) + (r + seen.x) * np.log(
            (alpha + seen.t) / (alpha + seen.t_x)
        )
        return np.where(seen.x > 0, special.expit(-logit_gone), 1.0)

    def expected_orders(self, seen: Histories, days: float) -> Floats:
        """Return the orders to expect of each customer within `days` (equation 10 of the paper).

        Euler's transformation of the hypergeometric function keeps its terms small for customers with many orders.
        """
        r, alpha, b = self.r, self.alpha, self.b
        a = self.a if abs(self.a - 1.0) > _UNIT_A else 1.0 + _UNIT_A
        total = a + b + seen.x - 1.0
        share = days / (alpha + seen.t + days)
        missed = (1.0 - share) ** (a - 1.0) * special.hyp2f1(a + b - 1.0 - r, a - 1.0, total, share)
        expected: Floats = total / (a - 1.0) * (1.0 - missed) * self.active(seen)
        return expected

    def no_order(self, seen: Histories, days: float) -> Floats:
        """Return the probability of no order within `days`: gone already, or active and silent for so long."""
        silent = ((self.alpha + seen.t) / (self.alpha + seen.t + days)) ** (self.r + seen.x)
        return 1.0 - self.active(seen) * (1.0 - silent)


def fit(seen: Histories, start: BgNbd | None = None) -> BgNbd:
    """Return the parameters of greatest likelihood, searched from `start` on. Raises ValueError without customers."""
    if not len(seen):
        raise ValueError("no customers to fit BG/NBD to")
    if start is None:
        r, share, a, b = _START
        start = BgNbd(r, share * max(1.0, float(seen.t.mean())), a, b)
    origin = np.log((start.r, start.alpha, start.a, start.b))

    def loss(step: Floats) -> float:
        return -BgNbd(*np.exp(origin + step).tolist()).log_likelihood(seen)

    found = optimize.minimize(loss, np.zeros(4), method="L-BFGS-B", bounds=[_LOG_BOUNDS] * 4)
    return BgNbd(*np.exp(origin + found.x).tolist())


def histories_on(run: ChurnRun, day: int) -> Histories:
    """Return the histories of all who have ordered by the end of `day`."""
    known = run.orders.day <= day
    customer, days = run.orders.customer[known], run.orders.day[known]
    n_orders = np.bincount(customer, minlength=len(run.customer_ids))
    first, last = np.full(len(n_orders), day), np.zeros(len(n_orders), dtype=np.int64)
    np.minimum.at(first, customer, days)
    np.maximum.at(last, customer, days)
    met = n_orders > 0
    return Histories(*(column[met].astype(np.float64) for column in (n_orders - 1, last - first, day - first)))


def bg_nbd(run: ChurnRun) -> tuple[Floats, Floats]:
    """Return for each row minus the orders expected within the horizon, and the probability of none.

    The parameters are fitted anew every 28 days, to all orders up to then.
    """
    rows = run.rows
    expected, none = np.zeros(len(rows)), np.full(len(rows), 0.5)
    model: BgNbd | None = None
    for refit in refits(run):
        model = fit(histories_on(run, refit.day), model)
        there = refit.predicts
        first = rows.first_order_day[there]
        seen = Histories(
            *(
                column.astype(np.float64)
                for column in (rows.n_orders[there] - 1, rows.last_order_day[there] - first, rows.day[there] - first)
            )
        )
        expected[there] = model.expected_orders(seen, run.horizon_days)
        none[there] = model.no_order(seen, run.horizon_days)
    return -expected, none
