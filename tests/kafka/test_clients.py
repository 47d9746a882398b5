"""The clients: what may be passed through to them, how batches are polled, and what errors mean."""

import logging
import time
from collections.abc import Callable
from typing import cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumer.kafka.cluster import clients
from consumer.kafka.cluster.mock_broker import MockBroker
from consumer.kafka.cluster.settings import KafkaSettings


@pytest.mark.parametrize("name", sorted(clients.PROTECTED))
def test_a_protected_property_is_refused_by_name(name: str) -> None:
    """Wherever it is passed through, the message names the property and why it can't be set."""
    settings = [
        KafkaSettings(properties={name: "x"}),
        KafkaSettings(consumer_properties={name: "x"}),
    ]
    for given in settings:
        with pytest.raises(clients.ProtectedProperty, match=f"{name!r} can't be set: .+"):
            clients.member(given, "earliest")
    with pytest.raises(clients.ProtectedProperty, match=name):
        clients.transactional_producer(KafkaSettings(producer_properties={name: "x"}), "t")


def test_a_delivery_may_not_outlive_its_transaction() -> None:
    """A message timeout at or over the transaction's is refused; one below is taken."""
    for timeout_ms in (10_000, 0):
        settings = KafkaSettings(producer_properties={"message.timeout.ms": timeout_ms})
        with pytest.raises(clients.ProtectedProperty, match=r"below kafka\.transaction_timeout_ms \(10000\)"):
            clients.transactional_producer(settings, "t")
    clients.transactional_producer(KafkaSettings(producer_properties={"message.timeout.ms": 5_000}), "t")


def test_other_properties_reach_the_client() -> None:
    """What is passed through is not silently dropped: a name that librdkafka does not know is an error."""
    for settings in (KafkaSettings(properties={"no.such": 1}), KafkaSettings(consumer_properties={"no.such": 1})):
        with pytest.raises(KafkaException, match=r"no\.such"):
            clients.member(settings, "earliest")
    with pytest.raises(KafkaException, match=r"no\.such"):
        clients.idempotent_producer(KafkaSettings(producer_properties={"no.such": 1}))
    clients.member(KafkaSettings(producer_properties={"no.such": 1}), "earliest").close()


def test_settings_never_print_a_password() -> None:
    """Properties may hold secrets, so they are not part of what settings look like."""
    assert "hunter2" not in repr(KafkaSettings(properties={"sasl.password": "hunter2"}))


class Scripted:
    """A consumer that hands out what it was given."""

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)

    def poll(self, timeout: float) -> Message | None:
        """Return the next message."""
        assert timeout == 0.5
        return self.messages.pop(0) if self.messages else None

    def consume(self, num_messages: int, timeout: float) -> list[Message]:
        """Return up to n further ones without waiting."""
        assert timeout == 0
        taken, self.messages = self.messages[:num_messages], self.messages[num_messages:]
        return taken


def scripted(*messages: Message) -> Consumer:
    """Return a scripted consumer as what it stands for."""
    return cast("Consumer", Scripted(*messages))


def failed(code: int) -> Message:
    """Return a message that carries an error."""
    return Message("t", 0, error=KafkaError(code))


def test_a_batch_is_what_is_there() -> None:
    """Waits for one message, takes the others without waiting, and never more than asked for."""
    messages = [Message("t", 0, value=b"%d" % n) for n in range(5)]
    consumer = scripted(*messages)
    assert [m.value() for m in clients.poll_batch(consumer, 1, 0.5)] == [b"0"]
    assert [m.value() for m in clients.poll_batch(consumer, 3, 0.5)] == [b"1", b"2", b"3"]
    assert [m.value() for m in clients.poll_batch(consumer, 3, 0.5)] == [b"4"]
    assert clients.poll_batch(consumer, 3, 0.5) == []


def test_a_passing_error_is_logged_and_others_are_raised(caplog: pytest.LogCaptureFixture) -> None:
    """A batch with a retriable error keeps its data; an error that needs someone ends it."""
    data = Message("t", 0, value=b"data")
    with caplog.at_level(logging.WARNING, "nextbest.kafka"):
        messages = [failed(KafkaError._TRANSPORT), data, failed(KafkaError._PARTITION_EOF)]
        assert clients.poll_batch(scripted(*messages), 9, 0.5) == [data]
    assert "consumer:" in caplog.text
    for code in (
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError._AUTO_OFFSET_RESET,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    ):
        with pytest.raises(KafkaException):
            clients.poll_batch(scripted(data, failed(code)), 9, 0.5)


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
    assert clients.error_kind(error) == kind


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
    assert clients.call_again(failing(3, KafkaError._TIMED_OUT), 30, wait_s=0) == 4
    with pytest.raises(KafkaException):
        clients.call_again(failing(3, KafkaError._TIMED_OUT), 0, wait_s=0)
    once = failing(1, KafkaError._FENCED)
    with pytest.raises(KafkaException):
        clients.call_again(once, 30, wait_s=0)
    assert once() == 2


def test_a_member_of_a_group_reads_both_topics_of_a_partition() -> None:
    """Static members, assigned by range, get the same partition numbers of co-partitioned topics."""
    with MockBroker({"clickstream": 2, "purchases": 2}) as broker:
        settings = KafkaSettings(broker.bootstrap, instance_id="slot-0", session_timeout_ms=1_500)
        first = clients.member(settings, "earliest")
        second = clients.member(settings, "earliest", instance_id="slot-1")
        members = (first, second)
        for member in members:
            member.subscribe(["clickstream", "purchases"])
        deadline = time.monotonic() + 60
        while not all(len(member.assignment()) == 2 for member in members) and time.monotonic() < deadline:
            for member in members:
                clients.poll_batch(member, 10, 0.1)
        shares = [sorted((part.topic, part.partition) for part in member.assignment()) for member in members]
        for member in members:
            member.close()
    assert sorted(shares) == [[("clickstream", p), ("purchases", p)] for p in (0, 1)]


def test_a_transaction_is_seen_once_it_is_committed(kafka_bootstrap: str, unique_prefix: str) -> None:
    """On a real broker: records and input offsets of a commit are there, those of an abort are not."""
    from confluent_kafka.cimpl import NewTopic

    settings = KafkaSettings(kafka_bootstrap, group_id=unique_prefix + "group", session_timeout_ms=2_000)
    admin = clients.admin(settings)
    source, target = unique_prefix + "source", unique_prefix + "target"
    for future in admin.create_topics([NewTopic(name, 1, 1) for name in (source, target)]).values():
        future.result(20)
    producer = clients.idempotent_producer(settings)
    for n in range(4):
        producer.produce(source, key=b"k", value=b"%d" % n)
    assert producer.flush(20) == 0

    member = clients.member(settings, "earliest")
    member.subscribe([source])
    taken: list[Message] = []
    deadline = time.monotonic() + 30
    while len(taken) < 4 and time.monotonic() < deadline:
        taken += clients.poll_batch(member, 10, 0.2)
    writer = clients.transactional_producer(settings, unique_prefix + "slot-0")
    clients.call_again(lambda: writer.init_transactions(10), 30)
    for value, commit in ((b"aborted", False), (b"committed", True)):
        writer.begin_transaction()
        writer.produce(target, value=value)
        offsets = [TopicPartition(source, 0, 2 if commit else 1)]
        writer.send_offsets_to_transaction(offsets, member.consumer_group_metadata(), 10)
        if commit:
            writer.commit_transaction(10)
        else:
            assert writer.flush(10) == 0
            writer.abort_transaction(10)
    assert member.committed([TopicPartition(source, 0)], 10)[0].offset == 2
    member.close()

    seen = {}
    for read_committed in (True, False):
        reader = clients.reader(settings, read_committed=read_committed)
        reader.assign([TopicPartition(target, 0, 0)])
        values: list[bytes | None] = []
        deadline = time.monotonic() + 30
        while b"committed" not in values and time.monotonic() < deadline:
            values += [message.value() for message in clients.poll_batch(reader, 10, 0.2)]
        reader.close()
        seen[read_committed] = values
    assert seen == {True: [b"committed"], False: [b"aborted", b"committed"]}
