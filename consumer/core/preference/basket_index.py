"""What is known of all customers' latest baskets: which items go together, and which are in season."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from heapq import nsmallest

from consumer.core.preference.candidates import Candidates
from consumer.core.preference.items import ItemIndex
from consumer.core.preference.session_log import MAX_STEPS
from consumer.core.settings import PreferenceSettings
from schemas.records import Session

SEASON_BASKETS = 1_000  # so many are a season
BASKETS_PER_ITEM = 100  # most recent ones that are looked at for an item; more cost time and find nothing better
SEASON_ITEMS = 20  # its candidates


class Season:
    """In how many of the latest baskets, `window` of them, each item is."""

    __slots__ = ("_baskets", "_counts", "_top", "_window")

    def __init__(self, window: int = SEASON_BASKETS) -> None:
        self._window = window
        self._baskets: deque[tuple[str, ...]] = deque()
        self._counts: dict[str, int] = {}
        self._top: dict[str, int] | None = None  # until the next basket is folded

    def fold(self, items: Sequence[str]) -> None:
        """Count one basket of distinct items; the oldest goes where there are too many."""
        counts = self._counts
        for item_id in items:
            counts[item_id] = counts.get(item_id, 0) + 1
        self._baskets.append(tuple(items))
        if len(self._baskets) > self._window:
            for item_id in self._baskets.popleft():
                if counts[item_id] == 1:
                    del counts[item_id]
                else:
                    counts[item_id] -= 1
        self._top = None

    def top(self) -> Mapping[str, int]:
        """Return the `SEASON_ITEMS` items in most baskets with their places from 0, most first, ties by id."""
        if self._top is None:
            counts = self._counts
            best = nsmallest(SEASON_ITEMS, counts, key=lambda item_id: (-counts[item_id], item_id))
            self._top = {item_id: place for place, item_id in enumerate(best)}
        return self._top

    def counts(self, item_ids: Sequence[str]) -> list[int]:
        """Return the number of baskets with each item."""
        counts = self._counts
        return [counts.get(item_id, 0) for item_id in item_ids]


class BasketIndex:
    """A function of the latest baskets folded, in their order."""

    def __init__(self, settings: PreferenceSettings) -> None:
        fewer = min(BASKETS_PER_ITEM, settings.sessions_per_item)
        self._items = ItemIndex(replace(settings, sessions_per_item=fewer))
        self.season = Season()

    @property
    def n_baskets(self) -> int:
        """Baskets held; one of more than 64 items counts for several."""
        return self._items.n_sessions

    def fold(self, basket: Session) -> None:
        """Add one basket, in any order of its items. A large one is cut into parts that the index can hold."""
        items, categories, weights = basket.items, basket.categories, basket.weights
        for start in range(0, len(items), MAX_STEPS):
            cut = slice(start, start + MAX_STEPS)
            self._items.fold(
                Session(basket.session_id, basket.ended_at, items[cut], categories[cut], weights[cut], basket.kind)
            )
        if items and min(weights) >= 1.0:  # what our own recommendations led to tells nothing of the season
            self.season.fold(list(dict.fromkeys(items)))

    def candidates(self, usual: Sequence[str], own: Sequence[str]) -> Candidates:
        """Return `own`, what goes with the items of `usual`, and what is popular."""
        return self._items.candidates(usual, own)
