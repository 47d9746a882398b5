"""What makes the figures of a backtest doubtful, in words: each is computed, and none may say what it seems to say."""

import re
from collections.abc import Sequence

import numpy as np

from consumer.evaluate.metrics import RankingFigures
from schemas.units import DAY_MS

_FEW_SHARE = 0.02  # of customers come again: fewer, and the id is probably none of a customer
_FEWEST = 20  # customers, or sessions, before anything is said
_RARE_SHARE = 0.01  # of the labels are of the rarer kind: fewer, and there is nothing to tell apart
_PERSON = re.compile(r"cust|user|client|member|visitor|buyer|shopper|account|e-?mail|person", re.IGNORECASE)
_COLUMNS_SHOWN = 4


def hardly_anybody_again(
    customer: Sequence[int], occurred_at: Sequence[int], called: str, columns: Sequence[str]
) -> str | None:
    """Say it where hardly a customer has orders on two days.

    `called` is what the column of the id is called in the file, which has `columns`.
    """
    codes, days = np.asarray(customer), np.asarray(occurred_at) // DAY_MS
    first = np.full(codes.max(initial=-1) + 1, np.iinfo(np.int64).max)
    last = np.full(len(first), -1)
    np.minimum.at(first, codes, days)
    np.maximum.at(last, codes, days)
    n, n_again = int((last >= 0).sum()), int((last > first).sum())
    if n < _FEWEST or n_again >= _FEW_SHARE * n:
        return None
    others = [name for name in columns if _PERSON.search(name) and name.casefold() != called.casefold()]
    instead = f" The file also has {', '.join(others[:_COLUMNS_SHOWN])}: see --column." if others else ""
    return (
        f"{n - n_again:,} of {n:,} customers have ordered once only: is {called} the id of a customer? An id that is "
        f"new for each order, as that of a guest, says nothing of who comes again.{instead}"
    )


def hardly_a_second_event(session: Sequence[int], called: str) -> str | None:
    """Say it where hardly a session has two events."""
    counts = np.bincount(np.asarray(session, dtype=np.int64))
    n, n_longer = int((counts > 0).sum()), int((counts > 1).sum())
    if n < _FEWEST or n_longer >= _FEW_SHARE * n:
        return None
    return f"{n - n_longer:,} of {n:,} sessions have one event only: is {called} the id of a session?"


def labels_hardly_vary(figures: RankingFigures, horizon_days: int) -> str | None:
    """Say it where nearly all customers churned, or nearly none."""
    rate = figures.churn_rate
    if rate is None or _RARE_SHARE <= rate <= 1.0 - _RARE_SHARE:
        return None
    return (
        f"churn rate {rate:.3f}: labels hardly vary, so the figures say little. Is every row an order of a customer, "
        f"and are {horizon_days} days a horizon within which some come again and some don't?"
    )
