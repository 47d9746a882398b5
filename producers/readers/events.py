"""Events made from the columns of a data set."""

from collections.abc import Sequence

import orjson

from producers.rows import CLICKSTREAM, PURCHASES, Row


def click_row(
    line: int,
    event_id: str,
    at_ms: int,
    kind: str,
    *,
    customer: str,
    item: str,
    category: str | None = None,
    session: str | None = None,
) -> Row:
    """Return a click event about one item."""
    event: dict[str, object] = {
        "event_id": event_id,
        "customer_id": customer,
        "occurred_at": at_ms,
        "kind": kind,
        "item_id": item,
    }
    if category is not None:
        event["category"] = category
    if session is not None:
        event["session_id"] = session
    return Row(CLICKSTREAM, at_ms, customer.encode(), orjson.dumps(event), line, kind)


def order_row(
    line: int,
    prefix: str,
    at_ms: int,
    *,
    customer: str,
    item: str,
    category: str | None = None,
    order: str | None = None,
) -> Row:
    """Return an order of one item, quantity 1. Without an order id of its own it gets one made of the line."""
    own_id = f"{prefix}-{line}"
    return order_of(line, own_id, at_ms, [(item, category)], order=order or own_id, customer=customer)


def order_of(
    line: int, event_id: str, at_ms: int, items: Sequence[tuple[str, str | None]], *, order: str, customer: str
) -> Row:
    """Return an order of these items with their categories, quantity 1 each."""
    lines: list[dict[str, object]] = []
    for item, category in items:
        bought: dict[str, object] = {"item_id": item, "quantity": 1}
        if category is not None:
            bought["category"] = category
        lines.append(bought)
    event = {
        "event_id": event_id,
        "customer_id": customer,
        "occurred_at": at_ms,
        "kind": "order",
        "order_id": order,
        "lines": lines,
    }
    return Row(PURCHASES, at_ms, customer.encode(), orjson.dumps(event), line, "order")
