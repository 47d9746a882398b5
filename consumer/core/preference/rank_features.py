"""What the ranker is told of each candidate: shares of the best, ranks and counts, all within [0, 1].

Scores of sessions enter as logarithms of their share, because what matters is by how many times one candidate beats
another, and as the shares themselves, which single out a clear winner. A linear model can't tell a short session from
a long one, nor a rule that rests on one session from one that rests on hundreds; so those of the features that depend
on it come a second and a third time, under a condition: multiplied by how much it holds. It is the same for all
candidates, so only the plain features are computed for each of them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from consumer.core.customer.customer import Customer
from consumer.core.preference.candidates import Candidates, Floats, Ints
from consumer.core.preference.items import ItemIndex
from consumer.core.preference.sources import AROUND, NEAR, NEXT, ONE_NEXT

_TOGETHER, _NEXT, _POPULAR, _CATEGORY, _AGAIN = "together", "next", "popular", "category", "again"
# name → what a recommendation for its sake is called. Names that end in "|alone" hold for sessions of one distinct
# item, those in "|rare" the more, the fewer sessions contain the last item.
_FEATURES: dict[str, str] = {
    "together_rank": _TOGETHER,  # 1 / rank
    "together_rank|alone": _TOGETHER,
    "together_log|alone": _TOGETHER,
    "near_log|alone": _TOGETHER,
    "together_share|alone": _TOGETHER,
    "near_share|alone": _TOGETHER,
    "together_rank|rare": _TOGETHER,
    "together_log|rare": _TOGETHER,
    "near_log|rare": _TOGETHER,
    "together_share|rare": _TOGETHER,
    "near_share|rare": _TOGETHER,
    "together_share": _TOGETHER,
    "near_share": _TOGETHER,
    "together_log": _TOGETHER,
    "near_log": _TOGETHER,
    "ahead_log": _NEXT,
    "around_log": _NEXT,
    "next_log": _NEXT,
    "around_share": _NEXT,
    "next_odds": _NEXT,  # share of what came directly after the last item, shrunk
    "pair_odds": _NEXT,  # share of what came directly after the last two items, shrunk
    "ahead_log|alone": _NEXT,
    "around_log|alone": _NEXT,
    "next_log|alone": _NEXT,
    "ahead_log|rare": _NEXT,
    "around_log|rare": _NEXT,
    "next_log|rare": _NEXT,
    "popularity": _POPULAR,  # √(count / largest count)
    "popularity_rank": _POPULAR,
    "popularity|alone": _POPULAR,
    "popularity|rare": _POPULAR,
    "category_rank": _CATEGORY,  # 1 / rank among the popular ones of the last item's category
    "same_category": _CATEGORY,  # as the last item
    "category_affinity": _CATEGORY,  # share of the customer's affinity
    "last_item": _AGAIN,
    "last_item_alone": _AGAIN,  # the last item, and the only one of this session
    "last_item_usual": _AGAIN,  # the last item, by the share of its sessions where it was repeated at once
    "last_item_run": _AGAIN,  # the last item, by how often it was just repeated
    "session_recency": _AGAIN,  # 1 / steps ago, distinct items of this session
    "session_share": _AGAIN,  # share of this session's steps
    "session_earlier": _AGAIN,  # in this session, and not the last item
    "session_again": _AGAIN,  # more than once in this session
    "session_known": _AGAIN,  # in this session, the more, the more sessions contain its last item
    "session_unknown": _AGAIN,  # in this session, whose last item hardly any session contains
    "own_recency": _AGAIN,  # 1 / rank among the customer's own items
    "own_item": _AGAIN,
    "own_earlier": _AGAIN,  # own, and not of this session
    "bought": _AGAIN,  # times / (times + 1)
    "in_cart": _AGAIN,
    "last_item|rare": _AGAIN,
    "session_recency|rare": _AGAIN,
    "session_earlier|rare": _AGAIN,
    "session_again|rare": _AGAIN,
    "session_again|alone": _AGAIN,
}
RANK_FEATURES: tuple[str, ...] = tuple(_FEATURES)
SOURCE_OF: tuple[str, ...] = tuple(_FEATURES.values())
PLAIN_FEATURES: tuple[str, ...] = tuple(name for name in RANK_FEATURES if "|" not in name)
PLAIN_OF: Ints = np.array([PLAIN_FEATURES.index(name.partition("|")[0]) for name in RANK_FEATURES])
N_OF_ALL = PLAIN_FEATURES.index("last_item")  # those after it are 0 for all but the customer's own items
_ROW = {name: row for row, name in enumerate(PLAIN_FEATURES)}
_OWN_ROW = {name: row for row, name in enumerate(PLAIN_FEATURES[N_OF_ALL:])}
_IF_ALONE: Floats = np.array([float(name.endswith("|alone")) for name in RANK_FEATURES])
_IF_RARE: Floats = np.array([float(name.endswith("|rare")) for name in RANK_FEATURES])
_ALWAYS: Floats = 1.0 - _IF_ALONE - _IF_RARE
_LOGS = slice(_ROW["together_log"], _ROW["next_log"] + 1)  # of the sources TOGETHER to NEXT, in their order
_SHARES = slice(_ROW["together_share"], _ROW["near_share"] + 1)  # of TOGETHER and NEAR
_ODDS = slice(_ROW["next_odds"], _ROW["pair_odds"] + 1)  # of NEXT and PAIR
_SHRINKAGE: Floats = np.array([5.0, 2.0]) * ONE_NEXT  # of the odds
_TINY = 1e-300
_RECIPROCALS: Floats = 1.0 / np.arange(1, 257)
_GRAINS = 4096
_OFTEN = 100  # sessions from which a last item is not rare any more
_WELL_KNOWN = 500  # likewise for `session_known`
_HARDLY_ANY = 5
_LONG_RUN = 5


class RankFeatures(NamedTuple):
    """The features of all candidates, a column a candidate; the customer's own items are the first."""

    of_all: Floats  # the first N_OF_ALL plain features, of all candidates
    of_own: Floats  # the other plain features, of the customer's own items
    holds: Floats  # how much the condition of each of RANK_FEATURES holds; 1 for the plain ones

    def plain(self, columns: Ints) -> Floats:
        """Return the plain features of `columns`, shape (len(PLAIN_FEATURES), len(columns))."""
        found: Floats = np.zeros((len(PLAIN_FEATURES), len(columns)))
        found[:N_OF_ALL] = self.of_all.take(columns, axis=1)
        own = (columns < self.of_own.shape[1]).nonzero()[0]
        found[N_OF_ALL:, own] = self.of_own.take(columns.take(own), axis=1)
        return found

    def rows(self, columns: Ints) -> Floats:
        """Return all features of `columns`, shape (len(RANK_FEATURES), len(columns))."""
        found: Floats = self.plain(columns).take(PLAIN_OF, axis=0)
        found *= self.holds[:, np.newaxis]
        return found


def _log_table(steepness: float) -> Floats:
    """Return log(1 + steepness × share), scaled to [0, 1], for shares in steps of 1 / _GRAINS.

    A table says the same on every machine, which a vectorised logarithm does not.
    """
    table: Floats = np.log1p(steepness * np.arange(_GRAINS + 1) / _GRAINS) / np.log1p(steepness)
    return table


_LOG_SHARE, _LOG_KNOWN = _log_table(100.0), _log_table(500.0)


def rank_features(
    index: ItemIndex, customer: Customer, own: Sequence[str], candidates: Candidates, *, category: str | None
) -> RankFeatures:
    """Return the features of all candidates.

    `own` are the first `candidates.n_own` candidates, `category` is that of the last item.
    """
    rows: Floats = np.zeros((N_OF_ALL, len(candidates)))
    _add_sources(rows, candidates)
    _add_popularity(rows, index, customer, candidates, category=category)
    counts: dict[str, int] = {}
    for item_id in customer.session.items:
        counts[item_id] = counts.get(item_id, 0) + 1
    rarity = 1.0 - _LOG_SHARE[min(candidates.support, _OFTEN) * _GRAINS // _OFTEN]
    holds = _ALWAYS + _IF_RARE * rarity
    if len(counts) == 1:
        holds += _IF_ALONE
    return RankFeatures(rows, _of_own(customer, own, counts, candidates), holds)


def _add_sources(rows: Floats, candidates: Candidates) -> None:
    sources = candidates.sources
    if not candidates.support and not sources.any():
        return
    shares = sources[: NEXT + 1]
    shares = shares / np.maximum(shares.max(axis=1), _TINY)[:, np.newaxis]
    rows[_SHARES] = shares[: NEAR + 1]
    rows[_ROW["around_share"]] = shares[AROUND]
    shares *= _GRAINS
    rows[_LOGS] = _LOG_SHARE.take(shares.astype(np.int64))
    top: Ints = candidates.top_together
    rows[_ROW["together_rank"]][top] = _RECIPROCALS[: len(top)]
    odds = sources[NEXT:]
    np.divide(odds, (odds.sum(axis=1) + _SHRINKAGE)[:, np.newaxis], out=rows[_ODDS])


def _add_popularity(
    rows: Floats, index: ItemIndex, customer: Customer, candidates: Candidates, *, category: str | None
) -> None:
    np.sqrt(candidates.popularity, out=rows[_ROW["popularity"]])
    rows[_ROW["popularity_rank"]][candidates.top_popular] = _RECIPROCALS[: len(candidates.top_popular)]
    last_number = index.category_number(category)
    if last_number:
        rows[_ROW["category_rank"]][candidates.top_category] = _RECIPROCALS[: len(candidates.top_category)]
        np.equal(candidates.categories, last_number, out=rows[_ROW["same_category"]])
    total = sum(customer.tastes.categories.values())
    if total > 0.0:
        shares = np.zeros(index.n_category_numbers)
        for name, value in customer.tastes.categories.items():
            shares[index.category_number(name)] = value / total
        shares[0] = 0.0
        shares.take(candidates.categories, out=rows[_ROW["category_affinity"]], mode="clip")


def _of_own(customer: Customer, own: Sequence[str], counts: dict[str, int], candidates: Candidates) -> Floats:
    """Return what is known of the customer's own items. `counts`: how often each item is in this session."""
    n_own, session, support = len(own), customer.session.items, candidates.support
    rows: Floats = np.zeros((len(_OWN_ROW), n_own))
    rows[_OWN_ROW["own_recency"]] = _RECIPROCALS[:n_own]
    rows[_OWN_ROW["own_item"]] = 1.0
    n_session = min(len(counts), n_own)  # this session's items come first in `own`
    rows[_OWN_ROW["own_earlier"], n_session:] = 1.0
    if session:
        of_session = rows[:, :n_session]
        last = of_session[:, 0]
        last[_OWN_ROW["last_item"]] = 1.0
        last[_OWN_ROW["last_item_alone"]] = float(len(counts) == 1)
        last[_OWN_ROW["last_item_usual"]] = candidates.repeated
        last[_OWN_ROW["last_item_run"]] = (_run_length(session) - 1) / _LONG_RUN
        of_session[_OWN_ROW["session_recency"]] = _RECIPROCALS[:n_session]
        of_session[_OWN_ROW["session_earlier"], 1:] = 1.0
        of_session[_OWN_ROW["session_known"]] = _LOG_KNOWN[min(support, _WELL_KNOWN) * _GRAINS // _WELL_KNOWN]
        of_session[_OWN_ROW["session_unknown"]] = float(support < _HARDLY_ANY)
        times = [counts[item_id] for item_id in own[:n_session]]
        of_session[_OWN_ROW["session_share"]] = [n / len(session) for n in times]
        of_session[_OWN_ROW["session_again"]] = [n > 1 for n in times]
    if customer.bought:
        for column, item_id in enumerate(own):
            bought = customer.bought.get(item_id)
            if bought is not None:
                rows[_OWN_ROW["bought"], column] = bought.times / (bought.times + 1.0)
    if customer.cart:
        rows[_OWN_ROW["in_cart"]] = [item_id in customer.cart for item_id in own]
    return rows


def _run_length(session: Sequence[str]) -> int:
    """Return how many times the last item stands at the end, at most one more than _LONG_RUN."""
    length = 1
    while length <= min(_LONG_RUN, len(session) - 1) and session[-1 - length] == session[-1]:
        length += 1
    return length
