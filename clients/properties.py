"""Properties of librdkafka that a user passes through, and those that may not be set that way."""

from collections.abc import Mapping
from typing import Any, Final

Property = str | int | float | bool
Properties = Mapping[str, Property]

_OWN_SETTING = "it has a setting of its own: "
_OURS = "exactly-once rests on it: "

# Properties that can't be passed through, and why.
PROTECTED: Final[Mapping[str, str]] = {
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


class ProtectedProperty(ValueError):
    """A property was passed through that exactly-once rests on, or that has a setting of its own."""


def with_properties(config: Mapping[str, Any], *passed_through: Properties) -> dict[str, Any]:
    """Return `config` with the user's properties over it; raise ProtectedProperty for one that may not be set."""
    merged = dict(config)
    for properties in passed_through:
        for name in properties:
            if name in PROTECTED:
                raise ProtectedProperty(f"the property {name!r} can't be set: {PROTECTED[name]}")
        merged |= properties
    return merged
