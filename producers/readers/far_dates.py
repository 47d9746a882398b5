"""Finds the few rows of a table that are dated far from all others: placeholders and wrong clocks."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

from schemas.units import DAY_MS

_FEWEST_ROWS = 30  # in a smaller table nothing is far from the rest
_FEW_SHARE = 0.001  # of all rows, at most, are far off; or
_FEW_ROWS = 3
_FAR_DAYS = 180  # and
_FAR_TIMES = 10  # as long as the longest gap among the others


def body_of(times: Iterable[int]) -> tuple[int, int] | None:
    """Return the first and last day (since 1970) of all rows but a few that are far from them; None where none are."""
    on_day = Counter(at_ms // DAY_MS for at_ms in times)
    n_rows = on_day.total()
    if n_rows < _FEWEST_ROWS:
        return None
    days = sorted(on_day)
    few = max(_FEW_ROWS, int(_FEW_SHARE * n_rows))
    first = _n_apart(days, on_day, few)
    last = len(days) - 1 - _n_apart(days[::-1], on_day, few)
    if (first, last) == (0, len(days) - 1):
        return None
    longest = max((later - earlier for earlier, later in pairwise(days[first : last + 1])), default=0)
    if first and days[first] - days[first - 1] <= _FAR_TIMES * longest:
        first = 0
    if last < len(days) - 1 and days[last + 1] - days[last] <= _FAR_TIMES * longest:
        last = len(days) - 1
    return None if (first, last) == (0, len(days) - 1) else (days[first], days[last])


def _n_apart(days: Sequence[int], on_day: Counter[int], few: int) -> int:
    """Return how many of the first days hold few rows and are far from those that follow."""
    n_apart = n_rows = 0
    for place, (day, following) in enumerate(pairwise(days), start=1):
        n_rows += on_day[day]
        if n_rows > few:
            break
        if abs(following - day) > _FAR_DAYS:
            n_apart = place
    return n_apart
