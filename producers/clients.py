"""Kafka clients of the producers. Any librdkafka property can be given and wins over what is set here.

The exception is what the reading code rests on: that ends of partitions are told and that nothing is committed.
"""

import logging
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from schemas.codec import MAX_VALUE_BYTES

log = logging.getLogger("nextbest.produce")  # librdkafka's own lines go here too

Properties = Mapping[str, str | int | float | bool]

# librdkafka's default partitioner differs from Java's: with it a customer would be split over two tasks as soon as
# another client writes too.
PARTITIONER = "murmur2_random"
QUEUE_MESSAGES = 100_000
QUEUE_KBYTES = 256 * 1024
CONNECT_S = 10.0


class BrokerAway(Exception):
    """No broker answers; the message says which address was tried and what to do."""


def reach(client: Producer | AdminClient, bootstrap: str) -> None:
    """Return once a broker answers; raise `BrokerAway` where none does."""
    try:
        client.list_topics(timeout=CONNECT_S)
    except KafkaException as error:
        raise BrokerAway(
            f"no broker answers at {bootstrap}: {error.args[0].str()}. Is it running, and is the address in "
            "kafka.bootstrap_servers right as seen from here?"
        ) from error


def _log_error(error: KafkaError) -> None:
    log.log(logging.ERROR if error.fatal() else logging.WARNING, "%s", error.str())


def _base(bootstrap: str, client_id: str) -> dict[str, Any]:
    return {
        "bootstrap.servers": bootstrap,
        "client.id": client_id,
        "logger": log,
        "error_cb": _log_error,
        "log.connection.close": False,
    }


def new_producer(bootstrap: str, properties: Properties | None = None) -> Producer:
    """Return a producer whose queue is bounded and which doesn't reorder or double records on a retry."""
    return Producer(
        {
            **_base(bootstrap, "nextbest-produce"),
            "partitioner": PARTITIONER,
            "enable.idempotence": True,
            "linger.ms": 50,
            "compression.type": "lz4",
            "queue.buffering.max.messages": QUEUE_MESSAGES,
            "queue.buffering.max.kbytes": QUEUE_KBYTES,
            "message.max.bytes": MAX_VALUE_BYTES,
            "delivery.timeout.ms": 60_000,
            **(properties or {}),
        }
    )


def new_reader(bootstrap: str, properties: Properties | None = None) -> Consumer:
    """Return a consumer for assigned partitions that reads committed records alone and commits nothing."""
    return Consumer(
        {
            **_base(bootstrap, "nextbest-record"),
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
    return AdminClient({**_base(bootstrap, "nextbest-record"), **(properties or {})})
