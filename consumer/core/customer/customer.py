"""Customer state: what a task remembers of one customer, and its compact encoding.

One `Customer` is one changelog record, with a struct in it for each subject of more than two fields. All are
array-like: a record holds values and no field names, and a struct within another costs one byte. Feature vectors are
packed as floats of 32 or 16 bits. What is mostly 0 is `int | float`: 0 takes one byte, 0.0 takes nine. Bounds on every
list come from `StateSettings`, on words from `words`.
"""

from struct import Struct, pack, unpack
from typing import Any
from zlib import crc32

import msgspec
from msgspec import field

from schemas.units import DAY_MS

FORMAT = 3
# format, crc32 of what follows it, scheduled_ms: a store can order timers without decoding the rest.
_HEADER = Struct(">BIq")
_CHECKED_FROM = 5

EVENT_DIGEST_SIZE = 6  # bytes: of 32 ids, one in 9 × 10^12 is taken for another


class PendingChurn(msgspec.Struct, array_like=True, gc=False):
    """A churn prediction whose labels have not all matured."""

    predicted_at: int
    features: bytes  # float32, in the order of `features.CHURN_FEATURES`
    probability: float  # of both heads; negative where nothing was learned
    hazard_probability: float
    active: bool
    signal_at: int  # first signal after the prediction; 0 while there is none
    hazard_revealed: bool
    untreated_propensity: float  # product of P(no treatment) over the decisions that fell into the horizon
    treated: bool


class PendingDecision(msgspec.Struct, array_like=True, gc=False):
    """A decision whose outcome has not matured; *nothing* counts as one."""

    decided_at: int
    arm: str  # action|channel
    features: bytes  # float16, in the order of `policy.REWARD_FEATURES`
    predicted: float
    propensity: float
    hold_out: bool
    orders: int  # orders since
    spent: int | float


class Bought(msgspec.Struct, array_like=True, gc=False):
    """How one item was bought by one customer. Whole numbers, since small ones take a byte or three."""

    times: int  # days on which it was bought
    last_day: int  # since the epoch, UTC
    weight: int = 0  # decayed count as of `last_day`, in thousandths; see `bought`
    gap: int = 0  # usual days between, in tenths; 0 while bought only once
    spread: int = 0  # mean |log(gap / usual gap)|, in thousandths


class PendingAudience(msgspec.Struct, array_like=True, gc=False):
    """A predicted purchase in a category, whose window is not over."""

    predicted_at: int
    category: str
    features: bytes  # float16, in the order of `audience.AUDIENCE_FEATURES`
    probability: float  # negative where nothing was learned
    bought_weight: int  # of the purchase that came, in thousandths; 0 while there is none


class Contact(msgspec.Struct, array_like=True, gc=False):
    """A contact made: a decision other than *nothing*."""

    at: int
    action: str
    channel: str


class Orders(msgspec.Struct, array_like=True, gc=False):
    """What a customer ordered, and in which rhythm: see `counters.note_order_rhythm`."""

    n: int = 0
    first_ms: int = 0
    last_ms: int = 0
    spend: int | float = 0
    gap_log_mean: int | float = 0  # mean of log(1 + days between orders), over n - 1 gaps
    gap_log_squares: int | float = 0  # sum of squared deviations from the mean
    last_gap_log: int | float = 0  # of the last two orders
    longest_gap_days: int = 0  # between two orders; noted for segments until the next tick
    recent: list[float] = []  # decayed counts and spend as of the last order; empty before the first


class OpenSession(msgspec.Struct, array_like=True, gc=False):
    """The session that is open. The cart outlives it."""

    id: str = ""  # as given by the shop; empty where it gives none
    started_ms: int = 0  # 0: no session is open
    last_ms: int = 0
    items: list[str] = []
    categories: list[str | None] = []  # of each item
    weights: list[float] = []  # of each item
    carted: bool = False
    bought: bool = False


class TasteCounts(msgspec.Struct, array_like=True, gc=False):
    """What a customer goes for, see `tastes`; each count takes one byte."""

    categories: dict[str, float] = {}  # affinity, decayed at each addition
    brands: dict[str, int] = {}
    devices: dict[str, int] = {}
    day_parts: list[int] = []  # visits by part of the local day; empty before the first
    price_log_mean: int | float = 0  # of log(1 + price) of items looked at and bought
    n_prices: int = 0


class LastContext(msgspec.Struct, array_like=True, gc=False):
    """Where a customer was met last; empty where no event has said so."""

    time_zone: str = ""
    device: str = ""
    country: str = ""


class Consent(msgspec.Struct, array_like=True, gc=False):
    """What a customer agreed to, refused or objected to."""

    answers: dict[str, bool] = {}  # by "channel:purpose", either may be *
    answered_ms: dict[str, int] = {}  # when each of `answers` was given
    objected: bool = False
    objected_ms: int = 0  # when the latest objection was said


class DueTimes(msgspec.Struct, array_like=True, gc=False):
    """When a silent customer is looked at again, and for what; other deadlines follow from the rest of the state."""

    tick_ms: int = 0  # 0: no tick is due
    replenish_ms: int = 0  # when an item bought again and again is due next
    replenish_item: str = ""


class Pending(msgspec.Struct, array_like=True, gc=False):
    """Examples that have not matured, oldest first."""

    churn: list[PendingChurn] = []
    decisions: list[PendingDecision] = []
    audience: list[PendingAudience] = []


class Customer(msgspec.Struct, array_like=True):
    """Everything remembered of one customer. Times are epoch milliseconds; 0 means never."""

    customer_id: str
    scheduled_ms: int = 0  # when the task looks at this customer again, at the latest
    due: DueTimes = field(default_factory=DueTimes)

    first_seen_ms: int = 0
    last_seen_ms: int = 0
    longest_absence_days: int = 0  # before a visit; noted for segments until the next tick
    origin_topic: str = ""  # the latest input record
    origin_offset: int = -1
    event_ids: bytes = b""  # digests of the latest event ids, oldest first, EVENT_DIGEST_SIZE bytes each
    context: LastContext = field(default_factory=LastContext)
    consent: Consent = field(default_factory=Consent)

    # Forward decay (Cormode et al. 2009): each is a sum of 2^((t - first_seen)/half-life), fast and slow in turn.
    counters: list[int | float] = []
    orders: Orders = field(default_factory=Orders)
    bought: dict[str, Bought] = {}  # by item
    bought_categories: dict[str, Bought] = {}

    session: OpenSession = field(default_factory=OpenSession)
    cart: list[str] = []
    history: list[str] = []  # own last distinct items, oldest first
    tastes: TasteCounts = field(default_factory=TasteCounts)

    segment: str = "new"
    segment_since_ms: int = 0
    contacts: list[Contact] = []
    last_decision_ms: int = 0
    risk_decided_ms: int = 0  # when a high churn risk was last acted on
    pending: Pending = field(default_factory=Pending)


# Formats 1 and 2 were one flat array, in the order in which the fields had come to be: where each is now.
_FORMERLY = """
customer_id scheduled_ms first_seen_ms last_seen_ms origin_topic origin_offset event_ids
orders.n orders.first_ms orders.last_ms orders.spend orders.gap_log_mean counters
session.id session.started_ms session.last_ms session.items session.categories session.weights session.carted
session.bought cart history bought tastes.categories context.time_zone context.device context.country consent.answers
consent.objected due.tick_ms due.replenish_ms due.replenish_item segment pending.churn pending.decisions contacts
last_decision_ms risk_decided_ms segment_since_ms consent.answered_ms consent.objected_ms
tastes.brands tastes.devices tastes.day_parts tastes.price_log_mean tastes.n_prices
orders.longest_gap_days longest_absence_days bought_categories pending.audience
orders.gap_log_squares orders.last_gap_log orders.recent
"""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Customer)


class CorruptState(Exception):
    """A state record whose checksum or format does not hold."""


def encode_customer(customer: Customer) -> bytes:
    """Return format, checksum, `scheduled_ms` and the packed state."""
    body = _encoder.encode(customer)
    due = customer.scheduled_ms.to_bytes(8, "big", signed=True)
    return _HEADER.pack(FORMAT, crc32(body, crc32(due)), customer.scheduled_ms) + body


def decode_customer(record: bytes) -> Customer:
    """Return the customer in `record`; raise CorruptState where it can't be trusted."""
    if len(record) < _HEADER.size:
        raise CorruptState(f"a state record of {len(record)} bytes is shorter than its header")
    fmt, checksum, _ = _HEADER.unpack_from(record)
    if not 1 <= fmt <= FORMAT:
        raise CorruptState(f"state format {fmt}; this build reads formats 1 to {FORMAT}")
    if crc32(memoryview(record)[_CHECKED_FROM:]) != checksum:
        raise CorruptState("the checksum of a state record does not hold")
    body = memoryview(record)[_HEADER.size :]
    return _decoder.decode(body) if fmt == FORMAT else _upgraded(fmt, body)


def _upgraded(fmt: int, body: memoryview) -> Customer:
    """Return the customer in a body of format 1 or 2, which is one array of values in the order of `_FORMERLY`."""
    values = dict(zip(_FORMERLY.split(), msgspec.msgpack.decode(body), strict=False))
    if fmt == 1:
        _upgrade_values(values)
    del values["counters"][6:8]  # of what was spent, which nobody asked for
    customer = Customer("")
    for place, value in values.items():
        part, _, name = place.rpartition(".")
        setattr(getattr(customer, part) if part else customer, name, value)
    return _decoder.decode(_encoder.encode(customer))  # as the types that these values are of


def _upgrade_values(values: dict[str, Any]) -> None:
    """Turn values of format 1 into those of format 2.

    There, an item bought was (times, last_at in ms, mean gap in days), a digest of an event id a number of 8 bytes, and
    a pending decision had its id at 1, its features as 32-bit floats at 3, and at the end whether it was clicked.
    """
    values["bought"] = {
        item_id: (times, last_at // DAY_MS, 1_000 * times, max(1, round(10 * gap_days)) if times > 1 else 0, 0)
        for item_id, (times, last_at, gap_days) in values["bought"].items()
    }
    values["event_ids"] = b"".join(each.to_bytes(8, "big")[:EVENT_DIGEST_SIZE] for each in values["event_ids"])
    values["pending.decisions"] = [
        (decided_at, arm, as_half_floats(features), *others)
        for decided_at, _, arm, features, *others, _ in values["pending.decisions"]
    ]


def as_half_floats(packed: bytes) -> bytes:
    """Return 32-bit floats as 16-bit floats."""
    values = unpack(f"<{len(packed) // 4}f", packed)
    return pack(f"<{len(values)}e", *values)


def scheduled_ms_of(record: bytes) -> int:
    """Return when the customer in `record` is due, without decoding the rest."""
    scheduled: int = _HEADER.unpack_from(record)[2]
    return scheduled
