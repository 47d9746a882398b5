"""Taobao UserBehavior: user, item, category, behaviour, epoch seconds; no header, not in time order.

The data set describes 25 November to 3 December 2017, in China's time zone; rows outside of these days are mistakes
of the data set and are left out.
"""

from collections.abc import Iterator
from pathlib import Path

from producers.readers.events import click_row, order_row
from producers.readers.files import fields_of, read_lines, text_of
from producers.readers.reader import Reader
from producers.rows import BAD_NUMBER, MALFORMED_ROW, OUT_OF_WINDOW, UNKNOWN_KIND, BadRow, Row

WINDOW_START_S = 1_511_539_200  # 2017-11-25 00:00 in Asia/Shanghai
WINDOW_END_S = 1_512_316_800  # 2017-12-04 00:00, no longer in it
_COLUMNS = 5
_KINDS = {"pv": "item_view", "cart": "cart_add", "fav": "wishlist", "buy": "order"}


def read(path: Path) -> Iterator[Row | BadRow]:
    """Yield the rows of the file in its own order."""
    for line in read_lines(path):
        text = text_of(line)
        yield text if isinstance(text, BadRow) else _row(line.number, fields_of(text))


def _row(line: int, fields: list[str]) -> Row | BadRow:
    if len(fields) != _COLUMNS or not (fields[0] and fields[1]):
        return BadRow(line, MALFORMED_ROW, f"{len(fields)} columns; user, item, category, behaviour, seconds expected")
    user, item, category, behaviour, seconds = fields
    kind = _KINDS.get(behaviour)
    if kind is None:
        return BadRow(line, UNKNOWN_KIND, f"behaviour {behaviour[:40]!r}; one of {', '.join(_KINDS)} expected")
    try:
        at_s = int(seconds)
    except ValueError:
        return BadRow(line, BAD_NUMBER, f"seconds {seconds[:40]!r} are no whole number")
    if not WINDOW_START_S <= at_s < WINDOW_END_S:
        return BadRow(line, OUT_OF_WINDOW, f"{at_s} is outside of the published nine days")
    if kind == "order":
        return order_row(line, "taobao", None, user, item, category or None, at_s * 1000)
    return click_row(line, "taobao", kind, user, item, category or None, None, at_s * 1000)


def detect(head: bytes) -> bool:
    """Say whether the first line has five columns with a known behaviour in the fourth."""
    fields = head.partition(b"\n")[0].split(b",")
    return len(fields) == _COLUMNS and fields[3].decode(errors="replace") in _KINDS


READER = Reader("taobao", time_ordered=False, read=read, detect=detect)
