"""Readers: every row of a file is a row or a bad row, and the events are valid."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from producers.readers import READERS, BadRow, Row, UnreadableFile, detect_format, read_rows
from producers.readers.sorting import sorted_rows
from schemas.container import Recorded
from schemas.events import ClickEvent, PrivacyEvent, Product, PurchaseEvent
from tests.containers import write_container

STRUCTS: dict[str, type[msgspec.Struct]] = {
    "clickstream": ClickEvent,
    "purchases": PurchaseEvent,
    "privacy": PrivacyEvent,
    "products": Product,
}


def _write(folder: Path, *lines: str | bytes) -> Path:
    path = folder / "file"
    path.write_bytes(b"\n".join(line.encode() if isinstance(line, str) else line for line in lines))
    return path


def _split(rows: Sequence[Row | BadRow]) -> tuple[list[Row], list[tuple[int, str]]]:
    good = [row for row in rows if isinstance(row, Row)]
    return good, [(row.line, row.reason) for row in rows if isinstance(row, BadRow)]


def _event(row: Row) -> Any:
    """Return the row's event, checked against its struct."""
    assert row.value is not None
    event: Any = msgspec.json.decode(row.value, type=STRUCTS[row.topic])
    assert row.key == (event.item_id if isinstance(event, Product) else event.customer_id).encode()
    return event


def test_taobao_rows_become_events_and_the_others_have_a_reason(tmp_path: Path) -> None:
    """Each behaviour has its event; rows outside of the nine days, cut or unknown are counted."""
    path = _write(
        tmp_path,
        "1,11,21,pv,1511539200",
        "1,12,21,cart,1512316799",
        "2,13,22,fav,1511600000",
        "2,13,22,buy,1511600001",
        "2,13,22,pv,1511539199",
        "2,13,22,pv,1512316800",
        "2,13,22,stroll,1511600001",
        "2,13,22,pv,soon",
        b"2,13,\xff,pv,1511600001",
        "",
        "2,13,22,pv",
    )
    good, bad = _split(list(READERS["taobao"].read(path)))
    assert [row.kind for row in good] == ["item_view", "cart_add", "wishlist", "order"]
    assert bad == [
        (5, "out_of_window"),
        (6, "out_of_window"),
        (7, "unknown_kind"),
        (8, "bad_number"),
        (9, "bad_encoding"),
        (10, "blank_line"),
        (11, "malformed_row"),
    ]
    view, order = _event(good[0]), _event(good[3])
    assert (view.customer_id, view.item_id, view.category, view.occurred_at) == ("1", "11", "21", 1511539200000)
    assert (order.order_id, order.lines[0].item_id, order.lines[0].quantity) == ("taobao-4", "13", 1)


def test_retailrocket_with_sessions(tmp_path: Path) -> None:
    """The form with sessions has seconds, sessions and categories."""
    path = _write(
        tmp_path,
        "Time,UserId,SessionId,Type,ItemId,CatId",
        "1441852593,1145517,1433838,view,165162,1173",
        "1441852594,1145517,1433838,addtocart,165162,1173",
        "1441852595,1145517,1433838,transaction,165162,1173",
        "1441852595,1145517,1433838,return,165162,1173",
        "1441852595,1145517,1433838",
    )
    good, bad = _split(list(READERS["retailrocket"].read(path)))
    assert bad == [(5, "unknown_kind"), (6, "malformed_row")]
    view, cart, order = map(_event, good)
    assert (view.session_id, view.category, view.occurred_at) == ("1433838", "1173", 1441852593000)
    assert cart.kind == "cart_add"
    assert [(line.item_id, line.quantity, line.category) for line in order.lines] == [("165162", 1, "1173")]


def test_the_original_retailrocket_file(tmp_path: Path) -> None:
    """The original form has milliseconds and transaction ids, and no time order."""
    path = _write(
        tmp_path,
        "timestamp,visitorid,event,itemid,transactionid",
        "1433221332117,257597,view,355908,",
        "1433221332000,992329,transaction,248676,4000",
        ",992329,view,248676,",
    )
    good, bad = _split(list(read_rows(path, "retailrocket")))
    assert [row.occurred_at for row in good] == [1433221332000, 1433221332117]
    assert _event(good[0]).order_id == "4000"
    assert bad == [(4, "bad_number")]


def test_a_wrong_header_is_told_with_what_was_expected(tmp_path: Path) -> None:
    """A file of another data set is refused as a whole instead of giving a million bad rows."""
    with pytest.raises(UnreadableFile, match="timestamp,visitorid"):
        list(READERS["retailrocket"].read(_write(tmp_path, "a,b,c", "1,2,3")))


def test_json_lines_find_their_topic(tmp_path: Path) -> None:
    """The kind decides, or the topic that is named; a `topic` of another meaning stays in the event."""
    path = _write(
        tmp_path,
        '{"event_id":"1","customer_id":"a","occurred_at":5,"kind":"item_view","item_id":"x"}',
        '{"topic":"purchases","event_id":"2","customer_id":"a","occurred_at":6,"kind":"order","order_id":"o","amount":3}',
        '{"customer_id":"a","occurred_at":7,"kind":"erasure"}',
        '{"topic":"products","item_id":"x","price":3}',
        '{"event_id":"5","customer_id":"a","occurred_at":8,"kind":"error","topic":"checkout"}',
        '{"event_id":"6","customer_id":"a","occurred_at":8,"kind":"stroll"}',
        '{"event_id":"7","occurred_at":8,"kind":"login"}',
        '{"event_id":"8","customer_id":"a","occurred_at":"8","kind":"login"}',
        '{"event_id":"9"',
        "[1]",
    )
    good, bad = _split(list(read_rows(path, "jsonl")))
    assert [row.topic for row in good] == ["clickstream", "purchases", "privacy", "products", "clickstream"]
    assert [_event(row).kind for row in good if row.topic != "products"] == ["item_view", "order", "erasure", "error"]
    assert _event(good[2]).event_id == "jsonl-3"
    assert _event(good[4]).topic == "checkout"
    assert bad == [
        (6, "unknown_kind"),
        (7, "missing_field"),
        (8, "bad_number"),
        (9, "malformed_row"),
        (10, "malformed_row"),
    ]


def test_an_invalid_event_in_json_lines_is_passed_on_untouched(tmp_path: Path) -> None:
    """Whether a price may be negative is for the consumer to say: its bytes go on as they are."""
    line = b'{"event_id": "1", "customer_id": "a", "occurred_at": 5, "kind": "page_view", "price": -1}'
    (row,) = READERS["jsonl"].read(_write(tmp_path, line))
    assert isinstance(row, Row)
    assert row.value == line


def test_a_container_passes_records_on_as_they_were(tmp_path: Path) -> None:
    """Bytes, places, timestamps and headers survive, those of damaged records and tombstones too."""
    records = [
        Recorded("clickstream", 3, 17, 1000, b"a", b'{"kind":"login","occurred_at":900}', (("h", b"1"), ("n", None))),
        Recorded("purchases", 0, 0, 1001, None, b'{"kind":"ord'),
        Recorded("products", 0, 5, 1002, b"x", None),
        Recorded("clickstream", 3, 18, 1003, b"a", b'{"kind":7,"occurred_at":"now"}'),
    ]
    path = tmp_path / "file.avro"
    write_container(path, records)
    good, bad = _split(list(read_rows(path, "container")))
    assert not bad
    assert [
        Recorded(row.topic, row.partition or 0, row.offset or 0, row.timestamp_ms or 0, row.key, row.value, row.headers)
        for row in sorted(good, key=lambda row: row.line)
    ] == records
    assert [(row.occurred_at, row.kind) for row in good] == [
        (900, "login"),
        (1001, "unknown"),
        (1002, "unknown"),
        (1003, "unknown"),
    ]


def test_a_container_cut_short_says_where(tmp_path: Path) -> None:
    """The whole blocks come out before the error."""
    path = tmp_path / "file.avro"
    write_container(path, [Recorded("clickstream", 0, n, n, b"k", b"%032d" % n) for n in range(10_000)], "null")
    path.write_bytes(path.read_bytes()[:-100])
    rows: list[Row | BadRow] = []
    with pytest.raises(UnreadableFile, match=r"file\.avro.*byte"):
        rows.extend(READERS["container"].read(path))
    assert len(rows) > 5_000


def test_formats_are_detected(tmp_path: Path) -> None:
    """The first bytes tell the format of a file, compressed or not."""
    container = tmp_path / "c"
    write_container(container, [Recorded("clickstream", 0, 0, 0)])
    assert detect_format(container) == "container"
    assert detect_format(_write(tmp_path, "1,2,3,pv,1511600000")) == "taobao"
    assert detect_format(_write(tmp_path, "timestamp,visitorid,event,itemid,transactionid")) == "retailrocket"
    assert detect_format(_write(tmp_path, ' {"kind":"login"}')) == "jsonl"
    assert detect_format(_write(tmp_path, "hello")) is None


def _rows(*times: int) -> list[Row | BadRow]:
    return [Row("clickstream", time, b"k", orjson.dumps(line), line) for line, time in enumerate(times, start=1)]


@pytest.mark.parametrize("memory_rows", [3, 10_000])
def test_sorting_in_memory_and_on_disk_give_the_same(
    tmp_path: Path, memory_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows come out by event time, those of the same time by line, with one run, many, or more than can be open."""
    monkeypatch.setattr("producers.readers.sorting.MERGE_RUNS", 7)
    rows = _rows(*((number * 7919) % 97 for number in range(200)))
    rows.insert(5, BadRow(999, "malformed_row", "m"))
    ordered = list(sorted_rows(iter(rows), tmp_path, memory_rows))
    good, bad = _split(ordered)
    assert bad == [(999, "malformed_row")]
    assert good == sorted((row for row in rows if isinstance(row, Row)), key=lambda row: (row.occurred_at, row.line))
    assert list(tmp_path.iterdir()) == []


def test_a_sorted_file_that_breaks_off_yields_its_rows_first() -> None:
    """What was readable comes out in order, and then the error."""

    def broken() -> Any:
        yield from _rows(3, 1, 2)
        raise UnreadableFile(Path("f"), "byte 1", "damaged")

    found: list[Row | BadRow] = []
    with pytest.raises(UnreadableFile):
        found.extend(sorted_rows(broken()))
    assert [row.occurred_at for row in found if isinstance(row, Row)] == [1, 2, 3]


def test_event_ids_are_stable_and_unique(tmp_path: Path) -> None:
    """Reading a file twice gives the same ids, and no two rows share one."""
    path = _write(tmp_path, *(f"1,2,3,pv,{1511600000 + n % 3}" for n in range(50)))
    first, second = (
        [_event(row).event_id for row in read_rows(path, "taobao") if isinstance(row, Row)] for _ in range(2)
    )
    assert first == second
    assert len(set(first)) == 50


@pytest.mark.parametrize("at_ms", [2**63, 2**64 - 1, -(2**63)])
def test_a_time_that_no_record_can_have_is_a_bad_row(tmp_path: Path, at_ms: int) -> None:
    """Such a number would fit neither a record of Kafka nor the journal."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(orjson.dumps({"customer_id": "ann", "occurred_at": at_ms, "kind": "login"}))
    (row,) = read_rows(path, "jsonl")
    assert isinstance(row, BadRow)
    assert row.reason == "bad_number"
