"""Records whose reading depends on a schema registry, verified when it answers otherwise than in the run."""

from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from consumer.core.intake import Rejection
from consumer.core.merge import MergeRecord
from consumer.replay.evidence import NotVerifiable
from consumer.replay.judged import Judged
from schemas.avro_schemas import avro_schema
from schemas.codec import AvroEncoder, Decoder
from schemas.container import Recorded, read_container
from schemas.events import ClickEvent, Product
from schemas.records import JournalRecord, Rejected
from tests.containers import write_container
from tests.replay.recordings import run_replay, run_verify, shop_events

SCHEMA_ID = 7
LATE_HALF = 100  # records from here on are in Avro


class Registry:
    """A schema registry that knows some ids."""

    def __init__(self, *known: int) -> None:
        self.known = set(known)

    def schema_by_id(self, schema_id: int) -> dict[str, Any]:
        """Return the schema of clicks, where the id is known."""
        if schema_id not in self.known:
            raise KeyError(schema_id)
        return avro_schema("clickstream")


class ProductRegistry(Registry):
    """One that knows the schema of products."""

    def schema_by_id(self, schema_id: int) -> dict[str, Any]:
        """Return the schema of products, where the id is known."""
        super().schema_by_id(schema_id)
        return avro_schema("products")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Return recorded clicks, of which the later are in Avro."""
    encoder = AvroEncoder({"clickstream": SCHEMA_ID})
    clicks = [event for event in shop_events() if event["kind"] != "order"]
    records = []
    for offset, event in enumerate(clicks):
        avro = encoder.encode("clickstream", msgspec.convert(event, ClickEvent))
        records.append(
            Recorded(
                "clickstream",
                partition=0,
                offset=offset,
                timestamp_ms=int(str(event["occurred_at"])) + 1_000,
                key=str(event["customer_id"]).encode(),
                value=avro if offset >= LATE_HALF else orjson.dumps(event),
            )
        )
    write_container(tmp_path / "topics.avro", records)
    return tmp_path / "topics.avro"


@pytest.mark.parametrize("known_then", [True, False])
def test_the_same_answers_give_the_same_decisions(recording: Path, tmp_path: Path, known_then: bool) -> None:
    """Whether the registry knew the schema in the run or not."""
    decoder = Decoder(Registry(SCHEMA_ID) if known_then else Registry())
    summary = run_replay(recording, tmp_path / "out", format_name="container", decoder=decoder)
    assert bool(summary.bad_by_reason) != known_then
    verdict = run_verify(tmp_path / "out", decoder=decoder)
    assert verdict.kind == "same", verdict


def test_what_the_registry_did_not_know_then_stays_rejected(recording: Path, tmp_path: Path) -> None:
    """The schema was registered since; the decisions of the run were made without those records."""
    run_replay(recording, tmp_path / "out", format_name="container", decoder=Decoder(Registry()))
    verdict = run_verify(tmp_path / "out", decoder=Decoder(Registry(SCHEMA_ID)))
    assert verdict.kind == "same", verdict


def test_what_the_registry_does_not_know_any_more_cannot_be_verified(recording: Path, tmp_path: Path) -> None:
    """Nothing differs: it can't be told. The first such record is named, and what to verify with."""
    run_replay(recording, tmp_path / "out", format_name="container", decoder=Decoder(Registry(SCHEMA_ID)))
    verdict = run_verify(tmp_path / "out", decoder=Decoder(Registry()))
    assert verdict.kind == "not_verifiable", verdict
    assert f"clickstream[0] {LATE_HALF} could be read when it was processed" in verdict.message
    assert "Verify with the schema registry of that run" in verdict.message


def test_the_journal_names_each_stretch_of_rejected_records_once(recording: Path, tmp_path: Path) -> None:
    """All of them lie one behind the other here: one entry a commit."""
    run_replay(recording, tmp_path / "out", format_name="container", decoder=Decoder(Registry()))
    decode = Decoder().decode
    journals = [decode("journal", each.value) for each in read_container(tmp_path / "out" / "journal.avro")]
    stretches = [each for journal in journals for each in journal.rejected]
    assert {(each.topic, each.reason) for each in stretches} == {("clickstream", "unknown_schema_id")}
    assert all(len(journal.rejected) <= 1 for journal in journals)
    offsets = [offset for each in stretches for offset in range(each.offset, each.offset + each.count)]
    assert offsets == list(range(LATE_HALF, offsets[-1] + 1))


@pytest.fixture
def products_in_avro(tmp_path: Path) -> Path:
    """Return recorded clicks in JSON, and before them the items of the shop in Avro."""
    encoder, items = AvroEncoder({"products": SCHEMA_ID}), [f"item-{number}" for number in range(10)]
    clicks = [event for event in shop_events() if event["kind"] != "order"]
    first_ms = int(str(clicks[0]["occurred_at"]))
    records = [
        Recorded("products", 0, offset, first_ms, item.encode(), encoder.encode("products", Product(item)))
        for offset, item in enumerate(items)
    ]
    for offset, event in enumerate(clicks):
        at_ms, key = int(str(event["occurred_at"])) + 1_000, str(event["customer_id"]).encode()
        records.append(Recorded("clickstream", 0, offset, at_ms, key, orjson.dumps(event)))
    write_container(tmp_path / "topics.avro", records)
    return tmp_path / "topics.avro"


@pytest.mark.parametrize(("then", "now"), [((), (SCHEMA_ID,)), ((SCHEMA_ID,), ())])
def test_products_that_the_registry_lets_be_read_otherwise_are_no_difference(
    products_in_avro: Path, tmp_path: Path, then: tuple[int, ...], now: tuple[int, ...]
) -> None:
    """No journal says how products were read: with another answer their items are open, or blocked."""
    run_replay(
        products_in_avro, tmp_path / "out", format_name="container", decoder=Decoder(ProductRegistry(*then))
    )  # fmt: skip
    assert run_verify(tmp_path / "out", decoder=Decoder(ProductRegistry(*then))).kind == "same"
    verdict = run_verify(tmp_path / "out", decoder=Decoder(ProductRegistry(*now)))
    assert verdict.kind == "not_verifiable", verdict
    assert "how it read them depends on what the schema registry answered then" in verdict.message


def journal(rejected: tuple[Rejected, ...] = (), left_out: int = 0) -> JournalRecord:
    """Return a journal record that rejected these."""
    fields: dict[str, Any] = {each.name: "x" for each in msgspec.structs.fields(JournalRecord) if each.required}
    return JournalRecord(**fields | {"task": 3, "sequence": 9, "rejected": rejected, "rejected_left_out": left_out})


CLICK = ClickEvent("e1", "c1", 1_700_000_000_000, "item_view", item_id="i1")
UNKNOWN = Rejection("unknown_schema_id", "schema_id", "`schema_id` 7 is not known to the schema registry")


def avro_record(offset: int, event: ClickEvent | Rejection) -> MergeRecord:
    """Return a record in Avro, as it is judged today."""
    return MergeRecord("clickstream", offset, 0, b"c1", b"\0\0\0\0\7x", event)


def test_where_more_was_rejected_than_the_journal_names_it_is_not_known_what_became_of_the_rest() -> None:
    """A record of a schema may have been among them; one in JSON is read alike for ever."""
    judged = Judged(journal((Rejected("clickstream", "unknown_schema_id", 0, 2),), left_out=1))
    assert judged.as_in_the_run(avro_record(1, CLICK)).event == Rejection(
        "unknown_schema_id", None, "by what the registry answered then"
    )
    in_json = MergeRecord("clickstream", 2, 0, b"c1", b"{", Rejection("malformed_json", "value", "no JSON"))
    assert judged.as_in_the_run(in_json) is in_json
    assert not judged.unsure
    assert judged.as_in_the_run(avro_record(3, UNKNOWN)).event is UNKNOWN
    assert judged.unsure


def test_a_record_that_can_be_read_now_may_have_been_among_the_rejected_that_were_not_named() -> None:
    """Its schema may have been registered since."""
    judged = Judged(journal((Rejected("clickstream", "unknown_schema_id", 0, 2),), left_out=1))
    assert judged.as_in_the_run(avro_record(3, CLICK)).event is CLICK
    assert judged.unsure
    named = Judged(journal((Rejected("clickstream", "unknown_schema_id", 0, 2),)))
    named.as_in_the_run(avro_record(3, CLICK))
    assert not named.unsure


def test_a_record_that_the_run_turned_down_for_what_is_in_it_was_read() -> None:
    """A late one, say: without its schema it can't be told that it was late."""
    judged = Judged(journal((Rejected("clickstream", "late", 5, 1),)))
    with pytest.raises(NotVerifiable, match=r"task 3, commit 9: clickstream\[3\] 5 could be read"):
        judged.as_in_the_run(avro_record(5, UNKNOWN))
