"""What the churn model makes of the features: hinges and products in which the risk is close to linear.

Silence bends the risk: it means little until the customer's own rhythm has passed, and less and less again once the
customer is long gone. A linear model follows that by hinges (piecewise linear terms, as in Friedman's MARS, 1991) in
the time since the last order, measured in horizons and against the customer's own rhythm: neither knows days of its
own. `alive` has the form of the log-odds of being alive in BG/NBD (Fader, Hardie and Lee 2005), with the horizon for
the scale of its prior, so that nothing has to be fitted.
"""

from math import exp, expm1, log, log1p

from consumer.core.churn.features import CHURN_FEATURES
from consumer.core.customer.counters import FAST_HALF_LIFE_DAYS, ORDER_HALF_LIVES, SLOW_HALF_LIFE_DAYS, SPEND_HALF_LIFE

# name → the feature that its contribution is accounted to. The last ones are the features as they are.
_ENGAGEMENT = CHURN_FEATURES.index("views_fast")
_TERMS: dict[str, str] = {
    "days_since_order": "days_since_order",
    "silent_1": "days_since_order",  # horizons of silence, up to 1
    "silent_3": "days_since_order",  # up to 3
    "seen_later": "days_since_seen",  # than the last order, in logarithms: 0 where nothing but orders is known
    "tenure_days": "tenure_days",
    "orders": "orders",
    "one_order": "orders",
    "orders_fast": "orders_fast",
    "orders_slow": "orders_slow",
    "orders_long": "orders_long",
    "orders_x_silence": "orders",
    "order_rate": "orders",  # log of orders a day, a half order in half a horizon in advance
    "spend_slow": "spend_slow",
    "overdue": "overdue",
    "overdue_0": "overdue",  # up to 0: the customer is not due yet
    "overdue_1": "overdue",  # up to 1: e times the usual gap
    "overdue_by_spread": "overdue",  # standard deviations beyond the first, where there are two gaps
    "overdue_last_0": "last_gap_days",  # against the last gap alone, up to 0
    "orders_missed": "overdue",  # log(1 + orders that the rate leads one to expect since the last)
    "alive": "overdue",
    "order_gap_spread": "order_gap_spread",
    **{name: name for name in CHURN_FEATURES[_ENGAGEMENT:]},
}
CHURN_TERMS: tuple[str, ...] = tuple(_TERMS)
_ACCOUNTS: tuple[int, ...] = tuple(CHURN_FEATURES.index(feature) for feature in _TERMS.values())
_TWO_ORDERS = log1p(1.5)  # between one and two, so that rounding is no matter
_THREE_ORDERS = log1p(2.5)
_LEAST_SPREAD = 0.3  # added to a customer's spread of log gaps: few gaps look more regular than they are
_SPREADS_BOUND = 5.0
_ALIVE_BOUND = 20.0


def churn_terms(values: tuple[float, ...], horizon_days: float) -> tuple[float, ...]:
    """Return the terms, in the order of CHURN_TERMS, of `values` in the order of CHURN_FEATURES."""
    since_order, since_seen, tenure, orders, fast, slow, long, spend, _, spread, last_gap, overdue = values[
        :_ENGAGEMENT
    ]
    silent_days = expm1(since_order)
    bought_days = max(0.0, expm1(tenure) - silent_days)  # from the first order, or visit, to the last order
    horizons = silent_days / horizon_days
    repeats = max(0.0, expm1(orders) - 1.0)
    rate = (repeats + 0.5) / (bought_days + 0.5 * horizon_days)
    repeated = orders > _TWO_ORDERS
    alive = 0.0
    if repeated:
        gone = repeats * log((expm1(tenure) + horizon_days) / (bought_days + horizon_days))
        alive = -log1p(exp(min(gone, _ALIVE_BOUND)) / repeats)
    return (
        since_order,
        min(horizons, 1.0),
        min(horizons, 3.0),
        since_order - since_seen,
        tenure,
        orders,
        0.0 if repeated or not orders else 1.0,
        fast,
        slow,
        long,
        since_order * orders,
        log(rate),
        spend,
        overdue,
        min(overdue, 0.0),
        min(overdue, 1.0),
        min(max(overdue / (spread + _LEAST_SPREAD) - 1.0, 0.0), _SPREADS_BOUND) if orders > _THREE_ORDERS else 0.0,
        min(since_order - last_gap, 0.0) if repeated else 0.0,
        log1p(rate * silent_days),
        alive,
        spread if orders > _THREE_ORDERS else 0.0,
        *values[_ENGAGEMENT:],
    )


def by_feature(contributions: tuple[float, ...]) -> tuple[float, ...]:
    """Return the contributions of the terms summed by the feature that each is accounted to."""
    sums = [0.0] * len(CHURN_FEATURES)
    for account, contribution in zip(_ACCOUNTS, contributions, strict=True):
        sums[account] += contribution
    return tuple(sums)


class Silence:
    """What the features become if the customer does nothing for some days."""

    __slots__ = ("_days", "_factors")

    def __init__(self, days: float, horizon_days: float) -> None:
        self._days = days
        order_half_lives = [share * horizon_days for share in (*ORDER_HALF_LIVES, SPEND_HALF_LIFE)]
        half_lives = [
            FAST_HALF_LIFE_DAYS if name.endswith("_fast") else SLOW_HALF_LIFE_DAYS
            for name in CHURN_FEATURES[_ENGAGEMENT:]
        ]
        self._factors = tuple(2.0 ** (-days / each) for each in (*order_half_lives, *half_lives))

    def after(self, values: tuple[float, ...]) -> tuple[float, ...]:
        """Return `values`, in the order of CHURN_FEATURES, as they are that much later."""
        days, factors = self._days, self._factors
        since_order = log1p(expm1(values[0]) + days)
        overdue = values[11]
        return (
            since_order,
            log1p(expm1(values[1]) + days),
            log1p(expm1(values[2]) + days),
            values[3],
            log1p(expm1(values[4]) * factors[0]),
            log1p(expm1(values[5]) * factors[1]),
            log1p(expm1(values[6]) * factors[2]),
            log1p(expm1(values[7]) * factors[3]),
            values[8],
            values[9],
            values[10],
            overdue + (since_order - values[0]) if values[3] > _TWO_ORDERS else 0.0,
            *(
                log1p(expm1(value) * factor) if value else 0.0
                for value, factor in zip(values[_ENGAGEMENT:], factors[4:], strict=True)
            ),
        )
