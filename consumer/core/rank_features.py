"""What the ranker is told of each candidate: shares of the best, ranks and counts, all within [0, 1].

Scores of sessions enter as logarithms of their share, because what matters is by how many times one candidate beats
another, and as the shares themselves, which single out a clear winner. A linear model can't tell a short session from
a long one, nor a rule that rests on one session from one that rests on hundreds; so those of the features that depend
on it come a second and a third time, multiplied by what says so.
"""

from collections.abc import Sequence

import numpy as np

from consumer.core.candidates import Candidates, Floats, Ints
from consumer.core.customer import Customer
from consumer.core.items import ItemIndex
from consumer.core.sources import AFTER, AROUND, NEAR, NEXT, ONE_AFTER, ONE_NEXT, PAIR

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
    "after_odds": _NEXT,  # share of what came after the last item, shrunk
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
_ROW = {name: row for row, name in enumerate(RANK_FEATURES)}


def _crossed(ending: str) -> tuple[Ints, Ints]:
    """Return the rows of the features that end in `ending`, and of those that they are taken from."""
    names = [name for name in RANK_FEATURES if name.endswith(ending)]
    return np.array([_ROW[name] for name in names]), np.array([_ROW[name.removesuffix(ending)] for name in names])


_ALONE, _FROM_ALONE = _crossed("|alone")
_RARE, _FROM_RARE = _crossed("|rare")
_LOGS = slice(_ROW["together_log"], _ROW["next_log"] + 1)  # of the sources TOGETHER to NEXT, in their order
_SHARES = slice(_ROW["together_share"], _ROW["near_share"] + 1)  # of TOGETHER and NEAR
_RECIPROCALS: Floats = 1.0 / np.arange(1, 257)
_GRAINS = 4096
_OFTEN = 100  # sessions from which a last item is not rare any more
_WELL_KNOWN = 500  # likewise for `session_known`
_HARDLY_ANY = 5
_LONG_RUN = 5


def _log_table(steepness: float) -> Floats:
    """Return log(1 + steepness × share), scaled to [0, 1], for shares in steps of 1 / _GRAINS."""
    table: Floats = np.log1p(steepness * np.arange(_GRAINS + 1) / _GRAINS) / np.log1p(steepness)
    return table


_LOG_SHARE, _LOG_ODDS, _LOG_KNOWN = _log_table(100.0), _log_table(200.0), _log_table(500.0)


def _look_up(table: Floats, shares: Floats) -> Floats:
    """Return `table` at `shares`: a table says the same on every machine, which a vectorised logarithm does not."""
    found: Floats = table.take((shares * _GRAINS).astype(np.int64))
    return found


def rank_features(
    index: ItemIndex, customer: Customer, own: Sequence[str], category: str | None, candidates: Candidates
) -> Floats:
    """Return the features of all candidates, shape (len(RANK_FEATURES), len(candidates)).

    `own` are the first `candidates.n_own` candidates, `category` is that of the last item.
    """
    rows: Floats = np.zeros((len(RANK_FEATURES), len(candidates)))
    often = min(candidates.support, _OFTEN) / _OFTEN
    _add_sources(rows, candidates)
    _add_popularity(rows, index, customer, category, candidates)
    n_distinct = _add_own(rows, customer, own, candidates.support)
    if n_distinct:
        rows[_ROW["last_item_usual"], 0] = candidates.repeated
        rows[_ROW["last_item_run"], 0] = (_run_length(customer.session_items) - 1) / _LONG_RUN
    if n_distinct == 1:
        rows[_ALONE] = rows.take(_FROM_ALONE, axis=0)
    rows[_RARE] = rows.take(_FROM_RARE, axis=0) * (1.0 - float(_LOG_SHARE[int(often * _GRAINS)]))
    return rows


def _add_sources(rows: Floats, candidates: Candidates) -> None:
    sources = candidates.sources
    if not sources.any():
        return
    largest = sources[: NEXT + 1].max(axis=1)
    largest[largest == 0.0] = 1.0
    shares = sources[: NEXT + 1] / largest[:, np.newaxis]
    rows[_LOGS] = _look_up(_LOG_SHARE, shares)
    rows[_SHARES] = shares[: NEAR + 1]
    rows[_ROW["around_share"]] = shares[AROUND]
    top: Ints = candidates.top_together
    rows[_ROW["together_rank"]][top] = _RECIPROCALS[: len(top)]
    after, pair = sources[AFTER], sources[PAIR]
    rows[_ROW["after_odds"]] = _look_up(_LOG_ODDS, after / (after.sum() + 5.0 * ONE_AFTER))
    rows[_ROW["pair_odds"]] = pair / (pair.sum() + 2.0 * ONE_NEXT)


def _add_popularity(
    rows: Floats, index: ItemIndex, customer: Customer, category: str | None, candidates: Candidates
) -> None:
    np.sqrt(candidates.popularity, out=rows[_ROW["popularity"]])
    rows[_ROW["popularity_rank"]][candidates.top_popular] = _RECIPROCALS[: len(candidates.top_popular)]
    rows[_ROW["category_rank"]][candidates.top_category] = _RECIPROCALS[: len(candidates.top_category)]
    last_number = index.category_number(category)
    if last_number:
        np.equal(candidates.categories, last_number, out=rows[_ROW["same_category"]])
    total = sum(customer.categories.values())
    if total > 0.0:
        shares = np.zeros(index.n_category_numbers)
        for name, value in customer.categories.items():
            shares[index.category_number(name)] = value / total
        shares[0] = 0.0
        rows[_ROW["category_affinity"]] = shares.take(candidates.categories)


def _add_own(rows: Floats, customer: Customer, own: Sequence[str], support: int) -> int:
    """Fill in what is known of the customer's own items, and return the distinct ones of this session."""
    n_own = len(own)
    rows[_ROW["own_recency"], :n_own] = _RECIPROCALS[:n_own]
    rows[_ROW["own_item"], :n_own] = 1.0
    counts: dict[str, int] = {}
    session = customer.session_items
    for item_id in session:
        counts[item_id] = counts.get(item_id, 0) + 1
    n_session = min(len(counts), n_own)  # this session's items come first in `own`
    rows[_ROW["own_earlier"], n_session:n_own] = 1.0
    if session:
        times = np.array([counts[item_id] for item_id in own[:n_session]])
        rows[_ROW["last_item"], 0] = 1.0
        rows[_ROW["last_item_alone"], 0] = float(len(counts) == 1)
        rows[_ROW["session_recency"], :n_session] = _RECIPROCALS[:n_session]
        rows[_ROW["session_share"], :n_session] = times / len(session)
        rows[_ROW["session_earlier"], 1:n_session] = 1.0
        rows[_ROW["session_again"], :n_session] = times > 1
        known = min(support, _WELL_KNOWN) * _GRAINS // _WELL_KNOWN
        rows[_ROW["session_known"], :n_session] = _LOG_KNOWN[known]
        rows[_ROW["session_unknown"], :n_session] = float(support < _HARDLY_ANY)
    if customer.bought:
        for column, item_id in enumerate(own):
            bought = customer.bought.get(item_id)
            if bought is not None:
                rows[_ROW["bought"], column] = bought.times / (bought.times + 1.0)
    if customer.cart:
        rows[_ROW["in_cart"], :n_own] = [float(item_id in customer.cart) for item_id in own]
    return len(counts)


def _run_length(session: Sequence[str]) -> int:
    """Return how many times the last item stands at the end, at most one more than _LONG_RUN."""
    length = 1
    while length <= min(_LONG_RUN, len(session) - 1) and session[-1 - length] == session[-1]:
        length += 1
    return length
