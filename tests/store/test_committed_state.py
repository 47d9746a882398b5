"""The contract of committed state, for every implementation of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumer.core.customer.customer import Customer, Orders, encode_customer, scheduled_ms_of
from consumer.store.lmdb_state import LmdbState
from consumer.store.memory import MemoryState

State = MemoryState | LmdbState
LONG = "ü" * 256  # 512 bytes in UTF-8, over LMDB's limit for a key


def record(customer_id: str, scheduled_ms: int = 0, spend: float = 0.0) -> bytes:
    """Return the record of a customer."""
    return encode_customer(Customer(customer_id, scheduled_ms=scheduled_ms, orders=Orders(spend=spend)))


@pytest.fixture(params=["memory", "lmdb"])
def new_state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], State]]:
    """Return a maker of empty states."""
    opened: list[State] = []

    def make() -> State:
        lmdb = request.param == "lmdb"
        opened.append(LmdbState(tmp_path / str(len(opened))) if lmdb else MemoryState())
        return opened[-1]

    yield make
    for state in opened:
        state.close()


def test_a_fresh_state_is_empty(new_state: Callable[[], State]) -> None:
    """Nothing is there before the first commit, and the changelog is read from its beginning."""
    state = new_state()
    assert (len(state), state.get("a"), state.task_record(), state.changelog_offset()) == (0, None, None, 0)
    assert list(state.due(0, 1 << 50)) == []
    assert state.discarded is None


def test_a_commit_is_read_back(new_state: Callable[[], State]) -> None:
    """Records, task record and changelog offset of a commit are what is read after it."""
    state = new_state()
    state.apply({"a": record("a", 5), "b": record("b", 3)}, b"task", 42)
    assert state.get("a") == record("a", 5)
    assert (len(state), state.task_record(), state.changelog_offset()) == (2, b"task", 42)
    assert list(state.due(0, 10)) == [(3, "b"), (5, "a")]


def test_a_timer_moves_with_its_customer(new_state: Callable[[], State]) -> None:
    """A customer has one timer: the one of the latest record."""
    state = new_state()
    state.apply({"a": record("a", 5)}, b"", 1)
    state.apply({"a": record("a", 4_000_000)}, b"", 2)
    assert list(state.due(0, 1 << 50)) == [(4_000_000, "a")]
    state.apply({"a": record("a", 0)}, b"", 3)
    assert list(state.due(0, 1 << 50)) == []


def test_a_customer_who_is_never_scheduled_is_never_due(new_state: Callable[[], State]) -> None:
    """Values of zero and below are no moments."""
    state = new_state()
    state.apply({"a": record("a", 0), "b": record("b", -7)}, b"", 1)
    assert list(state.due(-100, 100)) == []


def test_a_deleted_customer_leaves_nothing(new_state: Callable[[], State]) -> None:
    """Neither record nor timer stay behind; deleting who is not there is no error."""
    state = new_state()
    for customer_id in ("a", LONG):
        state.apply({customer_id: record(customer_id, 5)}, b"", 1)
        state.apply({customer_id: None, "nobody": None}, b"", 2)
        assert (len(state), state.get(customer_id), list(state.due(0, 10))) == (0, None, [])


def test_due_customers_are_in_order_of_time_then_id(new_state: Callable[[], State]) -> None:
    """The range holds its beginning and not its end; equal times are in the order of the ids, however long."""
    state = new_state()
    ids = ["b", "a", "é", LONG, LONG[:-1] + "a", LONG[:-1] + "z", "ü" * 240, "ü" * 235, "😀"]
    state.apply({customer_id: record(customer_id, 7) for customer_id in ids}, b"", 1)
    state.apply({"early": record("early", 6), "late": record("late", 8)}, b"", 2)
    assert list(state.due(7, 8)) == [(7, customer_id) for customer_id in sorted(ids)]


def test_ids_of_the_greatest_length_are_told_apart(new_state: Callable[[], State]) -> None:
    """Ids that differ in their last character alone are two customers."""
    state = new_state()
    ids = ["😀" * 255 + "a", "😀" * 255 + "b"]
    state.apply({customer_id: record(customer_id, 9) for customer_id in ids}, b"", 1)
    assert [state.get(customer_id) for customer_id in ids] == [record(customer_id, 9) for customer_id in ids]
    assert list(state.due(9, 10)) == [(9, customer_id) for customer_id in ids]


def test_a_commit_during_an_iteration_is_allowed(new_state: Callable[[], State]) -> None:
    """Whoever iterates over due customers may commit meanwhile; unchanged customers still come, each once."""
    state = new_state()
    state.apply({f"c{n:05}": record(f"c{n:05}", 10 + n) for n in range(2_500)}, b"", 1)
    seen = []
    for _, customer_id in state.due(0, 1 << 50):
        seen.append(customer_id)
        if len(seen) % 1_000 == 0:
            state.apply({customer_id: None}, b"", 2)
    assert seen == [f"c{n:05}" for n in range(2_500)]


def test_a_restore_lets_the_later_record_win(new_state: Callable[[], State]) -> None:
    """A changelog that is not compacted yet holds several records of a customer, and tombstones."""
    state = new_state()
    records = [("a", record("a", 1)), ("b", record("b", 2)), ("a", record("a", 3)), ("b", None), ("c", None)]
    state.apply({}, b"task", 1)
    assert state.restore(records, 9) == 5
    assert (len(state), list(state.due(0, 10)), state.changelog_offset()) == (1, [(3, "a")], 9)
    state.restore([("a", None), (LONG, record(LONG, 4))], 11)
    assert (list(state.due(0, 10)), state.task_record(), state.changelog_offset()) == ([(4, LONG)], b"task", 11)


def test_a_restore_of_many_records_is_that_of_their_latest(
    new_state: Callable[[], State], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many transactions a restore takes, records and timers are those of the last record of each customer."""
    monkeypatch.setattr("consumer.store.lmdb_state._BULK_RECORDS", 10)
    state = new_state()
    state.apply({"c3": record("c3", 999), "old": record("old", 5)}, b"", 1)
    changes: list[tuple[str, bytes | None]] = []
    for n in range(97):
        customer_id = LONG if n % 9 == 0 else f"c{n % 40}"
        changes.append((customer_id, None if n % 7 == 0 else record(customer_id, n, spend=n)))
    state.restore(changes, 200)
    wanted = {"old": record("old", 5), "c3": record("c3", 999)} | dict(changes)
    left = {customer_id: value for customer_id, value in wanted.items() if value is not None}
    assert {customer_id: state.get(customer_id) for customer_id in wanted} == wanted
    assert len(state) == len(left)
    due = sorted((scheduled_ms_of(value), customer_id) for customer_id, value in left.items())
    assert list(state.due(0, 1_000)) == [pair for pair in due if pair[0] > 0]
    assert (state.task_record(), state.changelog_offset()) == (b"", 200)


IDS = st.sampled_from(["a", "b", "é", LONG, LONG[:-1] + "a", "x" * 256, "ü" * 236])
CHANGES = st.dictionaries(IDS, st.none() | st.integers(-1, 30))
STEPS = st.lists(st.tuples(st.sampled_from(["apply", "restore", "reopen"]), CHANGES), max_size=12)


@pytest.mark.parametrize("kind", ["memory", "lmdb"])
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_history_of_commits_equals_a_dictionary(
    kind: str, steps: list[tuple[str, dict[str, int | None]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """After any commits, restores and reopenings the state is what a dictionary would hold."""
    path = tmp_path_factory.mktemp("store")
    state: Any = LmdbState(path) if kind == "lmdb" else MemoryState()
    model: dict[str, bytes] = {}
    for number, (step, scheduled) in enumerate(steps, start=1):
        changes = {who: None if ms is None else record(who, ms, spend=number) for who, ms in scheduled.items()}
        if step == "apply":
            state.apply(changes, b"task %d" % number, number)
        elif step == "restore":
            state.restore(changes.items(), number)
        else:
            changes = {}
            if kind == "lmdb":
                state.close()
                state = LmdbState(path)
        model = {who: value for who, value in (model | changes).items() if value is not None}
        assert {who: state.get(who) for who in model} == model
        assert len(state) == len(model)
        due = sorted((scheduled_ms_of(value), who) for who, value in model.items())
        assert list(state.due(2, 25)) == [(ms, who) for ms, who in due if 2 <= ms < 25]
    state.close()
