"""Named columns of a file: whatever form the file has, its rows come out or their loss is told."""

import gzip
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import zstandard

from producers.readers.tables import Table, UnusableTable, read_table
from producers.readers.times import time_format

MOMENT = datetime(2020, 5, 17, 12, 30, tzinfo=UTC)
MOMENT_MS = round(MOMENT.timestamp() * 1000)


def read(tmp_path: Path, text: str, **names: str) -> Table:
    path = tmp_path / "orders.csv"
    path.write_text(text, encoding="utf-8")
    return read_table(path, ["customer_id"], ["amount"], names)


def rows(table: Table) -> list[tuple[str, int, float]]:
    ids = table.ids["customer_id"]
    return [
        (ids.names[code], at_ms, amount)
        for code, at_ms, amount in zip(ids.rows, table.occurred_at, table.numbers["amount"], strict=True)
    ]


def times_of(tmp_path: Path, *times: str, written: str | None = None) -> list[int]:
    path = tmp_path / "orders.csv"
    path.write_text("customer_id,occurred_at,amount\n" + "".join(f"c,{time},1\n" for time in times), encoding="utf-8")
    return list(read_table(path, ["customer_id"], ["amount"], times=time_format(written, None)).occurred_at)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_columns_are_found_by_name_whatever_the_compression(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """Others are ignored, their order doesn't matter, and a byte order mark is not part of a name."""
    path = tmp_path / "file"
    path.write_bytes(pack("\ufeffamount,note,occurred_at,customer_id\r\n2.5,x,2020-05-17T12:30:00Z,anna\r\n".encode()))
    assert rows(read_table(path, ["customer_id"], ["amount"])) == [("anna", MOMENT_MS, 2.5)]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_values_may_be_quoted_and_run_over_lines(tmp_path: Path, separator: str) -> None:
    """A quoted value holds separators, doubled quotes and line ends; the rows after it are still there."""
    lines = [
        ("customer_id", "note", "occurred_at", "amount"),
        ('"a,;|\t""b"""', '"two\nlines"', "2020-05-17", "1"),
        ("c", 'a 5" nail', "2020-05-17", "2"),
        ("d", "", '"2020-05-17"', '"3"'),
    ]
    table = read(tmp_path, "\n".join(separator.join(line) for line in lines) + "\n")
    assert [(name, amount) for name, _, amount in rows(table)] == [('a,;|\t"b"', 1.0), ("c", 2.0), ("d", 3.0)]
    assert not table.n_bad


def test_a_quote_that_is_never_closed_costs_its_own_row_alone(tmp_path: Path) -> None:
    """The rows that were looked through for its end are read as rows again."""
    body = "".join(f"c{n},2020-05-17,1\n" for n in range(300))
    table = read(tmp_path, f'customer_id,occurred_at,amount\n"lost,2020-05-17,1\n{body}')
    assert [name for name, _, _ in rows(table)] == [f"c{n}" for n in range(300)]
    assert [bad.line for bads in table.examples.values() for bad in bads] == [2]


@pytest.mark.parametrize(
    "time",
    [
        "2020-05-17T12:30:00Z",
        "2020-05-17 12:30:00",
        "2020-05-17T14:30:00+02:00",
        "20200517T123000",
        str(MOMENT_MS // 1000),
        f"{MOMENT_MS // 1000}.0",
        str(MOMENT_MS),
        f"{MOMENT_MS}.0",
        f"{MOMENT_MS}000",
        f"{MOMENT_MS}000000",
    ],
)
def test_times_are_iso_8601_or_numbers_since_1970(tmp_path: Path, time: str) -> None:
    """Where no zone is given it is UTC."""
    assert times_of(tmp_path, time) == [MOMENT_MS]


def test_what_numbers_mean_is_decided_for_the_whole_file(tmp_path: Path) -> None:
    """A millisecond among seconds is a bad row, no date far ahead; and the reverse. Small seconds have to be said."""
    assert times_of(tmp_path, "0", "60", "0.25", written="seconds") == [0, 60_000, 250]
    assert times_of(tmp_path, str(MOMENT_MS), "1000", str(MOMENT_MS + 1)) == [MOMENT_MS, MOMENT_MS + 1]
    assert times_of(tmp_path, "1600000000", "1600000060", str(MOMENT_MS)) == [1_600_000_000_000, 1_600_000_060_000]
    assert times_of(tmp_path, "19710102", "20200517") == [31_622_400_000, MOMENT_MS - 45_000_000]
    assert times_of(tmp_path, "19700102", "1600000000") == [19_700_102_000, 1_600_000_000_000]


def test_bad_rows_are_counted_by_reason_with_their_lines(tmp_path: Path) -> None:
    """Nothing is lost silently; a blank line is no row."""
    text = (
        "customer_id,occurred_at,amount\na,2020-05-17,1\n,2020-05-17,1\nb,yesterday,1\n\nc,2020-05-17,-1\n"
        "d,2020-05-17,nan\ne,2020-05-17\nf,2020-05-17,2\n"
    )
    table = read(tmp_path, text)
    assert [name for name, _, _ in rows(table)] == ["a", "f"]
    assert table.n_rows == 7
    assert dict(table.n_bad) == {
        "no customer_id": 1,
        "occurred_at is no time that can be read; say how it is written with --time-format, as '%d/%m/%y %H:%M'": 1,
        "amount is no number of 0 or more": 2,
        "2 columns; the header has 3": 1,
    }
    lines = {reason: [bad.line for bad in bads] for reason, bads in table.examples.items()}
    assert lines["amount is no number of 0 or more"] == [6, 7]
    messages = [bad.message for bads in table.examples.values() for bad in bads]
    assert any("'yesterday'" in message for message in messages)


def test_columns_of_other_names_are_mapped(tmp_path: Path) -> None:
    """By the name given, else by the name wanted without regard to case."""
    table = read(tmp_path, "CustomerID,Occurred_At,Amount\na,2020-05-17,1\n", customer_id="CustomerID")
    assert len(table) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty; customer_id, occurred_at, amount are needed"),
        ("customer_id,occurred_at,amount\n", "no rows below the header"),
        ("id,when,amount\n1,2,3\n", "no column customer_id, occurred_at; found id, when, amount; needed"),
        ("id,when,amount\n1,2,3\n", "--column customer_id=NAME"),
        ("customer_id,occurred_at,amount\na,b,3\n", "none of 1 rows can be used; 1 of them: occurred_at is no time"),
        ("customer_id,occurred_at,amount\na,40513.35,3\n", "Say what it is with --time-format"),
        (
            "customer_id,occurred_at,amount\na,1970-01-20,3\n",
            "occurred_at: most times lie in 1970: it looks like seconds",
        ),
        ("customer_id,occurred_at,amount\na,1/2/2020,3\n", "'1/2/2020' is not clear"),
        ("customer_id,occurred_at,amount\ra,2020-05-17,1\r", "lines end in carriage returns alone; save the file with"),
    ],
)
def test_a_file_that_is_of_no_use_is_one_clear_sentence(tmp_path: Path, text: str, words: str) -> None:
    """File, what was found, what is needed, what to do."""
    with pytest.raises(UnusableTable) as error:
        read(tmp_path, text)
    assert words in str(error.value)
    assert str(tmp_path / "orders.csv") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_of_another_encoding_says_which_is_needed(tmp_path: Path) -> None:
    """Spreadsheets save in others by default: UTF-16 shows itself and is read."""
    path = tmp_path / "orders.csv"
    text = "customer_id,occurred_at,amount\nÉva,2020-05-17,1\n"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UnusableTable, match=r"customer_id is not UTF-8 .*; save the file as UTF-8"):
        read_table(path, ["customer_id"], ["amount"])
    path.write_bytes(text.encode("utf-16"))
    assert read_table(path, ["customer_id"], ["amount"]).ids["customer_id"].names == ["Éva"]


def test_a_value_that_is_no_utf_8_costs_nothing_where_nobody_asked_for_it(tmp_path: Path) -> None:
    """A pound sign in a description is no reason to lose the order."""
    path = tmp_path / "orders.csv"
    text = 'customer_id,note,occurred_at,amount\na,5 £ off,2020-05-17,1\nb,"5 £\noff",2020-05-17,2\nÉ,x,2020-05-17,3\n'
    path.write_bytes(text.encode("latin-1"))
    table = read_table(path, ["customer_id"], ["amount"])
    assert [name for name, _, _ in rows(table)] == ["a", "b"]
    assert dict(table.n_bad) == {"customer_id is not UTF-8": 1}


def test_rows_are_picked_by_their_columns(tmp_path: Path) -> None:
    """One of the values in each; other rows are no rows of the table, good or bad."""
    events = ("a,view,de", "b,buy,de", "c, order ,de", "d,buy,fr")
    text = "customer_id,Type,land,occurred_at,amount\n" + "".join(f"{event},2020-05-17,1\n" for event in events)
    (tmp_path / "orders.csv").write_text(text, encoding="utf-8")
    where = {"type": ["buy", "order"], "land": ["de"]}
    table = read_table(tmp_path / "orders.csv", ["customer_id"], ["amount"], where=where)
    assert [name for name, _, _ in rows(table)] == ["b", "c"]
    assert (table.n_rows, table.n_bad.total(), table.kinds) == (2, 0, None)
    with pytest.raises(UnusableTable, match=r"no row has Type=sale; found Type=buy \(2\), Type=view \(1\), Type=order"):
        read_table(tmp_path / "orders.csv", ["customer_id"], ["amount"], where={"type": ["sale"]})
    with pytest.raises(UnusableTable, match="no column event to pick rows by; found customer_id, Type, land"):
        read_table(tmp_path / "orders.csv", ["customer_id"], ["amount"], where={"event": ["buy"]})


@pytest.mark.parametrize(
    ("column", "values", "found"),
    [
        ("event_type", ["purchase", "view", "view"], "event_type (view 2, purchase 1)"),
        ("behavior_type", ["1", "4", "1"], "behavior_type (1 2, 4 1)"),
        ("x", ["Product Viewed", "Order Completed"], "x (Product Viewed 1, Order Completed 1)"),
        ("status", ["delivered", "canceled"], "status (delivered 1, canceled 1)"),
        ("status", ["delivered", "shipped"], None),
        ("event_type", ["purchase", "purchase"], None),
        ("city", ["Cartagena", "Reviewsburg"], None),
        ("event", [f"e{n}" for n in range(30)], None),
    ],
)
def test_a_column_that_tells_kinds_of_events_is_noticed(
    tmp_path: Path, column: str, values: list[str], found: str | None
) -> None:
    """By its name or by what stands in it, where it has more values than one and not too many."""
    lines = "".join(f"c{n},2020-05-17,1,{value}\n" for n, value in enumerate(values))
    assert read(tmp_path, f"customer_id,occurred_at,amount,{column}\n{lines}").kinds == found


@pytest.mark.parametrize("stray", ["1970-01-01", "2035-03-01", "9999-12-31"])
def test_a_lone_date_far_from_all_others_is_left_out_and_named(tmp_path: Path, stray: str) -> None:
    """A placeholder or a wrong clock: years of nothing would follow for everybody."""
    times = [f"2020-{1 + n % 12:02}-{1 + n % 28:02}" for n in range(100)]
    lines = "".join(f"c,{time},1\n" for time in [*times[:50], stray, *times[50:]])
    table = read(tmp_path, f"customer_id,occurred_at,amount\n{lines}")
    (example,) = (bad for bads in table.examples.values() for bad in bads)
    assert (len(table), example.line, example.reason) == (100, 52, "far_off")
    assert f"far from that of all other rows, 2020-01-01 to 2020-12-28: '{stray}'" in example.message


def test_a_long_silence_is_no_wrong_clock(tmp_path: Path) -> None:
    """Where gaps are long throughout, or where many rows follow, the rows count."""
    yearly = "".join(f"c,{year}-05-17,1\n" for year in range(1980, 2020))
    assert len(read(tmp_path, f"customer_id,occurred_at,amount\n{yearly}")) == 40
    parted = "".join(f"c,{year}-05-{day:02},1\n" for year in (2010, 2020) for day in range(1, 20))
    assert len(read(tmp_path, f"customer_id,occurred_at,amount\n{parted}")) == 38


def test_where_semicolons_separate_a_comma_is_the_decimal_point(tmp_path: Path) -> None:
    """So spreadsheets write it in half of the world; a comma and a point in one number are still a mistake."""
    table = read(tmp_path, "customer_id;occurred_at;amount\na;2020-05-17;1,5\nb;2020-05-17;2.5\nc;2020-05-17;1.234,5\n")
    assert [amount for _, _, amount in rows(table)] == [1.5, 2.5]
    assert table.n_bad.total() == 1
    assert len(read(tmp_path, 'customer_id,occurred_at,amount\na,2020-05-17,1\na,2020-05-17,"1,5"\n')) == 1


def test_a_space_before_a_quote_does_not_hide_it(tmp_path: Path) -> None:
    """Neither in the header nor in a row."""
    table = read(tmp_path, '"customer_id", "occurred_at", "amount"\n"a, b", "2020-05-17", "1"\n')
    assert [(name, amount) for name, _, amount in rows(table)] == [("a, b", 1.0)]


def test_a_value_beyond_all_measure_costs_its_own_row_and_says_so(tmp_path: Path) -> None:
    """A quoted value too long to be read, and an amount that no record could hold: two of them add up to no number."""
    long = "x" * 200_000
    text = f'customer_id,occurred_at,amount\n"{long}",2020-05-17,1\nb,2020-05-17,1e308\nc,2020-05-17,1e12\n'
    table = read(tmp_path, text)
    assert [name for name, _, _ in rows(table)] == ["c"]
    assert set(table.n_bad) == {"a value is longer than 131,072 characters", "amount is over 1,000,000,000,000"}
