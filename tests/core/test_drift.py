"""Drift is noticed when it is there, seldom when it is not, and never depends on where a trainer restarted."""

import random
from collections.abc import Sequence
from itertools import pairwise
from math import log

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import drift

from consumer.core.learning.drift import (
    FEATURE_EXAMPLES,
    LOSS,
    REST_EXAMPLES,
    Adwin,
    AdwinState,
    Drift,
    DriftMonitor,
    DriftState,
)

DELTA = 0.002


def noisy(levels: Sequence[float], n: int, seed: int) -> list[float]:
    """Return `n` values around each level, in [0, 1], both ends among them."""
    draw = random.Random(seed)
    return [0.0, 1.0] + [min(1.0, max(0.0, draw.gauss(level, 0.1))) for level in levels for _ in range(n)]


@settings(max_examples=30)
@given(levels=st.lists(st.floats(0.1, 0.9), min_size=1, max_size=4), n=st.integers(1, 700), seed=st.integers(0, 99))
def test_the_window_is_the_one_that_river_keeps(levels: list[float], n: int, seed: int) -> None:
    """River's ADWIN forgets all it knows after an alarm, so what it wraps is asked: the window itself."""
    ours, rivers = Adwin(DELTA), drift.ADWIN(delta=DELTA)._helper  # type: ignore[no-untyped-call]
    for value in noisy(levels, n, seed):
        moved = ours.add(value)
        assert (moved is not None) == rivers.update(value)
        assert ours.state().n_values == rivers.get_width()
        assert ours.state().total == pytest.approx(rivers.get_total())


@settings(max_examples=30)
@given(levels=st.lists(st.floats(-50, 50), min_size=1, max_size=3), cut=st.integers(0, 900), seed=st.integers(0, 99))
def test_a_window_restored_from_plain_data_goes_on_bit_for_bit(levels: list[float], cut: int, seed: int) -> None:
    """Through the bytes of a snapshot, at any place."""
    values = [level + value for level in levels for value in noisy([0.5], 300, seed)]
    unbroken, first = Adwin(DELTA), Adwin(DELTA)
    expected = [unbroken.add(value) for value in values]
    found = [first.add(value) for value in values[:cut]]
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(first.state()), type=AdwinState)
    resumed = Adwin(DELTA, kept)
    found += [resumed.add(value) for value in values[cut:]]
    assert found == expected
    assert resumed.state() == unbroken.state()


def test_a_move_tells_what_was_before_and_what_is_after() -> None:
    """The means on both sides of the cut, near the levels that the values were drawn around."""
    window = Adwin(DELTA)
    moves = [moved for value in noisy([0.3, 0.7], 1_000, seed=1) if (moved := window.add(value)) is not None]
    assert moves[0][0] == pytest.approx(0.3, abs=0.02)
    assert moves[-1][1] == pytest.approx(0.7, abs=0.05)
    assert all(before < after for before, after in moves)


def test_values_of_any_size_are_judged_alike() -> None:
    """A series and the same in another unit move at the same places."""
    values = noisy([0.3, 0.5], 800, seed=2)
    small, large = Adwin(DELTA), Adwin(DELTA)
    places = [at for at, value in enumerate(values) if small.add(value) is not None]
    assert places
    assert places == [at for at, value in enumerate(values) if large.add(1_000.0 * value) is not None]


def test_a_steady_series_raises_no_alarm() -> None:
    """Not one in 10 series of 10,000 values."""
    for seed in range(10):
        window, draw = Adwin(DELTA), random.Random(seed)
        assert all(window.add(draw.random()) is None for _ in range(10_000))


@given(value=st.floats(-1e6, 1e6))
@settings(max_examples=30)
def test_a_constant_series_never_moves(value: float) -> None:
    """Whatever rounding does to its sums."""
    window = Adwin(DELTA)
    assert all(window.add(value) is None for _ in range(1_500))


def test_memory_is_bounded_however_long_the_series() -> None:
    """The oldest values are forgotten once there are buckets of every size."""
    window = Adwin(DELTA)
    for at in range(200_000):
        window.add(float(at % 2))
    state = window.state()
    assert state.n_values <= 163_835
    assert sum(map(len, state.totals)) <= 75
    assert state.total / state.n_values == pytest.approx(0.5, abs=0.01)


def watch(monitor: DriftMonitor, n: int, centre: float, right: float, seed: int) -> list[Drift]:
    """Show `n` examples whose first feature lies around `centre`, and predictions that are right so often."""
    draw = random.Random(seed)
    moves = []
    for _ in range(n):
        moves += monitor.see_features((draw.gauss(centre, 1.0), draw.random()))
        label = float(draw.random() < right)
        move = monitor.see_loss(label, 0.9)
        if move is not None:
            moves.append(move)
    return moves


def test_a_feature_that_moves_is_named_and_the_others_are_not() -> None:
    """With where it was and where it is now."""
    monitor = DriftMonitor(("recency", "money"), DELTA)
    assert watch(monitor, 100 * FEATURE_EXAMPLES, 0.0, 0.9, seed=1) == []
    moves = watch(monitor, 100 * FEATURE_EXAMPLES, 0.5, 0.9, seed=2)
    assert {move.what for move in moves} == {"recency"}
    assert moves[-1].before == pytest.approx(0.0, abs=0.1)
    assert moves[-1].after > 0.3


def test_losses_that_grow_call_for_longer_steps_once_and_losses_that_shrink_do_not() -> None:
    """One move is noticed several times over while the window forgets; the model is told once."""
    monitor = DriftMonitor(("recency", "money"), DELTA)
    assert watch(monitor, 3_000, 0.0, 0.9, seed=1) == []
    worse = watch(monitor, REST_EXAMPLES - 500, 0.0, 0.6, seed=2)
    assert {move.what for move in worse} == {LOSS}
    assert len(worse) > 1
    assert [monitor.calls_for_longer_steps(move) for move in worse] == [True, *[False] * (len(worse) - 1)]
    watch(monitor, 2 * REST_EXAMPLES, 0.0, 0.6, seed=3)
    better = watch(monitor, 3_000, 0.0, 0.95, seed=4)
    assert better
    assert not any(monitor.calls_for_longer_steps(move) for move in better)


def test_one_sure_mistake_counts_as_no_more_than_a_bad_one() -> None:
    """A probability of 0 given to what happened is no infinite loss."""
    monitor = DriftMonitor((), DELTA)
    monitor.see_loss(1.0, 0.0)
    assert monitor.state().loss.total == pytest.approx(log(100))


def test_the_share_of_false_alarms_is_divided_among_the_series() -> None:
    """More features make each of them harder to alarm about."""
    values = noisy([0.5, 0.52], 64 * 400, seed=5)
    first = []
    for n in (1, 200):
        monitor = DriftMonitor([f"f{i}" for i in range(n)], DELTA)
        moved = [at for at, value in enumerate(values) if monitor.see_features((value,) * n)]
        first.append(moved[0])
    assert first[0] < first[1]


@settings(max_examples=8)
@given(cuts=st.lists(st.integers(0, 4_000), min_size=1, max_size=4))
def test_a_monitor_restored_anywhere_sees_the_same_moves(cuts: list[int]) -> None:
    """Replay, verify and every trainer see the same, wherever they began."""
    draw = random.Random(7)
    rows = [((draw.gauss(float(at > 2_000), 1.0), draw.random()), float(draw.random() < 0.8)) for at in range(4_000)]

    def run(monitor: DriftMonitor, part: Sequence[tuple[tuple[float, float], float]]) -> list[object]:
        return [(monitor.see_features(features), monitor.see_loss(label, 0.8)) for features, label in part]

    unbroken = DriftMonitor(("a", "b"), DELTA)
    expected = run(unbroken, rows)
    found: list[object] = []
    monitor = DriftMonitor(("a", "b"), DELTA)
    for start, stop in pairwise([0, *sorted(cuts), len(rows)]):
        found += run(monitor, rows[start:stop])
        kept = msgspec.msgpack.decode(msgspec.msgpack.encode(monitor.state()), type=DriftState)
        monitor = DriftMonitor(("a", "b"), DELTA, kept)
    assert found == expected
    assert monitor.state() == unbroken.state()


def test_a_state_of_other_features_is_refused() -> None:
    """It would judge one feature by the past of another."""
    with pytest.raises(ValueError, match="other features"):
        DriftMonitor(("a",), DELTA, DriftMonitor(("a", "b"), DELTA).state())
