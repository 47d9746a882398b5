"""The item index: what goes together, what comes next, what is popular, and its bounds."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.preference import items, popularity
from consumer.core.preference.candidates import Candidates
from consumer.core.preference.items import ItemIndex
from consumer.core.preference.sources import AHEAD, AROUND, N_SOURCES, NEAR, NEXT, PAIR, TOGETHER
from consumer.core.settings import PreferenceSettings
from schemas.events import Product
from schemas.records import Session

ITEMS = "abcdefgh"


def session(item_ids: Sequence[str], categories: Sequence[str | None] = (), weights: Sequence[float] = ()) -> Session:
    """A session of items, without categories and of full weight unless given."""
    n = len(item_ids)
    return Session(
        session_id="s",
        ended_at=0,
        items=tuple(item_ids),
        categories=tuple(categories) or (None,) * n,
        weights=tuple(weights) or (1.0,) * n,
    )


def index_of(*sessions: Session, **limits: int) -> ItemIndex:
    """An index with some limits of its own and some sessions folded."""
    index = ItemIndex(replace(PreferenceSettings(), **limits))
    for one in sessions:
        index.fold(one)
    return index


def steps_of(one: Session) -> list[tuple[str, float]]:
    """The steps of a session with their weights; an item repeated at once is one step, of the larger weight."""
    runs = [list(run) for _, run in groupby(zip(one.items, one.weights, strict=True), key=lambda step: step[0])]
    return [(run[0][0], max(weight for _, weight in run)) for run in runs]


def named(index: ItemIndex, context: Sequence[str], source: int) -> dict[str, float]:
    """Scores from one source by item id, those over 0."""
    scores = index.scores(context)
    values = scores.values[source].tolist()
    return {index._ids[slot]: value for slot, value in zip(scores.slots.tolist(), values, strict=True) if value}


def popular_in(index: ItemIndex, category: str, n: int) -> list[str]:
    """The most popular items of a category, best first: they are among the candidates where it is asked for."""
    return [index._ids[slot] for slot in index._popularity.top_in(category, n).tolist()]


def answers(index: ItemIndex) -> object:
    """Everything an index says, free of slots and of the numbers of sessions."""

    def said(candidates: Candidates) -> object:
        ids = candidates.ids(range(len(candidates)))
        return (
            ids,
            candidates.together.tolist(),
            candidates.sources.tolist(),
            candidates.support,
            candidates.repeated,
            candidates.popularity.tolist(),
            candidates.top_together.tolist(),
            candidates.top_popular.tolist(),
            candidates.top_category.tolist(),
            [index.category_of(item_id) for item_id in ids],
        )

    contexts: tuple[list[str], ...] = (["a"], ["b", "a"], ["c", "d", "e"], ["never seen"], [])
    return (
        index.popular(50),
        [popular_in(index, category, 50) for category in "xyz"],
        [said(index.candidates(context, context, "x")) for context in contexts],
    )


steps = st.tuples(st.sampled_from(ITEMS), st.sampled_from([None, "x", "y", "z"]), st.sampled_from([0.3, 1.0, 2.0]))
sessions = st.lists(st.lists(steps, max_size=6), max_size=40).map(
    lambda drawn: [session([s[0] for s in one], [s[1] for s in one], [s[2] for s in one]) for one in drawn]
)
limits = st.fixed_dictionaries(
    {
        "index_sessions": st.integers(1, 12),
        "index_items": st.integers(2, 8),
        "sessions_per_item": st.integers(1, 6),
        "neighbours": st.integers(1, 6),
    }
)


def test_items_of_the_same_sessions_go_together() -> None:
    """An item that shared more sessions with the current one scores higher, and one that shared none has no score."""
    index = index_of(session("ab"), session("ab"), session("ac"), session("de"), session("de"))
    scores = named(index, ["a"], TOGETHER)
    assert set(scores) == {"a", "b", "c"}
    assert scores["b"] > scores["c"]


def test_the_next_item_is_the_one_that_came_after() -> None:
    """Sessions have a direction, and a step counts more than two."""
    index = index_of(session("abc"), session("dab"), session("efg"))
    scores = named(index, ["a"], AHEAD)
    assert set(scores) == {"b", "c"}
    assert scores["b"] > scores["c"]
    assert set(named(index, ["a"], NEXT)) == {"b"}
    assert named(index, ["c"], AHEAD) == named(index, ["c"], NEXT) == {}


@given(sessions, st.lists(st.sampled_from(ITEMS), unique=True, max_size=5))
def test_items_are_scored_as_defined(folded: list[Session], context: list[str]) -> None:
    """The vectorised sums equal a plain loop over the sessions, to the last bit."""
    index = index_of(*folded, neighbours=1000)
    expected: list[dict[str, float]] = [{} for _ in range(N_SOURCES)]

    def add(source: int, item_id: str, gain: float) -> None:
        expected[source][item_id] = expected[source].get(item_id, 0.0) + gain

    held = [steps_of(one) for one in folded if one.items]
    contains = {i: sum(any(row[0] == i for row in rows) for rows in held) for i in ITEMS}
    for rows in held:
        places = {item_id: at for at, (item_id, _) in enumerate(rows)}
        shared = [item_id for item_id in context if item_id in places]
        similarity = sum(items._CONTEXT_WEIGHTS[context.index(item_id)] for item_id in shared)
        for place, (item_id, weight) in enumerate(rows if shared else []):
            units, gap = round(weight * 32), place - places[shared[0]]
            nearest = items._CONTEXT_WEIGHTS[context.index(shared[0])]
            near = (similarity * nearest >> 12) * nearest * round(256 / len(rows) ** 0.5) >> 12
            add(TOGETHER, item_id, similarity * round(1023 / (1 + 0.25 * abs(gap))) * units)
            add(NEAR, item_id, near * round(1023 * 2.0 ** (-0.72 * abs(gap))) * units)
            add(AHEAD, item_id, (similarity**2 >> 12) * (round(1023 / gap) if gap > 0 else 0) * units)
            if shared[0] != context[0] or item_id == context[0]:
                continue
            add(AROUND, item_id, round(1023 / abs(gap)) * units)
            add(NEXT, item_id, units if gap == 1 else 0)
            follows = gap == 1 and place > 1 and [rows[place - 2][0]] == context[1:2]
            add(PAIR, item_id, units if follows else 0)
    rarity = {i: log(1 + len(held)) - log(n) for i, n in contains.items() if n}
    expected[TOGETHER] = {i: total * rarity[i] for i, total in expected[TOGETHER].items()}
    for source, scores in enumerate(expected):
        assert named(index, context, source) == {i: score for i, score in scores.items() if score}


@given(sessions)
def test_popularity_is_a_count_over_the_window(folded: list[Session]) -> None:
    """Items count once in each session of the window, with their largest weight, ties to the one seen last."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(items, "POPULARITY_SESSIONS", 5)
        for name, few in (("CACHED", 2), ("_KEPT", 2), ("_MOST_WATCHED", 4)):
            patch.setattr(popularity, name, few)
        index = ItemIndex(PreferenceSettings(index_sessions=20))
        kept: list[list[tuple[str, float]]] = []
        for one in folded:
            index.fold(one)
            kept += [steps_of(one)] if one.items else []
            counts: dict[str, int] = {}
            seen: dict[str, tuple[int, int]] = {}
            for number, rows in enumerate(kept):
                best: dict[str, float] = {}
                for place, (item_id, weight) in enumerate(rows):
                    seen[item_id] = (number, place)
                    best[item_id] = max(weight, best.get(item_id, 0))
                if number >= len(kept) - 5:
                    for item_id, weight in best.items():
                        counts[item_id] = counts.get(item_id, 0) + round(weight * 32)
            assert index.popular(1) == sorted(counts, key=lambda i: (counts[i], seen[i]), reverse=True)[:1]
            expected = sorted(counts, key=lambda i: (counts[i], seen[i]), reverse=True)
            assert index.popular(100) == expected
            assert index.popular(3) == expected[:3]
            for category in "xyz":
                assert popular_in(index, category, 100) == [i for i in expected if index.category_of(i) == category]


@given(sessions, limits)
def test_the_index_is_a_function_of_the_sessions_it_holds(folded: list[Session], bounds: dict[str, int]) -> None:
    """A worker that folds only the sessions held answers exactly as one that has folded all of them."""
    folded = [one for one in folded if one.items]
    veteran = index_of(*folded, **bounds)
    newcomer = index_of(*folded[len(folded) - veteran.n_sessions :], **bounds)
    assert newcomer.n_sessions == veteran.n_sessions
    assert answers(newcomer) == answers(veteran)


@given(sessions, limits)
def test_asking_changes_nothing(folded: list[Session], bounds: dict[str, int]) -> None:
    """An index that is asked after each session ends up with the same answers as one that is asked once."""
    asked = index_of(**bounds)
    for one in folded:
        asked.fold(one)
        answers(asked)
        assert answers(asked) == answers(asked)
    assert answers(asked) == answers(index_of(*folded, **bounds))


def test_ever_new_ids_do_not_grow_the_index() -> None:
    """Sessions, items, slots, postings, categories and rankings keep to their limits whatever ids come."""
    index = index_of(index_sessions=50, index_items=40, sessions_per_item=5)
    for n in range(2_000):
        fresh = [f"{n}-{k}" for k in range(n % 7)]
        index.fold(session(["always", *fresh], ["same", *(f"category {i}" for i in fresh)]))
        index.apply_product(f"product {n}", Product(f"product {n}", category=f"{n}"))
        assert index.n_sessions <= 50
        assert index.n_items <= 40
    assert len(index._ids) <= 40 + 64 + 1
    assert len(index._log._words) <= 2_048
    assert sum(map(len, index._log._postings)) <= 40 * (2 * 5 + 16)
    assert len(index._popularity._numbers) <= 40
    assert index._popularity.n_numbers <= len(index._ids)
    assert sum(len(ranking.watched) for ranking in index._popularity._rankings) <= 2 * 40
    assert len(index._products) <= 40
    assert index.popular(1) == ["always"]


def test_one_endless_session_is_cut() -> None:
    """Of a session longer than the index can hold, the last steps are kept."""
    index = index_of(session([f"{n}" for n in range(1_000)]), index_items=10)
    assert index.n_items == 10
    assert index.popular(1) == ["999"]
    assert index_of(session([f"{n}" for n in range(1_000)])).n_items == 64


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=20), st.integers(2, 5))
def test_of_a_long_session_the_last_steps_count(item_ids: list[str], limit: int) -> None:
    """A session that is too long says what its last steps say, where an item repeated at once is one step."""
    kept = [item_id for run in [list(run) for _, run in groupby(item_ids)][-limit:] for item_id in run]
    bounds = {"index_items": limit}
    assert answers(index_of(session(item_ids), **bounds)) == answers(index_of(session(kept), **bounds))


def test_what_a_recommendation_caused_counts_less() -> None:
    """An item reached by our own doing scores lower, as a neighbour and as a popular one."""
    index = index_of(session("ab"), session("ac", weights=[1.0, 0.3]), session("ac", weights=[1.0, 0.3]), session("d"))
    scores = named(index, ["a"], TOGETHER)
    assert scores["b"] > scores["c"]
    assert index.popular(3) == ["a", "d", "b"]


def test_an_item_is_of_the_category_that_its_latest_session_gave_last() -> None:
    """A step without a category takes nothing back within a session; a whole session without one does."""
    index = index_of(session("aba", ["x", None, None]))
    assert [index.category_of(i) for i in "ab"] == ["x", None]
    index.fold(session("aba", ["x", "z", "y"]))
    assert [index.category_of(i) for i in "ab"] == ["y", "z"]
    index.fold(session("aba", [None, None, "x"]))
    assert [index.category_of(i) for i in "ab"] == ["x", None]
    assert popular_in(index, "y", 5) == popular_in(index, "z", 5) == []
    index.fold(session("a"))
    assert index.category_of("a") is None


def test_a_product_record_outweighs_what_sessions_say() -> None:
    """Category, price and availability of a product hold until its tombstone, whatever was folded before or after."""
    told = Product("a", category="y", price=3.0, available=False)
    before, after = index_of(), index_of(session("ab", "xx"))
    before.apply_product("a", told)
    before.fold(session("ab", "xx"))
    after.apply_product("a", told)
    for index in (before, after):
        assert (index.category_of("a"), index.price_of("a"), index.is_offerable("a")) == ("y", 3.0, False)
        assert popular_in(index, "y", 5) == ["a"]
        assert popular_in(index, "x", 5) == ["b"]
    assert answers(before) == answers(after)
    for index in (before, after):
        index.apply_product("a", None)
        assert (index.category_of("a"), index.price_of("a"), index.is_offerable("a")) == ("x", None, True)
        assert popular_in(index, "x", 5) == ["b", "a"]


def test_a_session_without_a_weight_for_each_item_is_refused() -> None:
    """It is an error before anything is taken over."""
    index = index_of(session("ab"))
    with pytest.raises(ValueError, match="weight"):
        index.fold(session("cd", weights=[1.0]))
    assert (index.n_sessions, index.n_items) == (1, 2)


def test_restricted_and_unavailable_items_are_not_offerable() -> None:
    """Either word of the shop is enough, and an item that it never spoke of may be offered."""
    index = index_of()
    index.apply_product("a", Product("a", restricted=True))
    index.apply_product("b", Product("b", available=False))
    index.apply_product("c", Product("c"))
    assert [index.is_offerable(i) for i in "abcd"] == [False, False, True, True]
    index.apply_product("a", Product("a"))
    assert index.is_offerable("a")


def test_own_items_are_candidates_even_where_the_index_does_not_know_them() -> None:
    """They come first, keep their order, and none appears twice."""
    index = index_of(session("ab"), session("bc"))
    candidates = index.candidates(["b", "new"], ["b", "new", "newer", "b"])
    ids = candidates.ids(range(len(candidates)))
    assert ids[: candidates.n_own] == ["b", "new", "newer"]
    assert sorted(ids) == ["a", "b", "c", "new", "newer"]
    assert [candidates.find(item_id) for item_id in ids] == list(range(len(candidates)))
    assert candidates.find("elsewhere") is None


def test_more_items_than_a_slot_can_number_are_refused() -> None:
    """The limit of the packed form is an error with the name of the setting, not a silent overflow."""
    with pytest.raises(ValueError, match="index_items"):
        index_of(index_items=1 << 24)
