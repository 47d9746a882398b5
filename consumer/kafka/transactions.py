"""One transactional producer, and what is done about each kind of its errors.

Retriable: the call again, within the transaction's timeout. Abortable: `TransactionAborted`, once the transaction is
aborted; the caller drops what is uncommitted. Anything else: `CannotGoOn`, and the process ends; a restarted one
continues from the last commit.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from clients import log
from clients.errors import call_again, error_kind, error_of
from consumer.kafka.failures import CannotGoOn
from schemas.units import Seconds

_FENCED = (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH)  # noqa: SLF001
_LEAST_S: Final = Seconds(0.1)  # a call is tried for so long even where the time is used up
_DECIDE_S = 3.0  # one call to commit or abort; it resumes where the one before stopped
_PATIENCE_S = 60.0
_OVERDUE_S = 2.0  # how long after its own timeout a call is given up that should have returned
_LOOK_S = 0.1

Delivered = Callable[[KafkaError | None, Message], None]
Headers = Sequence[tuple[str, bytes | None]]


class TransactionAborted(Exception):
    """The transaction was aborted, and its records with it; the message says why."""


class Transactions:
    """The transactions of one worker, with producers from `new_producer`.

    `timeout_s` is that of the coordinator, which ends a longer transaction by itself.
    To learn how a commit or an abort came out, brokers that are away are waited for, until `stop` says so.
    """

    def __init__(
        self,
        new_producer: Callable[[], Producer],
        timeout_s: Seconds,
        clock_s: Callable[[], Seconds],
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._stop = stop
        self._new_producer = new_producer
        self._producer = new_producer()
        self._timeout_s = timeout_s
        self._clock_s = clock_s
        self._deadline_s = 0.0

    def start(self) -> None:
        """Fence the predecessor of this slot and abort what it left open. Raises CannotGoOn."""
        try:
            # Waits for the predecessor's transaction to be aborted, so it may take longer than one of our own.
            call_again(lambda: self._producer.init_transactions(self._timeout_s), Seconds(3 * self._timeout_s))
        except KafkaException as raised:
            raise CannotGoOn(
                f"transactions cannot be started: {error_of(raised).str()}: nextbest check says what to do"
            ) from raised

    def begin(self, budget_s: Seconds | None = None) -> None:
        """Open a transaction, to be committed within `budget_s`, and before the coordinator's timeout at any rate.

        What is not done by three quarters of that is aborted while it still can be: afterwards we would be fenced.
        """
        ours_s = self._timeout_s * 3 / 4
        self._deadline_s = self._clock_s() + min(budget_s or ours_s, ours_s)
        self._call(self._producer.begin_transaction)

    def _left_s(self) -> Seconds:
        return Seconds(max(self._deadline_s - self._clock_s(), _LEAST_S))

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        partition: int,
        *,
        delivered: Delivered | None = None,
        headers: Headers = (),
    ) -> None:
        """Hand one record to the client; waits while its queue is full."""
        options: dict[str, Any] = {} if delivered is None else {"on_delivery": delivered}
        if headers:
            options["headers"] = list(headers)
        try:
            while True:
                try:
                    self._producer.produce(topic, value, key, partition, **options)
                    return
                except BufferError:
                    self._producer.poll(0.05)  # ends: a delivery gives up before the transaction does
        except KafkaException as raised:
            error = error_of(raised)
            if error.fatal():
                raise CannotGoOn(f"a record for {topic} was refused: {error.str()}") from raised
            # What made the transaction fail before is reported here as a plain refusal.
            self._abort_because(f"a record for {topic} was refused: {error.str()}")

    def flush(self) -> None:
        """Wait until every record is on the broker and its delivery was reported."""
        until_s, stopping = self._clock_s() + self._left_s(), False
        while self._producer.flush(_LOOK_S) > 0:
            if not stopping and self._stop():
                until_s, stopping = min(until_s, self._clock_s() + _DECIDE_S), True
            if self._clock_s() >= until_s:
                if stopping:  # and no time to abort: the next process of this slot does
                    raise CannotGoOn("the records of the last commit could not be delivered; they come again")
                self._abort_because("the records could not be delivered in time")

    def commit(self, offsets: Sequence[TopicPartition], group_metadata: Any) -> None:
        """Commit everything produced since `begin`, together with the input offsets."""
        self._call(lambda: self._send_offsets(list(offsets), group_metadata, self._left_s()))
        try:
            self._patiently(lambda: self._producer.commit_transaction(_DECIDE_S))
        except KafkaException as raised:
            error = error_of(raised)
            if not error.txn_requires_abort():
                # Committed or not: only Kafka knows. A new process finds out by asking for the committed offsets.
                raise CannotGoOn(f"the outcome of a commit is unknown: {error.str()}; start again") from raised
            self._abort_because(error.str())

    def _send_offsets(self, offsets: list[TopicPartition], group_metadata: Any, timeout_s: Seconds) -> None:
        """Send the offsets from a thread of its own; where that does not come back, go on with another client.

        The client ignores the timeout of this call, and waits for ever, where the broker that it knows as the group's
        coordinator has gone away (librdkafka issues 5456 and 5511). It can then do nothing else, not even abort.
        """
        producer, raised, done = self._producer, list[BaseException](), threading.Event()

        def send() -> None:
            try:
                producer.send_offsets_to_transaction(offsets, group_metadata, timeout_s)
            except BaseException as error:  # noqa: BLE001 - raised again below
                raised.append(error)
            finally:
                done.set()

        threading.Thread(target=send, name="send-offsets", daemon=True).start()
        until_s, stopping = self._clock_s() + timeout_s + _OVERDUE_S, False
        while not done.wait(_LOOK_S):
            if not stopping and self._stop():
                until_s, stopping = min(until_s, self._clock_s() + _DECIDE_S), True
            if self._clock_s() >= until_s:
                if stopping:
                    raise CannotGoOn("the offsets of the last commit could not be sent; its records come again")
                self._replace_producer()
        if raised:
            raise raised[0]

    def _replace_producer(self) -> NoReturn:
        """Leave the client where it hangs; its successor, under the same transactional id, aborts what it had open."""
        reason = "the client did not come back from sending the offsets, and was replaced"
        log.warning("aborting a transaction: %s", reason)
        self._producer = self._new_producer()
        self.start()
        raise TransactionAborted(reason)

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
    return f"the transactional producer failed: {error.str()}: nextbest check tries transactions and says what to do"
