"""What a customer ordered, by order: told again, late, given back or cancelled, each counts once, as it was in the end.

The latest orders are remembered one by one, and what follows from all of them (`customer.orders`) is computed anew
where one is told late, changes or is given back. What is told in its order is added to what is known: that is the same.
"""

from bisect import insort
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from consumer.core.customer.counters import add_order
from consumer.core.customer.customer import Customer, KnownOrder, Orders
from consumer.core.settings import CoreSettings
from schemas.events import PurchaseEvent
from schemas.units import DAY_MS

_DIGEST_BYTES = 4
_WHOLE = 1.0 - 1e-6  # share of an order's amount that has to be given back for it to be given back as a whole
_EXACT = 2**53  # beyond, whole floating-point numbers are not what they say


# What else is known of an order: `KnownOrder.flags`.
FOREIGN = 1  # its money is kept apart: see `currency`
CANCELLED = 2  # or given back as a whole, whatever it came to
AWAITED = 4  # told of by a refund or a cancellation alone, so far
LINES = 8  # its items are known


class Earned(NamedTuple):
    """What an order brought in: when it was placed, and its amount in shop currency."""

    at: int
    amount: float


class Change(NamedTuple):
    """What an event did to an order. `before` and `after` are None where the order brings in nothing.

    `in_order`: no order was told of before that was placed later, and none has changed.
    """

    order: KnownOrder
    before: Earned | None
    after: Earned | None
    in_order: bool


def known_order(customer: Customer, order_id: str) -> KnownOrder | None:
    """Return the order of this id, where it is remembered."""
    digest = _digest(order_id)
    return next((order for order in customer.known_orders if order.digest == digest), None)


def note_order(
    customer: Customer, event: PurchaseEvent, rate: float | None, settings: CoreSettings, *, stream_time_ms: int
) -> Change:
    """Take in an order, a refund or a cancellation; return what changed by it.

    `rate` turns the money of the event into shop currency; None where that cannot be done.
    """
    found = known_order(customer, event.order_id)
    if found is None:
        order = KnownOrder(_digest(event.order_id), event.occurred_at, flags=AWAITED)
        before = None
    else:
        order, before = found, _earned(found)
        customer.known_orders.remove(order)
    money, foreign = event.total * (1.0 if rate is None else rate), FOREIGN if rate is None else 0
    if event.kind == "order":
        _tell(order, event, money, foreign)
    else:
        _give_back(order, event, money, foreign)
    latest = customer.known_orders[-1] if customer.known_orders else None
    insort(customer.known_orders, order, key=_place)
    after = _earned(order)
    in_order = before is None and (latest is None or _place(latest) < _place(order))
    horizon_days = settings.churn.horizon_days
    if not in_order and before != after:
        _compute_anew(customer, settings)
    elif in_order and after is not None:
        add_order(customer.orders, after.at, after.amount, horizon_days)
    _settle(customer, settings, stream_time_ms)
    return Change(order, before, after, in_order)


def earned_orders(customer: Customer) -> list[Earned]:
    """Return what the remembered orders brought in, in time order."""
    return [earned for order in customer.known_orders if (earned := _earned(order)) is not None]


def _digest(order_id: str) -> int:
    return int.from_bytes(blake2b(order_id.encode(), digest_size=_DIGEST_BYTES).digest(), "big")


def _place(order: KnownOrder) -> tuple[int, int]:
    """Return what orders are sorted by: the same however they were told."""
    return order.at, order.digest


def _tell(order: KnownOrder, event: PurchaseEvent, money: float, foreign: int) -> None:
    """Take an order in: it was placed when it is first told of, and is what is told of it last."""
    told_at = event.occurred_at
    if order.flags & AWAITED:
        order.flags &= ~AWAITED
        order.at, is_latest = told_at, True
    else:
        known_at, known = order.at + order.told_after, (not order.flags & FOREIGN, order.amount)
        is_latest = (told_at, (not foreign, money)) > (known_at, known)
        order.at = min(order.at, told_at)
        order.told_after = max(known_at, told_at) - order.at
    if is_latest:
        if order.flags & FOREIGN != foreign:
            order.refunded = 0  # in another currency than the order is in now
        order.amount = _compact(money)
        order.flags = order.flags & ~FOREIGN | foreign
    if event.lines:
        order.flags |= LINES


def _give_back(order: KnownOrder, event: PurchaseEvent, money: float, foreign: int) -> None:
    """Take in that an order, or a part of it, was given back. One that is not known may be told of later."""
    if order.flags & AWAITED:
        order.at = min(order.at, event.occurred_at)
    whole = event.kind == "cancellation" or (event.amount is None and not event.lines)
    if whole:
        order.flags |= CANCELLED
    elif order.flags & AWAITED and not order.refunded:
        order.refunded, order.flags = _compact(money), order.flags | foreign
    elif order.flags & FOREIGN == foreign:
        order.refunded = _compact(order.refunded + money)


def _compact(money: float) -> int | float:
    """Return the same number, whole where it is: a small one takes a byte or three."""
    return int(money) if money < _EXACT and money == int(money) else money


def _earned(order: KnownOrder) -> Earned | None:
    if order.flags & (AWAITED | CANCELLED):
        return None
    if order.refunded and order.refunded >= order.amount * _WHOLE:
        return None
    return Earned(order.at, 0.0 if order.flags & FOREIGN else float(order.amount - order.refunded))


def _compute_anew(customer: Customer, settings: CoreSettings) -> None:
    """Compute what follows from all orders: those settled, and those remembered in time order."""
    settled = customer.settled_orders
    orders = Orders() if settled is None else msgspec.structs.replace(settled)
    tick_ms = customer.due.tick_ms
    sampled_ms = tick_ms - int(settings.churn.tick_days * DAY_MS) if tick_ms else 0
    for order in earned_orders(customer):
        add_order(orders, order.at, order.amount, settings.churn.horizon_days)
        if order.at <= sampled_ms:
            orders.longest_gap_days = 0  # told of at the last tick
    customer.orders = orders


def _settle(customer: Customer, settings: CoreSettings, stream_time_ms: int) -> None:
    """Settle the oldest orders where they are more than are remembered, or older."""
    orders, limits = customer.known_orders, settings.state
    oldest_ms = stream_time_ms - max(limits.order_days * DAY_MS, settings.time.late_by_ms)
    while len(orders) > limits.orders or orders[0].at < oldest_ms:
        earned = _earned(orders.pop(0))
        if earned is not None:
            settled = customer.settled_orders or Orders()
            add_order(settled, earned.at, earned.amount, settings.churn.horizon_days)
            settled.longest_gap_days = 0
            customer.settled_orders = settled
        if not orders:
            break
