"""The item index: which items go together, which come next, which are popular.

An incremental session index after VMIS-kNN (Kersbergen et al., SIGMOD 2022): each item points to its most recent
sessions, and a session points to its items. Sequential rules (Ludewig & Jannach 2018) are read from the same sessions,
so nothing has to be kept or aged for them.

The index is an exact function of the most recent sessions folded, in their order: the last `index_sessions`, or fewer
where those hold more than `index_items` distinct items. A worker that starts anew and folds only these gets the same
answers. For that reason sums are sums of integers (independent of their order), counts are windows rather than decayed
floats, and ties go to the item seen last: slots, which depend on what was evicted before, decide nothing.
"""

from array import array
from collections.abc import Iterable, Sequence
from math import log
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from consumer.core.popularity import Popularity
from consumer.core.settings import PreferenceSettings
from schemas.events import Product
from schemas.records import Session

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

CONTEXT_ITEMS = 8  # distinct items of the current session that look for neighbours
RULE_SESSIONS = 100  # most recent sessions of the last item that rules are read from
POPULARITY_SESSIONS = 10_000  # window of popularity
TOGETHER, NEXT, POPULAR, IN_CATEGORY = 40, 20, 20, 20  # most candidates from each source

# A posting is session number << 22 | position. The 16 bits between take the weight of the current session's item.
_POSITION_BITS, _WEIGHT_BITS = 6, 16
_NUMBER_SHIFT = _POSITION_BITS + _WEIGHT_BITS
_MAX_POSITIONS = 1 << _POSITION_BITS
_POSITION_MASK = _MAX_POSITIONS - 1
_WEIGHT_MASK = (1 << _WEIGHT_BITS) - 1
# A session is a row of slot << 8 | weight in 64ths, 32 bits each.
_UNIT = 64
_SCORE_BITS = 38  # similarity (16 bits) × nearness (10) × weight (8) fits
_SCORE_MASK = (1 << _SCORE_BITS) - 1
_MAX_SLOTS = 1 << 24

# The current session's items, newest first: weight 1/√(steps + 1), so that none drowns the others.
_CONTEXT_WEIGHTS = tuple(round(4096 / (1 + steps) ** 0.5) for steps in range(CONTEXT_ITEMS))
_DISTANCES = range(-_MAX_POSITIONS, _MAX_POSITIONS + 1)
# Indexed by (position of the item − position of the shared item) + _MAX_POSITIONS.
_NEAR: Ints = np.array([round(1023 / (1 + 0.25 * abs(d))) for d in _DISTANCES], dtype=np.int64)
_AFTER: Ints = np.array([round(1023 / d) if d > 0 else 0 for d in _DISTANCES], dtype=np.int64)


class Scored(NamedTuple):
    """Items with a score from one source: slots ascending, scores > 0 beside them."""

    slots: Ints
    scores: Floats

    def of(self, slots: Ints) -> Floats:
        """Return the score of each of `slots`, 0 where it has none."""
        if not len(self.slots):
            return np.zeros(len(slots))
        at = np.minimum(self.slots.searchsorted(slots), len(self.slots) - 1)
        return np.where(self.slots[at] == slots, self.scores[at], 0.0)


_NOTHING = Scored(np.zeros(0, dtype=np.int64), np.zeros(0))


class Candidates:
    """What could come next, a column each, and how each source scores it. Good until the next session is folded.

    The lists hold columns, best first; the first `n_own` columns are the customer's own items.
    """

    __slots__ = ("_ids", "_slot_of", "_unknown", "categories", "columns", "following", "n_own", "popularity",
                 "together", "top_category", "top_following", "top_popular", "top_together")  # fmt: skip

    def __init__(self, ids: list[str], slot_of: dict[str, int], own: Iterable[str]) -> None:
        self._ids, self._slot_of = ids, slot_of
        self._unknown: dict[str, int] = {}  # own items that are not in the index: slots that count down from -1
        self.columns: dict[int, int] = {}  # slot → column
        for item_id in own:
            self.columns.setdefault(self._slot(item_id, add=True), len(self.columns))
        self.n_own = len(self.columns)
        self.top_together: list[int] = []
        self.top_following: list[int] = []
        self.top_popular: list[int] = []
        self.top_category: list[int] = []
        self.together: Floats = _NOTHING.scores
        self.following: Floats = _NOTHING.scores
        self.popularity: Floats = _NOTHING.scores  # share of the largest count
        self.categories: Ints = _NOTHING.slots  # numbers that mean the same as `ItemIndex.category_number`

    def __len__(self) -> int:
        return len(self.columns)

    def _slot(self, item_id: str, *, add: bool = False) -> int:
        slot = self._slot_of.get(item_id, 0) or self._unknown.get(item_id, 0)
        if add and not slot:
            slot = self._unknown[item_id] = -1 - len(self._unknown)
        return slot

    def add(self, slots: Iterable[int]) -> list[int]:
        """Add what is new of `slots`, and return the columns of all of them."""
        columns = self.columns
        return [columns.setdefault(slot, len(columns)) for slot in slots]

    def find(self, item_id: str) -> int | None:
        """Return the column of an item, None where it is not a candidate."""
        return self.columns.get(self._slot(item_id))

    def ids(self, columns: Iterable[int]) -> list[str]:
        """Return the item ids of `columns`."""
        slots, unknown = list(self.columns), list(self._unknown)
        return [self._ids[slots[c]] if slots[c] > 0 else unknown[-1 - slots[c]] for c in columns]


class _Details(NamedTuple):
    category: str | None
    price: float | None


class ItemIndex:
    """Sessions folded in, candidates out. Slot 0 stands for every item that is not in the index."""

    def __init__(self, settings: PreferenceSettings) -> None:
        if settings.index_items >= _MAX_SLOTS:
            raise ValueError(f"`index_items` is {settings.index_items}; the index holds up to {_MAX_SLOTS - 1} items")
        self._neighbours = max(1, settings.neighbours)
        self._max_sessions = max(1, settings.index_sessions)
        self._max_items = max(1, settings.index_items)
        self._max_postings = max(1, settings.sessions_per_item)
        self._window = min(POPULARITY_SESSIONS, self._max_sessions)

        self._sessions: list[bytes] = []  # a ring: session number modulo `_max_sessions`
        self._first = 0  # number of the oldest session held
        self._next = 0  # number of the next session
        self._popular_from = 0  # number of the oldest session that popularity counts

        self._slot_of: dict[str, int] = {}
        self._free: list[int] = []
        self._ids: list[str] = [""]
        self._postings: list[array[int]] = [array("q")]
        self._n_sessions: list[int] = [0]  # sessions held that contain the item
        self._log_n = array("d", [0.0])  # its logarithm
        self._categories: list[str | None] = [None]  # in the latest session that contains the item
        self._popularity = Popularity()

        self._blocked: dict[str, None] = {}  # unavailable or restricted
        self._details: dict[str, _Details] = {}  # of products, the longest untouched first

    # -- size ------------------------------------------------------------------------------------------------------

    @property
    def n_sessions(self) -> int:
        """Sessions held."""
        return self._next - self._first

    @property
    def n_items(self) -> int:
        """Distinct items in the sessions held."""
        return len(self._slot_of)

    # -- folding ---------------------------------------------------------------------------------------------------

    def fold(self, session: Session) -> None:
        """Add one finished session; the oldest ones go where a limit is reached."""
        steps = _collapse(session, min(_MAX_POSITIONS, self._max_items))
        if not steps:
            return
        if self.n_sessions >= self._max_sessions:
            self._drop_oldest()
        number = self._next
        row = array("I")
        last: dict[int, tuple[int, str | None]] = {}  # slot → last position, last category given
        for position, (item_id, category, weight) in enumerate(steps):
            slot = self._slot_of.get(item_id) or self._new_slot(item_id)
            row.append(slot << 8 | weight)
            given = last[slot][1] if category is None and slot in last else category
            last[slot] = (position, given)
        self._keep(number, row.tobytes())
        weights = _weights(row)
        for slot, (position, category) in last.items():
            self._post(slot, number, position)
            self._categories[slot] = category
            self._set_category(slot)
            self._popularity.raise_count(slot, weights[slot])
        while len(self._slot_of) > self._max_items:
            self._drop_oldest()
        while self._next - self._popular_from > self._window:
            self._uncount_oldest()

    def _keep(self, number: int, row: bytes) -> None:
        at = number % self._max_sessions
        if at == len(self._sessions):
            self._sessions.append(row)
        else:
            self._sessions[at] = row
        self._next = number + 1

    def _new_slot(self, item_id: str) -> int:
        if self._free:
            slot = self._free.pop()
            self._ids[slot] = item_id
        else:
            slot = len(self._ids)
            self._ids.append(item_id)
            self._postings.append(array("q"))
            self._n_sessions.append(0)
            self._log_n.append(0.0)
            self._categories.append(None)
            self._popularity.add_slot()
        self._slot_of[item_id] = slot
        return slot

    def _post(self, slot: int, number: int, position: int) -> None:
        posting = self._postings[slot]
        posting.append(number << _NUMBER_SHIFT | position)
        if len(posting) > self._max_postings:
            del posting[0]
        self._n_sessions[slot] += 1
        self._log_n[slot] = log(self._n_sessions[slot])
        self._popularity.seen[slot] = number << _POSITION_BITS | position

    def _drop_oldest(self) -> None:
        number = self._first
        if number >= self._popular_from:
            self._uncount_oldest()
        row = self._row(number)
        self._sessions[number % self._max_sessions] = b""
        self._first = number + 1
        for slot in _weights(row):
            posting = self._postings[slot]
            if posting and posting[0] >> _NUMBER_SHIFT == number:
                del posting[0]
            self._n_sessions[slot] -= 1
            if self._n_sessions[slot]:
                self._log_n[slot] = log(self._n_sessions[slot])
            else:
                self._release(slot)

    def _release(self, slot: int) -> None:
        del self._slot_of[self._ids[slot]]
        self._ids[slot] = ""
        self._categories[slot] = None
        self._log_n[slot] = 0.0
        self._popularity.release(slot)
        self._free.append(slot)

    def _row(self, number: int) -> memoryview:
        return memoryview(self._sessions[number % self._max_sessions]).cast("I")

    def _uncount_oldest(self) -> None:
        for slot, weight in _weights(self._row(self._popular_from)).items():
            self._popularity.lower_count(slot, weight)
        self._popular_from += 1

    def _set_category(self, slot: int) -> None:
        """Put in force what the product record says, or else the latest session."""
        details = self._details.get(self._ids[slot])
        told = details is not None and details.category is not None
        self._popularity.set_category(slot, details.category if details and told else self._categories[slot])

    # -- products --------------------------------------------------------------------------------------------------

    def apply_product(self, item_id: str, product: Product | None) -> None:
        """Take over what the shop says of an item; None (a tombstone): it says nothing any more."""
        self._details.pop(item_id, None)
        self._blocked.pop(item_id, None)
        if product is not None:
            if not product.available or product.restricted:
                self._blocked[item_id] = None
            if product.category is not None or product.price is not None:
                self._details[item_id] = _Details(product.category, product.price)
        self._refresh_category(item_id)
        if len(self._details) > self._max_items:
            dropped = next(iter(self._details))
            del self._details[dropped]
            self._refresh_category(dropped)

    def _refresh_category(self, item_id: str) -> None:
        slot = self._slot_of.get(item_id)
        if slot is not None:
            self._set_category(slot)

    def is_offerable(self, item_id: str) -> bool:
        """Return whether the item may be recommended: neither unavailable nor restricted, as far as is known."""
        return item_id not in self._blocked

    def category_of(self, item_id: str) -> str | None:
        """Return the item's category: of its product record, or of the latest session that contains it."""
        details = self._details.get(item_id)
        if details is not None and details.category is not None:
            return details.category
        return self._popularity.categories[self._slot_of.get(item_id, 0)]

    def category_number(self, category: str | None) -> int:
        """Return what stands for `category` in `Candidates.categories` just now, 0 where no item is of it."""
        return self._popularity.number_of(category)

    def price_of(self, item_id: str) -> float | None:
        """Return the price in the item's product record."""
        details = self._details.get(item_id)
        return None if details is None else details.price

    # -- what goes together, what comes next, what is popular ----------------------------------------------------------

    def popular(self, n: int) -> list[str]:
        """Return the `n` most popular items, best first."""
        return [self._ids[slot] for slot in self._popularity.top(n)]

    def popular_in(self, category: str, n: int) -> list[str]:
        """Return the `n` most popular items of `category`, best first."""
        return [self._ids[slot] for slot in self._popularity.top_in(category, n)]

    def together(self, context: Sequence[str]) -> Scored:
        """Score the items of the sessions most like `context` (distinct items, newest first); its own are left out."""
        slots: list[int] = []
        weights: list[int] = []
        for item_id, weight in zip(context, _CONTEXT_WEIGHTS, strict=False):
            slot = self._slot_of.get(item_id, 0)
            if slot:
                slots.append(slot)
                weights.append(weight << _POSITION_BITS)
        if not slots:
            return _NOTHING
        postings = [self._postings[slot] for slot in slots]
        matches: Ints = np.frombuffer(b"".join(postings), dtype=np.int64)
        packed = matches + np.array(weights).repeat([len(posting) for posting in postings])
        nearest, similarity = self._most_similar(packed, n_items=len(slots))
        return self._spread(nearest, similarity, _NEAR, slots)

    def following(self, item_id: str) -> Scored:
        """Score the items that came after `item_id` in its most recent sessions, with 1/gap each."""
        slot = self._slot_of.get(item_id, 0)
        if not slot:
            return _NOTHING
        matches: Ints = np.array(self._postings[slot][-RULE_SESSIONS:], dtype=np.int64)
        return self._spread(matches, np.ones(len(matches), dtype=np.int64), _AFTER, [])

    def _most_similar(self, packed: Ints, n_items: int) -> tuple[Ints, Ints]:
        """Return the best match and the similarity of each neighbour, ties to the more recent session."""
        n = self._neighbours
        if n_items == 1:
            nearest = packed[-n:]
            return nearest, (nearest >> _POSITION_BITS) & _WEIGHT_MASK
        packed.sort()
        ends, sums = _sums(packed >> _NUMBER_SHIFT, (packed >> _POSITION_BITS) & _WEIGHT_MASK)
        # Sessions ascend, so their place among the ends makes each key unique: the choice doesn't depend on the method.
        keys = sums << 32 | np.arange(len(ends))
        if len(keys) > n:
            keys = np.partition(keys, len(keys) - n)[-n:]
        return packed[ends[keys & 0xFFFFFFFF]], keys >> 32

    def _spread(self, matches: Ints, similarity: Ints, nearness: Ints, left_out: list[int]) -> Scored:
        """Sum similarity × nearness × weight × idf over the items of the matched sessions."""
        ring = self._sessions
        rows = [ring[at] for at in ((matches >> _NUMBER_SHIFT) % self._max_sessions).tolist()]
        lengths: Ints = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows)) >> 2
        entries: Ints = np.frombuffer(b"".join(rows), dtype=np.uint32).astype(np.int64)
        origins = lengths.cumsum() - lengths + (matches & _POSITION_MASK) - _MAX_POSITIONS
        distances = np.arange(len(entries)) - origins.repeat(lengths)
        gains = similarity.repeat(lengths) * nearness[distances] * (entries & 0xFF)
        packed = (entries >> 8) << _SCORE_BITS | gains
        packed.sort()
        ends, sums = _sums(packed >> _SCORE_BITS, packed & _SCORE_MASK)
        slots = packed[ends] >> _SCORE_BITS
        if left_out:
            at = slots.searchsorted(left_out).clip(max=len(slots) - 1)
            sums[at[slots[at] == left_out]] = 0
        kept = sums.nonzero()[0]
        slots = slots[kept]
        rarity = log(1 + self.n_sessions) - np.frombuffer(self._log_n)[slots]
        return Scored(slots, sums[kept] * rarity)

    def _best(self, scored: Scored, n: int) -> list[int]:
        """Return the `n` slots of the highest scores, best first; ties to the item seen last."""
        slots, scores = scored
        if len(scores) > n:
            kept = scores >= np.partition(scores, len(scores) - n)[len(scores) - n]
            slots, scores = slots[kept], scores[kept]
        seen = np.frombuffer(self._popularity.seen, dtype=np.int64)[slots]
        order = np.lexsort((-seen, -scores))[:n]
        best: list[int] = slots[order].tolist()
        return best

    def candidates(self, context: Sequence[str], own: Sequence[str] = (), category: str | None = None) -> Candidates:
        """Return what could come next.

        `context`: distinct items of the current session, newest first. `own`: the customer's own items, newest first,
        which are candidates whether the index knows them or not. `category`: whose popular items are candidates.
        """
        together = self.together(context)
        following = self.following(context[0]) if context else _NOTHING
        popularity = self._popularity
        popular = popularity.top(POPULAR)
        found = Candidates(self._ids, self._slot_of, own)
        found.top_together = found.add(self._best(together, TOGETHER))
        found.top_following = found.add(self._best(following, NEXT))
        found.top_popular = found.add(popular)
        if category is not None:
            found.top_category = found.add(popularity.top_in(category, IN_CATEGORY))
        slots: Ints = np.maximum(np.fromiter(found.columns, dtype=np.int64, count=len(found)), 0)
        found.together = together.of(slots)
        found.following = following.of(slots)
        largest = popularity.counts[popular[0]] if popular else 1
        found.popularity = np.frombuffer(popularity.counts, dtype=np.int64)[slots] / largest
        found.categories = np.frombuffer(popularity.category_numbers, dtype=np.int64)[slots]
        return found


def _sums(keys: Ints, values: Ints) -> tuple[Ints, Ints]:
    """Return where each run of equal `keys` (ascending) ends, and the sum of `values` over it."""
    changes = np.empty(len(keys), dtype=np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=changes[:-1])
    changes[-1:] = True
    ends = changes.nonzero()[0]
    totals = values.cumsum()[ends]
    totals[1:] -= totals[:-1].copy()
    return ends, totals


def _weights(row: Iterable[int]) -> dict[int, int]:
    """Return the items of a session with their largest weight in it: popularity counts an item once a session."""
    weights: dict[int, int] = {}
    for entry in row:
        slot, weight = entry >> 8, entry & 0xFF
        if weight > weights.get(slot, 0):
            weights[slot] = weight
    return weights


def _collapse(session: Session, limit: int) -> list[tuple[str, str | None, int]]:
    """Return the last `limit` steps as (item, category, weight in 64ths); an item repeated at once is one step."""
    steps: list[tuple[str, str | None, int]] = []
    for item_id, category, weight in zip(session.items, session.categories, session.weights, strict=True):
        units = min(255, max(1, round(weight * _UNIT)))
        if steps and steps[-1][0] == item_id:
            _, former, former_units = steps[-1]
            steps[-1] = (item_id, former if category is None else category, max(units, former_units))
        else:
            steps.append((item_id, category, units))
    return steps[-limit:]
