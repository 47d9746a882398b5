"""Kafka clients with the settings that this project rests on, and what to make of their errors."""

# ruff: noqa: SLF001  (librdkafka's local error codes begin with an underscore; they are public)

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from consumer.kafka.cluster.settings import KafkaSettings, Property
from schemas.units import MIB

log = logging.getLogger("nextbest.kafka")  # librdkafka's own lines go here too

Result = TypeVar("Result")
ErrorKind = Literal["retriable", "abortable", "fatal"]
OffsetReset = Literal["earliest", "latest", "error"]
OnError = Callable[[KafkaError], None]
OnStats = Callable[[str], None]

_OWN_SETTING = "it has a setting of its own: "
_OURS = "exactly-once rests on it: "

# Properties that can't be passed through, and why.
PROTECTED: Mapping[str, str] = {
    "bootstrap.servers": _OWN_SETTING + "kafka.bootstrap_servers",
    "metadata.broker.list": _OWN_SETTING + "kafka.bootstrap_servers",
    "group.id": _OWN_SETTING + "kafka.group_id",
    "client.id": _OWN_SETTING + "kafka.client_id",
    "group.instance.id": _OWN_SETTING + "kafka.instance_id",
    "session.timeout.ms": _OWN_SETTING + "kafka.session_timeout_ms",
    "max.poll.interval.ms": _OWN_SETTING + "kafka.max_poll_interval_ms",
    "transaction.timeout.ms": _OWN_SETTING + "kafka.transaction_timeout_ms",
    "transactional.id": _OURS + "it names the slot of a worker, so that a restarted one fences its predecessor",
    "enable.idempotence": _OURS + "without it a retried request is written twice",
    "acks": _OURS + "an idempotent producer waits for all in-sync replicas",
    "request.required.acks": _OURS + "an idempotent producer waits for all in-sync replicas",
    "isolation.level": _OURS + "records of aborted transactions must not be read",
    "enable.auto.commit": _OURS + "input offsets are committed inside the transaction",
    "enable.auto.offset.store": _OURS + "offsets are counted by what was processed, not by what was fetched",
    "auto.offset.reset": _OURS + "a silent jump to another offset would lose or repeat records",
    "partition.assignment.strategy": _OURS + "range alone gives one worker the same partition of all input topics",
    "group.protocol": _OURS + "the newer protocol aborts transactions when a member's epoch is stale",
    "partitioner": _OURS + "a customer must be on the same partition for every producer, Java's among them",
    "enable.partition.eof": _OURS + "whether a partition has been read to its end decides how input topics are merged",
    "allow.auto.create.topics": _OURS + "a topic made by itself has the wrong number of partitions",
}

_FATAL_CODES = frozenset(
    {
        KafkaError._FATAL,
        KafkaError._FENCED,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError._AUTHENTICATION,
    }
)
# Membership changed under an open transaction: its offsets may not be committed any more, the records come again.
_ABORTABLE_CODES = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError._ASSIGNMENT_LOST,
        KafkaError._PURGE_QUEUE,
        KafkaError._PURGE_INFLIGHT,
        KafkaError._MSG_TIMED_OUT,
    }
)
_RETRIABLE_CODES = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._QUEUE_FULL,
        KafkaError._WAIT_COORD,
        KafkaError._IN_PROGRESS,
        KafkaError._RETRY,
        KafkaError._MAX_POLL_EXCEEDED,  # the group has let us go; the next poll tells us so through on_lost
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.CONCURRENT_TRANSACTIONS,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        # A broker that has just started, or just become the leader: it or the client is behind the other for a moment.
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
    }
)


class ProtectedProperty(ValueError):
    """A property was passed through that exactly-once rests on, or that has a setting of its own."""


def error_kind(error: KafkaError) -> ErrorKind:
    """Return what to do about an error.

    *retriable*: make the same call again; *abortable*: abort the transaction, drop what is uncommitted and go on from
    the committed offsets; *fatal*: exit, a new process may do better. What is not known counts as fatal.
    """
    code = error.code()
    if error.fatal() or code in _FATAL_CODES:
        return "fatal"
    if error.txn_requires_abort() or code in _ABORTABLE_CODES:
        return "abortable"
    if error.retriable() or code in _RETRIABLE_CODES:
        return "retriable"
    return "fatal"


def error_of(raised: KafkaException) -> KafkaError:
    """Return the error inside an exception of the client."""
    error = raised.args[0] if raised.args else None
    return error if isinstance(error, KafkaError) else KafkaError(KafkaError._FAIL, str(raised))


def call_again(call: Callable[[], Result], budget_s: float, wait_s: float = 0.05) -> Result:
    """Return what `call` returns, calling again after retriable errors while `budget_s` lasts; raise any other."""
    deadline = time.monotonic() + budget_s
    while True:
        try:
            return call()
        except KafkaException as raised:
            error = error_of(raised)
            if error_kind(error) != "retriable" or time.monotonic() >= deadline:
                raise
            log.warning("retrying after: %s", error.str())
            time.sleep(wait_s)


def poll_batch(consumer: Consumer, max_records: int, timeout_s: float) -> list[Message]:
    """Return up to `max_records` messages, as soon as there is one; an empty list after `timeout_s`.

    Waits for one message and takes what else was fetched already: `consume(n, timeout)` alone would wait the whole
    timeout for n of them. Ends of partitions are left out, and so are retriable errors, which are logged. Any other
    error raises KafkaException, and the batch is lost with it: the caller goes back to the committed offsets, or exits.
    """
    first = consumer.poll(timeout_s)
    if first is None:
        return []
    batch = [first, *consumer.consume(max_records - 1, 0)] if max_records > 1 else [first]
    if any(message.error() is not None for message in batch):
        return [message for message in batch if not _reported(message)]
    return batch


def _reported(message: Message) -> bool:
    """Return False for data, True for the end of a partition and (logged) a retriable error; raise any other."""
    error = message.error()
    if error is None:
        return False
    if error.code() == KafkaError._PARTITION_EOF:
        return True
    if error_kind(error) != "retriable":
        raise KafkaException(error)
    log.warning("consumer: %s", error.str())
    return True


def member(
    settings: KafkaSettings,
    auto_offset_reset: OffsetReset,
    *,
    group_id: str | None = None,
    instance_id: str | None = None,
    partition_eof: bool = False,
    on_stats: OnStats | None = None,
    stats_interval_ms: int = 5_000,
    on_error: OnError | None = None,
) -> Consumer:
    """Return a consumer that takes part in a group: a worker, or a trainer with a `group_id` of its own.

    Offsets are never committed by the client. `instance_id` (default: the settings') makes the membership static.
    """
    config = _consumer_config(settings, auto_offset_reset, on_error)
    config["enable.partition.eof"] = partition_eof
    config["group.id"] = group_id or settings.group_id
    config["session.timeout.ms"] = settings.session_timeout_ms
    config["heartbeat.interval.ms"] = max(settings.session_timeout_ms // 4, 100)
    config["max.poll.interval.ms"] = max(settings.max_poll_interval_ms, settings.session_timeout_ms)
    if instance := instance_id or settings.instance_id:
        config["group.instance.id"] = instance
    if on_stats is not None:
        config["stats_cb"] = on_stats
        config["statistics.interval.ms"] = stats_interval_ms
    return Consumer(_with_properties(config, settings.properties, settings.consumer_properties))


def reader(
    settings: KafkaSettings,
    *,
    auto_offset_reset: OffsetReset = "error",
    read_committed: bool = True,
    partition_eof: bool = False,
    on_error: OnError | None = None,
) -> Consumer:
    """Return a consumer for assigned partitions outside any group: restore, models, sessions, verify."""
    config = _consumer_config(settings, auto_offset_reset, on_error)
    config["enable.partition.eof"] = partition_eof
    config["group.id"] = f"{settings.group_id}-reader"  # librdkafka asks for one; nothing is committed under it
    if not read_committed:
        config["isolation.level"] = "read_uncommitted"
    return Consumer(_with_properties(config, settings.properties, settings.consumer_properties))


def transactional_producer(
    settings: KafkaSettings, transactional_id: str, *, on_error: OnError | None = None
) -> Producer:
    """Return a producer for transactions; the caller calls `init_transactions`.

    `transactional_id` must be stable for a slot: a random one would leave a dead worker's transaction open, and every
    `read_committed` reader waiting, until the transaction's timeout.
    """
    config = _producer_config(settings, on_error)
    config["transactional.id"] = transactional_id
    config["transaction.timeout.ms"] = settings.transaction_timeout_ms
    # A delivery must give up before the coordinator gives the transaction up.
    config["message.timeout.ms"] = settings.transaction_timeout_ms * 3 // 4
    config = _with_properties(config, settings.properties, settings.producer_properties)
    _check_message_timeout(config, settings)
    return Producer(config)


def idempotent_producer(settings: KafkaSettings, *, on_error: OnError | None = None) -> Producer:
    """Return a producer without transactions: snapshots of models, simulated and replayed events."""
    return Producer(
        _with_properties(_producer_config(settings, on_error), settings.properties, settings.producer_properties)
    )


def admin(settings: KafkaSettings) -> AdminClient:
    """Return an admin client. Keep a reference while its futures are open: collected, they fail with `_DESTROY`."""
    return AdminClient(_with_properties(_common_config(settings, None), settings.properties))


def _common_config(settings: KafkaSettings, on_error: OnError | None) -> dict[str, Any]:
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": settings.client_id,
        "logger": log,
        "error_cb": on_error or _log_error,
        "socket.keepalive.enable": True,
        "log.connection.close": False,
        "reconnect.backoff.max.ms": 2_000,
    }


def _consumer_config(
    settings: KafkaSettings, auto_offset_reset: OffsetReset, on_error: OnError | None
) -> dict[str, Any]:
    return _common_config(settings, on_error) | {
        "group.protocol": "classic",
        "partition.assignment.strategy": "range",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": auto_offset_reset,
        "allow.auto.create.topics": False,
        "check.crcs": True,
        # Few records in the client's queue keep memory bounded; the short back-off keeps that from costing throughput.
        "queued.min.messages": 5_000,
        "queued.max.messages.kbytes": 32 * 1024,
        "fetch.queue.backoff.ms": 1,
        "fetch.wait.max.ms": 20,
    }


def _producer_config(settings: KafkaSettings, on_error: OnError | None) -> dict[str, Any]:
    return _common_config(settings, on_error) | {
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        "linger.ms": 5,
        "message.max.bytes": 8 * MIB,
        "queue.buffering.max.kbytes": 64 * 1024,
    }


def _with_properties(config: dict[str, Any], *passed_through: Mapping[str, Property]) -> dict[str, Any]:
    """Return `config` with the user's properties over it; raise ProtectedProperty for one that may not be set."""
    merged = dict(config)
    for properties in passed_through:
        check_properties(properties)
        merged.update(properties)
    return merged


def check_properties(properties: Mapping[str, Property]) -> None:
    """Raise ProtectedProperty for the first property that may not be passed through, saying why."""
    for name in properties:
        if name in PROTECTED:
            raise ProtectedProperty(f"the property {name!r} can't be set: {PROTECTED[name]}")


def _check_message_timeout(config: Mapping[str, Any], settings: KafkaSettings) -> None:
    for name in ("message.timeout.ms", "delivery.timeout.ms"):
        timeout_ms = int(config.get(name, 1))
        if not 0 < timeout_ms < settings.transaction_timeout_ms:
            raise ProtectedProperty(
                f"the property {name!r} is {timeout_ms}: it must be above 0 and below kafka.transaction_timeout_ms "
                f"({settings.transaction_timeout_ms}), or a delivery outlives its transaction"
            )


def _log_error(error: KafkaError) -> None:
    log.log(logging.ERROR if error.fatal() else logging.WARNING, "%s", error.str())
