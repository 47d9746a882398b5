"""The next basket: what a customer who orders again will order.

Most of it is what the customer ordered before, by how often, how lately and whether it is due in its own rhythm; the
rest is what goes with it in the latest baskets of others, and what is in season. A linear model over bounded features
ranks these candidates and learns from each order: pairs of (an item ordered, one that was not) as differences of their
features, like `preference`. Before anything has been learned the weights are a blend set by hand.
"""

from collections.abc import Callable, Collection, Sequence
from math import expm1
from typing import NamedTuple

import numpy as np

from consumer.core.customer.bought import DECAY, GAP_UNIT
from consumer.core.customer.customer import Customer
from consumer.core.hashing import name_of, uniform
from consumer.core.learning.linear import LinearState, from_weights, require_names
from consumer.core.preference.basket_index import BasketIndex
from consumer.core.preference.candidates import Candidates, Floats, Ints
from consumer.core.preference.items import CONTEXT_ITEMS
from consumer.core.preference.rank_learner import RankLearner
from consumer.core.settings import LearnerSettings, PreferenceSettings
from schemas.records import Recommendation, TrainingExample
from schemas.units import DAY_MS

BASKET = "basket"  # the head of its examples
USUAL_GAP_DAYS = 30.0  # rhythm of a customer who has ordered once
POSITIVES, NEGATIVES = 8, 3  # items ordered that are learned from, and pairs for each of them
NEGATIVE_POOL = 200  # the others are drawn among so many of the highest ranked
_STEP = 4.0  # × the learning rate: orders are few, and differences in [0, 1] smaller than scaled features

# name → (weight before anything was learned, what a recommendation for its sake is called). All values lie in [0, 1].
_FEATURES: dict[str, tuple[float, str]] = {
    "own": (0.5, "again"),  # bought before, as far as is remembered
    "own_share": (0.8, "again"),  # of the customer's orders
    "own_of_few": (-0.4, "again"),  # 1 / orders of the customer
    "own_usage": (0.5, "again"),  # decayed count / the largest
    "own_rank": (1.7, "again"),  # by decayed count: 20 / (20 + rank)
    "last_basket": (-0.1, "again"),
    "own_recency": (0.2, "again"),  # rhythm / (rhythm + days since it was bought)
    "due": (0.6, "replenish"),  # days since it was bought / its mean gap, or the inverse where that is over 1
    "overdue": (0.0, "replenish"),
    "together": (0.4, "together"),  # score / best score
    "together_rank": (0.3, "together"),  # 20 / (20 + rank)
    "together_share": (0.4, "together"),
    "own_together": (-0.3, "together"),
    "season": (1.3, "popular"),  # √(count in the latest baskets / largest)
    "season_rank": (0.4, "popular"),  # 20 / (20 + rank)
    "rise": (0.3, "popular"),  # share of the season in its popularity
    "popularity": (0.9, "popular"),  # √(count / largest count)
}
BASKET_FEATURES: tuple[str, ...] = tuple(_FEATURES)
FEATURE_SET = name_of("basket-features", "1", *BASKET_FEATURES)
(
    _OWN,
    _OWN_SHARE,
    _OWN_OF_FEW,
    _OWN_USAGE,
    _OWN_RANK,
    _LAST_BASKET,
    _OWN_RECENCY,
    _DUE,
    _OVERDUE,
    _TOGETHER,
    _TOGETHER_RANK,
    _TOGETHER_SHARE,
    _OWN_TOGETHER,
    _SEASON,
    _SEASON_RANK,
    _RISE,
    _POPULARITY,
) = range(len(BASKET_FEATURES))
_SOURCES: tuple[str, ...] = tuple(dict.fromkeys(source for _, source in _FEATURES.values()))
_SOURCE_STARTS = [[source for _, source in _FEATURES.values()].index(source) for source in _SOURCES]  # one stretch each
_N_OWN = _OVERDUE + 1  # the features of items bought come first
_TINY = 1e-9
_DECAY: Floats = np.array(DECAY)


def anything(_item_id: str) -> bool:
    """Return that every item may be offered."""
    return True


def prior_state(settings: LearnerSettings) -> LinearState:
    """Return the model before anything was learned."""
    weights = {name: weight for name, (weight, _) in _FEATURES.items()}
    return from_weights(weights, learning_rate=_STEP * settings.learning_rate, l2=settings.l2)


class BasketRanker:
    """A frozen linear ranker over `BASKET_FEATURES`."""

    __slots__ = ("_weights",)

    def __init__(self, state: LinearState | None = None) -> None:
        """Raise ValueError where the features of `state` are others."""
        state = require_names(state or prior_state(LearnerSettings()), BASKET_FEATURES, "basket ranker")
        self._weights: Floats = np.array(state.weights)[:, np.newaxis]

    def scores(self, rows: Floats) -> Floats:
        """Return the score of each column of `rows`, a row a feature: the higher the better."""
        # Accumulated feature by feature in their order: a matrix product or a sum would round differently.
        total: Floats = np.add.accumulate(self._weights * rows, axis=0)[-1] + 0.0  # no -0.0
        return total

    def why(self, rows: Floats) -> list[str]:
        """Return for each column of `rows` which of the sources that know the item added most to its score."""
        gains = np.add.reduceat(self._weights * rows, _SOURCE_STARTS, axis=0)
        known = np.maximum.reduceat(rows, _SOURCE_STARTS, axis=0) > 0.0
        return [_SOURCES[at] for at in np.argmax(np.where(known, gains, -np.inf), axis=0).tolist()]


class BasketLearner(RankLearner):
    """Folds what was ordered into the weights of a `BasketRanker`."""

    def __init__(self, settings: LearnerSettings, state: LinearState | None = None) -> None:
        """`state`: where to go on exactly, with its own step size; ValueError where its features are others."""
        state = require_names(state or prior_state(settings), BASKET_FEATURES, "basket ranker")
        super().__init__(BASKET, FEATURE_SET, state)


class _Ranked(NamedTuple):
    ids: list[str]  # of the candidates
    rows: Floats  # a row a feature, a column a candidate
    scores: Floats
    order: list[int]  # columns, best first


def _rank(index: BasketIndex, ranker: BasketRanker, customer: Customer, at_ms: int) -> _Ranked:
    rows_of_own, usual = _own_features(customer, at_ms // DAY_MS)
    own = list(customer.bought)
    season = index.season.top()
    candidates = index.candidates([own[column] for column in usual[:CONTEXT_ITEMS]], [*own, *season])
    ids = candidates.ids(range(len(candidates)))
    rows: Floats = np.zeros((len(BASKET_FEATURES), len(ids)))
    rows[: len(rows_of_own), : len(own)] = rows_of_own
    _add_together(rows, candidates, len(own))
    if season:
        counts = index.season.counts(ids)
        shares = np.array(counts) / max(counts)
        np.sqrt(shares, out=rows[_SEASON])
        columns = [column for column, item_id in enumerate(ids) if item_id in season]
        rows[_SEASON_RANK, columns] = [20.0 / (20.0 + season[ids[column]]) for column in columns]
        rows[_RISE] = shares / np.maximum(shares + candidates.popularity, _TINY)
    np.sqrt(candidates.popularity, out=rows[_POPULARITY])
    scores = ranker.scores(rows)
    return _Ranked(ids, rows, scores, _best_first(scores, ids))


def _own_features(customer: Customer, day: int) -> tuple[Floats, list[int]]:
    """Return the features of the items bought, the first of all, a column an item; and the columns by usage."""
    bought = customer.bought.values()
    n = len(bought)
    times: Ints = np.array([known.times for known in bought], dtype=np.int64)
    last_day: Ints = np.array([known.last_day for known in bought], dtype=np.int64)
    weight: Ints = np.array([known.weight for known in bought], dtype=np.int64)
    gap: Ints = np.array([known.gap for known in bought], dtype=np.int64)
    age = np.maximum(day - last_day, 0)
    usage = weight * _DECAY[np.minimum(age, len(_DECAY) - 1)]
    order = np.lexsort((-last_day, -usage))
    n_orders = max(1, customer.orders.n)
    rhythm = max(1.0, expm1(customer.orders.gap_log_mean)) if n_orders > 1 else USUAL_GAP_DAYS
    rows: Floats = np.zeros((_N_OWN, n))
    rows[_OWN] = 1.0
    np.minimum(times / n_orders, 1.0, out=rows[_OWN_SHARE])
    rows[_OWN_OF_FEW] = 1.0 / n_orders
    rows[_OWN_USAGE] = usage / usage.max(initial=_TINY)
    rows[_OWN_RANK, order] = 20.0 / (20.0 + np.arange(n))
    rows[_LAST_BASKET] = last_day == last_day.max(initial=0)
    rows[_OWN_RECENCY] = rhythm / (rhythm + age)
    phase = np.maximum(GAP_UNIT * age, 1) / np.maximum(gap, 1)
    again = times > 1
    rows[_DUE] = again * np.minimum(phase, 1.0 / phase)
    rows[_OVERDUE] = again * (1.0 - np.minimum(1.0, 1.0 / phase))
    columns: list[int] = order.tolist()
    return rows, columns


def _add_together(rows: Floats, candidates: Candidates, n_own: int) -> None:
    top = candidates.top_together
    if len(top):
        listed = candidates.together[top]
        np.minimum(candidates.together / listed[0], 1.0, out=rows[_TOGETHER])
        rows[_TOGETHER_RANK, top] = 20.0 / (20.0 + np.arange(len(top)))
        np.minimum(candidates.together / listed.cumsum()[-1], 1.0, out=rows[_TOGETHER_SHARE])
        rows[_OWN_TOGETHER, :n_own] = rows[_TOGETHER, :n_own]


def _best_first(scores: Floats, ids: list[str]) -> list[int]:
    """Return the columns by falling score, ties by item id."""
    order = (-scores).argsort(kind="stable")
    ordered = scores[order]
    if (ordered[1:] == ordered[:-1]).any():
        listed: list[float] = scores.tolist()
        return sorted(range(len(ids)), key=lambda column: (-listed[column], ids[column]))
    columns: list[int] = order.tolist()
    return columns


def recommend_basket(
    index: BasketIndex,
    ranker: BasketRanker,
    customer: Customer,
    at_ms: int,
    *,
    limit: int,
    exclude: Collection[str] = (),
    is_offerable: Callable[[str], bool] = anything,
) -> list[Recommendation]:
    """Return up to `limit` items that the customer will order next, best first, ties by item id. Nothing is changed.

    `at_ms` is now: what is due depends on it. `is_offerable` tells which items may be recommended.
    """
    ranked = _rank(index, ranker, customer, at_ms)
    columns: list[int] = []
    for column in ranked.order:
        if len(columns) >= limit:
            break
        item_id = ranked.ids[column]
        if item_id not in exclude and is_offerable(item_id):
            columns.append(column)
    if not columns:
        return []
    sources = ranker.why(ranked.rows[:, columns])
    scores: list[float] = ranked.scores[columns].tolist()
    return [Recommendation(ranked.ids[c], score, why) for c, score, why in zip(columns, scores, sources, strict=True)]


def try_next_basket(
    index: BasketIndex,
    ranker: BasketRanker,
    customer: Customer,
    items: Collection[str],
    *,
    at_ms: int,
    settings: PreferenceSettings,
    seed_words: Sequence[str],
    weight: float = 1.0,
) -> TrainingExample:
    """Predict the basket `items` ordered at `at_ms`, and return what can be learned from it.

    To be called before the customer's state takes the order in, so that the prediction knows nothing of it. `rank`
    is that of the best of `items` within the top of the list, 0 where none is in it. `seed_words` name the order and
    draw what is compared. `weight` is below 1 where a recommendation of ours led to the order.
    """
    ranked = _rank(index, ranker, customer, at_ms)
    wanted = set(items)
    found = [column for column in ranked.order if ranked.ids[column] in wanted]
    others = [column for column in ranked.order[: NEGATIVE_POOL + len(found)] if ranked.ids[column] not in wanted]
    pairs = _draw_pairs(found, others, seed_words)
    features: tuple[float, ...] = ()
    if pairs:
        chosen, not_chosen = (list(columns) for columns in zip(*pairs, strict=True))
        features = tuple((ranked.rows[:, chosen] - ranked.rows[:, not_chosen]).T.ravel().tolist())
    rank = ranked.order.index(found[0]) + 1 if found else 0
    return TrainingExample(
        family="preference",
        head=BASKET,
        feature_set=FEATURE_SET,
        features=features,
        rows=len(pairs),
        label=1.0,
        # An item of a small basket counts more: it is a larger share of what was wanted.
        weight=weight / max(1, len(wanted)) ** 0.5,
        predicted_at=at_ms,
        matured_at=at_ms,
        rank=rank if rank <= settings.top else 0,
    )


def _draw_pairs(found: list[int], others: list[int], seed_words: Sequence[str]) -> list[tuple[int, int]]:
    """Return pairs of an item ordered and one that was not, each drawn from an equal stretch of its list."""
    chosen = _draw(found, POSITIVES, ("chosen", *seed_words))
    not_chosen = _draw(others, NEGATIVES * len(chosen), ("not chosen", *seed_words))
    return [(chosen[i % len(chosen)], column) for i, column in enumerate(not_chosen)]


def _draw(columns: list[int], n: int, seed_words: Sequence[str]) -> list[int]:
    n = min(n, len(columns))
    return [columns[int((i + uniform(str(i), *seed_words)) * len(columns) / n)] for i in range(n)]
