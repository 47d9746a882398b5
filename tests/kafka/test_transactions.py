"""What is done about each kind of error of the transactional producer."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from consumer.kafka.failures import CannotGoOn
from consumer.kafka.transactions import TransactionAborted, Transactions

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
    transactions = Transactions(lambda: producer, 1.0, lambda: 0.0)  # type: ignore[arg-type,return-value]
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
    transactions = Transactions(lambda: producer, 0.05, time.monotonic)  # type: ignore[arg-type,return-value]
    transactions.begin()
    with pytest.raises(TransactionAborted, match="delivered"):
        transactions.flush()
    assert producer.calls[-1] == "abort_transaction"


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


class Hangs(FakeProducer):
    """Never comes back from sending offsets, as the client where the coordinator that it knows has gone away."""

    def __init__(self, released: threading.Event) -> None:
        super().__init__()
        self._released = released

    def send_offsets_to_transaction(self, *_: Any, **__: Any) -> None:
        self._released.wait(30)


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Return what lets hanging calls go, at the latest when the test is over; until then patience is short."""
    monkeypatch.setattr("consumer.kafka.transactions._OVERDUE_S", 0.1)
    monkeypatch.setattr("consumer.kafka.transactions._DECIDE_S", 0.2)
    event = threading.Event()
    yield event
    event.set()


def test_a_client_that_hangs_is_replaced_and_its_transaction_aborted_by_the_next(released: threading.Event) -> None:
    """Its successor has the same transactional id; the caller goes back to the commit before."""
    successor = FakeProducer()
    producers: list[FakeProducer] = [Hangs(released), successor]
    transactions = Transactions(lambda: producers.pop(0), 0.2, time.monotonic)  # type: ignore[arg-type,return-value]
    transactions.begin()
    began_s = time.monotonic()
    with pytest.raises(TransactionAborted, match="replaced"):
        transactions.commit(OFFSETS, None)
    assert time.monotonic() - began_s < 5
    transactions.begin()
    transactions.commit(OFFSETS, None)
    assert successor.calls == [
        "init_transactions", "begin_transaction", "send_offsets_to_transaction", "commit_transaction",
    ]  # fmt: skip


@pytest.mark.parametrize("step", ["flush", "offsets"])
def test_brokers_that_are_away_do_not_keep_a_worker_from_stopping(step: str, released: threading.Event) -> None:
    """Asked to stop, it waits a few seconds, not for the transaction's timeout, and leaves the abort to the next."""
    producer = Hangs(released)
    producer.undelivered = int(step == "flush")
    transactions = Transactions(lambda: producer, 60.0, time.monotonic, lambda: True)  # type: ignore[arg-type,return-value]
    transactions.begin()
    began_s = time.monotonic()
    with pytest.raises(CannotGoOn):
        transactions.flush() if step == "flush" else transactions.commit(OFFSETS, None)
    assert time.monotonic() - began_s < 5
    assert "abort_transaction" not in producer.calls
