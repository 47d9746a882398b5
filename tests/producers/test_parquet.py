"""Parquet: the same rows as from text, damage and a missing library named."""

import sys
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from producers.readers import BadRow, Row, UnreadableFile, detect_format, read_rows
from producers.readers.tables import UnusableTable, read_table
from schemas.events import PurchaseEvent

MOMENT = datetime(2020, 5, 17, 12, 30, tzinfo=UTC)
MOMENT_MS = round(MOMENT.timestamp() * 1000)


def _write(path: Path, columns: dict[str, Any]) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table(columns), path)
    return path


def test_columns_of_a_parquet_file_are_read_by_name(tmp_path: Path) -> None:
    """Whatever its suffix; ids that a gap made floating are whole, and a row without one is told."""
    path = _write(
        tmp_path / "orders.csv",
        {
            "CustomerID": [17850.0, None, 13047.0, 13047.0],
            "at": [MOMENT, MOMENT, MOMENT.astimezone(timezone(timedelta(hours=2))), None],
            "amount": [Decimal("1.50"), Decimal("2.00"), Decimal("3.25"), Decimal("4.00")],
            "lines": [[{"item": "x"}], [], [], []],
        },
    )
    table = read_table(path, ["customer_id"], ["amount"], {"customer_id": "CustomerID", "occurred_at": "at"})
    assert [table.ids["customer_id"].names[code] for code in table.ids["customer_id"].rows] == ["17850", "13047"]
    assert list(table.occurred_at) == [MOMENT_MS, MOMENT_MS]
    assert list(table.numbers["amount"]) == [1.5, 3.25]
    assert table.n_bad.total() == 2
    assert table.columns == ["CustomerID", "at", "amount"]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_every_unit_are_read(tmp_path: Path, unit: str) -> None:
    """Nanoseconds too, which Python has no type for; whole dates and numbers as well."""
    import numpy as np

    path = tmp_path / "orders.parquet"
    times = np.array(["2020-05-17T12:30:00"], dtype=f"datetime64[{unit}]")
    if unit == "ns":
        times = times + np.timedelta64(7, "ns")
    table = read_table(_write(path, {"customer_id": ["a"], "occurred_at": times}), ["customer_id"])
    assert list(table.occurred_at) == [MOMENT_MS]
    for value, at_ms in ((date(2020, 5, 17), MOMENT_MS - 45_000_000), (MOMENT_MS // 1000, MOMENT_MS)):
        table = read_table(_write(path, {"customer_id": ["a"], "occurred_at": [value]}), ["customer_id"])
        assert list(table.occurred_at) == [at_ms]


def test_events_in_parquet_are_a_recording(tmp_path: Path) -> None:
    """A row is an event, order lines are a list, nulls are absent; rows come out in the order of time."""
    path = _write(
        tmp_path / "events",
        {
            "customer_id": ["b", "a", "a", None],
            "occurred_at": [MOMENT + timedelta(seconds=1), MOMENT, MOMENT, MOMENT],
            "kind": ["item_view", "order", "stroll", "login"],
            "item_id": ["x", None, None, None],
            "order_id": [None, "o", None, None],
            "lines": [None, [{"item_id": "x", "quantity": 2, "unit_price": Decimal("9.5")}], None, None],
        },
    )
    assert detect_format(path) == "parquet"
    rows = list(read_rows(path, "parquet"))
    assert [(row.line, row.reason) for row in rows if isinstance(row, BadRow)] == [
        (3, "unknown_kind"),
        (4, "missing_field"),
    ]
    order, view = (row for row in rows if isinstance(row, Row))
    assert (order.topic, order.occurred_at, view.topic) == ("purchases", MOMENT_MS, "clickstream")
    event = msgspec.json.decode(order.value or b"", type=PurchaseEvent)
    assert (event.event_id, event.lines[0].quantity, event.lines[0].unit_price) == ("parquet-2", 2, 9.5)
    assert b"null" not in (view.value or b"")


def test_a_parquet_file_cut_short_says_so(tmp_path: Path) -> None:
    """Parquet keeps its table of contents at the end."""
    path = _write(tmp_path / "orders.parquet", {"customer_id": ["a"] * 1000, "occurred_at": [MOMENT] * 1000})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UnreadableFile, match="a Parquet file that is damaged or cut short"):
        read_table(path, ["customer_id"])


def test_without_pyarrow_the_command_that_brings_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most installs do without it."""
    path = _write(tmp_path / "orders.parquet", {"customer_id": ["a"], "occurred_at": [MOMENT]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UnreadableFile, match=r"pip install 'nextbest\[parquet\]'"):
        read_table(path, ["customer_id"])
    with pytest.raises(UnreadableFile, match=r"pip install 'nextbest\[parquet\]'"):
        list(read_rows(path, "parquet"))


def test_other_files_of_events_are_no_tables(tmp_path: Path) -> None:
    """Avro and JSON are named where a table is asked for."""
    path = tmp_path / "events"
    path.write_bytes(b"Obj\x01" + b"\0" * 50)
    with pytest.raises(UnusableTable, match="this is an Avro file, where a table is needed"):
        read_table(path, ["customer_id"])
    path.write_bytes(b'{"customer_id": "a"}\n')
    with pytest.raises(UnusableTable, match="this is JSON, where a table is needed"):
        read_table(path, ["customer_id"])
