"""The working set: uncommitted customers on top of committed ones, and who is due."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.customer.customer import CorruptState, Customer, Orders, decode_customer, encode_customer
from consumer.core.customer.working_set import TIMER_WINDOW_MS, WorkingSet
from consumer.store.memory import MemoryState


def committed_with(*customers: Customer) -> MemoryState:
    state = MemoryState()
    state.apply({c.customer_id: encode_customer(c) for c in customers}, b"", 1)
    return state


def test_a_roll_back_forgets_changes_made_in_place() -> None:
    """A customer changed and not committed is read anew after a roll-back."""
    working = WorkingSet(committed_with(Customer("ann", orders=Orders(n=1))))
    ann = working.get("ann")
    assert ann is not None
    ann.orders.n = 2
    working.put(ann)
    working.roll_back()
    again = working.get("ann")
    assert again is not None
    assert again.orders.n == 1


def test_a_deleted_customer_is_gone_before_the_commit() -> None:
    """Between a delete and its commit the committed record does not shine through."""
    working = WorkingSet(committed_with(Customer("ann")))
    working.delete("ann")
    assert working.get("ann") is None
    assert working.changes() == {"ann": None}


def test_the_cache_is_bounded_after_a_commit() -> None:
    """Customers beyond the bound are read from the committed state again."""
    state = MemoryState()
    working = WorkingSet(state, cache_customers=2)
    for name in "abcd":
        working.put(Customer(name))
    working.commit(working.changes(), b"", 1)
    assert [working.get(name) is not None for name in "abcd"] == [True] * 4
    assert len(state) == 4


timers = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 4 * TIMER_WINDOW_MS), st.booleans()), max_size=30
)


@given(timers, st.lists(st.integers(1, 4 * TIMER_WINDOW_MS), min_size=1, max_size=6))
def test_customers_are_due_in_order_and_exactly_once(
    schedules: list[tuple[str, int, bool]], moments: list[int]
) -> None:
    """Whatever is committed, cached or only in memory: due customers come by (due, id), each once, none too early."""
    working = WorkingSet(MemoryState(), cache_customers=2)
    expected: dict[str, int] = {}
    for customer_id, due_ms, commit in schedules:
        customer = working.get(customer_id) or Customer(customer_id)
        working.schedule(customer, due_ms)
        working.put(customer)
        expected[customer_id] = due_ms
        if commit:
            working.commit(working.changes(), b"", 1)
    for now_ms in sorted(moments):
        fired: list[tuple[int, str]] = []
        while (customer_due := working.pop_due(now_ms)) is not None:
            fired.append((customer_due.scheduled_ms, customer_due.customer_id))
            working.delete(customer_due.customer_id)
        due = sorted((ms, name) for name, ms in expected.items() if ms <= now_ms)
        assert fired == due
        for _, name in due:
            del expected[name]


@given(st.integers(5, 40), st.integers(0, 255))
def test_a_damaged_state_record_is_refused(position: int, byte: int) -> None:
    """One changed byte of what the checksum covers is noticed."""
    record = bytearray(encode_customer(Customer("ann", scheduled_ms=7, history=["i1", "i2"])))
    position %= len(record)
    if position < 5 or record[position] == byte:
        return
    record[position] = byte
    with pytest.raises(CorruptState):
        decode_customer(bytes(record))


def test_a_timer_that_was_met_in_an_aborted_commit_is_due_again() -> None:
    """Rolling back forgets what was taken off the timers too; otherwise a customer would never be looked at again."""
    working = WorkingSet(MemoryState())
    customer = Customer("ann")
    working.schedule(customer, 100)
    working.put(customer)
    working.commit(working.changes(), b"", 1)
    met = working.pop_due(100)
    assert met is not None
    working.schedule(met, 5 * TIMER_WINDOW_MS)
    working.put(met)
    working.roll_back()
    again = working.pop_due(100)
    assert again is not None
    assert again.scheduled_ms == 100
