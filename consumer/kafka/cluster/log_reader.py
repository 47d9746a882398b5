"""Reading partitions of a topic from an offset up to where the log ends now."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from clients import log
from clients.errors import OFFSET_GONE, PARTITION_EOF, error_kind, error_of
from clients.messages import poll_batch
from clients.offsets import end_offsets
from consumer.kafka.clocks import monotonic_s
from consumer.kafka.cluster.cluster import Cluster
from consumer.kafka.failures import CannotGoOn, Stopping
from schemas.units import Seconds

_NOT_YET = KafkaError._STATE  # noqa: SLF001 - the client's public name
_BATCH_RECORDS = 5_000
_POLL_S: Final = Seconds(0.1)
_SEEK_S = 5.0
_STALLED_S: Final = Seconds(60.0)


def read_to(
    consumer: Consumer,
    ends: Mapping[tuple[str, int], int],
    *,
    stop: Callable[[], bool],
    clock_s: Callable[[], Seconds],
    timeout_s: Seconds,
) -> Iterator[Message]:
    """Yield the records of the assigned partitions until each is read up to its end in `ends`.

    `ends` maps (topic, partition) to the offset to reach, from `end_offsets`. What lies last may be a marker or an
    aborted record, which no consumer is given, so what is waited for is the event "end of partition" at that offset
    or beyond; it stops short of it while a transaction of a dead worker is open. Raises CannotGoOn after `timeout_s`
    without progress, Stopping when `stop` says so.
    """
    waiting = set(ends)
    deadline_s = clock_s() + timeout_s
    while waiting:
        if stop():
            raise Stopping
        if clock_s() > deadline_s:
            names = ", ".join(f"{topic}[{partition}] up to {ends[topic, partition]}" for topic, partition in waiting)
            raise CannotGoOn(f"reading {names} made no progress for {timeout_s:.0f} s: are all brokers up?")
        messages = poll_batch(consumer, _BATCH_RECORDS, _POLL_S)
        for message in messages:
            where = (message.topic() or "", message.partition() or 0)
            error = message.error()
            if error is None:
                yield message
            elif error.code() != PARTITION_EOF:
                raise_or_log(error)
            elif (message.offset() or 0) >= ends[where]:
                waiting.discard(where)
        if messages:
            deadline_s = clock_s() + timeout_s  # from here: what the caller did with the records is no waiting of ours


def read_through(cluster: Cluster, where: TopicPartition, stop: Callable[[], bool]) -> Iterator[Message]:
    """Yield the records of one partition from the offset in `where` up to where it ends now, as `read_to` does."""
    end = end_offsets(cluster.admin, [where], _STALLED_S)[0]
    reader = cluster.reader()
    try:
        reader.assign([where])
        ends = {(where.topic, where.partition): end}
        yield from read_to(reader, ends, stop=stop, clock_s=monotonic_s, timeout_s=_STALLED_S)
    finally:
        reader.close()


def raise_or_log(error: KafkaError) -> None:
    """Log what the client will get over by itself; raise CannotGoOn for anything else."""
    if error.code() == OFFSET_GONE:
        raise CannotGoOn(
            f"records that were not read yet are gone from the broker ({error.str()}): retention took them, or the "
            "topic was made anew. Restore them, or start a new group on what is left"
        )
    if error_kind(error) == "fatal":
        raise CannotGoOn(f"the consumer failed: {error.str()}: nextbest check looks for the cause") from KafkaException(
            error
        )
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
