"""What to do about a rejected record, by the reason for which it was rejected."""

from typing import Final

_REPLAY: Final = "then publish what was rejected again: nextbest dead-letters replay --reason "
_OTHER: Final = (
    "correct the producer; a topic that holds a shop's own records needs a mapping (nextbest inputs init, "
    "nextbest inputs try)"
)
_NO_RECORD: Final = (
    "the topic is to hold JSON objects, or Avro behind a registry's schema id; for anything else it needs a mapping "
    "(nextbest inputs init)"
)
_NO_KEY: Final = "key each record by its customer id in UTF-8; a topic with other keys is read by nextbest bridge"

REMEDIES: Final = {
    "wrong_partition": (
        "place keys as Kafka's own Java client does. Java: leave partitioner.class and partitioner.ignore.keys unset; "
        "Python, and Go with confluent-kafka-go: partitioner=murmur2_random; Go with kafka-go: kafka.Murmur2Balancer; "
        "Node: Partitioners.DefaultPartitioner of kafkajs 2, or partitioner=murmur2_random with confluent-kafka-"
        f"javascript; {_REPLAY}wrong_partition"
    ),
    "missing_key": _NO_KEY,
    "wrong_key": _NO_KEY,
    "ahead_of_time": (
        "correct the clock or the unit of `occurred_at`; what is allowed is time.max_ahead_ms; "
        f"{_REPLAY}ahead_of_time once that time has come"
    ),
    "late": (
        "what is allowed is time.late_by_ms; to learn from late records all the same: "
        "nextbest dead-letters replay --reason late"
    ),
    "unknown_schema_id": (
        f"is kafka.schema_registry_url the producer's registry? Correct that, {_REPLAY}unknown_schema_id"
    ),
    "unusable_schema": _NO_RECORD,
    "unknown_format": _NO_RECORD,
    "malformed_json": _NO_RECORD,
    "malformed_avro": _NO_RECORD,
    "empty_value": "a record without a value says nothing of a customer: an erasure is an event of the topic privacy",
    "too_large": "send smaller records; the limit is topics.max_record_bytes, and that of the topic max.message.bytes",
}


def remedy_for(reason: str) -> str:
    """Return what to do, as advice of one sentence."""
    return REMEDIES.get(reason, _OTHER)
