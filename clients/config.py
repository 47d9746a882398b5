"""The configuration that clients begin with."""

import logging
from typing import Any

from confluent_kafka import KafkaError

from clients import log

Config = dict[str, Any]


def base_config(bootstrap: str, client_id: str) -> Config:
    """Return what clients of every kind begin with; that of an admin client is no more than this."""
    return {
        "bootstrap.servers": bootstrap,
        "client.id": client_id,
        "logger": log,
        "error_cb": _log_error,
        "socket.keepalive.enable": True,
        "log.connection.close": False,
        "reconnect.backoff.max.ms": 2_000,
    }


def consumer_config(bootstrap: str, client_id: str) -> Config:
    """Return what consumers begin with: committed records alone are read, and the client commits nothing."""
    return base_config(bootstrap, client_id) | {
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "allow.auto.create.topics": False,
        "check.crcs": True,
        # Few records in the client's queue keep memory bounded; the short back-off keeps that from costing throughput.
        "queued.min.messages": 5_000,
        "queued.max.messages.kbytes": 32 * 1024,
        "fetch.queue.backoff.ms": 1,
        "fetch.wait.max.ms": 20,
    }


def producer_config(bootstrap: str, client_id: str) -> Config:
    """Return what producers begin with: a retry neither doubles nor reorders records."""
    return base_config(bootstrap, client_id) | {
        "enable.idempotence": True,
        # librdkafka's default differs from Java's: a customer would be split over two tasks as soon as another client
        # writes too.
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
    }


def _log_error(error: KafkaError) -> None:
    log.log(logging.ERROR if error.fatal() else logging.WARNING, "%s", error.str())
