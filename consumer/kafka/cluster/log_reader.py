"""Reading partitions of a topic from an offset up to where the log ends now."""

import time
from collections.abc import Callable, Iterator, Sequence

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from consumer.kafka.cluster.clients import call_again, error_kind, error_of, log
from consumer.kafka.failures import CannotGoOn, Stopping

# The client names its own errors with an underscore; they are part of its interface.
PARTITION_EOF = KafkaError._PARTITION_EOF  # noqa: SLF001
OFFSET_GONE = KafkaError._AUTO_OFFSET_RESET  # noqa: SLF001
_NOT_YET = KafkaError._STATE  # noqa: SLF001
_BATCH_RECORDS = 5_000
_POLL_S = 0.1
_SEEK_S = 5.0


def end_offsets(admin: AdminClient, partitions: Sequence[TopicPartition], timeout_s: float) -> list[int]:
    """Return the end of each partition: after everything in it, records of open transactions and markers included."""
    return _offsets(admin, partitions, OffsetSpec.latest(), timeout_s)  # type: ignore[no-untyped-call]


def beginning_offsets(admin: AdminClient, partitions: Sequence[TopicPartition], timeout_s: float) -> list[int]:
    """Return the offset of the oldest record that each partition may still hold."""
    return _offsets(admin, partitions, OffsetSpec.earliest(), timeout_s)  # type: ignore[no-untyped-call]


def _offsets(admin: AdminClient, partitions: Sequence[TopicPartition], spec: OffsetSpec, timeout_s: float) -> list[int]:
    def ask() -> list[int]:
        request = {TopicPartition(each.topic, each.partition): spec for each in partitions}
        futures = admin.list_offsets(request, isolation_level=IsolationLevel.READ_UNCOMMITTED)
        try:
            found = {(each.topic, each.partition): future.result(timeout_s).offset for each, future in futures.items()}
        except TimeoutError:
            raise CannotGoOn(f"the brokers did not tell offsets within {timeout_s:.0f} s: are they up?") from None
        return [found[each.topic, each.partition] for each in partitions]

    return call_again(ask, timeout_s)


def read_to(
    consumer: Consumer,
    ends: dict[tuple[str, int], int],
    *,
    stop: Callable[[], bool],
    clock_s: Callable[[], float],
    timeout_s: float,
) -> Iterator[Message]:
    """Yield the records of the assigned partitions until each is read up to its end in `ends`.

    `ends` maps (topic, partition) to the offset to reach, from `end_offsets`. What lies last may be a marker or an
    aborted record, which no consumer is given, so what is waited for is the event "end of partition" at that offset
    or beyond; it stops short of it while a transaction of a dead worker is open. The consumer must have been made with
    `partition_eof`. Raises CannotGoOn after `timeout_s` without progress, Stopping when `stop` says so.
    """
    waiting = set(ends)
    deadline_s = clock_s() + timeout_s
    while waiting:
        if stop():
            raise Stopping
        if clock_s() > deadline_s:
            names = ", ".join(f"{topic}[{partition}] up to {ends[topic, partition]}" for topic, partition in waiting)
            raise CannotGoOn(f"reading {names} made no progress for {timeout_s:.0f} s: are all brokers up?")
        first = consumer.poll(_POLL_S)
        if first is None:
            continue
        for message in [first, *consumer.consume(_BATCH_RECORDS, 0)]:
            where = (message.topic() or "", message.partition() or 0)
            error = message.error()
            if error is None:
                yield message
            elif error.code() != PARTITION_EOF:
                raise_or_log(error)
            elif (message.offset() or 0) >= ends[where]:
                waiting.discard(where)
        deadline_s = clock_s() + timeout_s  # from here: what the caller did with the records is no waiting of ours


def raise_or_log(error: KafkaError) -> None:
    """Log what the client will get over by itself; raise CannotGoOn for anything else."""
    if error.code() == OFFSET_GONE:
        raise CannotGoOn(
            f"records that were not read yet are gone from the broker ({error.str()}): retention took them, or the "
            "topic was made anew. Restore them, or start a new group on what is left"
        )
    if error_kind(error) == "fatal":
        raise CannotGoOn(f"the consumer failed: {error.str()}") from KafkaException(error)
    log.warning("consumer: %s", error.str())


def seek(consumer: Consumer, where: TopicPartition) -> None:
    """Send the consumer to an offset of an assigned partition, once it has taken the assignment in."""
    until_s = time.monotonic() + _SEEK_S
    while True:
        try:
            consumer.seek(where)
            return
        except KafkaException as raised:
            if error_of(raised).code() != _NOT_YET or time.monotonic() > until_s:
                raise
            time.sleep(0.005)
