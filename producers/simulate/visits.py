"""One visit as it unfolds: what a customer with these tastes looks at, puts into the cart and buys."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from producers.rows import CLICKSTREAM, PURCHASES
from producers.simulate.assortment import Shop
from producers.simulate.chance import Chance
from producers.simulate.customers import PURCHASE_SHAPE, SimulatedCustomer
from producers.simulate.population_settings import PopulationSettings
from schemas.units import DAY_MS

# How the next item is found: it follows from the current one, is one of the customer's own, or is found by taste.
FOLLOW_SHARE = 0.6
AGAIN_SHARE = 0.15
_MEAN_VIEWS = 5
_MAX_VIEWS = 30
_CART_SHARE = 0.06
_CART_SHARE_IN_NEED = 0.3
_BUY_SHARE = 0.02
_BUY_SHARE_IN_NEED = 0.75
_COMPLEMENT_SHARE = 0.35

Event = dict[str, object]


class Happening(NamedTuple):
    """One event of a visit, without the fields that every event has."""

    topic: str
    occurred_at: int
    kind: str
    fields: Event


class Errand(NamedTuple):
    """Why a visit takes place, if not by itself: an action that was clicked, or an item that is used up."""

    decision_id: str | None = None
    items: tuple[int, ...] = ()
    buys: bool = False


class Visit:
    """One visit of one customer. Afterwards `bought`, `troubles` and `ended_at` say how it went."""

    def __init__(
        self,
        customer: SimulatedCustomer,
        shop: Shop,
        settings: PopulationSettings,
        chance: Chance,
        *,
        start_ms: int,
        errand: Errand | None,
    ) -> None:
        self._customer = customer
        self._shop = shop
        self._settings = settings
        self._chance = chance
        self._random = chance.random
        self._errand = errand or Errand()
        self._now_ms = start_ms
        self._in_need = start_ms >= customer.needs_ms
        self._session: Event = {"session_id": f"{customer.customer_id}-s{customer.uses}"}
        self._context = customer.contexts[0 if self._random() < 0.8 else 1]
        self.bought: list[int] = []
        self.order: Event | None = None
        self.troubles = 0

    @property
    def ended_at(self) -> int:
        """Event time of the last thing that happened so far, epoch ms."""
        return self._now_ms

    def happenings(self) -> Iterator[Happening]:
        """Yield the events of the visit in their order."""
        yield from self._arrive()
        current: int | None = None
        for index in self._items_to_view():
            current = self._next_item(current) if index is None else index
            yield from self._look_at(current, caused=index is not None)
        if self._random() < self._settings.trouble_share:
            yield from self._trouble()
        if current is not None and self._wants_to_buy():
            yield from self._buy(current)

    def _click(self, kind: str, **fields: object) -> Happening:
        self._now_ms += 2_000 + int(self._random() * 60_000)
        return Happening(CLICKSTREAM, self._now_ms, kind, self._session | fields | {"context": self._context})

    def _arrive(self) -> Iterator[Happening]:
        if self._random() < 0.4:
            yield self._click("login")
        if self._random() < 0.5:
            yield self._click("page_view")
        if not self._errand.items and self._random() < 0.3:
            category = self._customer.categories[self._chance.among(self._customer.category_weights)]
            name = self._shop.items[self._shop.by_category[category][0]].category_name
            n_results = 0 if self._random() < 0.08 else len(self._shop.by_category[category])
            yield self._click("search", query=name.replace("-", " "), n_results=n_results)

    def _items_to_view(self) -> Iterator[int | None]:
        """Yield the items of the errand, then None for each item that is still to be found."""
        yield from self._errand.items[:3]
        views = 1 + min(_MAX_VIEWS, int(self._chance.expovariate(1 / _MEAN_VIEWS)))
        yield from (None for _ in range(views - min(3, len(self._errand.items))))

    def _next_item(self, current: int | None) -> int:
        draw, customer, shop = self._random(), self._customer, self._shop
        if current is not None and draw < FOLLOW_SHARE:
            return shop.successors[current][self._chance.among(shop.successor_weights)]
        if customer.viewed and draw > 1 - AGAIN_SHARE:
            return customer.viewed[int(self._random() * len(customer.viewed))]
        category = customer.categories[self._chance.among(customer.category_weights)]
        item = shop.pick(self._chance, category)
        if not shop.items[item].brand.endswith(str(customer.brand)):
            item = shop.pick(self._chance, category)  # a second look for the favourite brand
        return item

    def _look_at(self, index: int, *, caused: bool) -> Iterator[Happening]:
        item, customer = self._shop.items[index], self._customer
        about: Event = {
            "item_id": item.item_id,
            "category": item.category_name,
            "brand": item.brand,
            "price": item.price,
        }
        if caused and self._errand.decision_id is not None:
            about["decision_id"] = self._errand.decision_id
        yield self._click("item_view", **about)
        customer.remember(customer.viewed, index)
        draw = self._random()
        if draw < (_CART_SHARE_IN_NEED if self._in_need or self._errand.buys else _CART_SHARE):
            yield self._click("cart_add", **about)
            customer.remember(customer.cart, index, limit=5)
        elif draw > 0.97:
            yield self._click("wishlist", **about)
        elif draw > 0.95 and customer.cart:
            removed = self._shop.items[customer.cart.pop()]
            yield self._click("cart_remove", item_id=removed.item_id, category=removed.category_name)

    def _trouble(self) -> Iterator[Happening]:
        self.troubles += 1
        yield self._click("error", topic="page failed to load")
        if self._random() < 0.3:
            yield self._click("support_contact", topic="error on the site")

    def _wants_to_buy(self) -> bool:
        if self._errand.buys:
            return True
        return self._random() < (_BUY_SHARE_IN_NEED if self._in_need else _BUY_SHARE)

    def _buy(self, current: int) -> Iterator[Happening]:
        customer = self._customer
        came_for = self._errand.items[:1] if self._errand.buys else ()
        chosen = list(dict.fromkeys((*came_for, *customer.cart[-3:]))) or [current]
        if self._random() < _COMPLEMENT_SHARE:
            chosen.append(self._shop.complements[chosen[0]])
        order = self._order(chosen)
        if self._random() < self._settings.payment_failed_share:
            self.troubles += 1
            yield self._purchase("payment_failed", order)
            if self._random() < 0.5:
                return
        yield self._purchase("order", order)
        self.bought, self.order = chosen, order
        for index in chosen:
            customer.remember(customer.bought, index)
        customer.cart.clear()
        if not self._errand.buys:  # what an action or an empty shelf made the customer buy comes on top
            gap_days = self._chance.gammavariate(PURCHASE_SHAPE, customer.purchase_gap_days / PURCHASE_SHAPE)
            customer.needs_ms = self._now_ms + int(gap_days * DAY_MS)

    def _order(self, chosen: Sequence[int]) -> Event:
        lines = []
        for index in dict.fromkeys(chosen):
            item = self._shop.items[index]
            quantity = 1 + int(self._random() * 1.3)
            lines.append(
                {
                    "item_id": item.item_id,
                    "quantity": quantity,
                    "unit_price": item.price,
                    "category": item.category_name,
                    "brand": item.brand,
                }
            )
        order: Event = {
            "order_id": f"{self._customer.customer_id}-o{self._customer.events}",
            "lines": lines,
            "currency": "EUR",
        }
        if self._errand.decision_id is not None:
            order["decision_id"] = self._errand.decision_id
        return order

    def _purchase(self, kind: str, order: Event) -> Happening:
        self._now_ms += 5_000 + int(self._random() * 60_000)
        return Happening(PURCHASES, self._now_ms, kind, order | {"context": self._context})
