"""Tastes: what a customer goes for, as a few bounded counts: brands, prices, devices, hours. Categories are kept as
affinities by `updates`.

A count that reaches its limit halves all counts beside it. So each takes one byte, what was liked long ago fades, and
no clock is needed for it.
"""

from collections.abc import Mapping
from math import expm1, log1p
from typing import Literal, Protocol, get_args

import msgspec

from consumer.core.customer.customer import Customer
from consumer.core.customer.words import LONGEST_WORD
from schemas.events import ClickEvent, PurchaseEvent
from schemas.records import Tastes

DayPart = Literal["night", "small_hours", "early_morning", "morning", "noon", "afternoon", "evening", "late_evening"]
PriceBand = Literal["low", "mid", "high"]
DAY_PARTS: tuple[DayPart, ...] = get_args(DayPart)  # three hours each, from midnight

TOP_CATEGORIES, TOP_BRANDS = 3, 2
_CLICK_WEIGHTS: Mapping[str, int] = {"item_view": 1, "cart_add": 2, "wishlist": 2}
_BOUGHT_WEIGHT, _CAUSED_WEIGHT = 4, 2  # the latter where our own recommendation led to the order
MIN_VISITS = 3  # before a usual hour or device is spoken of
_MAX_COUNT = 64  # then all counts beside it are halved
_MAX_PRICES = 32  # the mean price forgets as if it were over so many
_MAX_NAME = LONGEST_WORD  # a longer name of a brand is no taste
_HOURS = 24 // len(DAY_PARTS)


class PriceBands(msgspec.Struct, frozen=True):
    """Where the middle and the upper third of the customers begin, by the price of what they look at; 0: not known."""

    mid_from: float = 0.0  # shop currency
    high_from: float = 0.0


UNKNOWN_BANDS = PriceBands()
NO_TASTES = Tastes()


class KnownItems(Protocol):
    """What is known of items beyond what an event says of them; the item index is one."""

    def brand_of(self, item_id: str) -> str | None:
        """Return the brand of an item, where it is known."""

    def price_of(self, item_id: str) -> float | None:
        """Return the price of an item in shop currency, where it is known."""


def note_click(
    customer: Customer, event: ClickEvent, item_id: str, items: KnownItems, *, rate: float | None, max_brands: int
) -> None:
    """Count interest in the item of a click event; what our own recommendation led to tells less.

    `rate` turns its price into shop currency; with None it tells nothing.
    """
    weight = _CLICK_WEIGHTS[event.kind] - (event.decision_id is not None)
    if weight:
        brand, price = event.brand or items.brand_of(item_id), _price(event.price, rate) or items.price_of(item_id)
        note_item(customer, brand, price, weight, max_brands=max_brands)


def note_order(
    customer: Customer, event: PurchaseEvent, items: KnownItems, *, rate: float | None, max_brands: int
) -> None:
    """Count interest in everything that was bought, as `note_click` does."""
    weight = _BOUGHT_WEIGHT if event.decision_id is None else _CAUSED_WEIGHT
    for line in event.lines:
        brand, item_id = line.brand or items.brand_of(line.item_id), line.item_id
        note_item(
            customer, brand, _price(line.unit_price, rate) or items.price_of(item_id), weight, max_brands=max_brands
        )


def _price(price: float | None, rate: float | None) -> float | None:
    return price if rate == 1.0 or not price else None if rate is None else price * rate


def note_item(customer: Customer, brand: str | None, price: float | None, weight: int, *, max_brands: int) -> None:
    """Count interest in an item. A price of 0 is none."""
    if brand and len(brand) <= _MAX_NAME:
        _count(customer.tastes.brands, brand, weight, max_brands)
    if price:
        counts = customer.tastes
        n = counts.n_prices
        counts.price_log_mean += (log1p(price) - counts.price_log_mean) * weight / (n + weight)
        counts.n_prices = min(n + weight, _MAX_PRICES)


def note_visit(customer: Customer, hour: int, device: str | None, max_devices: int) -> None:
    """Count when and where the customer came; `hour` is of the customer's local day, 0 to 23."""
    counts = customer.tastes
    day_parts = counts.day_parts = counts.day_parts or [0] * len(DAY_PARTS)
    part = hour // _HOURS
    day_parts[part] += 1
    if day_parts[part] >= _MAX_COUNT:
        day_parts[:] = [n // 2 for n in day_parts]
    if device and len(device) <= _MAX_NAME:
        _count(counts.devices, device, 1, max_devices)


def _count(counts: dict[str, int], name: str, weight: int, limit: int) -> None:
    """Count `name`; beyond `limit` the rarest of the others goes."""
    counts[name] = counts.get(name, 0) + weight
    if len(counts) > limit:
        del counts[min((other for other in counts if other != name), key=lambda each: (counts[each], each))]
    if counts[name] >= _MAX_COUNT:
        for each, n in list(counts.items()):
            if n > 1:
                counts[each] = n // 2
            else:
                del counts[each]


def tastes_of(customer: Customer, bands: PriceBands) -> Tastes | None:
    """Return what is known of the customer's tastes, None where it is nothing. Ties by name."""
    counts = customer.tastes
    categories = _top(counts.categories, TOP_CATEGORIES)
    brands = _top(counts.brands, TOP_BRANDS)
    price_band = price_band_of(customer, bands)
    day_part = _usual_day_part(counts.day_parts)
    device = _top(counts.devices, 1)[0] if sum(counts.devices.values()) >= MIN_VISITS else None
    tastes = Tastes(categories, brands, price_band, day_part, device)
    return tastes if tastes != NO_TASTES else None


def price_band_of(customer: Customer, bands: PriceBands) -> PriceBand | None:
    """Return in which third of the customers this one is, by price; None where that is not known."""
    if not customer.tastes.n_prices or bands == UNKNOWN_BANDS:
        return None
    price = expm1(customer.tastes.price_log_mean)
    return "low" if price < bands.mid_from else "mid" if price < bands.high_from else "high"


def day_part_of(hour: int) -> DayPart:
    """Return the part of the day that `hour` (0 to 23) lies in."""
    return DAY_PARTS[hour // _HOURS]


def taste_words(tastes: Tastes) -> str:
    """Return what the customer likes, for people; empty where neither categories, brands nor prices are known."""
    liked = [*tastes.categories[:1], *tastes.brands[:1]]
    if tastes.price_band is not None:
        liked.append({"low": "low prices", "mid": "medium prices"}.get(tastes.price_band, "high prices"))
    return f"Goes for {', '.join(liked)}" if liked else ""


def _usual_day_part(day_parts: list[int]) -> DayPart | None:
    if sum(day_parts) < MIN_VISITS:
        return None
    return DAY_PARTS[day_parts.index(max(day_parts))]


def _top(counts: Mapping[str, float], n: int) -> tuple[str, ...]:
    names = sorted(counts)
    names.sort(key=counts.__getitem__, reverse=True)  # equals stay in their order
    return tuple([name for name in names if len(name) <= _MAX_NAME][:n])
