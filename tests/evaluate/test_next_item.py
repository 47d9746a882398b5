"""The protocol of the next-item backtest: which positions count, and what had been learned then."""

from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.preference.items import ItemIndex
from consumer.core.settings import CoreSettings
from consumer.evaluate.next_item import (
    NextItemRun,
    Predictions,
    figures_of,
    run_next_item,
)
from consumer.evaluate.sessions import SessionEvents, Sessions
from schemas.records import Session

T0 = 1_600_000_000_000
Event = tuple[str, str, int]  # session, item, seconds


def events(rows: Sequence[Event]) -> SessionEvents:
    sessions = sorted({session for session, _, _ in rows}, reverse=True)
    items = sorted({item for _, item, _ in rows}, reverse=True)
    return SessionEvents(
        sessions,
        items,
        [sessions.index(session) for session, _, _ in rows],
        [items.index(item) for _, item, _ in rows],
        [T0 + seconds * 1000 for _, _, seconds in rows],
    )


def session(name: str, start: int, *items: str) -> list[Event]:
    return [(name, item, start + step) for step, item in enumerate(items)]


def run(train: Sequence[Event], test: Sequence[Event] | None = None, top: int = 5) -> NextItemRun:
    return run_next_item(events(train), None if test is None else events(test), CoreSettings(), top)


def columns(predictions: Predictions) -> dict[str, list[int]]:
    return {name: predictions[name].tolist() for name in ("ours", "popularity", "own_history", "novelty")}


TRAIN = [*session("t1", 0, "a", "b", "c"), *session("t2", 10, "a", "b"), *session("t3", 20, "d", "a")]


def test_every_position_from_the_second_on_is_predicted_and_repeats_count() -> None:
    """Three events are two positions; an item looked at twice running is one of them, and own history knows it."""
    found = run(TRAIN, [*session("s", 100, "x", "x", "a"), *session("alone", 200, "a")])
    assert found.static is not None
    assert columns(found.static)["own_history"] == [1, 0]
    figures = figures_of(found)
    assert (figures.own_history.n, figures.own_history.hit_rate, figures.own_history.mrr) == (2, 0.5, 0.5)
    assert {name: each.n for name, each in figures.by_novelty.items()} == {"repeat": 1, "seen_before": 1, "new": 0}
    assert figures.by_novelty["repeat"].hit_rate == 1.0


def test_static_learns_from_the_training_file_alone() -> None:
    """A pair that only the test file shows is never learned; prequential learns it once its session has ended."""
    test = [*session("s1", 100, "p", "q"), *session("s2", 200, "p", "q"), *session("s3", 300, "p", "q")]
    found = run(TRAIN, test)
    assert found.static is not None
    assert columns(found.static)["ours"] == [0, 0, 0]
    assert columns(found.static)["novelty"] == [2, 2, 2]
    ranks = columns(found.prequential)["ours"]
    assert ranks[0] == 0
    assert 0 < ranks[1] <= 2
    assert 0 < ranks[2] <= 2
    assert columns(found.prequential)["novelty"] == [2, 1, 1]


def test_a_session_has_ended_when_its_last_event_lies_before_the_current_one() -> None:
    """At the same moment it has not: the prediction is made first."""
    meanwhile = [("s1", "p", 100), ("s2", "p", 100), ("s1", "q", 101), ("s2", "q", 101)]
    assert columns(run(TRAIN, meanwhile).prequential)["ours"] == [0, 0]
    later = [("s1", "p", 100), ("s2", "p", 100), ("s1", "q", 101), ("s2", "q", 102)]
    ranks = columns(run(TRAIN, later).prequential)["ours"]
    assert ranks[0] == 0
    assert ranks[1] > 0


def test_without_a_test_file_the_whole_stream_is_prequential() -> None:
    """There is no static figure, and the rest is that of the stream."""
    found = run([*session("s1", 0, "p", "q"), *session("s2", 10, "p", "q")])
    figures = figures_of(found)
    assert figures.static is None
    assert figures.prequential.n == figures.popularity.n == 2
    assert columns(found.prequential)["novelty"] == [2, 1]
    assert figures.by_novelty == figures.prequential_by_novelty


def test_popularity_is_what_most_sessions_had() -> None:
    """Of the training file for static figures."""
    found = run(TRAIN, session("s", 100, "x", "a", "b"))
    assert found.static is not None
    assert columns(found.static)["popularity"] == [1, 2]


STREAM = st.lists(
    st.tuples(st.sampled_from("stuv"), st.sampled_from("abcdef"), st.integers(0, 5_000)),
    min_size=2,
    max_size=40,
    unique_by=lambda event: event[2],
)


@given(STREAM, STREAM, st.integers(0, 5_000))
@settings(max_examples=25)
def test_the_future_changes_no_earlier_prediction(one: list[Event], other: list[Event], now: int) -> None:
    """Up to a moment, two streams that differ only after it get the same predictions."""
    past = [event for event in one if event[2] <= now]
    ahead = [[(f"{s}-later", item, at) for s, item, at in stream if at > now] for stream in (one, other)]
    n = len(past) - len({name for name, _, _ in past})
    found = [columns(run(past + future).prequential) if past + future else {} for future in ahead]
    if not all(found):
        return
    assert {name: ranks[:n] for name, ranks in found[0].items()} == {
        name: ranks[:n] for name, ranks in found[1].items()
    }


@given(STREAM, st.randoms(use_true_random=False))
@settings(max_examples=15)
def test_the_order_of_rows_makes_no_difference(stream: list[Event], chance: Random) -> None:
    """The file need not be sorted."""
    shuffled = stream.copy()
    chance.shuffle(shuffled)
    assert columns(run(stream).prequential) == columns(run(shuffled).prequential)
    assert columns(run(TRAIN, stream).prequential) == columns(run(TRAIN, shuffled).prequential)


def test_sessions_are_learned_whole_and_in_the_order_in_which_they_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ties go by id; events of one moment keep their order in the file."""
    folded: list[Session] = []
    fold = ItemIndex.fold

    def fold_and_note(self: ItemIndex, session: Session) -> None:
        folded.append(session)
        fold(self, session)

    monkeypatch.setattr(ItemIndex, "fold", fold_and_note)
    rows = [("z", "a", 5), ("late", "b", 1), ("y", "c", 5), ("late", "d", 9), ("y", "a", 5), ("y", "a", 4)]
    run(rows, session("s", 100, "x", "y"))
    assert [(each.session_id, each.items) for each in folded] == [
        ("y", ("a", "c", "a")),
        ("z", ("a",)),
        ("late", ("b", "d")),
    ]


def test_grouping_keeps_every_event() -> None:
    """As many positions as events that have one before them in their session."""
    chance = np.random.default_rng(0)
    rows = [(f"s{chance.integers(9)}", f"i{chance.integers(5)}", int(chance.integers(50))) for _ in range(200)]
    sessions = Sessions(events(rows))
    assert sessions.n_positions == 200 - len({name for name, _, _ in rows})
    whole = sorted((sessions.ids[k], item, at) for k in range(len(sessions)) for item, at in sessions.events_of(k))
    assert whole == sorted((name, item, T0 + at * 1000) for name, item, at in rows)
    assert [at for _, _, at in sessions.in_time()] == sorted(T0 + at * 1000 for _, _, at in rows)
