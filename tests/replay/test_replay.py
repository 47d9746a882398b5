"""What a replay writes and says."""

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from consumer.core.customer.segments import DEFAULT_THRESHOLDS
from consumer.core.settings import ChurnSettings, CoreSettings, PrivacySettings
from consumer.replay.files import DEAD_LETTERS, DECISIONS, FILES, JOURNAL, MANIFEST, MODELS, OutputRefused
from consumer.replay.inlet import recorded_partitions
from consumer.replay.options import ReplayOptions, settings_for_recording
from consumer.replay.summary import summary_rows
from producers.readers import read_rows
from schemas.container import Recorded, read_container
from schemas.partitioning import partition_of
from schemas.units import DAY_MS
from tests.containers import write_container
from tests.replay.recordings import T0, click, lines_of, order, run_replay, run_verify, shop_events, write_recording


def decisions_in(out: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (out / DECISIONS).read_bytes().splitlines()]


def test_every_kind_of_row_is_accounted_for(tmp_path: Path) -> None:
    """Good, bad, late and duplicate rows and products add up to the rows of the file, each under its own name."""
    events = shop_events()
    late = click("late", T0 - 30 * DAY_MS, "item_view", "item-1")
    negative_price = click("c1", T0 + DAY_MS, "item_view", "item-1") | {"price": -1.0, "event_id": "negative"}
    lines = [
        *lines_of([{"topic": "products", "item_id": "item-1", "price": 3.0}, *events]),
        *lines_of([events[-1], late, negative_price]),
        b"no json",
    ]
    summary = run_replay(write_recording(tmp_path / "mixed.jsonl", lines), tmp_path / "out")
    assert summary.rows == len(lines)
    assert summary.events == len(events)
    assert sum(summary.events_by_kind.values()) == len(events)
    assert (summary.late, summary.duplicate, summary.products) == (1, 1, 1)
    assert summary.bad_by_reason == {"malformed_row": 1, "out_of_range": 1}
    assert summary.accounted


def test_dead_letters_say_where_and_why(tmp_path: Path) -> None:
    """A rejected row is written down with its line, its coordinates, the reason and the field."""
    bad = click("c1", T0, "item_view", "item-1") | {"price": -1.0}
    run_replay(write_recording(tmp_path / "bad.jsonl", [*lines_of([bad]), b"{"]), tmp_path / "out")
    letters = [orjson.loads(line) for line in (tmp_path / "out" / DEAD_LETTERS).read_bytes().splitlines()]
    by_reason = {letter["reason"]: letter for letter in letters}
    assert by_reason["out_of_range"]["field"] == "price"
    assert by_reason["out_of_range"]["origin"] == {"topic": "clickstream", "partition": 0, "offset": 0}
    assert by_reason["malformed_row"]["line"] == 2


def test_a_product_that_cannot_be_read_is_a_dead_letter_and_its_item_is_not_recommended(
    replayed_once: Path, tmp_path: Path
) -> None:
    """The same is decided as if the shop had said so; and verify agrees."""
    shown = Counter(item["item_id"] for each in decisions_in(replayed_once / "out") for item in each["content"])
    ((item_id, _),) = shown.most_common(1)
    product = {"topic": "products", "item_id": item_id}
    blocked, unreadable = product | {"available": False}, product | {"available": "not any more"}
    run_replay(write_recording(tmp_path / "a.jsonl", lines_of([blocked, *shop_events()])), tmp_path / "blocked")
    recording = write_recording(tmp_path / "b.jsonl", lines_of([unreadable, *shop_events()]))
    summary = run_replay(recording, tmp_path / "unreadable")
    assert (summary.products, summary.bad_by_reason) == (0, {"wrong_type": 1})
    (letter,) = [orjson.loads(line) for line in (tmp_path / "unreadable" / DEAD_LETTERS).read_bytes().splitlines()]
    assert (letter["field"], letter["origin"]["topic"]) == ("available", "products")
    decisions = decisions_in(tmp_path / "unreadable")
    assert decisions == decisions_in(tmp_path / "blocked") != decisions_in(replayed_once / "out")
    assert run_verify(tmp_path / "unreadable").kind == "same"


def test_what_was_mended_is_counted_by_topic_and_field(tmp_path: Path) -> None:
    """An order with a coupon is taken, and the summary says what became of the coupon."""
    coupon = {"item_id": "coupon", "unit_price": "-3"}
    odd = order("c1", T0, "item-1") | {"lines": [{"item_id": "item-1", "unit_price": 10.0}, coupon]}
    summary = run_replay(write_recording(tmp_path / "odd.jsonl", lines_of([odd])), tmp_path / "out")
    assert (summary.events, summary.bad) == (1, 0)
    assert summary.mended == {"purchases lines negative_line": 1, "purchases lines[].unit_price number_from_text": 1}
    assert ("input", "mended: purchases lines negative_line", "1") in summary_rows(summary)


def test_two_replays_publish_the_same_bytes(replayed_once: Path, tmp_path: Path) -> None:
    """The same recording gives the same decisions, journal and models, byte for byte."""
    run_replay(replayed_once / "shop.jsonl", tmp_path / "again")
    for name in (DECISIONS, JOURNAL, MODELS):
        assert (tmp_path / "again" / name).read_bytes() == (replayed_once / "out" / name).read_bytes()


def test_decisions_are_one_a_line_with_nothing_among_them(replayed_once: Path) -> None:
    """Every decision is written, *nothing* included, and the summary counts them by action and trigger."""
    decisions = decisions_in(replayed_once / "out")
    summary = orjson.loads((replayed_once / "out" / "summary.json").read_bytes())
    actions = {str(decision["action"]) for decision in decisions}
    assert "nothing" in actions
    assert len(actions) > 1
    assert sum(summary["decisions"]["by_action"].values()) == len(decisions)
    assert sum(summary["decisions"]["by_trigger"].values()) == len(decisions)


def test_models_learned_on_the_way_are_in_force_for_later_decisions(replayed_once: Path) -> None:
    """The last decisions name a model of each kind of example that matured, and the sessions they rest on."""
    versions = decisions_in(replayed_once / "out")[-1]["model_versions"]
    assert isinstance(versions, dict)
    assert versions["preference"] >= 19
    assert versions["churn"] >= 19
    assert versions["sessions"] > 0


def test_snapshots_are_published_after_every_so_many_examples(replayed_once: Path) -> None:
    """Snapshot offsets of a family are 19, 39, 59 …, whatever the commits were."""
    names = [(record.key or b"").decode() for record in read_container(replayed_once / "out" / MODELS)]
    offsets = [int(name.partition("@")[2]) for name in names if name.startswith("preference@")]
    assert offsets == list(range(19, 20 * len(offsets), 20))


def test_partitions_change_no_count(replayed_once: Path, tmp_path: Path) -> None:
    """Three tasks see what one task sees: the same events, customers and matured examples."""
    out = tmp_path / "three"
    three = run_replay(replayed_once / "shop.jsonl", out, options=ReplayOptions(partitions=3, commit_records=50))
    one = orjson.loads((replayed_once / "out" / "summary.json").read_bytes())
    assert three.events == one["events"]
    assert three.customers == one["customers"]
    assert {record.partition for record in read_container(out / JOURNAL)} == {0, 1, 2}


def test_a_short_recording_has_no_churn_figures_and_says_why(tmp_path: Path) -> None:
    """Less than twice the horizon: null with the reason, never a number that means nothing."""
    events = [event for event in shop_events() if int(str(event["occurred_at"])) < T0 + 3 * DAY_MS]
    summary = run_replay(write_recording(tmp_path / "short.jsonl", lines_of(events)), tmp_path / "out")
    assert summary.churn.log_loss is None
    assert summary.churn.auc is None
    assert "less than twice the horizon" in (summary.churn.reason or "")


def test_a_recording_of_twice_the_horizon_has_churn_figures(replayed_once: Path) -> None:
    """Six days with a horizon of two: labels matured, and log loss and AUC were measured."""
    churn = orjson.loads((replayed_once / "out" / "summary.json").read_bytes())["churn"]
    assert churn["matured"]["horizon"] > 0
    assert churn["log_loss"] > 0
    assert 0 <= churn["auc"] <= 1


def test_stream_time_stops_at_the_last_record(replayed_once: Path) -> None:
    """Nothing is decided after the last event: timers beyond it stay where they are."""
    last_ms = max(int(str(event["occurred_at"])) for event in shop_events())
    assert max(int(str(decision["occurred_at"])) for decision in decisions_in(replayed_once / "out")) <= last_ms


def test_without_consent_nothing_but_service_is_done(tmp_path: Path) -> None:
    """The assumed consent is a setting that the summary shows, and without it marketing is not chosen."""
    recording = write_recording(tmp_path / "shop.jsonl")
    settings = settings_for_recording(CoreSettings(), T0, T0 + 6 * DAY_MS, assume_consent=False)
    refused = run_replay(recording, tmp_path / "refused", settings=settings)
    assumed = run_replay(recording, tmp_path / "assumed")
    assert not refused.settings.default_consent
    assert assumed.settings.default_consent
    assert refused.decisions.other_than_nothing < assumed.decisions.other_than_nothing


def test_the_result_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """A replay that fails half-way leaves neither files nor a manifest nor a new directory behind."""

    def failing(n: int) -> None:
        if n >= 100:
            raise RuntimeError("stopped by the test")

    recording = write_recording(tmp_path / "shop.jsonl")
    from consumer.replay.replay import replay
    from consumer.store.memory import MemoryState
    from tests.replay.recordings import core_of, small_settings, stream_of

    with pytest.raises(RuntimeError, match="stopped by the test"):
        replay(
            stream_of(recording),
            tmp_path / "out",
            core_of(small_settings(recording)),
            MemoryState,
            options=ReplayOptions(commit_records=50),
            progress=failing,
        )
    assert not (tmp_path / "out").exists()


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    """Somebody's folder is never written into; the message names what is in it."""
    recording = write_recording(tmp_path / "shop.jsonl")
    out = tmp_path / "documents"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(OutputRefused, match=r"thesis\.txt"):
        run_replay(recording, out)
    assert [entry.name for entry in out.iterdir()] == ["thesis.txt"]


def test_an_earlier_replay_is_replaced(replayed: Path) -> None:
    """A directory that holds a replay takes the next one."""
    before = (replayed / "out" / MANIFEST).read_bytes()
    run_replay(replayed / "shop.jsonl", replayed / "out")
    assert (replayed / "out" / MANIFEST).read_bytes() != before  # another input path
    assert sorted(entry.name for entry in (replayed / "out").iterdir()) == sorted([*FILES, MANIFEST])


def test_a_file_that_ends_too_early_counts_up_to_there(tmp_path: Path) -> None:
    """What could be read is replayed, and the summary says where it ended."""
    import gzip

    whole = gzip.compress(b"".join(line + b"\n" for line in lines_of(shop_events())))
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    summary = run_replay(cut, tmp_path / "out", settings=settings_for_recording(CoreSettings(), T0, T0 + 6 * DAY_MS))
    assert 0 < summary.rows < len(shop_events())
    assert "ends too early" in (summary.unreadable_after or "")


def test_short_recordings_default_to_activity_within_two_days() -> None:
    """Under 14 days the horizon is 2 days of activity; from 14 days on the settings stay; a given one always does."""
    short = settings_for_recording(CoreSettings(), 0, 13 * DAY_MS)
    assert (short.churn.signal, short.churn.horizon_days) == ("activity", 2.0)
    long = settings_for_recording(CoreSettings(), 0, 14 * DAY_MS)
    assert long.churn == ChurnSettings()
    assert long.preference.sample_share == 1.0
    given = settings_for_recording(
        CoreSettings(
            churn=ChurnSettings(horizon_days=5.0, hazard_days=5.0), privacy=PrivacySettings(default_consent=False)
        ),
        0,
        DAY_MS,
        {"churn.horizon_days", "privacy.default_consent"},
    )
    assert (given.churn.horizon_days, given.churn.signal) == (5.0, "activity")
    assert not given.privacy.default_consent


def test_the_default_of_one_churn_head_fits_a_given_other() -> None:
    """The hazard is never beyond the horizon, whichever of them was given."""
    half_day = CoreSettings(churn=ChurnSettings(horizon_days=0.5, hazard_days=0.5))
    assert settings_for_recording(half_day, 0, DAY_MS, {"churn.horizon_days"}).churn.hazard_days == 0.5
    three_days = CoreSettings(churn=ChurnSettings(hazard_days=3.0))
    assert settings_for_recording(three_days, 0, DAY_MS, {"churn.hazard_days"}).churn.horizon_days == 3.0


def test_the_table_for_people_names_what_the_summary_holds(tmp_path: Path) -> None:
    """The printed table shows rows, decisions, quality beside the baselines, and the assumed consent."""
    summary = run_replay(write_recording(tmp_path / "shop.jsonl"), tmp_path / "out")
    table = {name.strip(): value for _, name, value in summary_rows(summary)}
    assert table["rows"].startswith(f"{summary.rows:,}")
    assert table["nothing"] == f"{summary.decisions.by_action['nothing']:,}"
    assert table["consent where none is recorded"] == "assumed"
    assert f"{summary.preference.popularity.hit_rate_at_20:.4f}" in table["hit rate and MRR at 20, popularity"]


def test_records_of_topics_that_are_not_read_are_counted_and_passed_over(tmp_path: Path) -> None:
    """A recording may hold all topics of a run; verify passes over the same."""
    events = shop_events()
    records = [
        Recorded("clickstream", 0, n, int(str(event["occurred_at"])), str(event["customer_id"]).encode(), line)
        for n, (event, line) in enumerate(zip(events, lines_of(events), strict=True))
        if "item_id" in event
    ]
    others = [Recorded(topic, 0, 0, T0, b"c1", b"{}") for topic in ("next-best-actions", "sessions", "not-ours")]
    path = tmp_path / "all.avro"
    write_container(path, [*records[:9], *others, *records[9:]])
    summary = run_replay(path, tmp_path / "out", format_name="container")
    assert summary.bad_by_reason == {"other_topic": 3}
    assert summary.events == len(records)
    assert run_verify(tmp_path / "out").kind == "same"


def recorded_topics(partitions: int) -> list[Recorded]:
    """Seven weeks of the small shop as a backfill: each topic was loaded on its own, long after its events happened."""
    loaded_ms = T0 + 100 * DAY_MS
    places: dict[tuple[str, int], list[Recorded]] = {}
    for event in shop_events():
        event["occurred_at"] = T0 + (int(str(event["occurred_at"])) - T0) * 8
        topic = "purchases" if event["kind"] == "order" else "clickstream"
        key = str(event["customer_id"]).encode()
        records = places.setdefault((topic, partition_of(key, partitions)), [])
        at_ms = loaded_ms + len(records) + (DAY_MS * 10 if topic == "purchases" else 0)
        (value,) = lines_of([event])
        records.append(Recorded(topic, partition_of(key, partitions), len(records), at_ms, key, value))
    return [record for place in sorted(places) for record in places[place]]


def test_topics_recorded_one_partition_after_the_other_replay_without_late_events(tmp_path: Path) -> None:
    """A container is replayed in the order of events, by one task or as many as there were, and verifies."""
    write_container(tmp_path / "rec.avro", recorded_topics(3))
    assert {recorded_partitions(row) for row in read_rows(tmp_path / "rec.avro", "container")} == {1, 2, 3}
    for partitions in (3, 1):
        out, options = tmp_path / f"out-{partitions}", ReplayOptions(partitions=partitions, commit_records=50)
        summary = run_replay(tmp_path / "rec.avro", out, options=options, format_name="container")
        assert (summary.late, summary.bad, summary.warnings) == (0, 0, ())
        assert summary.events == len(shop_events())
        assert {record.partition for record in read_container(out / JOURNAL)} == set(range(partitions))
        assert run_verify(out).kind == "same"


def test_the_order_of_arrival_in_a_container_changes_no_decision(tmp_path: Path) -> None:
    """The same topics recorded twice, with their partitions in another order, give the same decisions."""
    records = recorded_topics(3)
    for name, rows in (("a", records), ("b", sorted(records, key=lambda each: (-each.partition, each.offset)))):
        write_container(tmp_path / f"{name}.avro", rows)
        options = ReplayOptions(partitions=3, commit_records=50)
        run_replay(tmp_path / f"{name}.avro", tmp_path / name, options=options, format_name="container")
    assert (tmp_path / "a" / DECISIONS).read_bytes() == (tmp_path / "b" / DECISIONS).read_bytes()


def test_rows_of_one_order_are_accounted_for(tmp_path: Path) -> None:
    """As rows that went into an event together with another; a row that stands there twice is a duplicate."""
    lines = [b"timestamp,visitorid,event,itemid,transactionid"]
    lines += [b"%d,%d,transaction,%d,%d" % (T0 + 60_000 * (n // 3), n // 3, n % 3, n // 3) for n in range(60)]
    lines += [b"%d,99,view,1," % (T0 + 1_000)] * 2
    summary = run_replay(write_recording(tmp_path / "rr", lines), tmp_path / "out", format_name="retailrocket")
    assert (summary.rows, summary.events, summary.duplicate, summary.merged) == (62, 21, 1, 40)
    assert ("input", "of an order with others", "40") in summary_rows(summary)
    assert run_verify(tmp_path / "out").kind == "same"


def test_the_summary_counts_who_moved_from_segment_to_segment(tmp_path: Path) -> None:
    """Who comes again after a month was slipping in between, and the table says so."""
    days = (0, 1, 2, 35, 36)
    events = [click(f"c{n}", T0 + day * DAY_MS + n, "item_view", f"item-{day}") for day in days for n in range(3)]
    summary = run_replay(write_recording(tmp_path / "month.jsonl", lines_of(events)), tmp_path / "out")
    assert summary.segments.moves == {"new": {"slipping": 3}, "slipping": {"active": 3}}
    assert summary.segments.thresholds == DEFAULT_THRESHOLDS
    assert ("segments", "moves from new", "slipping 3") in summary_rows(summary)
