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
from collections.abc import Sequence
from itertools import count
from math import log

import numpy as np
import numpy.typing as npt

from consumer.core.preference.candidates import NO_SCORES, Candidates, Scores
from consumer.core.preference.popularity import Popularity
from consumer.core.preference.products import Products
from consumer.core.preference.scratch import Scratch
from consumer.core.preference.session_log import (
    AT_ONCE,
    MAX_SLOTS,
    MAX_STEPS,
    POSITION_BITS,
    START_SHIFT,
    UNIT,
    UNITS,
    WEIGHT_MASK,
    SessionLog,
)
from consumer.core.preference.sources import AHEAD, AROUND, NEXT, TOGETHER, Neighbours, gains
from consumer.core.settings import PreferenceSettings
from schemas.events import Product
from schemas.records import Session

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

CONTEXT_ITEMS = 8  # distinct items of the current session that look for neighbours
RULE_SESSIONS = 100  # most recent sessions of the last item that rules are read from
POPULARITY_SESSIONS = 10_000  # window of popularity
SCORED, POPULAR, IN_CATEGORY = 100, 20, 20  # most candidates from sessions, from popularity, from the category
_HARDLY_REPEATED = 5.0  # sessions in which no item was repeated, added so that a few sessions say little
RANKED = 60  # of the items that go together so many are ranked

# The current session's items, newest first: weight 1/√(steps + 1), so that none drowns the others.
_CONTEXT_WEIGHTS = tuple(round(4096 / (1 + steps) ** 0.5) for steps in range(CONTEXT_ITEMS))


class ItemIndex:
    """Sessions folded in, candidates out. Slot 0 stands for every item that is not in the index.

    One thread at a time: questions share work arrays.
    """

    def __init__(self, settings: PreferenceSettings) -> None:
        if settings.index_items >= MAX_SLOTS:
            raise ValueError(f"`index_items` is {settings.index_items}; the index holds up to {MAX_SLOTS - 1} items")
        self._neighbours = max(1, settings.neighbours)
        self._max_sessions = max(1, settings.index_sessions)
        self._max_items = max(1, settings.index_items)
        self._max_steps = min(MAX_STEPS, self._max_items)
        self._sessions_per_item = max(1, settings.sessions_per_item)

        self._log = SessionLog(self._sessions_per_item)
        self._slot_of: dict[str, int] = {}
        self._free: list[int] = []
        self._ids: list[str] = [""]
        self._categories: list[str | None] = [None]  # in the latest session that contains the item
        self._popularity = Popularity(min(POPULARITY_SESSIONS, self._max_sessions))
        self._products = Products(self._max_items, max(1, settings.blocked_items))
        self._logarithms = array("d", [0.0, 0.0])  # of every number of sessions that an item may be in
        self._scratch, self._listing = Scratch(), Scratch()

    # -- size ------------------------------------------------------------------------------------------------------

    @property
    def n_sessions(self) -> int:
        """Sessions held."""
        return self._log.n_held

    @property
    def n_items(self) -> int:
        """Distinct items in the sessions held."""
        return len(self._slot_of)

    # -- folding ---------------------------------------------------------------------------------------------------

    def fold(self, session: Session) -> None:
        """Add one finished session; the oldest ones go where a limit is reached.

        Raises ValueError where it does not have a category and a weight for each item.
        """
        items, categories, weights = session.items, session.categories, session.weights
        if not len(items) == len(categories) == len(weights):
            raise ValueError(f"session {session.session_id} has items without a category or a weight, or the reverse")
        if not items:
            return
        if len(items) > self._max_steps:
            begin = _begin_of_last(items, self._max_steps)
            items, categories, weights = items[begin:], categories[begin:], weights[begin:]
        if self._log.n_held >= self._max_sessions:
            self._drop_oldest()
        slot_of, latest = self._slot_of, self._categories
        row: list[int] = []
        positions: dict[int, int] = {}  # the last of each item
        without: list[int] = []  # slots of steps that are silent about a category that was known
        former = 0
        for item_id, category, weight in zip(items, categories, weights, strict=True):
            slot = slot_of.get(item_id) or self._new_slot(item_id)
            word = slot << 8 | (UNIT if weight == 1.0 else min(UNITS, max(1, round(weight * UNIT))))
            if slot != former:
                positions[slot] = len(row)
                row.append(word)
                former = slot
            else:  # an item repeated at once is one step, of the larger weight
                row[-1] = max(word, row[-1] & ~AT_ONCE) | AT_ONCE
            if category != latest[slot]:
                if category is None:
                    without.append(slot)
                else:
                    latest[slot] = category
                    self._set_category(slot)
        if without:
            self._drop_categories(without, items, categories)
        start = self._log.append(session.ended_at // 1000, row, positions)
        self._popularity.count(row, positions, start)
        while len(slot_of) > self._max_items:
            self._drop_oldest()
        if len(self._logarithms) <= self._log.n_held:
            self._logarithms.append(log(len(self._logarithms)))

    def _drop_categories(self, slots: list[int], items: Sequence[str], categories: Sequence[str | None]) -> None:
        """Take the category from `slots`, unless another step of the session gives one."""
        said = {self._slot_of[item_id] for item_id, given in zip(items, categories, strict=True) if given is not None}
        for slot in slots:
            if slot not in said:
                self._categories[slot] = None
                self._set_category(slot)

    def _drop_oldest(self) -> None:
        if self._popularity.n_sessions == self._log.n_held:
            self._popularity.uncount_oldest()
        for slot in self._log.drop_oldest():
            del self._slot_of[self._ids[slot]]
            self._ids[slot] = ""
            self._categories[slot] = None
            self._popularity.release(slot)
            self._free.append(slot)

    def _new_slot(self, item_id: str) -> int:
        if self._free:
            slot = self._free.pop()
            self._ids[slot] = item_id
        else:
            slot = len(self._ids)
            self._ids.append(item_id)
            self._categories.append(None)
            self._log.add_slot()
            self._popularity.add_slot()
        self._slot_of[item_id] = slot
        self._set_category(slot)
        return slot

    def _set_category(self, slot: int) -> None:
        """Put in force what the product record says, or else the latest session."""
        told = self._products.category_of(self._ids[slot])
        self._popularity.set_category(slot, self._categories[slot] if told is None else told)

    # -- products --------------------------------------------------------------------------------------------------

    def apply_product(self, item_id: str, product: Product | None) -> None:
        """Take over what the shop says of an item; None (a tombstone): it says nothing any more."""
        for changed in self._products.apply(item_id, product):
            slot = self._slot_of.get(changed)
            if slot is not None:
                self._set_category(slot)

    def is_offerable(self, item_id: str) -> bool:
        """Return whether the item may be recommended: neither unavailable nor restricted, as far as is known."""
        return self._products.is_offerable(item_id)

    def unofferable(self, item_ids: Sequence[str]) -> set[str]:
        """Return those of `item_ids` that are not offerable."""
        return self._products.unofferable(item_ids)

    def category_of(self, item_id: str) -> str | None:
        """Return the item's category: of its product record, or of the latest session that contains it."""
        told = self._products.category_of(item_id)
        return self._popularity.categories[self._slot_of.get(item_id, 0)] if told is None else told

    def category_number(self, category: str | None) -> int:
        """Return what stands for `category` in `Candidates.categories` just now, 0 where no item is of it."""
        return self._popularity.number_of(category)

    @property
    def n_category_numbers(self) -> int:
        """One more than the largest `category_number` just now."""
        return self._popularity.n_numbers

    def price_of(self, item_id: str) -> float | None:
        """Return the price in the item's product record."""
        return self._products.price_of(item_id)

    def brand_of(self, item_id: str) -> str | None:
        """Return the brand in the item's product record."""
        return self._products.brand_of(item_id)

    # -- what goes together, what comes next, what is popular ----------------------------------------------------------

    def popular(self, n: int) -> list[str]:
        """Return the `n` most popular items, best first."""
        return [self._ids[slot] for slot in self._popularity.top(n).tolist()]

    def scores(self, context: Sequence[str]) -> Scores:
        """Score the items of the sessions that have to do with `context` (distinct items, newest first)."""
        slot_of, slots, weights = self._slot_of, [], []
        for item_id, weight in zip(context, _CONTEXT_WEIGHTS, strict=False):
            slot = slot_of.get(item_id, 0)
            if slot:
                slots.append(slot)
                weights.append(weight)
        if not slots:
            return NO_SCORES
        self._scratch.reserve(len(self._ids))
        neighbours = self._neighbours_of(slots, weights)
        last = slot_of.get(context[0], 0)  # where it is 0 there are no rules, and its column below is nobody's
        rules = self._log.latest(last, RULE_SESSIONS)
        are_neighbours = len(slots) == 1 and len(rules) == len(neighbours.matches)  # the latest sessions of one item
        if are_neighbours:
            steps = self._log.steps(neighbours.matches)
            of_rules, at_once = slice(len(steps.slots)), steps.at_once
        else:
            n = len(neighbours.matches)
            steps = self._log.steps(np.concatenate((neighbours.matches, np.frombuffer(rules, dtype=np.int64))))
            of_rules, at_once = slice(int(steps.lengths[:n].sum()), len(steps.slots)), steps.at_once[n:]
        distinct, places = self._scratch.columns(steps.slots)
        previous = slot_of.get(context[1], -1) if len(context) > 1 else -1
        found = gains(steps, places, len(distinct), neighbours, of_rules=of_rules, previous=previous)
        found[AROUND:, (distinct == last).argmax()] = 0.0
        n_with = np.frombuffer(self._log.n_with, dtype=np.uint32).take(distinct)
        found[TOGETHER] *= log(1 + self._log.n_held) - np.frombuffer(self._logarithms).take(n_with)
        repeated = np.count_nonzero(at_once) / (len(rules) + _HARDLY_REPEATED)
        return Scores(distinct, found, self._log.n_with[last], repeated)

    def _neighbours_of(self, slots: list[int], weights: list[int]) -> Neighbours:
        """Return the sessions that share the greatest weight of items with the context, ties to the more recent."""
        n = self._neighbours
        if len(slots) == 1:
            nearest = np.frombuffer(self._log.latest(slots[0], n), dtype=np.int64)
            similarity = np.full(len(nearest), weights[0])
            return Neighbours(nearest, similarity, similarity)
        postings = [self._log.latest(slot, self._sessions_per_item) for slot in slots]
        packed: Ints = np.array([weight << POSITION_BITS for weight in weights]).repeat([len(p) for p in postings])
        packed += np.frombuffer(b"".join(postings), dtype=np.int64)
        packed.sort()
        # A run is a session; its last match is that of the greatest weight.
        starts = packed >> START_SHIFT
        is_last = np.ones(len(starts), dtype=np.bool_)
        np.not_equal(starts[1:], starts[:-1], out=is_last[:-1])
        last = is_last.nonzero()[0]
        sums = ((packed >> POSITION_BITS) & WEIGHT_MASK).cumsum()[last]
        sums[1:] -= sums[:-1].copy()
        # Sessions ascend, so their place among the runs makes each key unique: the choice doesn't depend on the method.
        keys = sums << 32 | np.arange(len(last))
        if len(keys) > n:
            keys.partition(len(keys) - n)
            keys = keys[-n:]
        matches = packed[last[keys & 0xFFFFFFFF]]
        return Neighbours(matches, keys >> 32, (matches >> POSITION_BITS) & WEIGHT_MASK)

    def _most_promising(self, scores: Scores) -> Ints:
        """Return the slots of the items that the sources speak for most, at most SCORED."""
        n = len(scores.slots)
        if n <= SCORED:
            return scores.slots
        values = scores.values[: NEXT + 1]
        largest = np.maximum(values.max(axis=1), 1.0)
        largest[AHEAD] = np.inf  # says little that the others don't
        promise = (values / largest[:, np.newaxis]).sum(axis=0)
        least = np.partition(promise, n - SCORED)[n - SCORED]
        best = (promise >= least).nonzero()[0]
        slots: Ints = scores.slots.take(best)
        return slots if len(best) <= SCORED else slots[self._latest_first(promise.take(best), slots, SCORED)]

    def _latest_first(self, scores: Floats, slots: Ints, n: int) -> Ints:
        """Return the places of the `n` largest `scores`, largest first, ties to the item of `slots` seen last."""
        if not n:
            return NO_SCORES.slots
        seen = np.frombuffer(self._popularity.seen, dtype=np.int64).take(slots)
        places: Ints = np.lexsort((seen, scores))[: -n - 1 : -1]
        return places

    def candidates(self, context: Sequence[str], own: Sequence[str] = (), category: str | None = None) -> Candidates:
        """Return what could come next.

        `context`: distinct items of the current session, newest first. `own`: the customer's own items, newest first,
        which are candidates whether the index knows them or not. `category`: whose popular items are candidates.
        """
        scores = self.scores(context)
        popularity = self._popularity
        popular = popularity.top(POPULAR)
        slot_of = self._slot_of
        own = list(dict.fromkeys(own))
        own_slots = [slot_of.get(item_id, 0) for item_id in own]
        unknown: list[str] = []
        if 0 in own_slots:
            unknown = [item_id for item_id, slot in zip(own, own_slots, strict=True) if not slot]
            numbers = count(-1, -1)
            own_slots = [slot or next(numbers) for slot in own_slots]
        listed = [
            np.array(own_slots, dtype=np.int64),
            self._most_promising(scores),
            popular,
            popularity.top_in(category, IN_CATEGORY) if category is not None else NO_SCORES.slots,
        ]
        self._listing.reserve(len(self._ids) + len(unknown))
        found = Candidates(self._ids, slot_of, unknown)
        found.slots, columns = self._listing.columns(np.concatenate(listed))
        found.n_own = len(own_slots)
        b = found.n_own + len(listed[1])
        c = b + len(popular)
        found.top_popular, found.top_category = columns[b:c], columns[c:]
        known = np.maximum(found.slots, 0) if unknown else found.slots
        found.sources = self._scratch.look_up(scores.slots, scores.values, known)
        found.support, found.repeated = scores.support, scores.repeated
        asked = [own.index(item_id) if item_id in own else found.find(item_id) for item_id in context]
        self._rank_together(found, known, [column for column in asked if column is not None])
        largest = popularity.counts[popular[0]] if len(popular) else 1
        found.popularity = np.frombuffer(popularity.counts, dtype=np.int64).take(known) / largest
        found.categories = np.frombuffer(popularity.category_numbers, dtype=np.int64).take(known)
        return found

    def _rank_together(self, found: Candidates, known: Ints, asked: list[int]) -> None:
        """Fill in what goes together, without the columns `asked` about, and its ranking. `known`: slots, or 0."""
        found.together = found.sources[TOGETHER].copy()
        for column in asked:
            found.together[column] = 0.0
        n = min(RANKED, int(np.count_nonzero(found.together)))
        found.top_together = self._latest_first(found.together, known, n)


def _begin_of_last(items: Sequence[str], n: int) -> int:
    """Return where the last `n` steps of a session begin; an item repeated at once is one step."""
    begin = len(items)
    while begin and n >= 0:
        begin -= 1
        n -= begin == len(items) - 1 or items[begin] != items[begin + 1]
    return begin + (n < 0)
