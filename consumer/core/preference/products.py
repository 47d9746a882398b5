"""What the shop says of its products, as far as it is remembered."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from schemas.events import Product


class _Details(NamedTuple):
    category: str | None
    price: float | None
    brand: str | None


class Products:
    """The latest product records: category and price, and what may not be recommended.

    `max_offered` records of offerable products are remembered and `max_blocked` of others; the longest untouched go
    first. An item of which nothing was ever said may be offered. Once a blocked one had to be forgotten that is over:
    then only items with a remembered record are offered, so that a blocked one never is.
    """

    __slots__ = ("_blocked", "_forgotten", "_max_blocked", "_max_offered", "_offered")

    def __init__(self, max_offered: int, max_blocked: int) -> None:
        self._max_offered = max_offered
        self._max_blocked = max_blocked
        self._offered: dict[str, _Details] = {}
        self._blocked: dict[str, _Details] = {}  # unavailable or restricted
        self._forgotten = False  # whether a blocked one is no longer remembered

    def __len__(self) -> int:
        return len(self._offered) + len(self._blocked)

    def apply(self, item_id: str, product: Product | None) -> Iterable[str]:
        """Take over a record (None: a tombstone), and return the items whose category may be another now."""
        self._offered.pop(item_id, None)
        self._blocked.pop(item_id, None)
        if product is None:
            return (item_id,)
        is_blocked = product.restricted or not product.available
        records = self._blocked if is_blocked else self._offered
        records[item_id] = _Details(product.category, product.price, product.brand)
        if len(records) <= (self._max_blocked if is_blocked else self._max_offered):
            return (item_id,)
        dropped = next(iter(records))
        del records[dropped]
        self._forgotten = self._forgotten or is_blocked
        return (item_id, dropped)

    def is_offerable(self, item_id: str) -> bool:
        """Return whether the item may be recommended: neither unavailable nor restricted, as far as is known."""
        return item_id in self._offered if self._forgotten else item_id not in self._blocked

    def unofferable(self, item_ids: Sequence[str]) -> set[str]:
        """Return those of `item_ids` that are not offerable."""
        if self._forgotten:
            return {item_id for item_id in item_ids if item_id not in self._offered}
        return {item_id for item_id in item_ids if item_id in self._blocked} if self._blocked else set()

    def category_of(self, item_id: str) -> str | None:
        """Return the category in the item's record."""
        details = self._details(item_id)
        return None if details is None else details.category

    def brand_of(self, item_id: str) -> str | None:
        """Return the brand in the item's record."""
        details = self._details(item_id)
        return None if details is None else details.brand

    def price_of(self, item_id: str) -> float | None:
        """Return the price in the item's record."""
        details = self._details(item_id)
        return None if details is None else details.price

    def _details(self, item_id: str) -> _Details | None:
        return self._offered.get(item_id) or self._blocked.get(item_id)
