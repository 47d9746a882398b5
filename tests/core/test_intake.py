"""Intake admits what a task may process, and says why it rejects the rest."""

from consumer.core.intake import Rejection, admit, read
from schemas.codec import Decoder
from schemas.events import ClickEvent
from schemas.partitioning import partition_of

NOW_MS = 1_700_000_000_000
EVENT = ClickEvent("e1", "käufer", NOW_MS, "login")
KEY = "käufer".encode()
PARTITION = partition_of(KEY, 8)
VALUE = '{"event_id":"e1","customer_id":"käufer","occurred_at":1700000000000,"kind":"login"}'.encode()


def judged(**changes: object) -> Rejection | None:
    """What `admit` says to a good record with something changed."""
    record: dict[str, object] = {"event": EVENT, "key": KEY, "partition": PARTITION, "partitions": 8}
    record |= {"timestamp_ms": NOW_MS, "max_ahead_ms": 60_000}
    return admit(**record | changes)  # type: ignore[arg-type]


def rejection(**changes: object) -> Rejection:
    result = judged(**changes)
    assert result is not None
    return result


def test_a_record_with_its_own_key_on_its_own_partition_is_admitted() -> None:
    """The key is the customer id in UTF-8, where murmur2 puts it."""
    assert judged() is None


def test_a_missing_or_empty_key_is_rejected() -> None:
    """Without a key the record sits on any partition."""
    for key in (None, b""):
        result = rejection(key=key)
        assert (result.reason, result.field) == ("missing_key", "key")


def test_a_key_of_another_customer_is_rejected() -> None:
    """A key in another encoding is another key."""
    for key in (b"c2", "käufer".encode("latin-1")):
        result = rejection(key=key)
        assert (result.reason, result.field) == ("wrong_key", "key")


def test_a_record_on_the_wrong_partition_is_rejected_with_the_remedy() -> None:
    """A producer with another partitioner would split a customer over two tasks."""
    result = rejection(partition=(PARTITION + 1) % 8)
    assert (result.reason, result.field) == ("wrong_partition", "key")
    assert f"belongs on {PARTITION} of 8" in result.message
    assert "murmur2_random" in result.message


def test_an_event_too_far_ahead_of_the_broker_is_rejected() -> None:
    """The limit itself is allowed, a millisecond more is not."""
    assert judged(timestamp_ms=NOW_MS - 60_000) is None
    result = rejection(timestamp_ms=NOW_MS - 60_001)
    assert (result.reason, result.field) == ("ahead_of_time", "occurred_at")
    assert "60001 ms ahead" in result.message


def test_an_event_long_past_is_admitted() -> None:
    """How late is too late depends on the customer's task, not on the broker."""
    assert judged(timestamp_ms=NOW_MS * 2) is None


def test_no_rejection_repeats_the_customer_id() -> None:
    """Messages may be logged."""
    for result in (rejection(key=b"c2"), rejection(partition=9), rejection(timestamp_ms=0)):
        assert "käufer" not in result.message
        assert "c2" not in result.message


def read_value(value: bytes | None, key: bytes | None = KEY) -> object:
    """Read one clickstream record."""
    return read(
        Decoder(),
        "clickstream",
        key,
        value,
        partition=PARTITION,
        partitions=8,
        timestamp_ms=NOW_MS,
        max_ahead_ms=60_000,
    )


def test_a_good_record_is_read_as_its_event() -> None:
    """Bytes in, event out."""
    assert read_value(VALUE) == EVENT


def test_bytes_that_are_no_event_are_read_as_a_rejection() -> None:
    """The reason, field and message of the codec are kept."""
    for value, reason, field in (
        (None, "empty_value", "value"),
        (VALUE[:-5], "malformed_json", "value"),
        (VALUE.replace(b"login", b"dance"), "unknown_value", "kind"),
    ):
        result = read_value(value)
        assert isinstance(result, Rejection)
        assert (result.reason, result.field) == (reason, field)


def test_an_event_that_is_not_admitted_is_read_as_a_rejection() -> None:
    """Reading includes admission, so no caller can forget it."""
    result = read_value(VALUE, key=None)
    assert isinstance(result, Rejection)
    assert result.reason == "missing_key"
