"""Looks for a column that says what kind of event a row is, while a table is read as if all rows were of one kind."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

_MAX_VALUES = 20  # a column with more tells no kinds
_MAX_COLUMNS = 64  # looked at, the first ones
_SHOWN = 4
_NAME = re.compile(r"(action|activity|behaviou?r|event|interaction)(type|name)?|kind")
# What is no order, as one of the words of a value.
_NO_ORDER = re.compile(
    r"(page)?view(s|ed)?|pv|click(s|ed)?|impressions?|search(es|ed)?|visit(s|ed)?|((addto|removefrom)?(cart|basket))"
    r"|wishlist|fav(ou?rites?)?|login|cancell?(ed)?|refund(ed)?|return(ed)?|failed|voided"
)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")


class EventKinds:
    """The values of the columns that might tell kinds, counted; whoever takes too many different ones is left out."""

    def __init__(self, columns: Sequence[str], known: Iterable[int]) -> None:
        """`known` are the places of columns whose meaning is known already."""
        self._columns = columns
        left = sorted(set(range(len(columns))).difference(known))[:_MAX_COLUMNS]
        self._counts: dict[int, Counter[str]] = {place: Counter() for place in left}

    def see(self, values: Sequence[str | None]) -> None:
        """Count what stands in one row."""
        full = None
        for place, counts in self._counts.items():
            if place < len(values) and (value := values[place]):
                counts[value] += 1
                if len(counts) > _MAX_VALUES:
                    full = place
        if full is not None:
            del self._counts[full]  # one a row: the others follow

    def found(self) -> str | None:
        """Return the column and its commonest values, in words, or None where no column looks like one of kinds."""
        for place, counts in self._counts.items():
            if len(counts) < 2:
                continue
            name = re.sub(r"[\W_]", "", self._columns[place]).casefold()
            if _NAME.fullmatch(name) or any(map(_is_no_order, counts)):
                more = ", …" if len(counts) > _SHOWN else ""
                values = ", ".join(f"{value[:40]} {n:,}" for value, n in counts.most_common(_SHOWN))
                return f"{self._columns[place]} ({values}{more})"
        return None


def _is_no_order(value: str) -> bool:
    return any(_NO_ORDER.fullmatch(word.lower()) for word in _WORD.findall(value))
