"""A product record that cannot be read blocks its item."""

import orjson
import pytest

from schemas.codec import Decoder
from schemas.events import Product
from schemas.products import ProductRecord, read_product

DECODER = Decoder()


def test_a_good_record_says_what_holds_of_its_item() -> None:
    """With the item id as key."""
    value = orjson.dumps({"item_id": "kettle", "price": 5, "available": False})
    read = read_product(DECODER, b"kettle", value)
    assert read == ProductRecord("kettle", Product("kettle", price=5.0, available=False))


def test_a_tombstone_removes_what_is_known_of_an_item() -> None:
    """It has a key and no value."""
    assert read_product(DECODER, b"kettle", None) == ProductRecord("kettle", None)


def test_numbers_written_as_text_leave_the_rest_as_it_was_said() -> None:
    """As shop systems export prices."""
    value = orjson.dumps({"item_id": 17, "price": "59.90", "available": False})
    assert read_product(DECODER, b"17", value).product == Product("17", price=59.9, available=False)


@pytest.mark.parametrize(
    ("value", "reason", "field"),
    [
        (b"", "empty_value", "value"),
        (b"not JSON", "unknown_format", "value"),
        (b'{"item_id": "kettle", "available": "no"', "malformed_json", "value"),
        (b'{"item_id": "kettle", "available": "not any more"}', "wrong_type", "available"),
        (b'{"item_id": "kettle", "price": "59,90", "available": false}', "wrong_type", "price"),
        (b'{"price": 5.0}', "missing_field", "item_id"),
        (b'{"item_id": "toaster"}', "wrong_key", "key"),
    ],
)
def test_a_record_that_cannot_be_read_blocks_the_item_of_its_key(value: bytes, reason: str, field: str) -> None:
    """What the shop wanted to say may have been: not this one."""
    read = read_product(DECODER, b"kettle", value)
    assert (read.item_id, read.product) == ("kettle", Product("kettle", available=False, restricted=True))
    assert read.fault is not None
    assert (read.fault.reason, read.fault.field) == (reason, field)


@pytest.mark.parametrize(
    ("key", "reason"), [(None, "missing_key"), (b"", "missing_key"), (b"\xff", "wrong_key"), (b"x" * 257, "wrong_key")]
)
@pytest.mark.parametrize("value", [None, b'{"item_id": "kettle"}'])
def test_without_a_key_there_is_no_item_to_speak_of(key: bytes | None, value: bytes | None, reason: str) -> None:
    """The fault is handed on all the same."""
    read = read_product(DECODER, key, value)
    assert (read.item_id, read.product) == (None, None)
    assert read.fault is not None
    assert (read.fault.reason, read.fault.field) == (reason, "key")
