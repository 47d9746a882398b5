"""The next basket: what was bought before, what goes with it, what is in season, and what is learned of orders."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.customer.bought import note_bought
from consumer.core.customer.customer import Customer, Orders, encode_customer
from consumer.core.decision import decide as decide_module
from consumer.core.decision.decide import Moment
from consumer.core.knowledge.knowledge import Knowledge
from consumer.core.knowledge.learner import new_learner, restore_learner
from consumer.core.learning.linear import LinearState
from consumer.core.preference import basket as basket_module
from consumer.core.preference.basket import (
    BASKET,
    BASKET_FEATURES,
    FEATURE_SET,
    BasketLearner,
    BasketRanker,
    prior_state,
    recommend_basket,
    try_next_basket,
)
from consumer.core.preference.basket_index import SEASON_BASKETS, BasketIndex, Season
from consumer.core.settings import CoreSettings, LearnerSettings, PreferenceSettings
from consumer.default_catalogue import default_catalogue
from schemas.events import OrderLine, PrivacyEvent, Product, PurchaseEvent
from schemas.records import Coordinates, Recommendation, Session, TrainingExample
from schemas.units import DAY_MS
from tests.core.streams import SETTINGS, T0, Stream, new_core, new_task

DAY0 = T0 // DAY_MS
NOW = T0 + 30 * DAY_MS
PREFERENCE = PreferenceSettings()


def a_basket(items: str | tuple[str, ...], number: int = 0) -> Session:
    n = len(items)
    return Session(f"s{number}", T0 + number, tuple(items), (None,) * n, (1.0,) * n, "basket")


def index_of(*baskets: str) -> BasketIndex:
    """Return an index of baskets whose items are single letters."""
    index = BasketIndex(PREFERENCE)
    for number, items in enumerate(baskets):
        index.fold(a_basket(items, number))
    return index


def buyer(*baskets: str, every_days: int = 7) -> Customer:
    """Return a customer whose baskets, of items that are single letters, end the day before `NOW`."""
    customer = Customer("ann", orders=Orders(n=len(baskets), gap_log_mean=2.0))
    for ago, items in zip(range(len(baskets) - 1, -1, -1), baskets, strict=True):
        note_bought(customer, items, DAY0 + 29 - ago * every_days, 64)
    return customer


def ids(recommendations: list[Recommendation]) -> list[str]:
    return [each.item_id for each in recommendations]


def recommended(index: BasketIndex, customer: Customer, limit: int = 10) -> list[str]:
    return ids(recommend_basket(index, BasketRanker(), customer, NOW, limit=limit))


INDEX = index_of("abc", "abd", "xyz", "xyq", "abc", "mno", "zxq", "abe")


def test_what_is_bought_at_every_order_comes_first() -> None:
    """Of the own items, that in each of four baskets leads those in one."""
    assert recommended(INDEX, buyer("ac", "ad", "ae", "am"))[0] == "a"


def test_what_goes_with_the_own_items_is_recommended_too() -> None:
    """Who buys x and z is shown y and q, which lie in the same baskets of others."""
    customer = buyer("xz")
    found = recommend_basket(INDEX, BasketRanker(), customer, NOW, limit=4)
    assert {"y", "q"} <= set(ids(found))
    assert {each.why for each in found if each.item_id in "yq"} <= {"together", "popular"}


def test_of_items_bought_alike_that_which_is_due_leads() -> None:
    """Two items bought three times until the same day: the one bought weekly is due after a week."""
    customer = Customer("ann", orders=Orders(n=4, gap_log_mean=2.0))
    for day, items in ((0, "b"), (8, "a"), (11, "b"), (15, "a"), (22, "ab")):
        note_bought(customer, items, DAY0 + day, 64)
    order = recommended(index_of("cd"), customer)
    assert order.index("a") < order.index("b")


def test_excluded_and_unavailable_items_are_left_out() -> None:
    """They leave their places to others."""
    customer = buyer("abc")
    found = recommend_basket(
        INDEX, BasketRanker(), customer, NOW, limit=3, exclude={"a"}, is_offerable=lambda i: i != "b"
    )
    assert len(found) == 3
    assert not {"a", "b"} & set(ids(found))


def test_nothing_known_is_nothing_recommended() -> None:
    """Neither an empty index nor a customer without purchases is an error."""
    assert recommended(BasketIndex(PREFERENCE), Customer("new")) == []
    assert recommended(BasketIndex(PREFERENCE), buyer("ab")) == ["a", "b"]
    assert recommended(INDEX, Customer("new"), 2) == recommended(INDEX, Customer("other"), 2)
    assert recommended(INDEX, buyer("ab"), 0) == []


def test_a_customer_may_know_items_that_the_index_does_not() -> None:
    """They are recommended all the same."""
    assert "§" in recommended(INDEX, buyer("§", "§"))


letters = st.text("abcdefghxyzmn", min_size=1, max_size=8)
customers = st.lists(letters, max_size=6).map(lambda baskets: buyer(*baskets))
indices = st.lists(letters, max_size=12).map(lambda baskets: index_of(*baskets))


@given(indices, customers, st.integers(-10, 2_000))
def test_features_lie_between_zero_and_one(index: BasketIndex, customer: Customer, days: int) -> None:
    """Whenever it is asked: no scaler is needed, and no feature outweighs the others."""
    ranked = basket_module._rank(index, BasketRanker(), customer, T0 + days * DAY_MS)
    assert ranked.rows.shape == (len(BASKET_FEATURES), len(ranked.ids))
    assert ((ranked.rows >= 0.0) & (ranked.rows <= 1.0)).all()
    assert len(set(ranked.ids)) == len(ranked.ids)


@given(indices, customers, letters)
def test_prediction_changes_nothing(index: BasketIndex, customer: Customer, items: str) -> None:
    """Asked twice it says the same, and the customer is as before."""
    before = encode_customer(customer)
    first = recommend_basket(index, BasketRanker(), customer, NOW, limit=10)
    attempt = try_next_basket(index, BasketRanker(), customer, items, at_ms=NOW, settings=PREFERENCE, seed_words=("e",))
    assert recommend_basket(index, BasketRanker(), customer, NOW, limit=10) == first
    assert (
        try_next_basket(index, BasketRanker(), customer, items, at_ms=NOW, settings=PREFERENCE, seed_words=("e",))
        == attempt
    )
    assert encode_customer(customer) == before


@given(indices, customers)
def test_the_order_is_by_score_and_then_by_id(index: BasketIndex, customer: Customer) -> None:
    """Ties never depend on the order in which candidates were found."""
    found = recommend_basket(index, BasketRanker(), customer, NOW, limit=100)
    assert found == sorted(found, key=lambda each: (-each.score, each.item_id))


@given(indices, customers, letters)
def test_an_example_holds_differences_and_no_customer(index: BasketIndex, customer: Customer, items: str) -> None:
    """Rows of differences within [-1, 1]; a small basket counts more for each of its items."""
    example = try_next_basket(index, BasketRanker(), customer, items, at_ms=NOW, settings=PREFERENCE, seed_words=("e",))
    assert (example.family, example.head, example.feature_set) == ("preference", BASKET, FEATURE_SET)
    assert len(example.features) == example.rows * len(BASKET_FEATURES)
    assert all(-1.0 <= value <= 1.0 for value in example.features)
    assert example.weight == pytest.approx(len(set(items)) ** -0.5)
    place = {each: at for at, each in enumerate(recommended(index, customer, 1_000), start=1)}
    best = min((place[item] for item in items if item in place), default=0)
    assert example.rank == (best if best <= PREFERENCE.top else 0)


def test_orders_teach_what_counts() -> None:
    """Where customers never order the same again, own items sink below what goes with them."""
    learner, customer = BasketLearner(LearnerSettings()), buyer("ab", "ab")
    before = ids(recommend_basket(INDEX, BasketRanker(learner.state()), customer, NOW, limit=20))
    for n in range(200):
        ranker = BasketRanker(learner.state())
        learner.learn(
            try_next_basket(INDEX, ranker, customer, "cde", at_ms=NOW, settings=PREFERENCE, seed_words=(str(n),))
        )
    after = ids(recommend_basket(INDEX, BasketRanker(learner.state()), customer, NOW, limit=20))
    assert before[:2] == ["a", "b"]
    assert set(after[:3]) == {"c", "d", "e"}


rows = st.lists(st.floats(-1, 1), min_size=len(BASKET_FEATURES), max_size=len(BASKET_FEATURES))
examples = st.lists(
    st.lists(rows, max_size=3).map(
        lambda drawn: TrainingExample(
            family="preference",
            head=BASKET,
            feature_set=FEATURE_SET,
            features=tuple(value for row in drawn for value in row),
            rows=len(drawn),
            label=1.0,
            weight=0.5,
            predicted_at=0,
            matured_at=0,
        )
    ),
    max_size=6,
)


@given(examples, examples)
def test_a_saved_learner_goes_on_bit_for_bit(first: list[TrainingExample], then: list[TrainingExample]) -> None:
    """State → bytes → state → learn equals never having stopped."""
    undisturbed = BasketLearner(LearnerSettings())
    for example in first:
        undisturbed.learn(example)
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(undisturbed.state()), type=LinearState)
    restored = BasketLearner(LearnerSettings(), stored)
    for example in then:
        undisturbed.learn(example)
        restored.learn(example)
    assert restored.state() == undisturbed.state()
    found = [
        recommend_basket(INDEX, BasketRanker(x.state()), buyer("abx"), NOW, limit=10) for x in (restored, undisturbed)
    ]
    assert found[0] == found[1]


def test_other_features_are_refused_and_other_heads_ignored() -> None:
    """A state of another build is an error; an example of another build or model teaches nothing."""
    other = msgspec.structs.replace(prior_state(LearnerSettings()), names=tuple(reversed(BASKET_FEATURES)))
    with pytest.raises(ValueError, match="features"):
        BasketRanker(other)
    with pytest.raises(ValueError, match="features"):
        BasketLearner(LearnerSettings(), other)
    example = try_next_basket(
        INDEX, BasketRanker(), buyer("ab"), "a", at_ms=NOW, settings=PREFERENCE, seed_words=("e",)
    )
    learner = BasketLearner(LearnerSettings())
    learner.learn(msgspec.structs.replace(example, feature_set="another", features=(0.5,)))
    learner.learn(msgspec.structs.replace(example, feature_set="another", head="next-item"))
    assert learner.state() == prior_state(LearnerSettings())
    with pytest.raises(ValueError, match="1 features in"):
        learner.learn(msgspec.structs.replace(example, features=(0.5,)))


# -- the index of baskets -------------------------------------------------------------------------------------------


@given(st.lists(letters.map(lambda items: "".join(dict.fromkeys(items))), max_size=30), st.integers(1, 6))
def test_the_season_is_a_function_of_the_latest_baskets(baskets: list[str], window: int) -> None:
    """Counting all of them, or only those of the window, is the same."""
    moved, fresh = Season(window), Season(window)
    for items in baskets:
        moved.fold(items)
    for items in baskets[-window:]:
        fresh.fold(items)
    assert list(moved.top()) == list(fresh.top())
    assert moved.counts("abcdefghxyzmn") == fresh.counts("abcdefghxyzmn")


def test_the_season_passes() -> None:
    """What was in every basket is forgotten once enough others have come."""
    index = index_of(*["hw"] * 10)
    assert index.season.top() == {"h": 0, "w": 1}
    for number in range(SEASON_BASKETS):
        index.fold(a_basket("s", number))
    assert index.season.top() == {"s": 0}


def test_a_basket_of_hundreds_of_items_is_kept_in_parts() -> None:
    """Nothing of it is lost, and its items still bring each other up."""
    items = tuple(f"i{n:03}" for n in range(150))
    index = BasketIndex(PREFERENCE)
    index.fold(a_basket(items))
    assert index.n_baskets == 3
    customer = Customer("ann", orders=Orders(n=1))
    note_bought(customer, ["i149"], DAY0, 64)
    assert "i140" in recommended(index, customer, 60)


# -- in the task ----------------------------------------------------------------------------------------------------

EAGER = replace(SETTINGS, preference=PreferenceSettings(basket_sample_share=1.0))


def test_an_order_without_a_click_becomes_a_basket_and_an_example() -> None:
    """The first order has nothing to be tried against; the second has."""
    stream = Stream(new_task(EAGER))
    stream.order("ann", T0, "a", "b", "a")
    first = stream.task.take_outputs()
    assert [(session.kind, session.items) for session in first.sessions] == [("basket", ("a", "b"))]
    assert first.examples == []
    stream.order("ann", T0 + DAY_MS, "a")
    second = stream.task.take_outputs()
    assert [example.head for example in second.examples] == [BASKET]
    assert second.examples[0].rank == 1
    assert first.sessions[0].session_id != second.sessions[0].session_id


def test_an_order_within_a_visit_is_a_basket_beside_the_visit() -> None:
    """Both have names of their own, even where the order was the last that was heard."""
    stream = Stream(new_task(EAGER))
    stream.click("ann", T0, item_id="a")
    stream.order("ann", T0 + 1, "a")
    stream.task.advance_to(T0 + DAY_MS)
    basket, visit = stream.task.take_outputs().sessions
    assert (basket.kind, visit.kind) == ("basket", "visit")
    assert basket.session_id != visit.session_id


def test_what_our_own_recommendations_led_to_counts_less() -> None:
    """An order that names a decision has a smaller weight in the index and in learning, and none in the season."""
    task = new_task(EAGER)
    Stream(task).order("ann", T0, "a")
    task.take_outputs()
    lines = (OrderLine("b"), OrderLine("c"))
    task.step("purchases", 9, PurchaseEvent("e", "ann", T0 + 1, "order", "o", lines, decision_id="d"))
    outputs = task.take_outputs()
    caused = PREFERENCE.caused_weight
    assert outputs.sessions[0].weights == (caused, caused)
    assert outputs.examples[0].weight == pytest.approx(caused / 2**0.5)
    index = BasketIndex(PREFERENCE)
    index.fold(outputs.sessions[0])
    assert (index.n_baskets, index.season.top()) == (1, {})


def test_frozen_tasks_and_objections_teach_nothing() -> None:
    """Neither baskets nor examples come of them."""
    frozen = Stream(new_task(EAGER, mode="frozen"))
    objected = Stream(new_task(EAGER))
    objected.task.step("privacy", 0, PrivacyEvent("e", "ann", T0, "objection"))
    for stream in (frozen, objected):
        for day in range(3):
            stream.order("ann", T0 + day * DAY_MS, "a")
        outputs = stream.task.take_outputs()
        assert (outputs.sessions, outputs.examples) == ([], [])


def test_each_kind_of_session_feeds_its_own_index() -> None:
    """One offset counts for both."""
    knowledge = Knowledge(SETTINGS, default_catalogue())
    knowledge.fold_session(0, a_basket("ab"))
    assert (knowledge.baskets.n_baskets, knowledge.items.n_sessions) == (1, 0)
    knowledge.fold_session(1, Session("s", T0, ("a",), (None,), (1.0,)))
    knowledge.fold_session(0, a_basket("ab"))
    assert (knowledge.baskets.n_baskets, knowledge.items.n_sessions, knowledge.sessions_offset) == (1, 1, 2)


def recommendations_at(trigger: str, customer: Customer, knowledge: Knowledge) -> list[str]:
    core = replace(new_core(CoreSettings()), knowledge=knowledge)
    moment = Moment(trigger, NOW, Coordinates("purchases", 0, 0), "live")
    return ids(decide_module._recommendations(customer, moment, core, "d1"))


def knowing(*baskets: str) -> Knowledge:
    knowledge = Knowledge(SETTINGS, default_catalogue())
    for number, items in enumerate(baskets):
        knowledge.fold_session(number, a_basket(items, number))
    return knowledge


def test_after_an_order_the_next_basket_is_recommended_without_what_was_just_bought() -> None:
    """What lies in the cart is left out too."""
    knowledge, customer = knowing("abc", "abd", "abe"), buyer("ab", "ac")
    note_bought(customer, ["a"], NOW // DAY_MS, 64)
    customer.cart.append("d")
    found = recommendations_at("purchase", customer, knowledge)
    assert found[0] == "b"
    assert not {"a", "d"} & set(found)


def test_what_is_due_leads_a_replenishment_unless_it_is_not_to_be_had() -> None:
    """Out of stock or restricted items are never recommended."""
    knowledge, customer = knowing("abc", "abd", "abe"), Customer("ann", orders=Orders(n=3))
    for day in (3, 13, 23):
        note_bought(customer, "d", DAY0 + day - 2, 64)
    for day in (0, 10, 20):
        note_bought(customer, "ab", DAY0 + day, 64)
    assert recommendations_at("replenishment", customer, knowledge)[0] == "d"
    knowledge.apply_product(0, "d", Product("d", available=False))
    assert "d" not in recommendations_at("replenishment", customer, knowledge)


def test_snapshots_carry_what_was_learned_of_baskets() -> None:
    """A trainer restored from one goes on as if undisturbed, and a worker ranks with it."""
    example = try_next_basket(
        INDEX, BasketRanker(), buyer("ab"), "cd", at_ms=NOW, settings=PREFERENCE, seed_words=("e",)
    )
    undisturbed = new_learner("preference", SETTINGS, default_catalogue())
    undisturbed.fold(0, example)
    snapshot = undisturbed.snapshot()
    restored = restore_learner(snapshot, SETTINGS, default_catalogue())
    for learner in (undisturbed, restored):
        learner.fold(1, example)
    assert restored.snapshot() == undisturbed.snapshot()
    knowledge = Knowledge(SETTINGS, default_catalogue())
    before = recommend_basket(INDEX, knowledge.basket_ranker, buyer("ab"), NOW, limit=5)
    knowledge.adopt(snapshot)
    assert recommend_basket(INDEX, knowledge.basket_ranker, buyer("ab"), NOW, limit=5) != before
