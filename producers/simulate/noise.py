"""Broken records, as real streams carry them. Each must end in the dead letters, and nothing else may suffer."""

from collections.abc import Callable

import orjson

Event = dict[str, object]

_YEAR_2099_MS = 4_083_955_200_000  # 2099-06-01
_UNKNOWN_SCHEMA_ID = 2_147_483_600


def _truncated_json(key: bytes, event: Event) -> tuple[bytes | None, bytes]:
    value = orjson.dumps(event)
    return key, value[: len(value) * 2 // 3]


def _wrong_type(key: bytes, event: Event) -> tuple[bytes | None, bytes]:
    return key, orjson.dumps(event | {"occurred_at": "yesterday"})


def _negative_price(key: bytes, event: Event) -> tuple[bytes | None, bytes]:
    field = "amount" if "order_id" in event else "price"
    return key, orjson.dumps(event | {field: -4.99})


def _year_2099(key: bytes, event: Event) -> tuple[bytes | None, bytes]:
    return key, orjson.dumps(event | {"occurred_at": _YEAR_2099_MS})


def _missing_key(_: bytes, event: Event) -> tuple[bytes | None, bytes]:
    return None, orjson.dumps(event)


def _unknown_schema_id(key: bytes, event: Event) -> tuple[bytes | None, bytes]:
    return key, b"\0" + _UNKNOWN_SCHEMA_ID.to_bytes(4, "big") + orjson.dumps(event)


_BREAKERS: tuple[tuple[str, Callable[[bytes, Event], tuple[bytes | None, bytes]]], ...] = (
    ("truncated_json", _truncated_json),
    ("wrong_type", _wrong_type),
    ("negative_price", _negative_price),
    ("year_2099", _year_2099),
    ("missing_key", _missing_key),
    ("unknown_schema_id", _unknown_schema_id),
)
MALFORMED_KINDS = tuple(name for name, _ in _BREAKERS)


def broken(which: int, key: bytes, event: Event) -> tuple[str, bytes | None, bytes]:
    """Return the name of the damage, and the key and value of a record damaged so. `event` stays as it is."""
    name, breaker = _BREAKERS[which % len(_BREAKERS)]
    # An id of its own: a broken record must not pass for a duplicate of the sound one.
    return name, *breaker(key, event | {"event_id": f"{event['event_id']}-{name}"})
