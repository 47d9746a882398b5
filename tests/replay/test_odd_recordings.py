"""Recordings with wrong clocks, late rows or bad rows: what is left out, and what the summary says of it."""

from pathlib import Path

from consumer.replay.options import ReplayOptions, time_span_ms
from consumer.replay.summary import nothing_usable, summary_rows
from producers.readers import read_rows
from schemas.container import Recorded
from schemas.units import DAY_MS
from tests.containers import write_container
from tests.replay.recordings import T0, click, lines_of, run_replay, run_verify, shop_events, write_recording


def test_a_wrong_clock_does_not_stretch_a_recording(tmp_path: Path) -> None:
    """One event of 1970 and one of 2099 leave a week a week."""
    events = [click("c1", T0 + day * DAY_MS, "item_view", "item-1") for day in range(6)]
    records = [
        Recorded("clickstream", 0, n, int(str(event["occurred_at"])), b"c1", line)
        for n, (event, line) in enumerate(zip(events, lines_of(events), strict=True))
    ]
    wrong = [
        Recorded("clickstream", 0, 9, T0 + DAY_MS, b"c1", line)
        for line in lines_of([click("c1", at_ms, "item_view", "item-1") for at_ms in (0, 4_070_908_800_000)])
    ]
    path = tmp_path / "week.avro"
    write_container(path, [*records[:2], *wrong, *records[2:]])
    assert time_span_ms(read_rows(path, "container")) == (T0, T0 + 5 * DAY_MS)


def test_many_late_rows_are_warned_of(tmp_path: Path) -> None:
    """More than one row in a hundred: the summary says so, in the file and on the screen."""
    events = shop_events()
    late = [click(f"late-{n}", T0 - 30 * DAY_MS, "item_view", "item-1") for n in range(20)]
    recording = write_recording(tmp_path / "late.jsonl", lines_of([*events, *late]))
    summary = run_replay(recording, tmp_path / "out")
    (warning,) = summary.warnings
    assert warning.startswith(f"20 of {len(events) + 20} rows")
    assert ("input", "warning", warning) in summary_rows(summary)


def test_one_wrong_clock_in_json_lines_makes_nothing_else_late(tmp_path: Path) -> None:
    """JSON lines have no time of arrival: the recording's own end says what lies in the future."""
    events = [click(f"c{n % 5}", T0 + n * DAY_MS // 10, "item_view", f"item-{n % 7}") for n in range(50)]
    events.append(click("c9", 4_070_908_800_000, "item_view", "item-1"))  # the last: no row follows to judge it by
    path = write_recording(tmp_path / "week.jsonl", lines_of(events))
    span = time_span_ms(read_rows(path, "jsonl"))
    assert span == (T0, T0 + 49 * DAY_MS // 10)
    options = ReplayOptions(commit_records=10, last_ms=span[1])
    summary = run_replay(path, tmp_path / "out", options=options)
    assert (summary.events, summary.late, summary.bad_by_reason) == (50, 0, {"ahead_of_time": 1})
    assert run_verify(tmp_path / "out").kind == "same"


def test_one_clock_weeks_ahead_costs_one_event(tmp_path: Path) -> None:
    """The rest goes on as if it were not there, and the advice is about the one row."""
    events = [click(f"c{n % 5}", T0 + n * DAY_MS // 24, "item_view", f"item-{n % 7}") for n in range(200)]
    events[20]["occurred_at"] = int(str(events[20]["occurred_at"])) + 20 * DAY_MS
    summary = run_replay(write_recording(tmp_path / "week.jsonl", lines_of(events)), tmp_path / "out")
    assert (summary.events, summary.late, summary.bad_by_reason) == (199, 0, {"ahead_of_time": 1})
    (warning,) = summary.warnings
    assert "line 21: `occurred_at` is 20 days ahead of the rows around it" in warning
    assert "late_by_ms" not in warning
    assert run_verify(tmp_path / "out").kind == "same"


def test_late_rows_that_one_row_made_late_are_laid_to_it(tmp_path: Path) -> None:
    """Where it was recorded with its time of arrival, nothing else can be done about it than to say so."""
    events = [click("c1", T0 + n * DAY_MS // 24, "item_view", f"item-{n % 7}") for n in range(100)]
    ahead = click("c1", T0 + 30 * DAY_MS, "item_view", "item-1")
    lines = lines_of([*events[:50], ahead, *events[50:]])
    records = [Recorded("clickstream", 0, n, T0 + 40 * DAY_MS, b"c1", line) for n, line in enumerate(lines)]
    write_container(tmp_path / "rec.avro", records)
    summary = run_replay(tmp_path / "rec.avro", tmp_path / "out", format_name="container")
    assert (summary.events, summary.late) == (51, 50)
    (warning,) = summary.warnings
    assert "50 of them come after line 51, which is 28 days ahead of all before it" in warning


def test_many_bad_rows_are_warned_of_with_the_commonest_reason(tmp_path: Path) -> None:
    """And the first of them; records of topics that are not read are nothing bad."""
    events = shop_events()
    bad = [b"{}"] * 6 + [b"no json"] * 5
    summary = run_replay(write_recording(tmp_path / "bad.jsonl", [*lines_of(events), *bad]), tmp_path / "out")
    (warning,) = summary.warnings
    n = len(events) + 11
    assert warning.startswith(
        f"11 of {n} rows ({11 / n:.1%}) could not be used; 6 of them for unknown_kind; line {n - 10}: "
    )
    assert nothing_usable(summary) is None


def test_a_recording_of_no_use_says_why(tmp_path: Path) -> None:
    """The commonest reason, with the first row of it."""
    summary = run_replay(write_recording(tmp_path / "bad.jsonl", [b"no json", b"{}", b"{}"]), tmp_path / "out")
    assert (nothing_usable(summary) or "").startswith(
        "none of 3 rows could be used; 2 of them for unknown_kind; line 2: "
    )


def test_a_few_rows_after_the_end_of_a_long_recording_are_no_part_of_it(tmp_path: Path) -> None:
    """In a small one, somebody may well have come back last after weeks."""
    for n, expected_days in ((2_000, 20), (200, 20), (60, 40)):
        events = [click("c1", T0 + i * 20 * DAY_MS // n, "item_view", "item-1") for i in range(n)]
        events.append(click("c1", T0 + 40 * DAY_MS, "item_view", "item-1"))
        path = write_recording(tmp_path / "events.jsonl", lines_of(events))
        first_ms, last_ms = time_span_ms(read_rows(path, "jsonl")) or (0, 0)
        assert (first_ms, round((last_ms - T0) / DAY_MS)) == (T0, expected_days)
