"""One record of ``products``, read so that what cannot be read closes rather than opens.

A product may be unavailable or restricted, and a record that says so in a way that cannot be read must not leave the
item open to recommendation. So a bad record blocks the item that its key names, until a good one follows.
"""

from typing import Literal, Protocol

import msgspec

from schemas.errors import InvalidRecord
from schemas.events import MAX_ID_LENGTH, Product


class ProductDecoder(Protocol):
    """What `read_product` needs of a codec; `schemas.codec.Decoder` is one."""

    def decode(self, topic: Literal["products"], value: bytes | None) -> Product:
        """The product in `value`; raises InvalidRecord."""


class ProductRecord(msgspec.Struct, frozen=True):
    """What a record of ``products`` comes to.

    Attributes:
        item_id: the item it is about; None where not even that can be read, so that there is nothing to apply.
        product: what holds of the item from here on; None for a tombstone, after which nothing is known of it.
        fault: what was wrong with the record, for counting and the dead letters. `product` is then one that blocks the
            item.
    """

    item_id: str | None
    product: Product | None
    fault: InvalidRecord | None = None


def read_product(decoder: ProductDecoder, key: bytes | None, value: bytes | None) -> ProductRecord:
    """Read one record of ``products``. Never raises for bad bytes; passes on what the schema source raises.

    The key must be the item id in UTF-8: the topic is compacted by it, so it says which record is replaced.
    """
    try:
        item_id = _item_of(key)
    except InvalidRecord as invalid:
        return ProductRecord(None, None, invalid)
    if value is None:
        return ProductRecord(item_id, None)
    try:
        product = decoder.decode("products", value)
    except InvalidRecord as invalid:
        return ProductRecord(item_id, blocked(item_id), invalid)
    if product.item_id != item_id:
        message = "`key` differs from `item_id`: expected the same id in UTF-8"
        return ProductRecord(item_id, blocked(item_id), InvalidRecord("wrong_key", "key", message))
    return ProductRecord(item_id, product)


def blocked(item_id: str) -> Product:
    """A product that is not recommended, and of which nothing else is known."""
    return Product(item_id, available=False, restricted=True)


def _item_of(key: bytes | None) -> str:
    if not key:
        raise InvalidRecord("missing_key", "key", "`key` is missing: expected the item id")
    try:
        item_id = key.decode()
    except UnicodeDecodeError:
        raise InvalidRecord("wrong_key", "key", "`key` is not valid UTF-8: expected the item id") from None
    if len(item_id) > MAX_ID_LENGTH:
        raise InvalidRecord("wrong_key", "key", f"`key` is longer than an id: at most {MAX_ID_LENGTH} characters")
    return item_id
