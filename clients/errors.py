"""What to make of the errors of a client."""

# ruff: noqa: SLF001  (librdkafka's local error codes begin with an underscore; they are public)

import time
from collections.abc import Callable
from typing import Final, Literal, TypeVar

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._metadata import ClusterMetadata

from clients import log
from schemas.units import Seconds

Result = TypeVar("Result")
ErrorKind = Literal["retriable", "abortable", "fatal"]

PARTITION_EOF: Final = KafkaError._PARTITION_EOF  # no error: the partition has been read to its end
OFFSET_GONE: Final = KafkaError._AUTO_OFFSET_RESET
_WAIT_S: Final = 0.05  # before the same call is made again

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


class ClusterAway(Exception):
    """No broker answers: `tried` says what was tried, `found` how that ended, and `advice` what to do."""

    def __init__(self, tried: str, found: str, advice: str) -> None:
        super().__init__(f"{tried}: {found}; {advice}")
        self.tried = tried
        self.found = found
        self.advice = advice


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


def call_again(call: Callable[[], Result], budget_s: Seconds) -> Result:
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
            time.sleep(_WAIT_S)


def reach(client: Producer | AdminClient, bootstrap: str, timeout_s: Seconds) -> ClusterMetadata:
    """Return what the cluster says of itself; raise ClusterAway where nothing comes within `timeout_s`."""
    try:
        return client.list_topics(timeout=timeout_s)
    except KafkaException as raised:
        error = error_of(raised)
        raise ClusterAway(f"connection to {bootstrap}", error.str(), _connection_advice(error)) from raised


def _connection_advice(error: KafkaError) -> str:
    if error.code() in (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED):
        return "the brokers refuse the credentials: see `sasl.*` and `security.protocol` under [kafka.properties]"
    if error.code() == KafkaError._SSL:
        return "the TLS handshake failed: see `ssl.ca.location` and `security.protocol` under [kafka.properties]"
    return (
        "is the broker running, and the address in kafka.bootstrap_servers right as seen from here? Its advertised "
        "listeners must be reachable too; with TLS or SASL set `security.protocol` under [kafka.properties]"
    )
