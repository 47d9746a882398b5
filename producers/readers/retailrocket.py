"""RetailRocket, both forms; the header says which.

- ``timestamp,visitorid,event,itemid,transactionid``: the original ``events.csv``; milliseconds, not in time order.
- ``Time,UserId,SessionId,Type,ItemId,CatId``: the form with sessions and categories; seconds.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from producers.readers.events import click_row, order_row
from producers.readers.files import fields_of, read_lines, text_of
from producers.readers.reader import Reader
from producers.rows import BAD_NUMBER, MALFORMED_ROW, UNKNOWN_KIND, BadRow, Row, UnreadableFile

ORIGINAL = ["timestamp", "visitorid", "event", "itemid", "transactionid"]
SESSIONS = ["time", "userid", "sessionid", "type", "itemid", "catid"]
_KINDS = {"view": "item_view", "addtocart": "cart_add", "transaction": "order"}
_MAX_MS = 253_402_300_799_999  # the last millisecond of the year 9999


def read(path: Path) -> Iterator[Row | BadRow]:
    """Yield the rows of the file in its own order. Raises `UnreadableFile` where the header is of neither form."""
    form: Callable[[int, list[str]], Row | BadRow] | None = None
    for line in read_lines(path):
        text = text_of(line)
        if form is None:
            form = _form(path, text)
        elif isinstance(text, BadRow):
            yield text
        else:
            yield form(line.number, fields_of(text))


def _form(path: Path, header: str | BadRow) -> Callable[[int, list[str]], Row | BadRow]:
    columns = [] if isinstance(header, BadRow) else [column.strip().lower() for column in fields_of(header)]
    if columns == ORIGINAL:
        return _original
    if columns == SESSIONS:
        return _with_sessions
    expected = f"{','.join(ORIGINAL)} or {','.join(SESSIONS)}"
    raise UnreadableFile(path, "line 1", f"this is no RetailRocket file: its header should be {expected}")


def _original(line: int, fields: list[str]) -> Row | BadRow:
    if len(fields) != len(ORIGINAL):
        return _wrong_columns(line, fields, ORIGINAL)
    time_ms, visitor, kind, item, transaction = fields
    return _row(line, "retailrocket", 1, (time_ms, visitor, kind, item), transaction or None, None, None)


def _with_sessions(line: int, fields: list[str]) -> Row | BadRow:
    if len(fields) != len(SESSIONS):
        return _wrong_columns(line, fields, SESSIONS)
    time_s, user, session, kind, item, category = fields
    return _row(line, "retailrocket-s", 1000, (time_s, user, kind, item), None, category or None, session or None)


def _wrong_columns(line: int, fields: list[str], expected: list[str]) -> BadRow:
    return BadRow(line, MALFORMED_ROW, f"{len(fields)} columns; {','.join(expected)} expected")


def _row(
    line: int,
    prefix: str,
    unit_ms: int,
    fields: tuple[str, str, str, str],
    transaction: str | None,
    category: str | None,
    session: str | None,
) -> Row | BadRow:
    time, customer, event, item = fields
    kind = _KINDS.get(event)
    if kind is None:
        return BadRow(line, UNKNOWN_KIND, f"event {event[:40]!r}; one of {', '.join(_KINDS)} expected")
    if not customer or not item:
        return BadRow(line, MALFORMED_ROW, "the customer or the item is empty")
    try:
        at_ms = int(time) * unit_ms
    except ValueError:
        return BadRow(line, BAD_NUMBER, f"time {time[:40]!r} is no whole number")
    if not 0 <= at_ms <= _MAX_MS:
        return BadRow(line, BAD_NUMBER, f"time {time[:40]} is out of range")
    if kind == "order":
        return order_row(line, prefix, transaction, customer, item, category, at_ms)
    return click_row(line, prefix, kind, customer, item, category, session, at_ms)


def detect(head: bytes) -> bool:
    """Say whether the first line is one of the two headers."""
    columns = [column.strip().lower() for column in head.partition(b"\n")[0].decode(errors="replace").split(",")]
    return columns in (ORIGINAL, SESSIONS)


READER = Reader(
    "retailrocket",
    time_ordered=False,
    read=read,
    detect=detect,
)
