"""Avro types that mean more than they hold: times in other units, decimals, uuids.

Producers write the same fact in many types. What a type means is said by its logical type, or by the name that Kafka
Connect and Debezium give to it. fastavro calls the readers of this file for such types, and what comes out is what JSON
would hold: epoch milliseconds, numbers, text.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

from fastavro.read import LOGICAL_READERS

from schemas.units import DAY_MS

_UUID_BYTES: Final = 16
_MAX_SCALE: Final = 64
_MAX_DECIMAL_BYTES: Final = 64

# Logical types, and names of Kafka Connect and Debezium → the reader. Times of no zone are read as UTC.
_READ_AS: Final = {
    "timestamp-micros": "nextbest-micros",
    "local-timestamp-micros": "nextbest-micros",
    "io.debezium.time.MicroTimestamp": "nextbest-micros",
    "timestamp-nanos": "nextbest-nanos",
    "local-timestamp-nanos": "nextbest-nanos",
    "io.debezium.time.NanoTimestamp": "nextbest-nanos",
    "date": "nextbest-days",
    "org.apache.kafka.connect.data.Date": "nextbest-days",
    "io.debezium.time.Date": "nextbest-days",
    "decimal": "nextbest-decimal",
    "org.apache.kafka.connect.data.Decimal": "nextbest-decimal",
    "io.debezium.data.VariableScaleDecimal": "nextbest-decimal",
    "uuid": "nextbest-uuid",
}


def meaning_of(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What to add to a type so that one of the readers is called for its values; empty for most types."""
    for says in ("logicalType", "connect.name"):
        reader = _READ_AS.get(schema.get(says, ""), "")
        if f"{schema['type']}-{reader}" in _READERS:
            return {"logicalType": reader, "scale": schema.get("scale", 0)}
    return {}


def _number(unscaled: bytes, scale: Any) -> int | float | bytes:
    """The number of a decimal; a whole one where nothing stands after the point, as in the ids of a NUMBER column.

    What no number of ours can be stays bytes, and is rejected as such.
    """
    if not isinstance(scale, int) or not 0 <= scale <= _MAX_SCALE or len(unscaled) > _MAX_DECIMAL_BYTES:
        return unscaled
    whole = int.from_bytes(unscaled, "big", signed=True)
    return whole / 10**scale if scale else whole


_Reader = Callable[[Any, Any, Any], Any]  # value as it was written, writer's type, reader's type → value
_READERS: Final[dict[str, _Reader]] = {
    "long-nextbest-micros": lambda time, *_: time // 1_000,
    "long-nextbest-nanos": lambda time, *_: time // 1_000_000,
    "int-nextbest-days": lambda days, *_: days * DAY_MS,
    "bytes-nextbest-decimal": lambda unscaled, written, *_: _number(unscaled, written["scale"]),
    "fixed-nextbest-decimal": lambda unscaled, written, *_: _number(unscaled, written["scale"]),
    "record-nextbest-decimal": lambda decimal, *_: _number(decimal["value"], decimal["scale"]),
    "fixed-nextbest-uuid": lambda raw, *_: str(UUID(bytes=raw)) if len(raw) == _UUID_BYTES else raw,
}
LOGICAL_READERS.update(_READERS)  # fastavro's table for logical types of one's own
