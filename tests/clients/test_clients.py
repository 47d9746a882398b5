"""What consumer and producers share: how batches are polled, what errors mean, which properties may be set."""

from collections.abc import Callable
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from clients.errors import ClusterAway, call_again, error_kind
from clients.messages import headers_of, poll_batch
from clients.offsets import end_offsets
from clients.properties import PROTECTED, ProtectedProperty, with_properties
from schemas.units import Seconds

HALF_A_SECOND = Seconds(0.5)
AT_ONCE = Seconds(0.0)


@pytest.mark.parametrize("name", sorted(PROTECTED))
def test_a_protected_property_is_refused_by_name(name: str) -> None:
    """Wherever it is passed through, the message names the property and why it can't be set."""
    for given in ([{name: "x"}], [{}, {name: "x"}]):
        with pytest.raises(ProtectedProperty, match=f"{name!r} can't be set: .+"):
            with_properties({}, *given)


def test_the_last_property_given_wins() -> None:
    """Those of a kind of client go over those of all, and both over our own."""
    assert with_properties({"a": 1, "b": 1, "c": 1}, {"b": 2, "c": 2}, {"c": 3}) == {"a": 1, "b": 2, "c": 3}


class Scripted:
    """A consumer that hands out what it was given."""

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)

    def poll(self, timeout: float) -> Message | None:
        """Return the next message."""
        assert timeout == HALF_A_SECOND
        return self.messages.pop(0) if self.messages else None

    def consume(self, num_messages: int, timeout: float) -> list[Message]:
        """Return up to n further ones without waiting."""
        assert timeout == 0
        taken, self.messages = self.messages[:num_messages], self.messages[num_messages:]
        return taken


def test_a_batch_is_what_is_there() -> None:
    """Waits for one message, takes the others without waiting, and never more than asked for."""
    consumer = cast("Consumer", Scripted(*(Message("t", 0, value=b"%d" % n) for n in range(5))))
    assert [m.value() for m in poll_batch(consumer, 1, HALF_A_SECOND)] == [b"0"]
    assert [m.value() for m in poll_batch(consumer, 3, HALF_A_SECOND)] == [b"1", b"2", b"3"]
    assert [m.value() for m in poll_batch(consumer, 3, HALF_A_SECOND)] == [b"4"]
    assert poll_batch(consumer, 3, HALF_A_SECOND) == []


def test_headers_keep_their_order_and_their_repetitions() -> None:
    """Also those without a content."""
    headers: Any = [("a", b"1"), ("b", None), ("a", b"2")]
    assert headers_of(Message("t", 0, headers=headers)) == (("a", b"1"), ("b", None), ("a", b"2"))
    assert headers_of(Message("t", 0)) == ()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (KafkaError(KafkaError._TIMED_OUT), "retriable"),
        (KafkaError(KafkaError.NOT_COORDINATOR), "retriable"),
        (KafkaError(KafkaError._MAX_POLL_EXCEEDED), "retriable"),
        (KafkaError(KafkaError._STATE, "x", False, True, False), "retriable"),
        (KafkaError(KafkaError.ILLEGAL_GENERATION), "abortable"),
        (KafkaError(KafkaError._TIMED_OUT, "x", False, True, True), "abortable"),
        (KafkaError(KafkaError._FENCED), "fatal"),
        (KafkaError(KafkaError.FENCED_INSTANCE_ID), "fatal"),
        (KafkaError(KafkaError._TIMED_OUT, "x", True, True, True), "fatal"),
        (KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), "fatal"),
        (KafkaError(KafkaError._STATE), "fatal"),
    ],
)
def test_an_error_says_what_to_do(error: KafkaError, kind: str) -> None:
    """The flags of the client come first, worst first; what is not known is fatal."""
    assert error_kind(error) == kind


def failing(times: int, code: int) -> Callable[[], int]:
    """Return a call that fails some times and then returns how often it was made."""
    calls = 0

    def call() -> int:
        nonlocal calls
        calls += 1
        if calls <= times:
            raise KafkaException(KafkaError(code))
        return calls

    return call


def test_a_retriable_call_is_made_again_within_its_budget() -> None:
    """Retriable errors are retried until the budget is used up, others never."""
    assert call_again(failing(3, KafkaError._TIMED_OUT), Seconds(30.0)) == 4
    with pytest.raises(KafkaException):
        call_again(failing(3, KafkaError._TIMED_OUT), AT_ONCE)
    once = failing(1, KafkaError._FENCED)
    with pytest.raises(KafkaException):
        call_again(once, Seconds(30.0))
    assert once() == 2


class Answer:
    """What came of a request."""

    def __init__(self, offset: int | None) -> None:
        self.offset = offset

    def result(self) -> "Answer":
        """Return the offset, or be fenced."""
        if self.offset is None:
            raise KafkaException(KafkaError(KafkaError.FENCED_LEADER_EPOCH))
        return self


class OutlivedTheBroker:
    """An admin client that knows the leader's epoch of before, until it looks at the topic anew."""

    def __init__(self) -> None:
        self.fresh: set[str] = set()

    def list_topics(self, topic: str, timeout: float) -> None:
        """Learn the epoch of now."""
        assert timeout > 0
        self.fresh.add(topic)

    def list_offsets(self, request: dict[TopicPartition, Any], **_: Any) -> dict[TopicPartition, Answer]:
        """Answer with ten times the partition."""
        return {at: Answer(10 * at.partition if at.topic in self.fresh else None) for at in request}


def test_offsets_are_found_by_a_client_that_is_older_than_the_brokers_last_start() -> None:
    """In the order in which they were asked for."""
    admin: Any = OutlivedTheBroker()
    partitions = [TopicPartition("a", 2), TopicPartition("b", 1), TopicPartition("a", 0)]
    assert end_offsets(admin, partitions, Seconds(10.0)) == [20, 10, 0]


def test_brokers_that_tell_no_offsets_are_said_to_be_away() -> None:
    """With the topics that were asked about."""
    admin: Any = OutlivedTheBroker()
    admin.list_topics = lambda *_, **__: None
    with pytest.raises(ClusterAway, match=r"^offsets of a: no answer within 0 s .*; are the brokers up\?"):
        end_offsets(admin, [TopicPartition("a", 0)], AT_ONCE)
