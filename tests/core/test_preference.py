"""Preference: ranking of candidates, the trial before each event, and what is learned from it."""

from collections.abc import Sequence
from math import exp

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.customer.customer import Bought, Customer, OpenSession, TasteCounts, encode_customer
from consumer.core.learning.linear import LinearState
from consumer.core.preference.candidates import Floats
from consumer.core.preference.items import ItemIndex
from consumer.core.preference.preference import (
    FEATURE_SET,
    NextItemLearner,
    Ranker,
    _rank,
    _Ranked,
    own_items,
    prior_state,
    recommend,
    try_next_item,
)
from consumer.core.preference.rank_features import RANK_FEATURES
from consumer.core.settings import LearnerSettings, PreferenceSettings
from schemas.events import Product
from schemas.records import Recommendation, Session, TrainingExample

ITEMS = "abcdefgh"
SETTINGS = PreferenceSettings()
WHY = {"together", "next", "again", "category", "popular"}


def index_of(*sessions: str) -> ItemIndex:
    """An index of sessions whose items are single letters."""
    index = ItemIndex(SETTINGS)
    for items in sessions:
        n = len(items)
        index.fold(Session("s", 0, tuple(items), (None,) * n, (1.0,) * n))
    return index


def visitor(session: Sequence[str] = (), history: Sequence[str] = ()) -> Customer:
    """A customer in the middle of a session, with a history before it."""
    return Customer(
        "someone",
        session=OpenSession(items=list(session), categories=[None] * len(session), weights=[1.0] * len(session)),
        history=list(history),
    )


def rows_of(ranked: _Ranked) -> Floats:
    """All features of all candidates."""
    return ranked.features.rows(np.arange(len(ranked.candidates)))


def attempt(index: ItemIndex, customer: Customer, item: str, ranker: Ranker | None = None) -> TrainingExample:
    """The trial of one event."""
    return try_next_item(
        index, ranker or Ranker(), customer, item, predicted_at_ms=1, matured_at_ms=2, settings=SETTINGS
    )


def ids(recommendations: list[Recommendation]) -> list[str]:
    """The items recommended, in order."""
    return [one.item_id for one in recommendations]


item_lists = st.lists(st.sampled_from(ITEMS), max_size=8)
customers = st.builds(
    lambda session, history, bought, cart, affinities: msgspec.structs.replace(
        visitor(session, history),
        bought={item: Bought(times, 1) for item, times in bought.items()},
        cart=cart,
        tastes=TasteCounts(categories=affinities),
    ),
    item_lists,
    st.lists(st.sampled_from([*ITEMS, "unseen"]), unique=True, max_size=6),
    st.dictionaries(st.sampled_from(ITEMS), st.integers(1, 5), max_size=3),
    st.lists(st.sampled_from(ITEMS), max_size=2),
    st.dictionaries(st.sampled_from("xyz"), st.floats(0.01, 10), max_size=3),
)


@st.composite
def indices(draw: st.DrawFn) -> ItemIndex:
    """Any small index."""
    index = ItemIndex(SETTINGS)
    for items in draw(st.lists(item_lists, max_size=12)):
        categories = tuple(draw(st.sampled_from([None, "x", "y"])) for _ in items)
        index.fold(Session("s", 0, tuple(items), categories, (1.0,) * len(items)))
    return index


@given(indices(), customers, st.sampled_from(ITEMS))
def test_prediction_changes_nothing(index: ItemIndex, customer: Customer, item: str) -> None:
    """Trying and recommending leave customer, index and ranker as they were: a second time gives the same."""
    ranker = Ranker()
    before = encode_customer(customer)
    first = (attempt(index, customer, item, ranker), recommend(index, ranker, customer, 5))
    assert (attempt(index, customer, item, ranker), recommend(index, ranker, customer, 5)) == first
    assert encode_customer(customer) == before


@given(indices(), customers)
def test_features_are_bounded_and_scores_are_the_same_one_by_one(index: ItemIndex, customer: Customer) -> None:
    """No scaler is needed, and the scores of all are those of single candidates, up to rounding."""
    ranker = Ranker()
    ranked = _rank(index, ranker, customer)
    rows = rows_of(ranked)
    assert rows.shape == (len(RANK_FEATURES), len(ranked.candidates))
    assert ((rows >= 0.0) & (rows <= 1.0)).all()
    scores = ranker.scores(ranked.features)
    assert scores.tolist() == pytest.approx([ranker.score(column) for column in rows.T.tolist()], abs=1e-12)


def test_features_that_depend_on_the_session_come_again_where_it_holds() -> None:
    """What is known of sessions of one item, and of last items that are rare, has weights of its own."""
    index = index_of(*["ab"] * 3, "cb")

    def told(session: str) -> dict[str, list[float]]:
        return dict(zip(RANK_FEATURES, rows_of(_rank(index, Ranker(), visitor(session))).tolist(), strict=True))

    alone, longer = told("a"), told("ca")
    assert alone["around_log|alone"] == alone["around_log"] != [0.0] * len(alone["around_log"])
    assert not any(longer["around_log|alone"])
    assert 0.0 < max(alone["near_log|rare"]) < max(alone["near_log"])
    index_of_many = index_of(*["ab"] * 150)
    rows = dict(zip(RANK_FEATURES, rows_of(_rank(index_of_many, Ranker(), visitor("a"))).tolist(), strict=True))
    assert not any(rows["near_log|rare"])


def test_an_item_that_is_usually_repeated_at_once_is_told_apart() -> None:
    """By the share of its sessions where it was, shrunk, and by how often it was just now."""
    index = index_of(*["aab"] * 5, *["ab"] * 5)
    rows = dict(zip(RANK_FEATURES, rows_of(_rank(index, Ranker(), visitor("baa"))).tolist(), strict=True))
    assert rows["last_item_usual"][:2] == [5 / 15, 0.0]
    assert rows["last_item_run"][:2] == [0.2, 0.0]


@given(indices(), customers)
def test_recommendations_are_in_order_and_say_why(index: ItemIndex, customer: Customer) -> None:
    """Falling scores, ties by item id, none twice, each with one of the five sources."""
    made = recommend(index, Ranker(), customer, 50)
    assert [(-one.score, one.item_id) for one in made] == sorted((-one.score, one.item_id) for one in made)
    assert len(set(ids(made))) == len(made)
    assert {one.why for one in made} <= WHY


def test_an_unknown_customer_is_shown_what_is_popular() -> None:
    """With nothing of the customer's own the order is that of popularity, whatever the ranker has learned."""
    index = index_of("a", "a", "a", "b", "b", "c")
    state = msgspec.structs.replace(prior_state(LearnerSettings()), weights=(-1.0,) * len(RANK_FEATURES))
    made = recommend(index, Ranker(state), visitor(), 3)
    assert ids(made) == ["a", "b", "c"]
    assert {one.why for one in made} == {"popular"}


def test_nothing_known_means_nothing_recommended() -> None:
    """An empty index and an unknown customer give an empty list, and a trial that teaches nothing."""
    assert recommend(index_of(), Ranker(), visitor(), 5) == []
    example = attempt(index_of(), visitor(), "a")
    assert (example.rows, example.features, example.rank) == (0, (), 0)


def test_what_usually_follows_is_recommended_for_that_reason() -> None:
    """The reason names the source that counted most."""
    index = index_of("ab", "ab", "ab", "cd", "ef", "gh")
    made = recommend(index, Ranker(), visitor("a"), 5, exclude={"a"})
    assert made[0].item_id == "b"
    assert made[0].why in {"together", "next"}
    assert recommend(index, Ranker(), visitor("a", "h"), 5, exclude={"a", "b"})[0].why == "again"


def test_what_the_shop_does_not_offer_is_left_out() -> None:
    """Restricted and unavailable items do not come out, however well they would rank."""
    index = index_of("ab", "ab", "ac", "de")
    assert {"a", "b"} <= set(ids(recommend(index, Ranker(), visitor("a"), 10)))
    index.apply_product("b", Product("b", restricted=True))
    index.apply_product("a", Product("a", available=False))
    assert not {"a", "b"} & set(ids(recommend(index, Ranker(), visitor("a"), 10)))


@given(
    indices(),
    customers,
    st.dictionaries(st.sampled_from([*ITEMS, "unseen"]), st.sampled_from(["offered", "sold out", "restricted"])),
)
def test_nothing_unavailable_or_restricted_is_ever_recommended(
    index: ItemIndex, customer: Customer, told: dict[str, str]
) -> None:
    """Whatever the shop says before the recommendation holds, and everything else keeps its order."""
    before = ids(recommend(index, Ranker(), customer, 50))
    for item_id, word in told.items():
        product = Product(item_id, available=word != "sold out", restricted=word == "restricted")
        index.apply_product(item_id, product)
    out = {item_id for item_id, word in told.items() if word != "offered"}
    assert ids(recommend(index, Ranker(), customer, 50)) == [item_id for item_id in before if item_id not in out]
    assert ids(recommend(index, Ranker(), customer, 3)) == [item_id for item_id in before if item_id not in out][:3]


def test_bought_items_can_be_left_out() -> None:
    """The list is filled up from what remains."""
    index = index_of("abc", "abc", "abd")
    customer = msgspec.structs.replace(visitor("a"), bought={"b": Bought(1, 1)})
    assert {"b", "c"} <= set(ids(recommend(index, Ranker(), customer, 10)))
    assert "b" not in ids(recommend(index, Ranker(), customer, 10, exclude_bought=True))
    assert len(recommend(index, Ranker(), customer, 2, exclude_bought=True)) == 2


def test_own_items_are_distinct_and_most_recent_first() -> None:
    """The current session comes before the history, repeats count once."""
    assert own_items(visitor("aba", "cdb"), 20) == ["a", "b", "d", "c"]
    assert own_items(visitor("aba", "cdb"), 2) == ["a", "b"]


def test_a_trial_ranks_the_item_in_our_list_and_in_both_baselines() -> None:
    """Repeats are allowed: the item seen last is on top of one's own list."""
    index = index_of("ab", "ab", "cb", "d")
    example = attempt(index, visitor("a", "d"), "a")
    assert (example.family, example.head, example.feature_set) == ("preference", "next-item", FEATURE_SET)
    assert (example.predicted_at, example.matured_at, example.label) == (1, 2, 1.0)
    assert example.history_rank == 1
    assert example.popularity_rank == 2
    assert example.rank in {1, 2}
    assert attempt(index, visitor("a", "d"), "d").history_rank == 2
    assert len(example.features) == example.rows * len(RANK_FEATURES)
    assert example.rows == 1


def test_an_item_nobody_proposed_teaches_nothing() -> None:
    """It counts as a miss in all lists and brings no rows."""
    example = attempt(index_of("ab", "cd"), visitor("a"), "elsewhere")
    assert (example.rank, example.popularity_rank, example.history_rank) == (0, 0, 0)
    assert (example.rows, example.features) == (0, ())


@given(indices(), customers, st.sampled_from(ITEMS))
def test_a_rank_is_where_the_item_stands_in_the_full_recommendation(
    index: ItemIndex, customer: Customer, item: str
) -> None:
    """The trial and the recommendation are one and the same ranking."""
    listed = ids(recommend(index, Ranker(), customer, SETTINGS.top))
    expected = listed.index(item) + 1 if item in listed else 0
    assert attempt(index, customer, item).rank == expected


@given(indices(), customers, st.sampled_from(ITEMS))
def test_a_step_with_the_weights_in_force_is_the_gradient(index: ItemIndex, customer: Customer, item: str) -> None:
    """Weight × σ(−w·d) × d is the gradient of log softmax: the item less the mean under the softmax of the scores."""
    ranker = Ranker()
    example = attempt(index, customer, item, ranker)
    ranked = _rank(index, ranker, customer)
    actual = ranked.candidates.find(item)
    assert example.rows == (actual is not None)
    if actual is not None and customer.session.items:
        shares = np.exp(ranked.scores - ranked.scores.max())
        rows = rows_of(ranked)
        expected = (rows * shares).sum(axis=1) / shares.sum()
        step = example.weight / (1 + exp(ranker.score(example.features))) * np.array(example.features)
        assert step == pytest.approx(rows[:, actual] - expected, abs=1e-9)
        assert 1.0 <= example.weight < 4.0


def test_what_a_recommendation_caused_teaches_less() -> None:
    """The weight of the event is that of the example."""
    index, customer = index_of("abc", "abd", "abd"), visitor("ab")
    plain = try_next_item(index, Ranker(), customer, "c", predicted_at_ms=1, matured_at_ms=2, settings=SETTINGS)
    caused = try_next_item(
        index, Ranker(), customer, "c", predicted_at_ms=1, matured_at_ms=2, settings=SETTINGS, weight=0.3
    )
    assert caused == msgspec.structs.replace(plain, weight=0.3 * plain.weight)


def test_the_ranker_learns_what_customers_choose() -> None:
    """Where nobody ever looks at the same item again, the same item sinks."""
    index = index_of("ab", "ab", "cb", "bd", "ad")
    learner = NextItemLearner(LearnerSettings(learning_rate=0.1))
    customer = visitor("a")
    before = ids(recommend(index, Ranker(learner.state()), customer, 10))
    for _ in range(100):
        learner.learn(attempt(index, customer, "d", Ranker(learner.state())))
    after = ids(recommend(index, Ranker(learner.state()), customer, 10))
    assert after.index("d") < before.index("d")
    assert after.index("a") > before.index("a")


rows = st.lists(st.floats(-1, 1), min_size=len(RANK_FEATURES), max_size=len(RANK_FEATURES))
examples = st.lists(
    st.builds(
        lambda drawn, weight: TrainingExample(
            family="preference",
            head="next-item",
            feature_set=FEATURE_SET,
            features=tuple(value for row in drawn for value in row),
            rows=len(drawn),
            label=1.0,
            weight=weight,
            predicted_at=0,
            matured_at=0,
        ),
        st.lists(rows, max_size=3),
        st.sampled_from([0.3, 1.0]),
    ),
    max_size=6,
)


@given(examples, examples, indices(), customers)
def test_a_saved_learner_goes_on_bit_for_bit(
    first: list[TrainingExample], then: list[TrainingExample], index: ItemIndex, customer: Customer
) -> None:
    """State → bytes → state → learn → predict equals never having stopped."""
    settings = LearnerSettings()
    undisturbed = NextItemLearner(settings)
    for example in first:
        undisturbed.learn(example)
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(undisturbed.state()), type=LinearState)
    restored = NextItemLearner(settings, stored)
    assert restored.state() == undisturbed.state()
    for example in then:
        undisturbed.learn(example)
        restored.learn(example)
    assert restored.state() == undisturbed.state()
    made = [recommend(index, Ranker(x.state()), customer, 10) for x in (restored, undisturbed)]
    assert made[0] == made[1]


def test_a_new_learner_ranks_as_the_prior_does() -> None:
    """Before the first example the ranker has the weights it comes with, and the default ranker is the same."""
    state = NextItemLearner(LearnerSettings()).state()
    assert state.weights == prior_state(LearnerSettings()).weights
    index, customer = index_of("abc", "bcd", "cda"), visitor("ab", "d")
    assert recommend(index, Ranker(state), customer, 9) == recommend(index, Ranker(), customer, 9)


def test_other_features_are_refused_or_teach_nothing() -> None:
    """A state of another build is an error, an example of one is passed over: never a silent mixture."""
    other = msgspec.structs.replace(prior_state(LearnerSettings()), names=tuple(reversed(RANK_FEATURES)))
    with pytest.raises(ValueError, match="features"):
        Ranker(other)
    with pytest.raises(ValueError, match="features"):
        NextItemLearner(LearnerSettings(), other)
    example = attempt(index_of("ab", "ac"), visitor("a"), "b")
    learner = NextItemLearner(LearnerSettings())
    learner.learn(msgspec.structs.replace(example, feature_set="another", features=(0.5,)))
    assert learner.state() == prior_state(LearnerSettings())
    with pytest.raises(ValueError, match="1 features in 1 rows"):
        learner.learn(msgspec.structs.replace(example, features=(0.5,)))
