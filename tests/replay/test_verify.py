"""Verification of a replay: same, different (and where), or not verifiable (and why)."""

import gzip
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import orjson
import pytest

from consumer.core.journal import checksum_of
from consumer.default_catalogue import default_catalogue
from consumer.replay.directory import DirectoryEvidence
from consumer.replay.evidence import Damaged, NotVerifiable
from consumer.replay.files import (
    DECISIONS,
    FILES,
    JOURNAL,
    MANIFEST,
    MODELS,
    Manifest,
    Source,
    encode_manifest,
    sha256_of,
)
from consumer.replay.options import ReplayOptions
from consumer.replay.training import PublishedSnapshot, Trainers
from consumer.replay.verify import Verdict, verify
from consumer.store.memory import MemoryState
from producers.readers import read_rows
from schemas.codec import Decoder, JsonEncoder
from schemas.container import Recorded, read_container
from schemas.records import FAMILIES, Family, JournalRecord, TrainingExample
from tests.containers import write_container
from tests.replay.recordings import (
    BUILD,
    core_of,
    lines_of,
    run_replay,
    run_verify,
    shop_events,
    small_settings,
    stream_of,
    write_recording,
)


def seal_again(out: Path, input_path: Path | None = None) -> None:
    """Make the manifest agree with the files: only what is derived can now tell that something was changed."""
    manifest = msgspec.json.decode((out / MANIFEST).read_bytes(), type=Manifest)
    files = {name: sha256_of(out / name) for name in FILES}
    source = Source.of(input_path, "jsonl") if input_path is not None else manifest.source
    sealed = msgspec.structs.replace(manifest, files=files, source=source).sealed()
    (out / MANIFEST).write_bytes(encode_manifest(sealed))


def rewrite_journal(out: Path, change: Callable[[list[JournalRecord]], list[JournalRecord]]) -> None:
    """Put a changed journal into place, each record under its own coordinates."""
    decode, encode = Decoder().decode, JsonEncoder().encode
    records = change([decode("journal", recorded.value) for recorded in read_container(out / JOURNAL)])
    write_container(
        out / JOURNAL,
        [Recorded("journal", r.task, r.sequence, r.stream_time, b"0", encode("journal", r)) for r in records],
    )
    seal_again(out)


def verdict_of(out: Path, input_path: Path) -> Verdict:
    """The verdict as a command would give it."""
    try:
        return run_verify(out, input_path=input_path)
    except Damaged as error:
        return Verdict("different", str(error))
    except NotVerifiable as error:
        return Verdict("not_verifiable", str(error))


def test_a_replay_is_derived_again_bit_for_bit(replayed_once: Path) -> None:
    """An untouched replay is the same: all commits, decisions and snapshots."""
    verdict = run_verify(replayed_once / "out")
    assert verdict.kind == "same", verdict
    assert verdict.exit_code == 0
    assert verdict.decisions == len((replayed_once / "out" / DECISIONS).read_bytes().splitlines())
    assert verdict.snapshots == sum(1 for _ in read_container(replayed_once / "out" / MODELS))


def test_several_tasks_are_derived_again(replayed_once: Path, tmp_path: Path) -> None:
    """With three partitions each task is derived from its own part of the same input."""
    out = tmp_path / "three"
    run_replay(replayed_once / "shop.jsonl", out, options=ReplayOptions(partitions=3, commit_records=40))
    assert run_verify(out).kind == "same"


def test_products_in_the_recording_are_known_again(tmp_path: Path) -> None:
    """Products come into force at the same commits when the input is read again."""
    events = shop_events()
    product = {"topic": "products", "item_id": "item-1", "available": False}
    lines = lines_of([*events[:200], product, {**product, "price": -1}, *events[200:]])
    run_replay(write_recording(tmp_path / "shop.jsonl", lines), tmp_path / "out")
    assert run_verify(tmp_path / "out").kind == "same"


@pytest.mark.parametrize("name", [JOURNAL, "input", DECISIONS, MODELS, MANIFEST])
def test_one_changed_byte_anywhere_is_different(replayed: Path, name: str) -> None:
    """Any byte of the input or of what was written: different, never anything else."""
    recording = replayed / "shop.jsonl"
    target = recording if name == "input" else replayed / "out" / name
    original = target.read_bytes()
    chance = random.Random(name)
    places = {0, len(original) - 1, *(chance.randrange(len(original)) for _ in range(5))}
    for at in sorted(places):
        changed = bytearray(original)
        changed[at] ^= 1 << chance.randrange(8)
        target.write_bytes(changed)
        verdict = verdict_of(replayed / "out", recording)
        assert (verdict.kind, verdict.exit_code) == ("different", 1), (at, verdict)
    target.write_bytes(original)
    assert verdict_of(replayed / "out", recording).kind == "same"


def test_a_changed_byte_of_a_compressed_input_is_different(tmp_path: Path) -> None:
    """Also where the damaged file cannot be unpacked any more."""
    recording = tmp_path / "shop.jsonl.gz"
    original = gzip.compress(b"".join(line + b"\n" for line in lines_of(shop_events())))
    recording.write_bytes(original)
    run_replay(recording, tmp_path / "out")
    chance = random.Random(7)
    for _ in range(5):
        changed = bytearray(original)
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        recording.write_bytes(changed)
        assert verdict_of(tmp_path / "out", recording).kind == "different"


def test_the_changed_file_is_named_and_the_first_decision_that_differs_is_shown(replayed: Path) -> None:
    """A changed input is named with its path, the details show the first decision that does not follow."""
    recording = replayed / "shop.jsonl"
    lines = recording.read_bytes().splitlines()
    decisions = map(orjson.loads, (replayed / "out" / DECISIONS).read_bytes().splitlines())
    started = next(d for d in decisions if d["trigger"] == "session_start")
    asked = (started["customer_id"], started["occurred_at"])
    at = next(n for n, e in enumerate(map(orjson.loads, lines)) if (e["customer_id"], e["occurred_at"]) == asked)
    lines[at] = orjson.dumps(orjson.loads(lines[at]) | {"kind": "error", "item_id": None})
    write_recording(recording, lines)
    verdict = run_verify(replayed / "out", input_path=recording)
    assert verdict.kind == "different"
    assert str(recording) in verdict.message
    assert any("inputs are not those that were processed" in detail for detail in verdict.details)
    assert verdict.decision_id is not None
    assert any("published" in detail and "derived" in detail for detail in verdict.details)


def test_a_changed_input_under_a_forged_manifest_is_found_by_deriving(replayed: Path) -> None:
    """With every digest of a file put right, the commit's own digest of its inputs still tells, with coordinates."""
    recording = replayed / "shop.jsonl"
    write_recording(recording, [line.replace(b"item-3", b"item-4") for line in recording.read_bytes().splitlines()])
    seal_again(replayed / "out", recording)
    verdict = run_verify(replayed / "out")
    assert verdict.kind == "different"
    assert (verdict.task, verdict.sequence) == (0, 1)
    assert "inputs_digest" in verdict.message
    assert "clickstream[0] 0 to" in verdict.message


def test_a_changed_decision_under_a_forged_manifest_is_shown_field_by_field(replayed: Path) -> None:
    """The field that was changed is named with what was published and what is derived."""
    file = replayed / "out" / DECISIONS
    lines = file.read_bytes().splitlines()
    decision = orjson.loads(lines[5])
    lines[5] = orjson.dumps(decision | {"propensity": 0.123})
    write_recording(file, lines)
    seal_again(replayed / "out")
    verdict = run_verify(replayed / "out", input_path=replayed / "shop.jsonl")
    assert verdict.kind == "different"
    assert verdict.decision_id == decision["decision_id"]
    assert "propensity: published 0.123, derived" in verdict.message


@pytest.mark.parametrize("change", ["drop", "add"])
def test_a_decision_too_many_or_too_few_is_different(replayed: Path, change: str) -> None:
    """A last line that is missing, or one that nobody decided."""
    file = replayed / "out" / DECISIONS
    lines = file.read_bytes().splitlines()
    write_recording(file, lines[:-1] if change == "drop" else [*lines, lines[-1]])
    seal_again(replayed / "out")
    verdict = run_verify(replayed / "out", input_path=replayed / "shop.jsonl")
    assert verdict.kind == "different"
    assert verdict.decision_id == orjson.loads(lines[-1])["decision_id"]


def test_a_changed_model_under_a_forged_manifest_is_different(replayed: Path) -> None:
    """A snapshot that does not follow from its examples, though its own checksum holds, is found."""
    models = list(read_container(replayed / "out" / MODELS))
    first, later = models[0], next(m for m in models[1:] if m.key and models[0].key and m.key[:5] == models[0].key[:5])
    models[0] = msgspec.structs.replace(first, value=later.value)
    write_container(replayed / "out" / MODELS, models)
    seal_again(replayed / "out")
    verdict = run_verify(replayed / "out", input_path=replayed / "shop.jsonl")
    assert verdict.kind == "different"
    assert "does not follow from its examples" in verdict.message


def test_a_journal_record_that_was_edited_is_different(replayed: Path) -> None:
    """An edit breaks the record's checksum; with that forged too, it breaks the chain at the next one."""

    def edit(records: list[JournalRecord]) -> list[JournalRecord]:
        records[2] = msgspec.structs.replace(records[2], build="another")
        return records

    def edit_and_forge(records: list[JournalRecord]) -> list[JournalRecord]:
        forged = msgspec.structs.replace(records[2], state_digest="0" * 32)
        records[2] = msgspec.structs.replace(forged, checksum=checksum_of(forged))
        return records

    rewrite_journal(replayed / "out", edit)
    verdict = run_verify(replayed / "out", input_path=replayed / "shop.jsonl")
    assert verdict.kind == "different"
    assert "checksum does not hold" in verdict.message
    rewrite_journal(replayed / "out", lambda _: edit_and_forge(original_journal(replayed)))
    verdict = run_verify(replayed / "out", input_path=replayed / "shop.jsonl")
    assert (verdict.kind, verdict.sequence) == ("different", 3)
    assert "state_digest" in verdict.message


def original_journal(replayed: Path) -> list[JournalRecord]:
    """The journal of a second, untouched replay of the same input."""
    run_replay(replayed / "shop.jsonl", replayed / "untouched")
    decode = Decoder().decode
    return [decode("journal", recorded.value) for recorded in read_container(replayed / "untouched" / JOURNAL)]


def test_a_commit_that_is_there_twice_is_different(replayed: Path) -> None:
    """Two workers that wrote for one task leave two records of one number."""
    rewrite_journal(replayed / "out", lambda records: [*records[:3], records[2], *records[3:]])
    verdict = run_verify(replayed / "out", input_path=replayed / "shop.jsonl")
    assert verdict.kind == "different"
    assert "twice" in verdict.message


@pytest.mark.parametrize(("kept", "missing"), [(slice(2, None), "1 to 2"), (slice(None), None)])
def test_a_journal_without_its_beginning_is_not_verifiable(replayed: Path, kept: slice, missing: str | None) -> None:
    """What expired cannot be derived from, and the message names the commits that are missing."""
    rewrite_journal(replayed / "out", lambda records: records[kept])
    verdict = run_verify(replayed / "out", input_path=replayed / "shop.jsonl")
    if missing is None:
        assert verdict.kind == "same"
    else:
        assert (verdict.kind, verdict.exit_code) == ("not_verifiable", 3)
        assert missing in verdict.message


def test_a_replay_by_another_build_is_not_verifiable(replayed_once: Path) -> None:
    """Both builds are named, and no difference is claimed."""
    verdict = run_verify(replayed_once / "out", build="a newer one")
    assert (verdict.kind, verdict.exit_code) == ("not_verifiable", 3)
    assert BUILD in verdict.message
    assert "a newer one" in verdict.message


def test_other_settings_are_not_verifiable(replayed_once: Path) -> None:
    """Whoever verifies with another configuration is told so."""
    recording = DirectoryEvidence(replayed_once / "out", read_rows)
    settings = small_settings(replayed_once / "shop.jsonl")
    other = replace(settings, privacy=replace(settings.privacy, default_consent=False))
    verdict = verify(recording, core_of(other), MemoryState)
    assert verdict.kind == "not_verifiable"
    assert "settings" in verdict.message


def test_a_missing_input_is_not_verifiable(replayed: Path) -> None:
    """The path is named, and how to say where the file is now."""
    with pytest.raises(NotVerifiable, match="--input"):
        run_verify(replayed / "out", input_path=replayed / "gone.jsonl")


def test_a_directory_without_a_manifest_is_not_verifiable(tmp_path: Path) -> None:
    """An unfinished replay, or none."""
    with pytest.raises(NotVerifiable, match="no finished replay"):
        run_verify(tmp_path)


def test_models_in_force_that_are_gone_are_not_verifiable(replayed_once: Path) -> None:
    """Without the snapshot that scored, its decisions cannot be derived."""

    class WithoutModels(DirectoryEvidence):
        def snapshot(self, model: str, offset: int) -> bytes | None:  # noqa: ARG002 - of the protocol
            return None

    recording = WithoutModels(replayed_once / "out", read_rows)
    verdict = verify(recording, core_of(recording.settings, recording.catalogue), MemoryState)
    assert verdict.kind == "not_verifiable"
    assert "snapshot" in verdict.message


def derived_examples(
    input_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[Family, list[tuple[int, TrainingExample]]]:
    """The logs of examples of a replay with two partitions."""
    logs: dict[Family, list[tuple[int, TrainingExample]]] = {family: [] for family in FAMILIES}
    fold = Trainers.fold

    def listening(self: Trainers, examples: list[TrainingExample]) -> list[PublishedSnapshot]:
        for example in examples:
            logs[example.family].append((len(logs[example.family]), example))
        return fold(self, examples)

    with monkeypatch.context() as patch:
        patch.setattr(Trainers, "fold", listening)
        run_replay(input_path, out, options=ReplayOptions(partitions=2, commit_records=40))
    return logs


def test_the_order_of_tasks_in_the_journal_does_not_matter_where_the_examples_are_kept(
    replayed_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on topics: one task's journal after the other's, and the models derived from the log of examples."""
    out = tmp_path / "two"
    run_replay(replayed_once / "shop.jsonl", out, options=ReplayOptions(partitions=2, commit_records=40))

    class TaskByTask(DirectoryEvidence):
        def journal(self) -> Iterator[JournalRecord]:
            return iter(sorted(super().journal(), key=lambda record: (record.task, record.sequence)))

        def examples(self, family: Family) -> Iterator[tuple[int, TrainingExample]]:
            return ((offset, example) for offset, example in logs[family])

    logs = derived_examples(replayed_once / "shop.jsonl", tmp_path / "again", monkeypatch)
    recording = TaskByTask(out, read_rows)
    verdict = verify(recording, core_of(recording.settings, recording.catalogue), MemoryState)
    assert verdict.kind == "same", verdict
    assert verdict.snapshots == sum(1 for _ in read_container(out / MODELS))
    logs["preference"].pop()
    recording = TaskByTask(out, read_rows)
    verdict = verify(recording, core_of(recording.settings, recording.catalogue), MemoryState)
    assert verdict.kind == "different"
    assert "preference" in verdict.message


def test_a_recording_with_spent_budgets_is_derived_again(replayed_once: Path, tmp_path: Path) -> None:
    """Grants are taken from the journal, and what was spent of them is counted again."""
    from consumer.core.catalogue import Catalogue
    from consumer.replay.files import catalogue_mapping
    from consumer.replay.replay import replay

    mapping = catalogue_mapping(default_catalogue())
    for channel in mapping["channels"].values():
        channel["budget_per_day"] = 1.0
    recording = replayed_once / "shop.jsonl"
    limited = replay(
        stream_of(recording),
        tmp_path / "limited",
        core_of(small_settings(recording), Catalogue.from_mapping(mapping)),
        MemoryState,
        options=ReplayOptions(commit_records=50),
    )
    unlimited = orjson.loads((replayed_once / "out" / "summary.json").read_bytes())["decisions"]["other_than_nothing"]
    assert 0 < limited.decisions.other_than_nothing < unlimited
    assert run_verify(tmp_path / "limited").kind == "same"


def test_recorded_topics_are_replayed_as_they_stood(tmp_path: Path) -> None:
    """A container of topics, out of order and with what the broker's clock rules out, is derived again too."""
    events = shop_events()
    records = [
        Recorded(
            "purchases" if event["kind"] == "order" else "clickstream",
            partition=0,
            offset=at,
            timestamp_ms=int(str(event["occurred_at"])) + 1_000,
            key=str(event["customer_id"]).encode(),
            value=orjson.dumps(event),
        )
        for at, event in enumerate(events)
    ]
    swapped = [record for at in range(0, len(records), 7) for record in reversed(records[at : at + 7])]
    ahead = msgspec.structs.replace(records[50], timestamp_ms=records[50].timestamp_ms - 3_600_000)
    no_key = msgspec.structs.replace(records[60], key=None)
    no_text = msgspec.structs.replace(records[70], value=b'{"kind":"\xff"}')
    write_container(tmp_path / "topics.avro", [*swapped, ahead, no_key, no_text])
    summary = run_replay(tmp_path / "topics.avro", tmp_path / "out", format_name="container")
    assert summary.events == len(events)
    assert summary.bad_by_reason == {"ahead_of_time": 1, "malformed_json": 1, "missing_key": 1}
    assert run_verify(tmp_path / "out").kind == "same"


def test_where_nothing_was_committed_there_is_nothing_to_be_the_same(tmp_path: Path) -> None:
    """An empty journal may be a wrong prefix or an expired one: it must not pass for a verification."""
    run_replay(write_recording(tmp_path / "empty.jsonl", []), tmp_path / "out")
    assert run_verify(tmp_path / "out").kind == "not_verifiable"
