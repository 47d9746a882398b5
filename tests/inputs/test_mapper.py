"""From the bytes of a shop's record to canonical events: JSON, framed JSON, Avro, CSV, and the decoder of a worker."""

from typing import Any

import orjson
import pytest

from consumer.core import intake
from consumer.inputs.configure import mapping_of
from consumer.inputs.mapper import NO_EVENT, MappedDecoder, MappedEvent, Mapper
from producers import rows
from schemas.avro_schemas import OtherSchemaType
from schemas.codec import Decoder, JsonEncoder
from schemas.errors import InvalidRecord
from schemas.events import ClickEvent, PurchaseEvent
from schemas.partitioning import partition_of
from tests.inputs.sections import ORDER, RECORD, VIEW, mapper, section
from tests.schemas.wire import SchemaTable, encode_with

TOPIC = 'topics = ["t"]\n'
CLICK = ClickEvent("e", "u", RECORD["at"], "item_view", item_id="x")  # type: ignore[arg-type]  # it is a number
SCHEMA = {
    "type": "record",
    "name": "ShopView",
    "namespace": "shop.web",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "user", "type": {"type": "record", "name": "User", "fields": [{"name": "no", "type": "long"}]}},
        {"name": "at", "type": "long"},
        {"name": "item", "type": ["null", "string"], "default": None},
    ],
}


def value(**changes: object) -> bytes:
    return orjson.dumps({**RECORD, **changes})


def one(text: str, data: bytes | None, source: Any = None) -> MappedEvent | InvalidRecord:
    (found,) = mapper(TOPIC + text, source).of_value(data)
    return found


def test_json_becomes_a_canonical_record_keyed_by_the_customer() -> None:
    """Its bytes decode to the event that comes with them."""
    found = one(VIEW, value(user=5))
    assert isinstance(found, MappedEvent)
    assert (found.topic, found.kind, found.key, found.occurred_at) == ("clickstream", "item_view", b"5", RECORD["at"])
    assert Decoder().decode("clickstream", found.value) == found.event


def test_json_behind_a_registrys_framing() -> None:
    """The schema id is passed over: nobody needs to be asked."""
    found = one('format = "json-registry"\n' + VIEW, b"\0\0\0\0\7" + value())
    assert isinstance(found, MappedEvent)
    assert found.event == CLICK


def test_avro_is_read_with_the_schema_that_it_was_written_with() -> None:
    """Under whatever name; nested fields and unions are reached by path."""
    text = 'format = "avro"\n' + VIEW.replace('"user"', '"user.no"')
    record = {"id": "e", "user": {"no": 12}, "at": RECORD["at"], "item": "x"}
    found = one(text, encode_with(SCHEMA, 7, record), SchemaTable({7: SCHEMA}))
    assert isinstance(found, MappedEvent)
    assert found.key == b"12"


def test_a_line_of_csv_on_a_topic_has_the_columns_that_the_mapping_names() -> None:
    """Quoted values are unquoted."""
    text = 'format = "csv"\nseparator = ";"\ncolumns = ["id", "user", "at", "item"]\n' + VIEW
    found = one(text, f'e;"u";{RECORD["at"]};x'.encode())
    assert isinstance(found, MappedEvent)
    assert found.event == CLICK


@pytest.mark.parametrize(
    ("form", "data", "reason", "words"),
    [
        ("json", b"", "empty_value", "is empty: expected json"),
        ("json", b"{", "malformed_json", "is not valid JSON from character"),
        ("json", b"[1]", "missing_field", "`event_id`, from `id`, is missing"),
        ("json", b"5", "wrong_type", "the record is a number, expected an object"),
        ("json", b"\0\0\0\0\1{}", "unknown_format", 'set format = "avro", or "json-registry"'),
        ("json-registry", b"{}", "unknown_format", "does not begin with a registry's framing (00 and 4 bytes): "),
        ("avro", b"{}", "unknown_format", 'set format = "json"'),
        ("avro", b"\0\0\0\0\1x", "unknown_schema_id", "set kafka.schema_registry_url"),
    ],
)  # fmt: skip
def test_bytes_of_another_format_are_told_apart(form: str, data: bytes, reason: str, words: str) -> None:
    """The message names the input and the format to set."""
    found = one(f'format = "{form}"\n{VIEW}', data)
    assert isinstance(found, InvalidRecord)
    assert found.reason == reason
    assert found.message.startswith("[inputs.shop] ")
    assert words in found.message


def test_avro_of_an_unknown_schema_or_cut_short_is_said_to_be_so() -> None:
    """As the codec says it of canonical records."""
    source = SchemaTable({7: SCHEMA})
    data = encode_with(SCHEMA, 7, {"id": "e", "user": {"no": 1}, "at": 5, "item": None})
    reasons = []
    for broken in (b"\0\0\0\0\x09" + data[5:], data[:-3]):
        found = one('format = "avro"\n' + VIEW, broken, source)
        assert isinstance(found, InvalidRecord)
        reasons.append(found.reason)
    assert reasons == ["unknown_schema_id", "malformed_avro"]


@pytest.mark.parametrize(("schema_type", "words"), [("JSON", 'set format = "json-registry"'), ("PROTOBUF", "not Avro")])
def test_a_schema_of_another_type_is_named_for_what_it_is(schema_type: str, words: str) -> None:
    """With the format to set, where there is one."""

    class Registry:
        def schema_by_id(self, _schema_id: int) -> Any:
            raise OtherSchemaType(schema_type)

    found = one('format = "avro"\n' + VIEW, b"\0\0\0\0\7{}", Registry())
    assert isinstance(found, InvalidRecord)
    assert (found.reason, schema_type in found.message, words in found.message) == ("unusable_schema", True, True)


def test_a_tombstone_is_no_event() -> None:
    """Change data capture writes one after each deletion."""
    assert mapper(TOPIC + VIEW).of_value(None) == []


def test_what_the_codec_refuses_is_said_in_terms_of_the_mapping() -> None:
    """A price below 0 comes from a path that somebody can look at."""
    found = one(VIEW + 'price = "price"', value(price=-1))
    assert isinstance(found, InvalidRecord)
    assert (found.reason, found.field) == ("out_of_range", "price")
    said = "[inputs.shop] item_view: `price` is out of range: expected number >= 0.0; it comes from `price`"
    assert said in found.message


def worker_read(text: str, data: bytes) -> Any:
    """Return what a worker makes of a record of its topic `clickstream`, which holds the shop's own."""
    decoder = MappedDecoder({"clickstream": mapper(TOPIC + text)})
    return intake.read(
        decoder,
        "clickstream",
        b"u",
        data,
        partition=partition_of(b"u", 4),
        partitions=4,
        timestamp_ms=RECORD["at"],  # type: ignore[arg-type]  # it is a number
        max_ahead_ms=0,
    )


def test_a_worker_takes_a_mapped_record_for_the_event_that_it_becomes() -> None:
    """Key, partition and time are judged as those of canonical records are."""
    assert worker_read(VIEW, value()) == CLICK
    assert worker_read(VIEW, value(user="other")).reason == "wrong_key"
    assert worker_read(VIEW, value(user=None)).reason == "missing_field"


def test_a_worker_passes_over_a_record_that_becomes_no_event() -> None:
    """It has a reason of its own, which is no rejection, and the same word for readers and workers."""
    assert worker_read(VIEW + "when = \"item == 'y'\"", value()).reason == NO_EVENT
    assert NO_EVENT == intake.NO_EVENT == rows.NO_EVENT


def test_a_worker_refuses_a_record_that_becomes_several_events() -> None:
    """Its offsets are counted by records; the message says what is the matter."""
    assert "becomes 2 events" in worker_read(VIEW + VIEW, value()).message
    assert "becomes a product" in worker_read('[[events]]\nkind = "product"\nitem_id = "item"', value()).message


def test_other_topics_are_read_as_canonical_records() -> None:
    """A mapping costs the topics nothing that it isn't for."""
    decoder = MappedDecoder({"purchases": mapper(TOPIC + ORDER + 'amount = "sum"')})
    assert decoder.decode_event("clickstream", JsonEncoder().encode("clickstream", CLICK)) == CLICK
    assert decoder.decode_event("purchases", value(sum=3)).kind == "order"


def test_an_order_with_one_odd_line_is_an_order_and_the_line_is_counted() -> None:
    """One line that nobody can read costs that line, not the order; who tries a mapping is told that it is wrong."""
    lines = '[events.lines]\neach = "rows"\nitem_id = "each.sku"\nunit_price = "each.price"\n'
    record = {**RECORD, "rows": [{"sku": "a", "price": 2.5}, {"sku": None, "price": 1}]}
    lenient = Mapper(mapping_of("shop", section(TOPIC + ORDER + lines)))
    decoder = MappedDecoder({"purchases": lenient})
    event = decoder.decode_event("purchases", orjson.dumps(record))
    assert isinstance(event, PurchaseEvent)
    assert [line.item_id for line in event.lines] == ["a"]
    assert decoder.mended.total() == 1
    (found,) = mapper(TOPIC + ORDER + lines).of_record(record)
    assert isinstance(found, InvalidRecord)
