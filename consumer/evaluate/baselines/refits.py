"""When a baseline is fitted anew, and what it may know then."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from consumer.evaluate.churn import ChurnRun

REFIT_DAYS = 28


@dataclass(frozen=True, slots=True)
class Refit:
    """One stretch of days on which one fit predicts. Places are those of `ChurnRun.rows`."""

    day: int  # of the fit; the orders of this day are known to it
    predicts: slice  # the rows of the stretch
    matured: slice  # the rows before it, whose labels are known by then


def refits(run: ChurnRun, every_days: int = REFIT_DAYS) -> Iterator[Refit]:
    """Yield the stretches of `every_days` days that cover all rows of `run`, in order.

    The label of a row is known on a day after its horizon has passed whole: day + H < the day of the fit.
    """
    days = run.rows.day
    if not len(days):
        return
    for day in range(int(days[0]), int(days[-1]) + 1, every_days):
        start, stop, matured = np.searchsorted(days, (day, day + every_days, day - run.horizon_days)).tolist()
        if stop > start:
            yield Refit(day, slice(start, stop), slice(0, matured))
