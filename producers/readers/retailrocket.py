"""RetailRocket, both forms; the header says which.

- ``timestamp,visitorid,event,itemid,transactionid``: the original ``events.csv``; milliseconds, not in time order. Each
  item of a transaction is a row: those with one transaction id are one order. Hundreds of rows stand there twice.
- ``Time,UserId,SessionId,Type,ItemId,CatId``: the form with sessions and categories; seconds, and no transaction ids.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from producers.readers.events import click_row, order_of, order_row
from producers.readers.files import fields_of, read_lines, text_of
from producers.readers.reader import Reader
from producers.readers.times import UNITS_MS, looks_like
from producers.rows import BAD_NUMBER, MALFORMED_ROW, OUT_OF_RANGE, UNKNOWN_KIND, BadRow, Row, UnreadableFile

ORIGINAL = ["timestamp", "visitorid", "event", "itemid", "transactionid"]
SESSIONS = ["time", "userid", "sessionid", "type", "itemid", "catid"]
OPEN_LINES = 1_000_000  # of orders held until the file ends, some 200 MB; the data set has 22,457
_KINDS = {"view": "item_view", "addtocart": "cart_add", "transaction": "order"}
_MAX_MS = 253_402_300_799_999  # the last millisecond of the year 9999


class _Event(NamedTuple):
    """What both forms say of a row."""

    at_ms: int
    customer: str
    kind: str
    item: str


def read(path: Path) -> Iterator[Row | BadRow]:
    """Yield the rows of the file; orders of several rows last. Raises `UnreadableFile` where it has another header."""
    lines = read_lines(path)
    header = next(lines, None)
    text = None if header is None else text_of(header)
    columns = [column.strip().lower() for column in fields_of(text)] if isinstance(text, str) else []
    if columns not in (ORIGINAL, SESSIONS):
        expected = f"{','.join(ORIGINAL)} or {','.join(SESSIONS)}"
        raise UnreadableFile(path, "line 1", f"this is no RetailRocket file: its header should be {expected}")
    orders = _Orders()
    try:
        for line in lines:
            row = _row(line.number, text_of(line), columns, orders)
            if row is not None:
                yield row
            if len(orders) >= OPEN_LINES:
                yield from orders.close()
    except UnreadableFile:
        yield from orders.close()
        raise
    yield from orders.close()


def _row(number: int, text: str | BadRow, columns: list[str], orders: "_Orders") -> Row | BadRow | None:
    """Return the row of one line; None where it waits for others in `orders`."""
    if isinstance(text, BadRow):
        return text
    fields = fields_of(text)
    if len(fields) != len(columns):
        return BadRow(number, MALFORMED_ROW, f"{len(fields)} columns; {','.join(columns)} expected")
    if columns == SESSIONS:
        time, user, session, kind, item, category = fields
        event = _event(number, "seconds", (time, user, kind, item))
        return event if isinstance(event, BadRow) else _with_session(number, event, session or None, category or None)
    time, visitor, kind, item, transaction = fields
    event = _event(number, "milliseconds", (time, visitor, kind, item))
    if isinstance(event, BadRow):
        return event
    if event.kind == "order":
        orders.add(number, event, transaction)
        return None
    # Made of the row alone: one that stands there twice is found to be a repetition.
    event_id = f"retailrocket-{event.at_ms}-{visitor}-{kind}-{item}"
    return click_row(number, event_id, event.at_ms, event.kind, customer=visitor, item=item)


def _with_session(number: int, event: _Event, session: str | None, category: str | None) -> Row:
    at_ms, user, kind, item = event
    if kind == "order":
        return order_row(number, "retailrocket-s", at_ms, customer=user, item=item, category=category)
    return click_row(
        number, f"retailrocket-s-{number}", at_ms, kind, customer=user, item=item, category=category, session=session
    )


def _event(line: int, unit: str, fields: tuple[str, str, str, str]) -> _Event | BadRow:
    time, customer, name, item = fields
    kind = _KINDS.get(name)
    if kind is None:
        return BadRow(line, UNKNOWN_KIND, f"event {name[:40]!r}; one of {', '.join(_KINDS)} expected")
    if not customer or not item:
        return BadRow(line, MALFORMED_ROW, "the customer or the item is empty")
    try:
        at_ms = int(time) * round(UNITS_MS[unit])
    except ValueError:
        return BadRow(line, BAD_NUMBER, f"time {time[:40]!r} is no whole number")
    if (seems := looks_like(int(time), unit)) is not None:
        return BadRow(line, OUT_OF_RANGE, f"time {time[:40]} {seems}")
    if not 0 <= at_ms <= _MAX_MS:
        return BadRow(line, BAD_NUMBER, f"time {time[:40]} is out of range")
    return _Event(at_ms, customer, kind, item)


class _Orders:
    """The rows of transactions until all of each have been met. A row that stands there twice counts once."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], dict[tuple[int, str], int]] = {}  # of whom and which → when and what → line
        self._repeated = Counter[tuple[str, str]]()
        self._n_lines = 0

    def __len__(self) -> int:
        return self._n_lines

    def add(self, number: int, event: _Event, transaction: str) -> None:
        """Add a row. Without a transaction id, rows of one visitor at one moment belong together."""
        which = event.customer, transaction or f"{event.customer}-{event.at_ms}"
        lines = self._lines.setdefault(which, {})
        what = event.at_ms, event.item
        if what in lines:
            self._repeated[which] += 1
        else:
            lines[what] = number
            self._n_lines += 1

    def close(self) -> Iterator[Row]:
        """Yield an order for each transaction so far, at the time of its first row."""
        for which, lines in self._lines.items():
            customer, transaction = which
            items = [(item, None) for _, item in sorted(lines)]
            event_id = f"retailrocket-{customer}-{transaction}"
            row = order_of(min(lines.values()), event_id, min(lines)[0], items, order=transaction, customer=customer)
            yield replace(row, merged=len(lines) - 1 + self._repeated[which])
        self._lines.clear()
        self._repeated.clear()
        self._n_lines = 0


def detect(head: bytes) -> bool:
    """Say whether the first line is one of the two headers."""
    header = head.partition(b"\n")[0].decode(errors="replace")
    columns = [column.strip().lower() for column in fields_of(header)]
    return columns in (ORIGINAL, SESSIONS)


READER = Reader(
    "retailrocket",
    time_ordered=False,
    read=read,
    detect=detect,
)
