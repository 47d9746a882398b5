"""How often items occur in a window, and which occur most, overall and by category, at any time.

Counts are integers that rise and fall, so they are exact however long the window has been moving. The largest ones are
found with heaps whose outdated entries are put right when they are met.
"""

import heapq
from array import array

CACHED = 20  # so many of the largest are kept until one of them changes

Entry = tuple[int, int, int]  # (-count, -seen, slot): the smaller the better
_LAST: Entry = (1, 0, 0)  # worse than every entry


class _Ranking:
    """A heap that holds, for each member, at least one entry that is not worse than its true one."""

    __slots__ = ("floor", "found", "heap", "limit", "members")

    def __init__(self) -> None:
        self.heap: list[Entry] = []
        self.limit = 64
        self.members = 0
        self.found: list[int] | None = None  # the best slots, while that is known
        self.floor = _LAST  # what a change must not be worse than to touch `found`

    def rise(self, entry: Entry) -> None:
        heapq.heappush(self.heap, entry)
        if entry <= self.floor:
            self.found = None

    def fall(self, former: Entry) -> None:
        if former <= self.floor:
            self.found = None


class Popularity:
    """Counts by slot. Ties go to the item seen last."""

    __slots__ = (
        "_all",
        "_by_category",
        "_free",
        "_numbers",
        "_used",
        "categories",
        "category_numbers",
        "counts",
        "seen",
    )

    def __init__(self) -> None:
        self.counts = array("q", [0])
        self.seen = array("q", [0])  # where the item occurred last; unique among items
        self.categories: list[str | None] = [None]
        self.category_numbers = array("q", [0])  # beside `categories`, for arithmetic; 0 for none
        self._numbers: dict[str, int] = {}
        self._free: list[int] = []
        self._used = [0]  # by category number: items of that category
        self._all = _Ranking()
        self._by_category: dict[str, _Ranking] = {}

    @property
    def n_categories(self) -> int:
        """Categories that have an item with a count."""
        return len(self._by_category)

    def add_slot(self) -> None:
        """Make room for one more item."""
        self.counts.append(0)
        self.seen.append(0)
        self.categories.append(None)
        self.category_numbers.append(0)

    def release(self, slot: int) -> None:
        """Forget the item of `slot`; its count is 0 by now."""
        self.set_category(slot, None)
        self.seen[slot] = 0

    def number_of(self, category: str | None) -> int:
        """Return the number that stands for `category`, 0 where no item is of it."""
        return 0 if category is None else self._numbers.get(category, 0)

    def raise_count(self, slot: int, amount: int) -> None:
        """Add `amount` > 0 to the count of `slot`."""
        before = self.counts[slot]
        count = self.counts[slot] = before + amount
        entry = (-count, -self.seen[slot], slot)
        ranking = self._all
        ranking.rise(entry)
        if len(ranking.heap) > ranking.limit:
            self._tidy(ranking, None)
        category = self.categories[slot]
        if category is not None:
            self._enter(category, entry, is_new=not before)

    def lower_count(self, slot: int, amount: int) -> None:
        """Take `amount` > 0 off the count of `slot`."""
        before = self.counts[slot]
        count = self.counts[slot] = before - amount
        former = (-before, -self.seen[slot], slot)
        self._all.fall(former)
        category = self.categories[slot]
        if category is not None:
            self._leave(category, former, is_gone=not count)

    def set_category(self, slot: int, category: str | None) -> None:
        """Move `slot` and its count to `category`."""
        before, count = self.categories[slot], self.counts[slot]
        if category == before:
            return
        entry = (-count, -self.seen[slot], slot)
        self.categories[slot] = category
        self._renumber(slot, before, category)
        if count:
            if before is not None:
                self._leave(before, entry, is_gone=True)
            if category is not None:
                self._enter(category, entry, is_new=True)

    def _renumber(self, slot: int, before: str | None, category: str | None) -> None:
        if before is not None:
            number = self.category_numbers[slot]
            self._used[number] -= 1
            if not self._used[number]:
                del self._numbers[before]
                self._free.append(number)
        number = 0
        if category is not None:
            number = self._numbers.get(category, 0)
            if not number:
                number = self._numbers[category] = self._free.pop() if self._free else len(self._used)
                if number == len(self._used):
                    self._used.append(0)
            self._used[number] += 1
        self.category_numbers[slot] = number

    def top(self, n: int) -> list[int]:
        """Return the `n` slots of the largest counts, largest first."""
        return self._best(self._all, n, None)

    def top_in(self, category: str, n: int) -> list[int]:
        """Return the `n` slots of the largest counts in `category`, largest first."""
        ranking = self._by_category.get(category)
        return [] if ranking is None else self._best(ranking, n, category)

    def _enter(self, category: str, entry: Entry, is_new: bool) -> None:
        ranking = self._by_category.get(category)
        if ranking is None:
            ranking = self._by_category[category] = _Ranking()
        ranking.members += is_new
        ranking.rise(entry)
        if len(ranking.heap) > ranking.limit:
            self._tidy(ranking, category)

    def _leave(self, category: str, former: Entry, is_gone: bool) -> None:
        ranking = self._by_category[category]
        ranking.fall(former)
        ranking.members -= is_gone
        if not ranking.members:
            del self._by_category[category]

    def _true_entry(self, slot: int, category: str | None) -> Entry | None:
        count = self.counts[slot]
        if not count or (category is not None and self.categories[slot] != category):
            return None
        return (-count, -self.seen[slot], slot)

    def _best(self, ranking: _Ranking, n: int, category: str | None) -> list[int]:
        if n <= CACHED and ranking.found is not None:
            return ranking.found[:n]
        wanted = max(n, CACHED)
        heap = ranking.heap
        found: list[Entry] = []
        while heap and len(found) < wanted:
            entry = heapq.heappop(heap)
            true = self._true_entry(entry[2], category)
            if true == entry:
                if not found or found[-1] != entry:
                    found.append(entry)
            elif true is not None and true > entry:
                heapq.heappush(heap, true)
        for entry in found:
            heapq.heappush(heap, entry)
        slots = [entry[2] for entry in found]
        ranking.found = slots[:CACHED]
        ranking.floor = found[CACHED - 1] if len(found) >= CACHED else _LAST
        return slots[:n]

    def _tidy(self, ranking: _Ranking, category: str | None) -> None:
        """Keep one true entry for each member."""
        entries = (self._true_entry(slot, category) for slot in dict.fromkeys(entry[2] for entry in ranking.heap))
        ranking.heap = [entry for entry in entries if entry is not None]
        heapq.heapify(ranking.heap)
        ranking.limit = 2 * len(ranking.heap) + 64
