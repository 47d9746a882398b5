"""Preference: which items a customer wants next.

The item index proposes candidates, a linear model over bounded features ranks them, and what the customer did next
teaches it: how the item that came differs from what was expected (a softmax over the candidates ranked highest).
Before anything has been learned the weights are those that did well on public click streams.
"""

from collections.abc import Collection, Sequence
from math import exp
from typing import NamedTuple

import numpy as np

from consumer.core.customer.customer import Customer
from consumer.core.hashing import name_of
from consumer.core.learning.linear import LinearScorer, LinearState, from_weights, require_names
from consumer.core.preference.candidates import Candidates, Floats, Ints
from consumer.core.preference.items import CONTEXT_ITEMS, ItemIndex
from consumer.core.preference.rank_features import (
    N_OF_ALL,
    PLAIN_FEATURES,
    PLAIN_OF,
    RANK_FEATURES,
    SOURCE_OF,
    RankFeatures,
    rank_features,
)
from consumer.core.preference.rank_learner import RankLearner
from consumer.core.settings import LearnerSettings, PreferenceSettings
from schemas.records import Recommendation, TrainingExample

NEXT_ITEM = "next-item"  # the head of its examples
OWN_ITEMS = 40  # of the customer's own, most recent first, that are candidates
HISTORY_CONTEXT = 2  # items of earlier sessions that look for neighbours while the session is empty
BASELINE_TOP = 20  # popularity and own history are tried beside us with as many items
_STEP = 4.0  # × the learning rate: features in [0, 1] are smaller than scaled ones
_LOOKED_UP = 20  # candidates whose ids are looked up at a time
POOL = 40  # highest ranked candidates that the item which came is compared with

# name → weight before anything was learned; 0 for those not named. Fitted to public click streams (docs/models.md).
PRIOR_WEIGHTS: dict[str, float] = {
    "together_rank": 1.3,
    "together_rank|alone": -0.9,
    "together_log|alone": 0.6,
    "near_log|alone": 0.5,
    "together_share|alone": -0.2,
    "near_share|alone": -0.1,
    "together_rank|rare": 0.5,
    "together_log|rare": -0.8,
    "near_log|rare": -0.2,
    "together_share|rare": -0.5,
    "near_share|rare": -0.4,
    "together_share": -0.6,
    "near_share": -0.4,
    "together_log": 1.8,
    "near_log": 1.4,
    "ahead_log": 0.8,
    "around_log": 0.8,
    "next_log": 0.2,
    "next_odds": 0.4,
    "pair_odds": 1.3,
    "around_log|alone": 1.3,
    "next_log|alone": -0.1,
    "ahead_log|rare": -0.7,
    "around_log|rare": -0.5,
    "next_log|rare": -0.4,
    "popularity": 0.3,
    "popularity_rank": 0.05,
    "popularity|alone": 0.4,
    "popularity|rare": -0.25,
    "category_rank": 0.7,
    "same_category": 0.3,
    "category_affinity": 0.4,
    "last_item": 0.3,
    "last_item_usual": 1.5,
    "last_item_run": 1.5,
    "session_recency": 0.8,
    "session_share": 1.1,
    "session_earlier": 0.1,
    "session_again": 0.6,
    "session_known": -0.8,
    "own_recency": 0.9,
    "own_item": 0.4,
    "own_earlier": 0.9,
    "bought": -0.2,
    "in_cart": 0.3,
    "last_item|rare": -0.4,
    "session_recency|rare": 1.0,
    "session_earlier|rare": 1.7,
    "session_again|rare": 0.2,
    "session_again|alone": 0.2,
}
FEATURE_SET = name_of("rank-features", "3", *RANK_FEATURES)
_SOURCES: tuple[str, ...] = tuple(dict.fromkeys(SOURCE_OF))
_PLAIN_SOURCES = [SOURCE_OF[RANK_FEATURES.index(name)] for name in PLAIN_FEATURES]
_SOURCE_STARTS = [_PLAIN_SOURCES.index(source) for source in _SOURCES]  # one stretch each


def prior_state(settings: LearnerSettings) -> LinearState:
    """Return the model before anything was learned."""
    weights = {name: PRIOR_WEIGHTS.get(name, 0.0) for name in RANK_FEATURES}
    return from_weights(weights, learning_rate=_STEP * settings.learning_rate, l2=settings.l2)


class Ranker:
    """A frozen linear ranker over `RANK_FEATURES`."""

    __slots__ = ("_scorer", "_weights")

    def __init__(self, state: LinearState | None = None) -> None:
        """Raise ValueError where the features of `state` are others."""
        state = require_names(state or prior_state(LearnerSettings()), RANK_FEATURES, "ranker")
        self._scorer = LinearScorer(state)
        self._weights: Floats = np.array(state.weights)

    def score(self, features: Sequence[float]) -> float:
        """Return the score of one candidate: the higher the better."""
        return self._scorer.logit(features)

    def plain_weights(self, features: RankFeatures) -> Floats:
        """Return the weights of the plain features, shape (len(PLAIN_FEATURES), 1), with those under conditions."""
        weights: Floats = np.empty((len(PLAIN_FEATURES), 1))
        weights[:, 0] = np.bincount(PLAIN_OF, self._weights * features.holds)
        return weights

    def scores(self, features: RankFeatures) -> Floats:
        """Return the score of each candidate; up to rounding what `score` returns for its row."""
        weights = self.plain_weights(features)
        total = _sum_rows(weights[:N_OF_ALL] * features.of_all)
        n_own = features.of_own.shape[1]
        if n_own:
            total[:n_own] += _sum_rows(weights[N_OF_ALL:] * features.of_own)
        total += 0.0  # no -0.0
        return total

    def why(self, features: RankFeatures, columns: Ints) -> list[str]:
        """Return for each of `columns` which of the sources that know the item added most to its score."""
        rows = features.plain(columns)
        known = np.maximum.reduceat(rows, _SOURCE_STARTS, axis=0) > 0.0
        rows *= self.plain_weights(features)
        gains = np.add.reduceat(rows, _SOURCE_STARTS, axis=0)
        return [_SOURCES[at] for at in np.where(known, gains, -np.inf).argmax(axis=0).tolist()]


def _sum_rows(rows: Floats) -> Floats:
    """Return the sum of all rows, added in their order: a matrix product would round differently on other machines."""
    # So does a sum over a single column, which is taken for a row.
    total: Floats = rows.sum(axis=0) if rows.shape[1] > 1 else np.add.accumulate(rows, axis=0)[-1]
    return total


class NextItemLearner(RankLearner):
    """Folds what came next into the weights of a `Ranker`."""

    def __init__(self, settings: LearnerSettings, state: LinearState | None = None) -> None:
        """`state`: where to go on exactly, with its own step size; ValueError where its features are others."""
        super().__init__(NEXT_ITEM, FEATURE_SET, require_names(state or prior_state(settings), RANK_FEATURES, "ranker"))


class _Ranked(NamedTuple):
    candidates: Candidates
    features: RankFeatures
    scores: Floats
    order: Ints  # columns, best first


def own_items(customer: Customer, limit: int) -> list[str]:
    """Return the customer's own distinct items, most recent first, those of the current session included."""
    return list(dict.fromkeys([*customer.session.items[::-1], *customer.history[::-1]]))[:limit]


def _rank(index: ItemIndex, ranker: Ranker, customer: Customer) -> _Ranked:
    own = own_items(customer, OWN_ITEMS)
    n_context = min(CONTEXT_ITEMS, len(set(customer.session.items))) or HISTORY_CONTEXT
    category = index.category_of(own[0]) if own else None
    if category is None and customer.session.categories:
        category = customer.session.categories[-1]
    candidates = index.candidates(own[:n_context], own, category)
    features = rank_features(index, customer, own, candidates, category=category)
    # Of someone unknown only popularity speaks; learned weights rest on comparisons in which more was known.
    scores = ranker.scores(features) if own else candidates.popularity
    return _Ranked(candidates, features, scores, _best_first(scores, candidates))


def _best_first(scores: Floats, candidates: Candidates) -> Ints:
    """Return the columns by falling score, ties by item id."""
    order: Ints = (-scores).argsort(kind="stable")
    ordered = scores[order]
    as_next = ordered[1:] == ordered[:-1]
    if np.count_nonzero(as_next):
        is_tied = np.zeros(len(order), dtype=np.bool_)
        is_tied[1:] = as_next
        is_tied[:-1] |= as_next
        places = is_tied.nonzero()[0]
        tied = order[places]
        falling: list[float] = (-scores[tied]).tolist()
        columns: list[int] = tied.tolist()
        order[places] = [column for *_, column in sorted(zip(falling, candidates.ids(tied), columns, strict=True))]
    return order


def recommend(
    index: ItemIndex,
    ranker: Ranker,
    customer: Customer,
    limit: int,
    *,
    exclude_bought: bool = False,
    exclude: Collection[str] = (),
) -> list[Recommendation]:
    """Return up to `limit` items for the customer, best first, ties by item id. Nothing is changed by it.

    Unavailable and restricted items are left out.
    """
    ranked = _rank(index, ranker, customer)
    left_out = {*exclude, *(customer.bought if exclude_bought else ())}
    places: list[int] = []
    ids: list[str] = []
    for start in range(0, len(ranked.order), _LOOKED_UP):
        some = ranked.candidates.ids(ranked.order[start : start + _LOOKED_UP])
        ruled_out = left_out | index.unofferable(some)
        places += [place for place, item_id in enumerate(some, start) if item_id not in ruled_out]
        ids += [item_id for item_id in some if item_id not in ruled_out]
        if len(ids) >= limit:
            break
    columns = ranked.order[places[: max(0, limit)]]
    scores: list[float] = ranked.scores[columns].tolist()
    sources = ranker.why(ranked.features, columns) if len(columns) else []
    return [Recommendation(item_id, score, why) for item_id, score, why in zip(ids, scores, sources, strict=False)]


def try_next_item(
    index: ItemIndex,
    ranker: Ranker,
    customer: Customer,
    actual_item: str,
    *,
    predicted_at_ms: int,
    matured_at_ms: int,
    settings: PreferenceSettings,
    weight: float = 1.0,
) -> TrainingExample:
    """Predict the next item, compare with the one that came, and return what can be learned from it.

    To be called before the customer's state takes the event in, so that the prediction knows nothing of it. Nothing
    is excluded: repeats count. `weight` is below 1 where a recommendation of ours led to the item.
    """
    ranked = _rank(index, ranker, customer)
    actual = ranked.candidates.find(actual_item)
    features: tuple[float, ...] = ()
    rank = 0
    if actual is not None:
        rank = int((ranked.order == actual).argmax()) + 1
        features, certainty = _compared(ranked, actual)
        weight *= certainty
    return TrainingExample(
        family="preference",
        head=NEXT_ITEM,
        feature_set=FEATURE_SET,
        features=features,
        rows=int(actual is not None),
        label=1.0,
        weight=weight,
        predicted_at=predicted_at_ms,
        matured_at=matured_at_ms,
        rank=rank if rank <= settings.top else 0,
        popularity_rank=_place(actual_item, index.popular(BASELINE_TOP)),
        history_rank=_place(actual_item, own_items(customer, BASELINE_TOP)),
    )


def _compared(ranked: _Ranked, actual: int) -> tuple[tuple[float, ...], float]:
    """Return how the item that came differs from what was expected, and the weight of that.

    Expected is the mean of the features over the item and the highest ranked others, by the softmax of their scores.
    The difference d is the gradient of the log-likelihood (ListNet with one relevant item, Cao et al. 2007). The
    learner's step on (d, 1) is σ(−w·d) × d: shorter the more it has learned since the weights in force here. The
    weight 1 / σ(−w·d) under these makes the step the gradient itself where nothing was learned since; it lies below 4,
    because a likely item differs little from the expected.
    """
    pool = ranked.order[: POOL + 1]
    if actual not in pool:
        pool = np.append(pool[:POOL], actual)
    scores, rows = ranked.scores[pool], ranked.features.rows(pool)
    shares: list[float] = [exp(score) for score in (scores - scores.max()).tolist()]
    expected = np.add.accumulate(rows * np.array(shares), axis=1)[:, -1] / sum(shares)
    difference = rows[:, int((pool == actual).argmax())] - expected
    mean_score = sum(share * score for share, score in zip(shares, scores.tolist(), strict=True)) / sum(shares)
    return tuple(difference.tolist()), 1.0 + exp(min(1.0, float(ranked.scores[actual]) - mean_score))


def _place(item_id: str, items: Sequence[str]) -> int:
    """Return the rank of `item_id` in `items`, 1 at the top, 0 where it is not among them."""
    return items.index(item_id) + 1 if item_id in items else 0
