"""Wrong clocks in a recording: each costs its own row, and no true gap or late row is taken for one."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from producers.readers import BadRow, Row, UnreadableFile, read_rows, without_strays

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
T0 = 19_800 * DAY_MS


def _rows(*times_ms: int) -> list[Row | BadRow]:
    return [Row("clickstream", at_ms, b"c", b"{}", line) for line, at_ms in enumerate(times_ms, start=1)]


def _strays(rows: Sequence[Row | BadRow]) -> list[int]:
    """Return the lines of the rows that were taken out; all others must come as they are, in their order."""
    found = list(without_strays(rows))
    bad = [row for row in found if isinstance(row, BadRow)]
    assert all(row.reason == "ahead_of_time" for row in bad)
    lines = {row.line for row in bad}
    assert [row for row in found if isinstance(row, Row)] == [row for row in rows if row.line not in lines]
    return sorted(lines)


def _hourly(n: int, **days_ahead: int) -> list[Row | BadRow]:
    """`r20=30`: row 20 is 30 days ahead."""
    ahead = {int(name[1:]): days for name, days in days_ahead.items()}
    return _rows(*(T0 + n * HOUR_MS + ahead.get(n, 0) * DAY_MS for n in range(1, n + 1)))


@pytest.mark.parametrize("line", [1, 2, 20, 120, 195])
@pytest.mark.parametrize("days", [8, 20, 400, 20_000])
def test_one_clock_ahead_costs_one_row(line: int, days: int) -> None:
    """Wherever it stands, as long as enough rows follow to say so."""
    assert _strays(_hourly(200, **{f"r{line}": days})) == [line]


def test_several_clocks_ahead_cost_a_row_each() -> None:
    """Apart or in a row, by different amounts."""
    assert _strays(_hourly(300, r10=20, r50=300, r51=20, r52=21, r200=14)) == [10, 50, 51, 52, 200]
    in_a_row = {f"r{line}": 20 for line in range(100, 140)}
    assert _strays(_hourly(300, **in_a_row)) == list(range(100, 140))
    every_third = {f"r{line}": 30 for line in range(3, 300, 3)}
    assert len(_strays(_hourly(300, **every_third))) >= 96


def test_a_true_gap_is_no_wrong_clock() -> None:
    """After it, everything is ahead; also where a few rows come late, and at the end of the file."""
    before = [T0 + n * HOUR_MS for n in range(100)]
    after = [at_ms + 40 * DAY_MS for at_ms in before]
    assert _strays(_rows(*before, *after)) == []
    assert _strays(_rows(*before, after[0], before[-1], before[-2], *after[1:])) == []
    assert _strays(_rows(*before, after[0])) == []
    assert _strays(_rows(*before, after[0], *before[:3])) == []


def test_a_clock_behind_makes_no_row_a_stray() -> None:
    """It is late, which is for others to say; what follows it goes on."""
    assert _strays(_hourly(200, r1=-9_000, r50=-20)) == []


def test_rows_with_a_time_of_arrival_and_products_are_judged_elsewhere() -> None:
    """The broker's time is a better judge; a product has no time of its own."""
    rows = _hourly(100)
    rows[20] = Row("clickstream", T0 + 90 * DAY_MS, b"c", b"{}", 21, timestamp_ms=T0)
    rows[30] = Row("products", T0 + 90 * DAY_MS, b"i", b"{}", 31)
    assert _strays(rows) == []


def test_a_file_that_breaks_off_yields_its_rows_first() -> None:
    """What was read ahead is not lost with the error."""

    def broken() -> Iterator[Row | BadRow]:
        yield from _hourly(30, r10=20)
        raise UnreadableFile(Path("f"), None, "damaged")

    found: list[Row | BadRow] = []
    with pytest.raises(UnreadableFile):
        found.extend(without_strays(broken()))
    assert [row.line for row in found] == list(range(1, 31))
    assert isinstance(found[9], BadRow)


def test_json_lines_are_read_without_strays(tmp_path: Path) -> None:
    """With the reason in words."""
    path = tmp_path / "events.jsonl"
    times = [T0 + n * HOUR_MS + (n == 9) * 20 * DAY_MS for n in range(50)]
    lines = [f'{{"event_id":"{at}","customer_id":"c","occurred_at":{at},"kind":"login"}}' for at in times]
    path.write_text("\n".join(lines), encoding="utf-8")
    (stray,) = (row for row in read_rows(path, "jsonl") if isinstance(row, BadRow))
    assert (stray.line, stray.reason) == (10, "ahead_of_time")
    assert "20 days ahead of the rows around it" in stray.message
