"""Kafka clients of the producers. Any librdkafka property can be given and wins over what is set here.

The exception is what the reading code rests on: that ends of partitions are told and that nothing is committed.
"""

from collections.abc import Mapping

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

Properties = Mapping[str, str | int | float | bool]

# librdkafka's default partitioner differs from Java's: with it a customer would be split over two tasks as soon as
# another client writes too.
PARTITIONER = "murmur2_random"
QUEUE_MESSAGES = 100_000
QUEUE_KBYTES = 256 * 1024


def new_producer(bootstrap: str, properties: Properties | None = None) -> Producer:
    """Return a producer whose queue is bounded and which doesn't reorder or double records on a retry."""
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "client.id": "nextbest-produce",
            "partitioner": PARTITIONER,
            "enable.idempotence": True,
            "linger.ms": 50,
            "compression.type": "lz4",
            "queue.buffering.max.messages": QUEUE_MESSAGES,
            "queue.buffering.max.kbytes": QUEUE_KBYTES,
            "delivery.timeout.ms": 60_000,
            **(properties or {}),
        }
    )


def new_reader(bootstrap: str, properties: Properties | None = None) -> Consumer:
    """Return a consumer for assigned partitions that reads committed records alone and commits nothing."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "client.id": "nextbest-record",
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,
            **(properties or {}),
            "group.id": "nextbest-record",  # the client asks for one; nothing is committed to it
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
        }
    )


def new_admin(bootstrap: str, properties: Properties | None = None) -> AdminClient:
    """Return an admin client. Hold on to it: its futures fail once it is collected."""
    return AdminClient({"bootstrap.servers": bootstrap, "client.id": "nextbest-record", **(properties or {})})
