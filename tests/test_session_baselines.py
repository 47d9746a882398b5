"""The published next-item methods, against what their formulas give by hand."""

from math import exp, log, log10

import pytest

from benchmarks.session_baselines import (
    DAY_S,
    NEIGHBOURS,
    RULES,
    Floats,
    Ints,
    NeighbourSettings,
    SequentialRules,
    SessionNeighbours,
    TrainSession,
    published,
)

NOW_S = 100 * DAY_S
# Sessions by the day that they ended. Somebody has just looked at a, then b.
OLDER = TrainSession(("a", "x", "b", "y"), 90 * DAY_S)
NEWER = TrainSession(("a", "z"), 99 * DAY_S)
OTHER = TrainSession(("p", "q"), 99.5 * DAY_S)
SESSIONS = (NEWER, OTHER, OLDER)
AT = ("a", "b")


def neighbours(**weights: float | str) -> SessionNeighbours:
    settings = {"k": 10, "sample_size": 10, "similarity": "vec", **weights}
    return SessionNeighbours(SESSIONS, NeighbourSettings(**settings))  # type: ignore[arg-type]


def score(method: SessionNeighbours, item_id: str, items: tuple[str, ...] = AT) -> float:
    """Return the sum that ranks `item_id`; a list says the order alone."""
    kept: dict[str, float] = {}
    best = method._data.best

    def noting(sums: Floats, scored: Ints, limit: int) -> list[str]:
        kept.update({method._data.ids[at]: float(sums[at]) for at in scored.tolist()})
        return best(sums, scored, limit)

    method._data.best = noting  # type: ignore[method-assign]
    method.recommend(items, NOW_S, 10)
    method._data.best = best  # type: ignore[method-assign]
    return kept.get(item_id, 0.0)


def test_vsknn_weighs_shared_items_by_their_place_in_the_session() -> None:
    """With weights of 1/2 for a and 1 for b, the session that shares both counts 1.5, that which shares a .5."""
    method = neighbours(weighting="div")
    assert score(method, "y") == pytest.approx(1.5)
    assert score(method, "z") == pytest.approx(0.5)
    assert score(method, "a") == pytest.approx(2.0)  # both sessions hold it, and repeats are not left out
    assert method.recommend(AT, NOW_S, 10) == ["a", "b", "x", "y", "z"]


@pytest.mark.parametrize(
    ("weighting", "of_a"),
    [("same", 1.0), ("div", 1 / 2), ("log", 1 / log10(2.7)), ("quadratic", 1 / 4)],
)
def test_vsknn_has_the_four_decays_of_the_paper(weighting: str, of_a: float) -> None:
    """The session that shares a alone counts what a weighs, the first of two events."""
    assert score(neighbours(weighting=weighting), "z") == pytest.approx(of_a)


@pytest.mark.parametrize(
    ("weighting", "of_a", "of_b"), [("linear", 0.8, 0.9), ("div", 0.5, 1.0), ("quadratic", 0.25, 1.0)]
)
def test_vsknn_scores_by_how_long_ago_the_latest_shared_item_was(weighting: str, of_a: float, of_b: float) -> None:
    """Item b is one step ago, a is two."""
    method = neighbours(weighting="same", weighting_score=weighting)
    assert score(method, "z") == pytest.approx(1.0 * of_a)
    assert score(method, "y") == pytest.approx(2.0 * of_b)


def test_vsknn_raises_rare_items_by_their_idf() -> None:
    """Item x occurs once in three sessions, a twice."""
    method = neighbours(weighting="same", idf=5)
    assert score(method, "x") == pytest.approx(2.0 * (1 + 5 * log(3 / 1)))
    assert score(method, "a") == pytest.approx((2.0 + 1.0) * (1 + 5 * log(3 / 2)))


def test_stan_decays_over_the_session_over_days_and_around_the_shared_item() -> None:
    """Its three factors, and the cosine with the neighbour's length."""
    method = neighbours(similarity="cosine", lambda_spw=2.0, lambda_snh=20.0, lambda_inh=4.0)
    a, b = exp(-1 / 2), 1.0  # one event before the latest; the latest
    older = (a + b) / 4**0.5 * exp(-10 / 20)
    newer = a / 2**0.5 * exp(-1 / 20)
    assert score(method, "y") == pytest.approx(older * exp(-1 / 4))  # one step after b
    assert score(method, "x") == pytest.approx(older * exp(-1 / 4))  # one step before b
    assert score(method, "z") == pytest.approx(newer * exp(-1 / 4))  # one step after a
    assert score(method, "a") == pytest.approx(older * exp(-2 / 4) + newer)


def test_vstan_also_decays_by_how_long_ago_the_shared_item_was() -> None:
    """A neighbour that shares b counts whole, one that shares a alone e^(−1/λ)."""
    method = neighbours(weighting="same", lambda_ipw=2.0)
    assert score(method, "y") == pytest.approx(2.0)
    assert score(method, "z") == pytest.approx(exp(-1 / 2))


def test_only_the_latest_sessions_that_share_an_item_are_looked_at() -> None:
    """Of two that share a, a sample of one leaves the older out, however alike it is."""
    assert neighbours(weighting="same", sample_size=1).recommend(AT, NOW_S, 10) == ["a", "z"]


def test_only_the_nearest_k_score() -> None:
    """Of two that share a, the one that shares b too is nearer."""
    assert neighbours(weighting="same", k=1).recommend(AT, NOW_S, 10) == ["a", "b", "x", "y"]


def test_nothing_is_left_from_one_question_to_the_next() -> None:
    """What was scored before doesn't count again, and unknown items have no neighbours."""
    method = neighbours(weighting="div")
    assert score(method, "y") == pytest.approx(1.5)
    assert method.recommend(("nobody",), NOW_S, 10) == []
    assert score(method, "y") == pytest.approx(1.5)
    assert method.recommend(("p",), NOW_S, 10) == ["p", "q"]


def test_sr_counts_what_followed_by_how_soon() -> None:
    """After a: c directly twice (2), b directly and two steps later (1.5), d two and three steps later, x two."""
    sessions = [TrainSession(tuple(items), 0.0) for items in ("abd", "acb", "acxd")]
    assert SequentialRules(sessions).recommend("a", NOW_S, 10) == ["c", "b", "d", "x"]
    assert SequentialRules(sessions).recommend("za", NOW_S, 2) == ["c", "b"]
    assert SequentialRules(sessions).recommend("az", NOW_S, 10) == []


def test_sr_looks_back_so_many_steps_and_keeps_so_many_rules() -> None:
    """With one step, b and c alone follow a; with one rule, what followed most often."""
    sessions = [TrainSession(tuple(items), 0.0) for items in ("abd", "acb", "acxd")]
    assert SequentialRules(sessions, steps=1).recommend("a", NOW_S, 10) == ["c", "b"]
    assert SequentialRules(sessions, pruning=1).recommend("a", NOW_S, 10) == ["c"]


@pytest.mark.parametrize("data_set", NEIGHBOURS)
def test_every_method_has_settings_for_every_data_set(data_set: str) -> None:
    """Six methods, and each of them knows what came with a."""
    methods = published(data_set, SESSIONS)
    assert list(methods) == [*NEIGHBOURS[data_set], "sr"]
    assert data_set in RULES
    for method in methods.values():
        assert {"x", "z"} & set(method.recommend(("a",), NOW_S, 10))
