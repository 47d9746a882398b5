"""JSON lines: one event a line, in the order in which they are to be replayed.

A line is the event itself. Its topic follows from its `kind`; a line may also name it as `topic`, and must where it
is a product, which has no kind (any other `topic` is a field of the event: what an error is about). Lines without an
`event_id` get one made of the line number. Whether the event is valid is decided by the consumer, as for every other
record.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import orjson

from producers.readers.files import Line, read_lines, text_of
from producers.readers.reader import Reader
from producers.rows import (
    BAD_NUMBER,
    CLICKSTREAM,
    MALFORMED_ROW,
    MISSING_FIELD,
    PRIVACY,
    PRODUCTS,
    PURCHASES,
    UNKNOWN_KIND,
    BadRow,
    Row,
)
from schemas.events import ClickKind, PrivacyKind, PurchaseKind
from schemas.topics import INPUT_TOPICS

_TOO_LARGE_MS = 1 << 63  # times of records are signed 64-bit numbers
_TOPIC_OF_KIND = {
    **dict.fromkeys(get_args(ClickKind), CLICKSTREAM),
    **dict.fromkeys(get_args(PurchaseKind), PURCHASES),
    **dict.fromkeys(get_args(PrivacyKind), PRIVACY),
}


def read(path: Path) -> Iterator[Row | BadRow]:
    """Yield the rows of the file in its own order."""
    latest_ms = 0
    for line in read_lines(path):
        row = _row(line, latest_ms)
        if isinstance(row, Row):
            latest_ms = row.occurred_at
        yield row


def _row(line: Line, latest_ms: int) -> Row | BadRow:
    text = text_of(line)
    if isinstance(text, BadRow):
        return text
    try:
        event = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return BadRow(line.number, MALFORMED_ROW, f"no JSON: {error}")
    if not isinstance(event, dict):
        return BadRow(line.number, MALFORMED_ROW, "the line is JSON, but no object")
    named = event.get("topic")
    kind = str(event.get("kind"))
    topic = _TOPIC_OF_KIND.get(kind) or (named if named in INPUT_TOPICS else None)
    if topic is None:
        return BadRow(line.number, UNKNOWN_KIND, f"kind {kind[:40]!r} belongs to no topic, and `topic` names none")
    if topic == PRODUCTS:
        return _product(line, event, latest_ms)
    return _event(line, topic, kind, event)


def _event(line: Line, topic: str, kind: str, event: dict[str, object]) -> Row | BadRow:
    customer, at_ms = event.get("customer_id"), event.get("occurred_at")
    if not isinstance(customer, str) or not customer:
        return BadRow(line.number, MISSING_FIELD, "`customer_id` is missing")
    if isinstance(at_ms, bool) or not isinstance(at_ms, int):
        return BadRow(line.number, BAD_NUMBER, "`occurred_at` is missing or no whole number of milliseconds")
    if abs(at_ms) >= _TOO_LARGE_MS:
        return BadRow(line.number, BAD_NUMBER, "`occurred_at` is larger than any time that a record can have")
    value = line.data
    if event.get("topic") == topic or "event_id" not in event:
        event.setdefault("event_id", f"jsonl-{line.number}")
        value = _without_topic(event, topic)
    return Row(topic, at_ms, customer.encode(), value, line.number, kind)


def _product(line: Line, event: dict[str, object], latest_ms: int) -> Row | BadRow:
    """A product has no time of its own: it stands where it stands in the file."""
    item = event.get("item_id")
    if not isinstance(item, str) or not item:
        return BadRow(line.number, MISSING_FIELD, "`item_id` is missing")
    return Row(PRODUCTS, latest_ms, item.encode(), _without_topic(event, PRODUCTS), line.number, "product")


def _without_topic(event: dict[str, object], topic: str) -> bytes:
    if event.get("topic") == topic:
        event = {name: value for name, value in event.items() if name != "topic"}
    return orjson.dumps(event)


def detect(head: bytes) -> bool:
    """Say whether the file starts with a JSON object."""
    return head.lstrip()[:1] == b"{"


READER = Reader("jsonl", time_ordered=True, read=read, detect=detect)
