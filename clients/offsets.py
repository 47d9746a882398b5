"""Asking the brokers where partitions begin and end, transaction markers included."""

import time
from collections.abc import Sequence

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, not listed as such
    AdminClient,
    ListOffsetsResultInfo,
    OffsetSpec,
)

from clients.errors import ClusterAway, call_again, error_kind, error_of
from schemas.units import Seconds

_LEAST_S = 0.1  # that a request is given even where the time is used up


def beginning_offsets(admin: AdminClient, partitions: Sequence[TopicPartition], timeout_s: Seconds) -> list[int]:
    """Return the offset of the oldest record that each partition may still hold.

    As all functions here, raises ClusterAway where no answer comes within `timeout_s`, and KafkaException.
    """
    return [at.offset for at in _list_offsets(admin, partitions, OffsetSpec.earliest(), timeout_s)]  # type: ignore[no-untyped-call]


def end_offsets(admin: AdminClient, partitions: Sequence[TopicPartition], timeout_s: Seconds) -> list[int]:
    """Return the offset that comes next in each partition, beyond records of open transactions."""
    return [at.offset for at in _list_offsets(admin, partitions, OffsetSpec.latest(), timeout_s)]  # type: ignore[no-untyped-call]


def readable_ends(admin: AdminClient, partitions: Sequence[TopicPartition], timeout_s: Seconds) -> list[int]:
    """Return up to which offset each partition can be read: records of open transactions lie beyond."""
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    found = _list_offsets(admin, partitions, latest, timeout_s, isolation=IsolationLevel.READ_COMMITTED)
    return [at.offset for at in found]


def newest_ms(admin: AdminClient, partitions: Sequence[TopicPartition], timeout_s: Seconds) -> int | None:
    """Return the time of the newest record in any of the partitions, epoch milliseconds; None where there is none."""
    found = _list_offsets(admin, partitions, OffsetSpec.max_timestamp(), timeout_s)  # type: ignore[no-untyped-call]
    return max((at.timestamp for at in found if at.offset >= 0), default=None)


def _list_offsets(
    admin: AdminClient,
    partitions: Sequence[TopicPartition],
    spec: OffsetSpec,
    timeout_s: Seconds,
    *,
    isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
) -> list[ListOffsetsResultInfo]:
    topics = list(dict.fromkeys(each.topic for each in partitions))
    deadline_s = time.monotonic() + timeout_s

    def left_s() -> float:
        return max(deadline_s - time.monotonic(), _LEAST_S)

    def ask() -> list[ListOffsetsResultInfo]:
        # A client that outlives a restart of the broker asks with the leader's epoch of before and is refused, for
        # ever: unless it looks at the topics anew.
        for topic in topics:
            admin.list_topics(topic, timeout=left_s())
        answers = admin.list_offsets(
            {TopicPartition(each.topic, each.partition): spec for each in partitions},
            isolation_level=isolation,
            request_timeout=left_s(),
        )
        found = {(at.topic, at.partition): answer.result() for at, answer in answers.items()}
        return [found[each.topic, each.partition] for each in partitions]

    try:
        return call_again(ask, timeout_s)
    except KafkaException as raised:
        error = error_of(raised)
        if error_kind(error) != "retriable":
            raise
        tried = f"offsets of {', '.join(topics)}"
        raise ClusterAway(
            tried, f"no answer within {timeout_s:.0f} s ({error.str()})", "are the brokers up?"
        ) from raised
