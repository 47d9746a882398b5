"""Input records: what customers do, buy and allow, and what the shop sells.

Each struct is the typed twin of one ``.avsc`` file in ``schemas/avro``; a test holds the two together.
Validation happens here, once, for JSON and Avro alike: `msgspec.convert` checks types and ranges,
``__post_init__`` checks what a kind of event cannot be without. Fields at their default are left out when a record is
written. Times are epoch milliseconds, UTC.
"""

from typing import Annotated, Literal

import msgspec

from schemas.times import EARLIEST_MS, LATEST_MS

MAX_ID_LENGTH = 256
MAX_ORDER_LINES = 1_000

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_LENGTH)]
Text = Annotated[str, msgspec.Meta(max_length=1024)]
EpochMs = Annotated[int, msgspec.Meta(ge=EARLIEST_MS, le=LATEST_MS)]
Money = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
Quantity = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Measure = Annotated[float, msgspec.Meta(gt=0, le=1e6)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]

ClickKind = Literal[
    "page_view",
    "item_view",
    "search",
    "cart_add",
    "cart_remove",
    "wishlist",
    "login",
    "error",
    "support_contact",
    "action_impression",
    "action_click",
    "action_dismissal",
]
PurchaseKind = Literal["order", "refund", "payment_failed", "cancellation"]
PrivacyKind = Literal["consent", "objection", "erasure"]

ITEM_KINDS = frozenset({"item_view", "cart_add", "cart_remove", "wishlist"})
ACTION_KINDS = frozenset({"action_impression", "action_click", "action_dismissal"})


class Context(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Where and how the customer was met. Everything is optional."""

    device: Text | None = None
    channel: Text | None = None
    country: Text | None = None
    region: Text | None = None
    time_zone: Text | None = None  # IANA name, such as Europe/Berlin
    referrer: Text | None = None


class ClickEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record of ``clickstream``."""

    event_id: Id
    customer_id: Id
    occurred_at: EpochMs
    kind: ClickKind
    session_id: Id | None = None
    item_id: Id | None = None
    category: Text | None = None
    brand: Text | None = None
    price: Money | None = None
    query: Text | None = None
    n_results: Count | None = None
    decision_id: Id | None = None  # the next-best action that caused this event, if one did
    topic: Text | None = None  # what an error or a support contact is about
    context: Context | None = None
    currency: Text | None = None  # of the price

    def __post_init__(self) -> None:
        kind = self.kind
        if kind in ITEM_KINDS:
            if self.item_id is None:
                raise ValueError(f"`item_id` is missing: a click event of kind {kind} needs it")
        elif kind in ACTION_KINDS:
            if self.decision_id is None:
                raise ValueError(f"`decision_id` is missing: a click event of kind {kind} needs it")
        elif kind == "search" and self.n_results is None:
            raise ValueError("`n_results` is missing: a click event of kind search needs it")


class OrderLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of an order or refund. `unit_price` is in the currency of the purchase event.

    What is sold by weight or length has a `measure`, such as .75 for .75 kg: `unit_price` is then that of 1 kg.
    """

    item_id: Id
    quantity: Quantity = 1
    unit_price: Money = 0.0
    category: Text | None = None
    brand: Text | None = None
    measure: Measure | None = None  # of each piece

    @property
    def total(self) -> float:
        """What the line comes to, in the event's currency."""
        total = self.quantity * self.unit_price
        return total if self.measure is None else total * self.measure


class PurchaseEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record of ``purchases``: an order, a refund or cancellation of one, or a payment that failed."""

    event_id: Id
    customer_id: Id
    occurred_at: EpochMs
    kind: PurchaseKind
    order_id: Id
    lines: Annotated[tuple[OrderLine, ...], msgspec.Meta(max_length=MAX_ORDER_LINES)] = ()
    amount: Money | None = None  # the sum of the lines where it is not given
    currency: Text | None = None
    decision_id: Id | None = None
    context: Context | None = None

    def __post_init__(self) -> None:
        if self.kind == "order" and not self.lines and self.amount is None:
            raise ValueError("`lines` is empty: an order needs lines or an `amount`")

    @property
    def total(self) -> float:
        """What was paid (or given back), in the event's currency."""
        if self.amount is not None:
            return self.amount
        return sum(line.total for line in self.lines)


class PrivacyEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record of ``privacy``: consent by channel and purpose, objection to profiling, or erasure.

    A consent without `channel` or `purpose` speaks of all of them. An objection stops every decision
    about the customer; an erasure removes what is remembered of the customer.
    """

    event_id: Id
    customer_id: Id
    occurred_at: EpochMs
    kind: PrivacyKind
    channel: Text | None = None
    purpose: Text | None = None
    granted: bool | None = None

    def __post_init__(self) -> None:
        if self.kind == "consent" and self.granted is None:
            raise ValueError("`granted` is missing: a consent event needs it")


class Product(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record of ``products`` (compacted, keyed by item id)."""

    item_id: Id
    category: Text | None = None
    brand: Text | None = None
    price: Money | None = None
    margin: Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)] | None = None
    available: bool = True
    restricted: bool = False


Event = ClickEvent | PurchaseEvent | PrivacyEvent
