"""Preference: which items a customer wants next.

The item index proposes candidates, a linear model over bounded features ranks them, and what the customer did next
teaches it: pairs of (the item chosen, another candidate) as differences of their features (RankNet's loss on a linear
scorer, Burges et al. 2005). Before anything has been learned the weights are a blend set by hand.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from consumer.core.candidates import Candidates, Floats, Ints
from consumer.core.customer import Customer
from consumer.core.hashing import digest64, name_of
from consumer.core.items import CONTEXT_ITEMS, ItemIndex
from consumer.core.linear import LinearLearner, LinearScorer, LinearState
from consumer.core.settings import LearnerSettings, PreferenceSettings
from schemas.records import Recommendation, TrainingExample

NEXT_ITEM = "next-item"  # the head of its examples
OWN_ITEMS = 40  # of the customer's own, most recent first, that are candidates
HISTORY_CONTEXT = 2  # items of earlier sessions that look for neighbours while the session is empty
BASELINE_TOP = 20  # popularity and own history are tried beside us with as many items
_STEP = 2.0  # × the learning rate: differences of features in [0, 1] are smaller than scaled features
_LOOKED_UP = 20  # candidates whose ids are looked up at a time
NEGATIVES = 5  # pairs learned from one event
NEGATIVE_POOL = 40  # they are drawn among so many of the highest ranked

# name → (weight before anything was learned, what a recommendation for its sake is called).
# All values lie in [0, 1]; ranks and counts come as reciprocals, so that no scaler is needed.
_FEATURES: dict[str, tuple[float, str]] = {
    "together": (2.0, "together"),  # score / best score
    "together_rank": (1.0, "together"),  # 1 / rank
    "together_share": (1.0, "together"),  # score / sum of the listed scores
    "next": (1.5, "next"),
    "next_rank": (1.0, "next"),
    "next_share": (1.0, "next"),
    "popularity": (0.5, "popular"),  # √(count / largest count)
    "popularity_rank": (0.3, "popular"),
    "category_rank": (0.5, "category"),  # 1 / rank among the popular ones of the last item's category
    "same_category": (0.5, "category"),  # as the last item
    "category_affinity": (0.5, "category"),  # share of the customer's affinity
    "last_item": (2.0, "again"),
    "last_item_alone": (0.5, "again"),  # the last item, and the only one of this session
    "session_recency": (1.5, "again"),  # 1 / steps ago, distinct items of this session
    "session_share": (1.0, "again"),  # share of this session's steps
    "own_recency": (1.0, "again"),  # 1 / rank among the customer's own items
    "own_item": (1.0, "again"),
    "bought": (-0.2, "again"),  # times / (times + 1)
    "in_cart": (0.3, "again"),
}
RANK_FEATURES: tuple[str, ...] = tuple(_FEATURES)
FEATURE_SET = name_of("rank-features", "1", *RANK_FEATURES)

(
    _TOGETHER,
    _TOGETHER_RANK,
    _TOGETHER_SHARE,
    _NEXT,
    _NEXT_RANK,
    _NEXT_SHARE,
    _POPULARITY,
    _POPULARITY_RANK,
    _CATEGORY_RANK,
    _SAME_CATEGORY,
    _CATEGORY_AFFINITY,
    _LAST_ITEM,
    _LAST_ITEM_ALONE,
    _SESSION_RECENCY,
    _SESSION_SHARE,
    _OWN_RECENCY,
    _OWN_ITEM,
    _BOUGHT,
    _IN_CART,
) = range(len(RANK_FEATURES))
_SOURCES: tuple[str, ...] = tuple(dict.fromkeys(source for _, source in _FEATURES.values()))
_SOURCE_STARTS = [[source for _, source in _FEATURES.values()].index(source) for source in _SOURCES]  # one stretch each
_RECIPROCALS: Floats = 1.0 / np.arange(1, 257)


def prior_state(settings: LearnerSettings) -> LinearState:
    """Return the model before anything was learned."""
    return LinearState(
        names=RANK_FEATURES,
        weights=tuple(weight for weight, _ in _FEATURES.values()),
        intercept=0.0,
        counts=(),
        means=(),
        variances=(),
        # As if some gradients had been seen: the first examples nudge the weights rather than throw them.
        gradient_squares=(1.0,) * len(RANK_FEATURES),
        n_iterations=1,  # 0 would say that there are no weights yet
        learning_rate=_STEP * settings.learning_rate,
        l2=settings.l2,
        with_intercept=False,
    )


class Ranker:
    """A frozen linear ranker over `RANK_FEATURES`."""

    __slots__ = ("_scorer", "_weights")

    def __init__(self, state: LinearState | None = None) -> None:
        state = prior_state(LearnerSettings()) if state is None else state
        self._scorer = LinearScorer(state)
        if state.names != RANK_FEATURES:
            raise ValueError("the ranker's state has other features than this build")
        self._weights: Floats = np.array(state.weights)[:, np.newaxis]

    @classmethod
    def from_state(cls, state: LinearState) -> "Ranker":
        """Return a ranker with the weights of `state`; raise ValueError where its features are others."""
        return cls(state)

    def score(self, features: Sequence[float]) -> float:
        """Return the score of one candidate: the higher the better."""
        return self._scorer.logit(features)

    def scores(self, rows: Floats) -> Floats:
        """Return the score of each column of `rows`, a row a feature; bit for bit what `score` returns."""
        # Accumulated feature by feature in their order: a matrix product or a sum would round differently.
        total: Floats = np.add.accumulate(self._weights * rows, axis=0)[-1] + 0.0  # no -0.0
        return total

    def why(self, rows: Floats) -> list[str]:
        """Return for each column of `rows` which of the sources that know the item added most to its score."""
        gains = np.add.reduceat(self._weights * rows, _SOURCE_STARTS, axis=0)
        known = np.maximum.reduceat(rows, _SOURCE_STARTS, axis=0) > 0.0
        return [_SOURCES[at] for at in np.argmax(np.where(known, gains, -np.inf), axis=0).tolist()]


class PreferenceLearner:
    """Folds preference examples into the ranker's weights."""

    def __init__(self, settings: LearnerSettings) -> None:
        self._model = LinearLearner.from_state(prior_state(settings))

    def learn(self, example: TrainingExample) -> None:
        """Fold the rows of one example in; examples of other heads are not for this model.

        The model has no intercept, so (row, 1) says all that (−row, 0) would.
        """
        if example.head != NEXT_ITEM:
            return
        width = len(RANK_FEATURES)
        if example.feature_set != FEATURE_SET or len(example.features) != example.rows * width:
            raise ValueError("a preference example has other features than this build")
        for start in range(0, len(example.features), width):
            self._model.learn(example.features[start : start + width], 1.0, example.weight)

    def state(self) -> LinearState:
        """Return everything that the next `learn` depends on, as plain data."""
        return self._model.state()

    @classmethod
    def from_state(cls, state: LinearState, settings: LearnerSettings) -> "PreferenceLearner":
        """Return a learner that goes on exactly where `state` was taken.

        Raises ValueError where its features are others. The step size is that of `state`: other settings mean another
        model, which is refolded rather than continued.
        """
        if state.names != RANK_FEATURES:
            raise ValueError("the learner's state has other features than this build")
        learner = cls(settings)
        learner._model = LinearLearner.from_state(state)
        return learner


class _Ranked(NamedTuple):
    candidates: Candidates
    rows: Floats  # a row a feature, a column a candidate
    scores: Floats
    order: Ints  # columns, best first


def own_items(customer: Customer, limit: int) -> list[str]:
    """Return the customer's own distinct items, most recent first, those of the current session included."""
    seen = dict.fromkeys(reversed(customer.session_items))
    seen.update(dict.fromkeys(reversed(customer.history)))
    return list(seen)[:limit]


def rank_features(
    index: ItemIndex, customer: Customer, own: Sequence[str], category: str | None, candidates: Candidates
) -> Floats:
    """Return the features of all candidates, shape (len(RANK_FEATURES), len(candidates)).

    `own` are the first `candidates.n_own` candidates, `category` is that of the last item.
    """
    rows: Floats = np.zeros((len(RANK_FEATURES), len(candidates)))
    _add_source(rows, _TOGETHER, candidates.together, candidates.top_together)
    _add_source(rows, _NEXT, candidates.following, candidates.top_following)
    np.sqrt(candidates.popularity, out=rows[_POPULARITY])
    rows[_POPULARITY_RANK][candidates.top_popular] = _RECIPROCALS[: len(candidates.top_popular)]
    rows[_CATEGORY_RANK][candidates.top_category] = _RECIPROCALS[: len(candidates.top_category)]
    last_number = index.category_number(category)
    if last_number:
        np.equal(candidates.categories, last_number, out=rows[_SAME_CATEGORY])
    total = sum(customer.categories.values())
    if total > 0.0:
        shares = np.zeros(index.n_category_numbers)
        for name, value in customer.categories.items():
            shares[index.category_number(name)] = value / total
        shares[0] = 0.0
        rows[_CATEGORY_AFFINITY] = shares[candidates.categories]
    _add_own(rows, customer, own)
    return rows


def _add_source(rows: Floats, first: int, scores: Floats, top: Ints) -> None:
    if len(top):
        sums = scores[top].cumsum()  # the first is the largest score, and no score is larger than the last
        np.divide(scores, sums[0], out=rows[first])
        rows[first + 1][top] = _RECIPROCALS[: len(top)]
        np.divide(scores, sums[-1], out=rows[first + 2])


def _add_own(rows: Floats, customer: Customer, own: Sequence[str]) -> None:
    n_own = len(own)
    rows[_OWN_RECENCY, :n_own] = _RECIPROCALS[:n_own]
    rows[_OWN_ITEM, :n_own] = 1.0
    session = customer.session_items
    if session:
        counts: dict[str, int] = {}
        for item_id in session:
            counts[item_id] = counts.get(item_id, 0) + 1
        n_session = min(len(counts), n_own)  # this session's items come first in `own`
        rows[_LAST_ITEM, 0] = 1.0
        rows[_LAST_ITEM_ALONE, 0] = float(len(counts) == 1)
        rows[_SESSION_RECENCY, :n_session] = _RECIPROCALS[:n_session]
        rows[_SESSION_SHARE, :n_session] = [counts[item_id] / len(session) for item_id in own[:n_session]]
    if customer.bought:
        for column, item_id in enumerate(own):
            bought = customer.bought.get(item_id)
            if bought is not None:
                rows[_BOUGHT, column] = bought.times / (bought.times + 1.0)
    if customer.cart:
        rows[_IN_CART, :n_own] = [float(item_id in customer.cart) for item_id in own]


def _rank(index: ItemIndex, ranker: Ranker, customer: Customer) -> _Ranked:
    own = own_items(customer, OWN_ITEMS)
    n_context = min(CONTEXT_ITEMS, len(set(customer.session_items))) or HISTORY_CONTEXT
    category = index.category_of(own[0]) if own else None
    if category is None and customer.session_categories:
        category = customer.session_categories[-1]
    candidates = index.candidates(own[:n_context], own, category)
    rows = rank_features(index, customer, own, category, candidates)
    # Of someone unknown only popularity speaks; learned weights rest on comparisons in which more was known.
    scores = ranker.scores(rows) if own else candidates.popularity
    return _Ranked(candidates, rows, scores, _best_first(scores, candidates))


def _best_first(scores: Floats, candidates: Candidates) -> Ints:
    """Return the columns by falling score, ties by item id."""
    order: Ints = (-scores).argsort(kind="stable")
    ordered = scores[order]
    if np.count_nonzero(ordered[1:] == ordered[:-1]):
        listed: list[float] = scores.tolist()
        ids = candidates.ids(range(len(candidates)))
        order = np.array(sorted(range(len(ids)), key=lambda column: (-listed[column], ids[column])))
    return order


def recommend(
    index: ItemIndex,
    ranker: Ranker,
    customer: Customer,
    limit: int,
    *,
    exclude_bought: bool = False,
    exclude_cart: bool = False,
    exclude: Collection[str] = (),
    offerable_only: bool = True,
) -> list[Recommendation]:
    """Return up to `limit` items for the customer, best first, ties by item id. Nothing is changed by it.

    Unavailable and restricted items are left out unless `offerable_only` is False.
    """
    ranked = _rank(index, ranker, customer)
    left_out = {*exclude, *(customer.bought if exclude_bought else ()), *(customer.cart if exclude_cart else ())}
    places: list[int] = []
    ids: list[str] = []
    for start in range(0, len(ranked.order), _LOOKED_UP):
        some = ranked.candidates.ids(ranked.order[start : start + _LOOKED_UP])
        ruled_out = left_out | index.unofferable(some) if offerable_only else left_out
        places += [place for place, item_id in enumerate(some, start) if item_id not in ruled_out]
        ids += [item_id for item_id in some if item_id not in ruled_out]
        if len(ids) >= limit:
            break
    columns = ranked.order[places[: max(0, limit)]]
    scores: list[float] = ranked.scores[columns].tolist()
    sources = ranker.why(ranked.rows[:, columns]) if len(columns) else []
    return [Recommendation(item_id, score, why) for item_id, score, why in zip(ids, scores, sources, strict=False)]


def try_next_item(
    index: ItemIndex,
    ranker: Ranker,
    customer: Customer,
    actual_item: str,
    predicted_at_ms: int,
    matured_at_ms: int,
    settings: PreferenceSettings,
    seed_words: Sequence[str],
    weight: float = 1.0,
) -> TrainingExample:
    """Predict the next item, compare with the one that came, and return what can be learned from it.

    To be called before the customer's state takes the event in, so that the prediction knows nothing of it. Nothing
    is excluded: repeats count. `seed_words` name the event and draw the candidates that the item is compared with.
    `weight` is below 1 where a recommendation of ours led to the item.
    """
    ranked = _rank(index, ranker, customer)
    actual = ranked.candidates.find(actual_item)
    features: tuple[float, ...] = ()
    rank = n_rows = 0
    if actual is not None:
        rank = int((ranked.order == actual).argmax()) + 1
        pool: list[int] = ranked.order[: NEGATIVE_POOL + 1].tolist()
        negatives = _draw([column for column in pool if column != actual][:NEGATIVE_POOL], seed_words)
        n_rows = len(negatives)
        features = tuple((ranked.rows[:, [actual]] - ranked.rows[:, negatives]).T.ravel().tolist())
    return TrainingExample(
        family="preference",
        head=NEXT_ITEM,
        feature_set=FEATURE_SET,
        features=features,
        rows=n_rows,
        label=1.0,
        weight=weight,
        predicted_at=predicted_at_ms,
        matured_at=matured_at_ms,
        rank=rank if rank <= settings.top else 0,
        popularity_rank=_place(actual_item, index.popular(BASELINE_TOP)),
        history_rank=_place(actual_item, own_items(customer, BASELINE_TOP)),
    )


def _draw(columns: list[int], seed_words: Sequence[str]) -> list[int]:
    """Return up to `NEGATIVES` of `columns` (best first): one from each of as many equal stretches."""
    chance = digest64("negatives", *seed_words)
    drawn: list[int] = []
    n = min(NEGATIVES, len(columns))
    for stretch in range(n):
        start, stop = stretch * len(columns) // n, (stretch + 1) * len(columns) // n
        drawn.append(columns[start + chance % (stop - start)])
        chance //= stop - start
    return drawn


def _place(item_id: str, items: Sequence[str]) -> int:
    """Return the rank of `item_id` in `items`, 1 at the top, 0 where it is not among them."""
    return items.index(item_id) + 1 if item_id in items else 0
