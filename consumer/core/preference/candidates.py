"""What could come next, as the item index proposes it."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from consumer.core.preference.sources import N_SOURCES

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Scores(NamedTuple):
    """What sessions say of the items in them."""

    slots: Ints  # distinct
    values: Floats  # a row a source, a column a slot
    support: int  # sessions held that contain the last item
    repeated: float  # share of its sessions where the last item was repeated at once


NO_SCORES = Scores(np.zeros(0, dtype=np.int64), np.zeros((N_SOURCES, 0)), 0, 0.0)


class Candidates:
    """The items that could come next, a column each, and how each source scores them.

    Good until the next session is folded. The lists hold columns, best first; the first `n_own` columns are the
    customer's own items.
    """

    __slots__ = ("_ids", "_slot_of", "_unknown", "categories", "n_own", "popularity", "repeated", "slots", "sources",
                 "support", "together", "top_category", "top_popular", "top_together")  # fmt: skip

    def __init__(self, ids: list[str], slot_of: dict[str, int], unknown: list[str]) -> None:
        self._ids, self._slot_of = ids, slot_of
        self._unknown = unknown  # own items that are not in the index; their slots count down from -1
        self.slots: Ints = NO_SCORES.slots
        self.n_own = 0
        self.top_together: Ints = NO_SCORES.slots
        self.top_popular: Ints = NO_SCORES.slots
        self.top_category: Ints = NO_SCORES.slots
        self.sources: Floats = NO_SCORES.values  # a row each of `sources`
        self.support = 0  # sessions held that contain the last item
        self.repeated = 0.0  # share of its sessions where the last item was repeated at once
        self.together: Floats = NO_SCORES.values[0]  # of the first source, without the items asked about
        self.popularity: Floats = NO_SCORES.values[0]  # share of the largest count
        self.categories: Ints = NO_SCORES.slots  # numbers that mean the same as `ItemIndex.category_number`

    def __len__(self) -> int:
        return len(self.slots)

    def find(self, item_id: str) -> int | None:
        """Return the column of an item, None where it is not a candidate."""
        slot = self._slot_of.get(item_id, 0)
        if not slot:
            if item_id not in self._unknown:
                return None
            slot = -1 - self._unknown.index(item_id)
        at = (self.slots == slot).nonzero()[0]
        return int(at[0]) if len(at) else None

    def ids(self, columns: "Iterable[int] | Ints") -> list[str]:
        """Return the item ids of `columns`."""
        wanted = columns if isinstance(columns, np.ndarray) else np.fromiter(columns, dtype=np.int64)
        slots: list[int] = self.slots[wanted].tolist()
        ids, unknown = self._ids, self._unknown
        return [ids[slot] if slot > 0 else unknown[-1 - slot] for slot in slots]
