"""The table that a backtest reads, from canonical events: a shop's own records, as a mapping makes them."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from producers.readers.tables import EXAMPLES, TIME, Ids, Table, UnusableTable
from producers.rows import CLICKSTREAM, NO_EVENT, PURCHASES, BadRow, Row

Columns = Mapping[str, Any]

_TOLD_EVERY = 10_000  # rows


def read_event_table(
    path: Path,
    rows: Iterable[Row | BadRow],
    ids: Sequence[str],
    numbers: Sequence[str] = (),
    *,
    progress: Callable[[int], None] = lambda _rows: None,
) -> Table:
    """Return the columns `ids` and `numbers`, and the times, of the events in `rows`; `path` is where they are from.

    With `session_id` among the ids these are clicks on items, with `item_id` or `category` the lines of orders,
    otherwise orders. Events of other kinds are left out. Raises UnusableTable where none is left, and UnreadableFile.
    """
    codes: dict[str, dict[str, int]] = {name: {} for name in ids}
    places: dict[str, array[int]] = {name: array("q") for name in ids}
    values: dict[str, array[float]] = {name: array("d") for name in numbers}
    times = array("q")
    n_bad: Counter[str] = Counter()
    examples: dict[str, list[BadRow]] = {}
    n_other = 0

    def reject(bad: BadRow) -> None:
        n_bad[bad.message] += 1
        if len(seen := examples.setdefault(bad.message, [])) < EXAMPLES:
            seen.append(bad)

    for number, row in enumerate(rows, start=1):
        if number % _TOLD_EVERY == 0:
            progress(number)
        if isinstance(row, BadRow):
            if row.reason == NO_EVENT:
                n_other += 1
            else:
                reject(row)
            continue
        entries = list(_entries(row, ids))
        n_other += not entries
        for entry in entries:
            missing = next((name for name in (*ids, *numbers) if entry.get(name) is None), None)
            if missing is not None:
                reject(BadRow(row.line, "missing_field", f"no {missing}"))
                continue
            for name in ids:
                places[name].append(codes[name].setdefault(entry[name], len(codes[name])))
            for name in numbers:
                values[name].append(float(entry[name]))
            times.append(row.occurred_at)
    if not times:
        raise UnusableTable(f"{path}: {_why_none(ids, n_other, n_bad, examples)}")
    return Table(
        occurred_at=times,
        ids={name: Ids(list(codes[name]), places[name]) for name in ids},
        numbers=values,
        columns=[*ids, TIME, *numbers],
        n_rows=len(times) + n_bad.total(),
        n_bad=n_bad,
        examples=examples,
        kinds=None,
    )


def _entries(row: Row, ids: Sequence[str]) -> Iterator[Columns]:
    """Yield the rows of the table that an event gives."""
    if "session_id" in ids:
        if row.topic == CLICKSTREAM:
            event = orjson.loads(row.value or b"{}")
            if "item_id" in event:
                yield event
        return
    if row.topic != PURCHASES or row.kind != "order":
        return
    event = orjson.loads(row.value or b"{}")
    lines = event.get("lines", [])
    if "item_id" in ids or "category" in ids:
        for line in lines:
            yield {**line, "customer_id": event["customer_id"]}
        return
    amount = event.get("amount")
    if amount is None:
        amount = sum(line.get("quantity", 1) * line.get("unit_price", 0.0) for line in lines)
    yield {"customer_id": event["customer_id"], "amount": amount}


def _why_none(ids: Sequence[str], n_other: int, n_bad: Counter[str], examples: Mapping[str, list[BadRow]]) -> str:
    wanted = "clicks on items with a session_id" if "session_id" in ids else "orders"
    if not n_bad:
        return (
            f"no event is usable here: {wanted} are needed with {', '.join((*ids, TIME))}, and {n_other:,} are others"
        )
    reason, n = n_bad.most_common(1)[0]
    return f"no event can be used; {n:,} of them: {reason} (line {examples[reason][0].line})"
