"""One wrong clock must not make a recording late: rows far ahead of those around them are taken out.

Where rows have no time of arrival, the rows that follow are the judge. A row that leaps ahead is a stray if most of
what comes next goes on where the recording was before, and some of it would be too late if the row counted: several
events would be lost to save one. After a true gap the next rows are ahead as well.
"""

from collections import deque
from collections.abc import Iterable, Iterator

from producers.rows import AHEAD_OF_TIME, PRODUCTS, BadRow, Row, UnreadableFile
from schemas.units import DAY_MS

AHEAD_DAYS = 7  # as events may be late: a row that is less ahead makes no other late
BEHIND_DAYS = 1  # a row that goes on as if there had been no leap is so far behind it, at least
LOOK_AHEAD_ROWS = 100
FEWEST_LATE = 5  # a few late rows at the end of a file say nothing of a clock


def without_strays(rows: Iterable[Row | BadRow]) -> Iterator[Row | BadRow]:
    """Yield the rows as they come, those far ahead of the rows that follow as bad rows.

    Rows that were recorded with their time of arrival are judged by that, elsewhere. What was read before an
    `UnreadableFile` comes out before it is raised.
    """
    source = iter(rows)
    waiting: deque[Row | BadRow] = deque()
    unreadable: UnreadableFile | None = None
    latest_ms: int | None = None
    while True:
        while unreadable is None and len(waiting) <= LOOK_AHEAD_ROWS:
            try:
                row = next(source, None)
            except UnreadableFile as error:
                unreadable = error
                break
            if row is None:
                break
            waiting.append(row)
        if not waiting:
            break
        row = waiting.popleft()
        at_ms = _time_of(row)
        if at_ms is None:
            yield row
            continue
        if latest_ms is None or at_ms > latest_ms + AHEAD_DAYS * DAY_MS:
            ahead_ms = _ahead_of_the_next_ms(at_ms, latest_ms, waiting)
            if ahead_ms is not None:
                said = f"`occurred_at` is {ahead_ms / DAY_MS:,.0f} days ahead of the rows around it: a wrong clock"
                yield BadRow(row.line, AHEAD_OF_TIME, said)
                continue
        latest_ms = at_ms if latest_ms is None else max(latest_ms, at_ms)
        yield row
    if unreadable is not None:
        raise unreadable


def _time_of(row: Row | BadRow) -> int | None:
    """Return the event time of a row that is to be judged by its neighbours."""
    if isinstance(row, BadRow) or row.timestamp_ms is not None or row.topic == PRODUCTS:
        return None
    return row.occurred_at


def _ahead_of_the_next_ms(at_ms: int, latest_ms: int | None, following: Iterable[Row | BadRow]) -> int | None:
    """Return how far a row is ahead of those that it alone would make late; None where it is no stray."""
    next_ms = [each for row in following if (each := _time_of(row)) is not None]
    oldest_ms = -(1 << 63) if latest_ms is None else latest_ms - AHEAD_DAYS * DAY_MS
    behind = [each for each in next_ms if oldest_ms <= each < at_ms - BEHIND_DAYS * DAY_MS]
    made_late = [each for each in behind if each < at_ms - AHEAD_DAYS * DAY_MS]
    if len(made_late) < FEWEST_LATE or 2 * len(behind) <= len(next_ms):
        return None
    return at_ms - made_late[0]
