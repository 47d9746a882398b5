"""What is raised for a record that cannot be read, and the fixed words that say why a record was rejected."""

from typing import Literal

# The values of a metric label and of `DeadLetter.reason`. Never renamed: dashboards and alerts spell them out.
RejectionReason = Literal[
    "empty_value",  # no value, or one of no bytes
    "too_large",  # more bytes than the limit
    "unknown_format",  # begins like neither JSON nor Avro
    "malformed_json",
    "malformed_avro",
    "unknown_schema_id",  # the schema registry does not know it, or there is none
    "unusable_schema",  # not an Avro schema, not of this topic, or one that could exhaust memory
    "missing_field",
    "unknown_value",  # not one of a fixed set, such as an unknown `kind`
    "wrong_type",
    "out_of_range",
    "invalid",  # anything else
    "missing_key",
    "wrong_key",  # differs from `customer_id`
    "wrong_partition",  # not where murmur2 puts the key
    "ahead_of_time",  # `occurred_at` is too far ahead of the broker's timestamp
]


class InvalidRecord(Exception):
    """A record whose value cannot be read as what its topic holds.

    Attributes:
        reason: why, in a fixed word.
        field: the field at fault, such as ``lines[0].unit_price``; ``value`` where it is the value as a whole.
        message: what is wrong and what is expected. It repeats no value of the record, so it may be logged.
    """

    def __init__(self, reason: RejectionReason, field: str | None, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field
        self.message = message
