"""Facts, not messages: an order counts once, as it was in the end, in whichever order that was told."""

from dataclasses import replace
from math import isclose

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.churn import churn
from consumer.core.churn.churn import ChurnEstimate
from consumer.core.churn.features import PACKED_SIZE
from consumer.core.customer.counters import ORDERS
from consumer.core.customer.customer import Customer, KnownOrder, PendingDecision, decode_customer, encode_customer
from schemas.events import OrderLine, PurchaseEvent, PurchaseKind
from schemas.units import DAY_MS, HOUR_MS
from tests.core.streams import SETTINGS, T0, Stream, new_task

QUIET = replace(SETTINGS, churn=replace(SETTINGS.churn, tick_days=30.0))  # no tick falls into what is told


def purchase(
    event_id: str, at_ms: int, order_id: str = "o1", amount: float | None = 10.0, kind: PurchaseKind = "order"
) -> PurchaseEvent:
    return PurchaseEvent(event_id, "ann", at_ms, kind, order_id, amount=amount)


def told(*events: PurchaseEvent, stream: Stream | None = None) -> Customer:
    """Return the customer after `events`, in this order."""
    stream = stream or Stream(new_task(QUIET))
    for event in events:
        assert stream.task.step("purchases", stream.offset, event) is None
        stream.offset += 1
    ann = stream.task.state.get("ann")
    assert ann is not None
    return ann


def numbers_of(customer: Customer) -> list[float]:
    *numbers, recent = msgspec.structs.astuple(customer.orders)
    return [*numbers, *recent]


MESSAGES = st.builds(
    purchase,
    event_id=st.integers(0, 30).map(lambda n: f"e{n}"),
    at_ms=st.integers(0, 6 * 24).map(lambda hour: T0 + hour * HOUR_MS),
    order_id=st.sampled_from(["o1", "o2", "o3", "o4", "o5"]),
    amount=st.sampled_from([0.1, 0.2, 5.0, 7.7, 12.0]),
    kind=st.sampled_from(["order", "order", "order", "refund", "cancellation"]),
)


@given(
    st.lists(MESSAGES, min_size=1, max_size=14, unique_by=lambda event: event.event_id).flatmap(
        lambda events: st.tuples(st.permutations(events), st.lists(st.sampled_from(events), max_size=5))
    )
)
def test_what_happened_counts_and_not_the_order_in_which_it_was_told(
    case: tuple[list[PurchaseEvent], list[PurchaseEvent]],
) -> None:
    """Within the allowance for lateness any order of messages, some told twice, comes to the same orders."""
    events, repeated = case
    in_time = told(*sorted(events, key=lambda event: (event.occurred_at, event.event_id)))
    as_told = told(*events, *repeated)
    assert numbers_of(as_told) == pytest.approx(numbers_of(in_time), rel=1e-12)
    for one, other in zip(as_told.known_orders, in_time.known_orders, strict=True):
        assert replace_refund(one, 0) == replace_refund(other, 0)
        assert isclose(one.refunded, other.refunded)  # summed as they come, which may differ in the last bit
    assert as_told.first_seen_ms == in_time.first_seen_ms
    for place in (2 * ORDERS, 2 * ORDERS + 1):
        assert isclose(as_told.counters[place], in_time.counters[place], abs_tol=1e-9)


def replace_refund(order: KnownOrder, refunded: float) -> KnownOrder:
    return msgspec.structs.replace(order, refunded=refunded)


def test_orders_in_time_are_only_added() -> None:
    """What is told in its order comes to the same bits as when all is computed anew."""
    ann = told(*(purchase(f"e{n}", T0 + n * n * HOUR_MS, f"o{n}", 0.1 * n) for n in range(12)))
    late = told(*(purchase(f"e{n}", T0 + n * n * HOUR_MS, f"o{n}", 0.1 * n) for n in (0, 2, 1, *range(3, 12))))
    assert ann.orders == late.orders


def test_an_order_told_three_times_is_one_order_in_its_latest_form() -> None:
    """Created, paid and updated come with ids of their own: one basket, one count, one decision, the latest amount."""
    stream = Stream(new_task(QUIET))
    lines = (OrderLine("a", 1, 400.0),)
    for n, (event_id, at_ms, quantity) in enumerate(
        [("created", T0, 1), ("updated", T0 + HOUR_MS, 2), ("paid", T0 + 60_000, 1)]
    ):
        lines = (OrderLine("a", quantity, 400.0),)
        event = PurchaseEvent(event_id, "ann", at_ms, "order", "o1", lines)
        assert stream.task.step("purchases", n, event) is None
    ann, outputs = stream.task.state.get("ann"), stream.task.take_outputs()
    assert ann is not None
    assert (ann.orders.n, ann.orders.spend, ann.orders.first_ms, ann.orders.last_ms) == (1, 800.0, T0, T0)
    assert ann.last_seen_ms == T0  # an update is nothing that the customer did
    assert len([session for session in outputs.sessions if session.kind == "basket"]) == 1
    assert [decision.trigger for decision in outputs.decisions] == ["purchase"]
    assert ann.bought["a"].times == 1


def test_items_that_are_told_of_later_make_the_basket_then() -> None:
    """An order that came with an amount alone is learned from once its lines are known, and only once."""
    stream = Stream(new_task(QUIET))
    told(purchase("created", T0), stream=stream)
    paid = [PurchaseEvent(f"paid-{n}", "ann", T0 + n, "order", "o1", (OrderLine("a"),)) for n in (1, 2)]
    ann = told(*paid, stream=stream)
    assert [session.items for session in stream.task.take_outputs().sessions] == [("a",)]
    assert list(ann.bought) == ["a"]
    assert ann.orders.n == 1


@pytest.mark.parametrize(
    ("given_back", "n", "spend"),
    [
        (purchase("r", T0 + 9, amount=4.0, kind="refund"), 2, 26.0),
        (purchase("r", T0 + 9, amount=10.0, kind="refund"), 1, 20.0),
        (purchase("r", T0 + 9, amount=None, kind="refund"), 1, 20.0),
        (purchase("r", T0 + 9, amount=None, kind="cancellation"), 1, 20.0),
        (purchase("r", T0 + 9, "unknown", 5.0, kind="refund"), 2, 30.0),
    ],
    ids=["a part", "all of it", "without an amount", "cancelled", "of an order not known"],
)
def test_what_is_given_back_has_not_been_earned(given_back: PurchaseEvent, n: int, spend: float) -> None:
    """A part lowers the amount, the whole takes the order out, before the order is told as well as after, told twice
    or once.
    """
    orders = [purchase("e1", T0), purchase("e2", T0 + 5, "o2", 20.0)]
    for events in ([*orders, given_back], [given_back, *orders], [*orders, given_back, given_back]):
        ann = told(*events)
        assert (ann.orders.n, ann.orders.spend) == (n, spend)
        assert decode_customer(encode_customer(ann)) == ann


def test_a_cancelled_order_told_again_stays_cancelled() -> None:
    """Shops send an update along with a cancellation; it takes nothing back."""
    ann = told(
        purchase("e1", T0),
        purchase("x", T0 + 1, amount=None, kind="cancellation"),
        purchase("e2", T0 + 2, amount=99.0),
    )
    assert (ann.orders.n, ann.orders.spend, ann.orders.last_ms) == (0, 0, 0)


def test_pending_labels_and_outcomes_follow_what_was_bought_in_the_end() -> None:
    """An order given back is no sign of staying and no success; the next one is, though it was there all the time."""
    stream = Stream(new_task(QUIET))
    ann = told(purchase("e0", T0, "o0"), stream=stream)
    estimate = ChurnEstimate(0.5, 0.5, bytes(PACKED_SIZE))
    churn.remember_prediction(ann, estimate, T0 + HOUR_MS, QUIET.churn, limit=4)
    ann.pending.decisions = [PendingDecision(T0 + HOUR_MS, "offer|email", b"", 0.1, 0.5, False, 0, 0)]
    ann = told(
        purchase("e1", T0 + 2 * HOUR_MS, "o1", 30.0), purchase("e2", T0 + 9 * HOUR_MS, "o2", 20.0), stream=stream
    )
    assert ann.pending.churn[0].signal_at == T0 + 2 * HOUR_MS
    assert (ann.pending.decisions[0].orders, ann.pending.decisions[0].spent) == (2, 50.0)
    ann = told(purchase("r1", T0 + 10 * HOUR_MS, "o1", 30.0, "refund"), stream=stream)
    assert ann.pending.churn[0].signal_at == T0 + 9 * HOUR_MS
    assert (ann.pending.decisions[0].orders, ann.pending.decisions[0].spent) == (1, 20.0)
    ann = told(purchase("r2", T0 + 11 * HOUR_MS, "o2", None, "cancellation"), stream=stream)
    assert ann.pending.churn[0].signal_at == 0
    assert (ann.pending.decisions[0].orders, ann.pending.decisions[0].spent) == (0, 0)


def test_a_late_order_counts_for_the_decisions_before_it() -> None:
    """It falls into their outcome windows by its own time."""
    stream = Stream(new_task(QUIET))
    ann = told(purchase("e0", T0, "o0"), stream=stream)
    ann.pending.decisions = [
        PendingDecision(T0 + hour * HOUR_MS, "offer|email", b"", 0.1, 0.5, False, 0, 0) for hour in (1, 3)
    ]
    told(purchase("e9", T0 + 9 * HOUR_MS, "o9"), stream=stream)
    ann = told(purchase("e2", T0 + 2 * HOUR_MS, "o2"), stream=stream)
    assert [decision.orders for decision in ann.pending.decisions] == [2, 1]


def test_what_is_remembered_of_orders_is_bounded() -> None:
    """Beyond the bound an order is settled: it counts on, and what is told of it then concerns no order known."""
    settings = replace(QUIET, state=replace(QUIET.state, orders=3))
    stream = Stream(new_task(settings))
    ann = told(*(purchase(f"e{n}", T0 + n * HOUR_MS, f"o{n}", 10.0) for n in range(6)), stream=stream)
    assert len(ann.known_orders) == 3
    assert (ann.orders.n, ann.orders.spend) == (6, 60.0)
    assert ann.settled_orders is not None
    assert ann.settled_orders.n == 3
    ann = told(purchase("r", T0 + 7 * HOUR_MS, "o0", 10.0, "refund"), stream=stream)
    assert (ann.orders.n, ann.orders.spend) == (6, 60.0)  # o0 is not remembered any more
    ann = told(purchase("r5", T0 + 8 * HOUR_MS, "o5", 10.0, "refund"), stream=stream)
    assert (ann.orders.n, ann.orders.spend) == (5, 50.0)


def test_an_old_order_is_settled_and_its_numbers_stay() -> None:
    """Settling moves what an order came to from one place to another."""
    stream = Stream(new_task(QUIET))
    ann = told(*(purchase(f"e{n}", T0 + n * 40 * DAY_MS, f"o{n}", 0.1) for n in range(5)), stream=stream)
    assert len(ann.known_orders) == 2
    plain = told(
        *(purchase(f"e{n}", T0 + n * 40 * DAY_MS, f"o{n}", 0.1) for n in range(5)),
        stream=Stream(new_task(replace(QUIET, state=replace(QUIET.state, order_days=500)))),
    )
    assert plain.settled_orders is None
    assert ann.orders == plain.orders
