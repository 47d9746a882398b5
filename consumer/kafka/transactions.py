"""One transactional producer, and what is done about each kind of its errors.

Retriable: the call again, within the transaction's timeout. Abortable: `TransactionAborted`, once the transaction is
aborted; the caller drops what is uncommitted. Anything else: `CannotGoOn`, and the process ends; a restarted one
continues from the last commit.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from consumer.kafka.clients import call_again, error_kind, error_of

log = logging.getLogger("nextbest.kafka")

_FENCED = (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH)  # noqa: SLF001
_LEAST_S = 0.1  # a call is tried for so long even where the time is used up
_DECIDE_S = 3.0  # one call to commit or abort; it resumes where the one before stopped
_PATIENCE_S = 60.0

Delivered = Callable[[KafkaError | None, Message], None]


class CannotGoOn(Exception):
    """This process can do no more; the message says why and what to do. Nothing uncommitted was published."""


class TransactionAborted(Exception):
    """The transaction was aborted, and its records with it; the message says why."""


class Transactions:
    """The transactions of one worker. `timeout_s` is that of the coordinator, which ends a longer one by itself.

    To learn how a commit or an abort came out, brokers that are away are waited for, until `stop` says so.
    """

    def __init__(
        self,
        producer: Producer,
        timeout_s: float,
        clock_s: Callable[[], float],
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._stop = stop
        self._producer = producer
        self._timeout_s = timeout_s
        self._clock_s = clock_s
        self._deadline_s = 0.0

    def start(self) -> None:
        """Fence the predecessor of this slot and abort what it left open. Raises CannotGoOn."""
        try:
            # Waits for the predecessor's transaction to be aborted, so it may take longer than one of our own.
            call_again(lambda: self._producer.init_transactions(self._timeout_s), 3 * self._timeout_s)
        except KafkaException as raised:
            raise CannotGoOn(f"transactions cannot be started: {error_of(raised).str()}") from raised

    def begin(self, budget_s: float | None = None) -> None:
        """Open a transaction, to be committed within `budget_s` (default: the coordinator's timeout)."""
        self._deadline_s = self._clock_s() + min(budget_s or self._timeout_s, self._timeout_s)
        self._call(self._producer.begin_transaction)

    def _left_s(self) -> float:
        return max(self._deadline_s - self._clock_s(), _LEAST_S)

    def produce(
        self, topic: str, value: bytes | None, key: bytes | None, partition: int, delivered: Delivered | None = None
    ) -> None:
        """Hand one record to the client; waits while its queue is full."""
        try:
            self._enqueue(topic, value, key, partition, delivered)
        except KafkaException as raised:
            error = error_of(raised)
            if error.fatal():
                raise CannotGoOn(f"a record for {topic} was refused: {error.str()}") from raised
            # What made the transaction fail before is reported here as a plain refusal.
            self._abort_because(f"a record for {topic} was refused: {error.str()}")

    def _enqueue(
        self, topic: str, value: bytes | None, key: bytes | None, partition: int, delivered: Delivered | None
    ) -> None:
        options: dict[str, Any] = {} if delivered is None else {"on_delivery": delivered}
        while True:
            try:
                self._producer.produce(topic, value, key, partition, **options)
                return
            except BufferError:
                self._producer.poll(0.05)  # ends: a delivery gives up before the transaction does

    def flush(self) -> None:
        """Wait until every record is on the broker and its delivery was reported."""
        if self._producer.flush(self._left_s()) > 0:
            self._abort_because("the records could not be delivered in time")

    def commit(self, offsets: Sequence[TopicPartition], group_metadata: Any) -> None:
        """Commit everything produced since `begin`, together with the input offsets."""
        self._call(lambda: self._producer.send_offsets_to_transaction(list(offsets), group_metadata, self._left_s()))
        try:
            self._patiently(lambda: self._producer.commit_transaction(_DECIDE_S))
        except KafkaException as raised:
            error = error_of(raised)
            if not error.txn_requires_abort():
                # Committed or not: only Kafka knows. A new process finds out by asking for the committed offsets.
                raise CannotGoOn(f"the outcome of a commit is unknown: {error.str()}; start again") from raised
            self._abort_because(error.str())

    def abort(self) -> None:
        """Abort the open transaction. Raises CannotGoOn where that fails."""
        try:
            # Aborting with requests in flight has ended in fatal states of the client: empty its queues first.
            self._producer.purge(in_queue=True, in_flight=False)
            self._producer.flush(_DECIDE_S)
            self._patiently(lambda: self._producer.abort_transaction(_DECIDE_S))
        except KafkaException as raised:
            raise CannotGoOn(f"a transaction could not be aborted: {error_of(raised).str()}; start again") from raised

    def _patiently(self, call: Callable[[], Any]) -> None:
        until_s = self._clock_s() + _PATIENCE_S
        while True:
            try:
                call_again(call, _LEAST_S)
                return
            except KafkaException as raised:
                if error_kind(error_of(raised)) != "retriable" or self._clock_s() >= until_s or self._stop():
                    raise

    def _call(self, call: Callable[[], Any]) -> None:
        try:
            call_again(call, self._left_s())
        except KafkaException as raised:
            error = error_of(raised)
            if error_kind(error) == "fatal":
                raise CannotGoOn(_explain(error)) from raised
            self._abort_because(error.str())

    def _abort_because(self, reason: str) -> None:
        log.warning("aborting a transaction: %s", reason)
        self.abort()
        raise TransactionAborted(reason)


def _explain(error: KafkaError) -> str:
    if error.code() in _FENCED:
        return f"another worker took over this slot: does one run under the same instance id? ({error.str()})"
    return f"the transactional producer failed: {error.str()}"
