"""What is done about each kind of error of the transactional producer."""

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from consumer.kafka.transactions import CannotGoOn, TransactionAborted, Transactions

RETRIABLE = KafkaError(KafkaError._TIMED_OUT, retriable=True)
ABORTABLE = KafkaError(KafkaError.ILLEGAL_GENERATION, txn_requires_abort=True)
FATAL = KafkaError(KafkaError._FENCED, fatal=True)
OFFSETS = [TopicPartition("clickstream", 0, 5)]


class FakeProducer:
    """Notes its calls; each may be given errors to raise first."""

    def __init__(self, **errors: list[KafkaError]) -> None:
        self.calls: list[str] = []
        self._errors = errors
        self.undelivered = 0

    def __getattr__(self, name: str) -> Any:
        def call(*_: Any, **__: Any) -> int:
            self.calls.append(name)
            if self._errors.get(name):
                raise KafkaException(self._errors[name].pop(0))
            return self.undelivered if name == "flush" else 0

        return call


def commit_with(producer: FakeProducer) -> None:
    """Run one transaction through."""
    transactions = Transactions(producer, 1.0, lambda: 0.0)  # type: ignore[arg-type]
    transactions.begin()
    transactions.produce("t", b"v", b"k", 0)
    transactions.flush()
    transactions.commit(OFFSETS, None)


def test_a_transaction_is_flushed_before_its_offsets_and_then_committed() -> None:
    """So that the offsets of the changelog are known, and nothing is under way when it ends."""
    producer = FakeProducer()
    commit_with(producer)
    assert producer.calls == [
        "begin_transaction", "produce", "flush", "send_offsets_to_transaction", "commit_transaction",
    ]  # fmt: skip


@pytest.mark.parametrize("call", ["send_offsets_to_transaction", "commit_transaction"])
def test_a_retriable_error_means_the_same_call_again(call: str) -> None:
    """Not another transaction."""
    producer = FakeProducer(**{call: [RETRIABLE, RETRIABLE]})
    commit_with(producer)
    assert producer.calls.count(call) == 3
    assert "abort_transaction" not in producer.calls


@pytest.mark.parametrize("call", ["begin_transaction", "produce", "send_offsets_to_transaction", "commit_transaction"])
def test_an_abortable_error_aborts_once_nothing_is_under_way(call: str) -> None:
    """Queues are emptied first; the caller hears of it and drops what is uncommitted."""
    producer = FakeProducer(**{call: [ABORTABLE]})
    with pytest.raises(TransactionAborted):
        commit_with(producer)
    assert producer.calls[-3:] == ["purge", "flush", "abort_transaction"]


def test_records_that_are_not_delivered_in_time_abort() -> None:
    """A commit without them would lose them."""
    producer = FakeProducer()
    producer.undelivered = 1
    with pytest.raises(TransactionAborted, match="delivered"):
        commit_with(producer)
    assert "commit_transaction" not in producer.calls


@pytest.mark.parametrize("call", ["begin_transaction", "produce", "send_offsets_to_transaction", "commit_transaction"])
def test_a_fenced_producer_ends_the_process(call: str) -> None:
    """Aborting is not its business any more: the transaction belongs to whoever took over."""
    producer = FakeProducer(**{call: [FATAL]})
    with pytest.raises(CannotGoOn):
        commit_with(producer)
    assert "abort_transaction" not in producer.calls


def test_a_full_queue_is_waited_for() -> None:
    """Nothing is dropped, and nothing is aborted, for a burst of output."""

    class FullOnce(FakeProducer):
        full = True

        def produce(self, *_: Any, **__: Any) -> None:
            self.calls.append("produce")
            if self.full:
                self.full = False
                raise BufferError

    producer = FullOnce()
    commit_with(producer)
    assert producer.calls[1:4] == ["produce", "poll", "produce"]
