"""Events made from the columns of a data set."""

import orjson

from producers.rows import CLICKSTREAM, PURCHASES, Row


def click_row(
    line: int,
    prefix: str,
    at_ms: int,
    kind: str,
    *,
    customer: str,
    item: str,
    category: str | None,
    session: str | None = None,
) -> Row:
    """Return a click event about one item. Its id is made of the format's prefix and the line."""
    event: dict[str, object] = {
        "event_id": f"{prefix}-{line}",
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
    category: str | None,
    order: str | None = None,
) -> Row:
    """Return an order of one item, quantity 1. Without an order id of its own it gets one made of the line."""
    bought: dict[str, object] = {"item_id": item, "quantity": 1}
    if category is not None:
        bought["category"] = category
    event = {
        "event_id": f"{prefix}-{line}",
        "customer_id": customer,
        "occurred_at": at_ms,
        "kind": "order",
        "order_id": order or f"{prefix}-{line}",
        "lines": [bought],
    }
    return Row(PURCHASES, at_ms, customer.encode(), orjson.dumps(event), line, "order")
