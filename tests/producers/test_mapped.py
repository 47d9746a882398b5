"""Files of a shop's own records: what readers make of them when they are handed a mapping."""

import gzip
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from consumer.inputs.configure import mapping_of
from consumer.inputs.mapper import Mapper
from producers.publish import publish_rows
from producers.readers import BadRow, Row, UnreadableFile, read_rows
from producers.readers import mapped as mapped_module
from producers.readers.event_table import read_event_table
from producers.readers.mapped import mapped_reader
from producers.readers.tables import UnusableTable
from producers.rows import NO_EVENT
from schemas.container import Recorded
from tests.containers import write_container

T = 1_714_636_800_000
FIELDS = 'files = ["*"]\n[fields]\nevent_id = "id"\ncustomer_id = "user"\noccurred_at = "at"\n'
VIEW = '[[events]]\nkind = { path = "kind", table = { look = "item_view" }, otherwise = "" }\nitem_id = "item"\n'
ORDER = """[[events]]
when = "kind == 'buy'"
kind = "order"
order_id = "order"
lines = { each = "rows", item_id = "each.item", unit_price = "each.price" }
"""
CSV = 'format = "csv"\n'
GROUPED = 'format = "csv"\ngroup_by = ["kind == \'buy\'", "order"]\n'


def mapper(text: str) -> Mapper:
    head, _, rest = FIELDS.partition("[fields]")
    options, _, events = text.partition("[[events]]")
    return Mapper(mapping_of("shop", tomllib.loads(f"{head}{options}[fields]{rest}[[events]]{events}")))


def rows_of(path: Path, text: str) -> list[Row | BadRow]:
    return list(read_rows(path, mapped_reader(mapper(text), {})))


def good(found: list[Row | BadRow]) -> list[tuple[int, str, int]]:
    return [(row.line, row.kind, row.occurred_at - T) for row in found if isinstance(row, Row)]


def bad(found: list[Row | BadRow]) -> list[tuple[int, str]]:
    return [(row.line, row.reason) for row in found if isinstance(row, BadRow)]


def record(number: int, at: int, kind: str = "look") -> bytes:
    return orjson.dumps({"id": number, "user": "u", "at": T + at, "kind": kind, "item": "x"})


def test_json_lines_come_out_in_the_order_of_time(tmp_path: Path) -> None:
    """With the line each stands on; what is no event, no JSON or wrong is counted apart."""
    path = tmp_path / "shop.jsonl.gz"
    lines = [record(1, 9), record(2, 5), b"{", record(3, 1, "sneeze"), b'{"id": 4, "kind": "look"}', b"", record(5, 7)]
    path.write_bytes(gzip.compress(b"\n".join(lines)))
    found = rows_of(path, VIEW)
    assert good(found) == [(2, "item_view", 5), (7, "item_view", 7), (1, "item_view", 9)]
    assert bad(found) == [(3, "malformed_row"), (4, NO_EVENT), (5, "missing_field")]


@pytest.mark.parametrize("layout", ["[%s,\n%s]", "[\n  %s,\n  %s\n]\n"])
def test_a_file_that_is_one_list_holds_a_record_an_element(tmp_path: Path, layout: str) -> None:
    """As REST interfaces give it."""
    path = tmp_path / "shop.json"
    path.write_bytes(layout.encode() % (record(1, 1), record(2, 2)))
    assert good(rows_of(path, VIEW)) == [(1, "item_view", 1), (2, "item_view", 2)]


def test_a_document_over_several_lines_is_one_record(tmp_path: Path) -> None:
    """An indented object isn't mistaken for damaged lines."""
    path = tmp_path / "shop.json"
    path.write_bytes(orjson.dumps(orjson.loads(record(1, 1)), option=orjson.OPT_INDENT_2))
    assert good(rows_of(path, VIEW)) == [(1, "item_view", 1)]
    path.write_text('{\n"id": 5,\n')
    with pytest.raises(UnreadableFile, match="neither JSON lines nor one JSON document"):
        rows_of(path, VIEW)


def test_csv_with_a_header_and_quoted_values(tmp_path: Path) -> None:
    """The separator is seen from the header; rows with other columns are bad."""
    path = tmp_path / "shop.csv"
    path.write_text(f'id;user;at;kind;item\n1;"u; v";{T};look;"x\ny"\n2;u;{T + 1};look\n3;u;{T + 2};look;z\n')
    found = rows_of(path, CSV + VIEW)
    assert good(found) == [(2, "item_view", 0), (5, "item_view", 2)]
    assert [row.key for row in found if isinstance(row, Row)] == [b"u; v", b"u"]
    assert bad(found) == [(4, "malformed_row")]


def test_csv_without_a_header_has_the_columns_of_the_mapping(tmp_path: Path) -> None:
    """The first line is data."""
    path = tmp_path / "shop.csv"
    path.write_text(f"1|u|{T}|look|x\n2|u|{T + 1}|look|y\n")
    text = 'format = "csv"\nseparator = "|"\ncolumns = ["id", "user", "at", "kind", "item"]\n' + VIEW
    assert good(rows_of(path, text)) == [(1, "item_view", 0), (2, "item_view", 1)]


def test_parquet_is_read_by_a_mapping_of_any_format(tmp_path: Path) -> None:
    """Its columns may be nested; they are reached by path, as in JSON."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "shop.parquet"
    rows = [{"id": n, "user": {"no": n}, "at": T + n, "kind": "look", "item": "x"} for n in range(3)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    text = VIEW.replace("[[events]]", '[[events]]\ncustomer_id = "user.no"')
    assert good(rows_of(path, text)) == [(1, "item_view", 0), (2, "item_view", 1), (3, "item_view", 2)]


def test_rows_of_one_order_are_one_event_wherever_they_stand(tmp_path: Path) -> None:
    """Rows that have no group stand for themselves."""
    path = tmp_path / "shop.csv"
    rows = [("buy,x,a", 0), ("look,y,", 5), ("buy,x,b", 9), ("buy,z,a", 0), ("look,y,", 6)]
    body = [f"{number},u,{T + at},{rest}" for number, (rest, at) in enumerate(rows)]
    path.write_text("\n".join(["id,user,at,kind,item,order", *body]))
    found = rows_of(path, GROUPED + VIEW + ORDER)
    assert good(found) == [(2, "order", 0), (3, "item_view", 5), (6, "item_view", 6), (4, "order", 9)]
    orders = [orjson.loads(row.value or b"") for row in found if isinstance(row, Row) and row.kind == "order"]
    assert [[line["item_id"] for line in order["lines"]] for order in orders] == [["x", "z"], ["x"]]


def test_rows_of_a_group_that_are_told_twice_count_once_where_the_mapping_says_so(tmp_path: Path) -> None:
    """Some data sets repeat rows; in others two equal rows are two pieces."""
    path = tmp_path / "shop.csv"
    path.write_text(f"id,user,at,kind,item,order\n1,u,{T},buy,x,a\n1,u,{T},buy,x,a\n")
    for distinct, n in (("true", 1), ("false", 2)):
        (row,) = rows_of(path, f"distinct = {distinct}\n" + GROUPED + ORDER)
        assert isinstance(row, Row)
        assert len(orjson.loads(row.value or b"")["lines"]) == n


def test_no_more_rows_are_held_back_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group that began long ago goes on without what comes too late for it."""
    monkeypatch.setattr(mapped_module, "GROUPED_ROWS", 2)
    path = tmp_path / "shop.csv"
    orders = "aabca"
    path.write_text("\n".join(["id,user,at,kind,item,order", *(f"{n},u,{T},buy,x,{o}" for n, o in enumerate(orders))]))
    found = [row for row in rows_of(path, GROUPED + ORDER) if isinstance(row, Row)]
    assert [len(orjson.loads(row.value or b"")["lines"]) for row in found] == [2, 1, 1, 1]


def test_recorded_topics_are_mapped_by_their_names_and_keep_their_arrival(tmp_path: Path) -> None:
    """Canonical topics in the same file stay as they are."""
    path = tmp_path / "rec.avro"
    canonical = orjson.dumps({"event_id": "e", "customer_id": "c", "occurred_at": T, "kind": "login"})
    write_container(
        path,
        [
            Recorded("web", 0, 0, T + 100, b"k", record(1, 50)),
            Recorded("web", 1, 0, T + 10, b"k", record(2, 5)),
            Recorded("clickstream", 0, 7, T + 60, b"c", canonical),
            Recorded("web", 0, 1, T + 101, b"k", record(3, 20, "sneeze")),
            Recorded("web", 0, 2, T + 102, b"k", record(4, 20)),
        ],
    )
    found = list(read_rows(path, mapped_reader(None, {"web": mapper(VIEW)})))
    assert [(row.topic, row.kind, row.timestamp_ms, row.key) for row in found if isinstance(row, Row)] == [
        ("clickstream", "login", T + 60, b"c"),
        ("clickstream", "item_view", T + 10, b"u"),
        ("clickstream", "item_view", T + 100, b"u"),
        ("clickstream", "item_view", T + 102, b"u"),
    ]
    assert bad(found) == [(4, NO_EVENT)]


def test_a_mapping_of_topics_alone_says_so_of_a_file(tmp_path: Path) -> None:
    """Avro values don't stand in files as they do on topics."""
    path = tmp_path / "shop.jsonl"
    path.write_bytes(record(1, 1))
    with pytest.raises(UnreadableFile, match="is for avro, which stands in topics"):
        rows_of(path, 'format = "avro"\n' + VIEW)


def test_records_that_become_no_event_are_counted_apart_when_published(tmp_path: Path) -> None:
    """They are neither published nor bad."""

    class Nowhere:
        def __init__(self) -> None:
            self.delivered, self.failed, self.kinds = (Counter[str]() for _ in range(3))

        def send(self, row: Row, *, keep_partition: bool = False) -> None: ...
        def serve(self, timeout_s: float = 0.0) -> None: ...
        def flush(self, timeout_s: float = 60.0) -> None: ...

    path = tmp_path / "shop.jsonl"
    path.write_bytes(b"\n".join([record(1, 1), record(2, 2, "sneeze"), b"{"]))
    report = publish_rows(rows_of(path, VIEW), Nowhere())  # type: ignore[arg-type]  # it has what is used of one
    assert (report.rows, report.skipped, report.bad) == (3, 1, {"malformed_row": 1})


def test_a_backtest_reads_clicks_orders_or_lines_of_orders(tmp_path: Path) -> None:
    """By what it asks for; other events are left out, and where none is left the message says what was needed."""
    path = tmp_path / "shop.csv"
    rows = ["u,buy,x,a,2", "u,buy,z,a,3", "u,look,y,,", "v,buy,x,b,4", ",buy,x,c,1"]
    body = [f"{number},{T + number},{row}" for number, row in enumerate(rows)]
    path.write_text("\n".join(["id,at,user,kind,item,order,price", *body]))
    form = mapped_reader(mapper(GROUPED + VIEW + 'session_id = "user"\n' + ORDER), {})

    def table(ids: list[str], numbers: list[str] | None = None) -> dict[str, Any]:
        found = read_event_table(path, read_rows(path, form), ids, numbers or [])
        assert found.n_bad.total() == (len(found) != found.n_rows)
        named = {name: [each.names[row] for row in each.rows] for name, each in found.ids.items()}
        return {**named, **{name: list(values) for name, values in found.numbers.items()}}

    assert table(["customer_id"], ["amount"]) == {"customer_id": ["u", "v"], "amount": [5.0, 4.0]}
    assert table(["customer_id", "item_id"]) == {"customer_id": ["u", "u", "v"], "item_id": ["x", "z", "x"]}
    assert table(["session_id", "item_id"]) == {"session_id": ["u"], "item_id": ["y"]}
    only_orders = mapped_reader(mapper(GROUPED + ORDER), {})
    with pytest.raises(UnusableTable, match="missing: nothing is there"):
        read_event_table(path, read_rows(path, only_orders), ["session_id", "item_id"])
