"""In which order the partitions of one process are bridged."""

from math import inf

from consumer.bridge.becoming import Bridged, Place
from consumer.bridge.order import SourceOrder

A, B = Place("shop", 0), Place("shop", 1)
IDLE_S = 300.0


def record(offset: int, time_ms: int | None) -> Bridged:
    return Bridged(offset, time_ms, (), None)


def order_of(**times_ms: list[int | None]) -> SourceOrder:
    """Return partitions `a` and `b` with records of these times, both at their end."""
    order = SourceOrder(IDLE_S)
    for place, name in ((A, "a"), (B, "b")):
        order.start(place, None, 0.0)
        for offset, time_ms in enumerate(times_ms[name]):
            order.push(place, record(offset, time_ms))
        order.end_reached(place)
    return order


def taken(order: SourceOrder, limit_ms: float = inf, now_s: float = 0.0) -> list[tuple[Place, int]]:
    found = []
    while (popped := order.pop(limit_ms, now_s)) is not None:
        found.append((popped[0], popped[1].offset))
    return found


def test_the_lowest_event_time_goes_first_and_each_partition_keeps_its_order() -> None:
    """A late record does not overtake those before it in its partition."""
    order = order_of(a=[10, 40, 20], b=[15, 30, 50])
    assert taken(order) == [(A, 0), (B, 0), (B, 1), (A, 1), (A, 2), (B, 2)]


def test_a_record_without_an_event_takes_the_time_of_the_one_before() -> None:
    """So it moves nothing; the first of a partition goes first of all."""
    order = order_of(a=[20, None, 30], b=[None, 10, 25])
    assert taken(order) == [(B, 0), (B, 1), (A, 0), (A, 1), (B, 2), (A, 2)]


def test_an_empty_partition_holds_the_others_back_until_its_end_is_known() -> None:
    """A slow fetch is not an empty partition."""
    order = SourceOrder(IDLE_S)
    order.start(A, None, 0.0)
    order.start(B, None, 0.0)
    order.push(A, record(0, 10))
    assert taken(order) == []
    order.end_reached(B)
    assert taken(order) == [(A, 0)]


def test_a_partition_that_stays_silent_is_waited_for_no_longer_than_it_may_be_idle() -> None:
    """As of a partition without a leader."""
    order = SourceOrder(IDLE_S)
    order.start(A, None, 0.0)
    order.start(B, None, 0.0)
    order.push(A, record(0, 10))
    assert taken(order, now_s=IDLE_S - 1) == []
    assert taken(order, now_s=IDLE_S) == [(A, 0)]


def test_nothing_is_taken_from_beyond_the_limit() -> None:
    """What is held back comes once the limit moves."""
    order = order_of(a=[10, 40], b=[15, 30])
    assert taken(order, limit_ms=30) == [(A, 0), (B, 0), (B, 1)]
    assert taken(order, limit_ms=40) == [(A, 1)]


def test_what_a_partition_has_reached_is_the_time_of_its_next_record_and_never_goes_back() -> None:
    """Else a gap in a partition, or a late record, would hold the other processes back."""
    order = order_of(a=[10, 90, 20], b=[15])
    assert order.reached_ms(A) == 10
    assert taken(order, limit_ms=50) == [(A, 0), (B, 0)]
    assert order.reached_ms(A) == 90
    assert taken(order, limit_ms=90) == [(A, 1), (A, 2)]
    assert order.reached_ms(A) == 90


def test_a_partition_that_begins_anew_has_forgotten_its_queue_and_not_what_it_had_reached() -> None:
    """As after an aborted commit."""
    order = order_of(a=[10, 40], b=[15])
    order.start(A, 10, 0.0)
    assert order.queued(A) == 0
    assert order.reached_ms(A) == 10
    assert taken(order) == []  # it is waited for again
    order.push(A, record(1, 40))
    order.end_reached(A)
    assert taken(order) == [(B, 0), (A, 1)]
    assert order.drained(A)
