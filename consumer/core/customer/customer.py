"""Customer state: what a task remembers of one customer, and its compact encoding.

One `Customer` is one changelog record. The struct is array-like, so a record holds values and no field names;
feature vectors are packed as floats of 32 or 16 bits. Amounts that are mostly 0 are `int | float`: 0 takes one byte,
0.0 takes nine. Bounds on every list come from `StateSettings`, on words from `words`.
"""

from struct import Struct, pack, unpack
from zlib import crc32

import msgspec

from schemas.units import DAY_MS

FORMAT = 2
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


class Customer(msgspec.Struct, array_like=True):
    """Everything remembered of one customer. Times are epoch milliseconds; 0 means never."""

    customer_id: str
    scheduled_ms: int = 0  # when the task looks at this customer again, at the latest
    first_seen_ms: int = 0
    last_seen_ms: int = 0
    origin_topic: str = ""  # the customer's latest input record
    origin_offset: int = -1
    event_ids: bytes = b""  # digests of the latest event ids, oldest first, EVENT_DIGEST_SIZE bytes each

    n_orders: int = 0
    first_order_ms: int = 0
    last_order_ms: int = 0
    spend: float = 0.0
    order_gap_log_mean: float = 0.0  # mean of log(1 + days between orders), over n_orders - 1 gaps
    # Forward decay (Cormode et al. 2009): each is a sum of 2^((t - first_seen)/half-life), fast and slow in turn.
    counters: list[int | float] = []

    session_id: str = ""  # as given by the shop; empty where it gives none
    session_started_ms: int = 0  # 0: no session is open
    session_last_ms: int = 0
    session_items: list[str] = []
    session_categories: list[str | None] = []
    session_weights: list[float] = []
    session_carted: bool = False
    session_bought: bool = False
    cart: list[str] = []

    history: list[str] = []  # own last distinct items, oldest first
    bought: dict[str, Bought] = {}
    categories: dict[str, float] = {}  # category → affinity, decayed at each addition

    time_zone: str = ""
    device: str = ""
    country: str = ""
    consents: dict[str, bool] = {}  # "channel:purpose", either may be *
    objected: bool = False

    next_tick_ms: int = 0  # 0: no tick is due
    replenish_ms: int = 0  # when an item bought again and again is due next
    replenish_item: str = ""
    segment: str = "new"
    pending_churn: list[PendingChurn] = []
    pending_decisions: list[PendingDecision] = []
    contacts: list[Contact] = []
    last_decision_ms: int = 0
    risk_decided_ms: int = 0  # when a high churn risk was last acted on
    segment_since_ms: int = 0
    consent_ms: dict[str, int] = {}  # when each of `consents` was said
    objected_ms: int = 0  # when the latest objection was said

    # Tastes, see `tastes`; each count takes one byte.
    brands: dict[str, int] = {}
    devices: dict[str, int] = {}
    day_parts: list[int] = []  # visits by part of the local day; empty before the first
    price_log_mean: float = 0.0  # of log(1 + price) of items looked at and bought
    n_prices: int = 0
    # Noted for segments until the next tick, in whole days.
    longest_gap_days: int = 0  # between two orders
    longest_absence_days: int = 0  # before a visit

    bought_categories: dict[str, Bought] = {}
    pending_audience: list[PendingAudience] = []

    # The rhythm of orders beside order_gap_log_mean, see `counters.note_order_rhythm`.
    order_gap_log_squares: float = 0.0  # sum of squared deviations from the mean
    last_gap_log: float = 0.0  # of the last two orders
    recent_orders: list[float] = []  # decayed counts and spend as of the last order; empty before the first


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
    return _decoder.decode(body) if fmt == FORMAT else _upgraded(body)


def _upgraded(body: memoryview) -> Customer:
    """Return the customer in a body of format 1.

    There, an item bought was (times, last_at in ms, mean gap in days), a digest of an event id a number of 8 bytes, and
    a pending decision had its id at 1, its features as 32-bit floats at 3, and at the end whether it was clicked.
    """
    fields = dict(zip(Customer.__struct_fields__, msgspec.msgpack.decode(body), strict=False))
    fields["bought"] = {
        item_id: (times, last_at // DAY_MS, 1_000 * times, max(1, round(10 * gap_days)) if times > 1 else 0, 0)
        for item_id, (times, last_at, gap_days) in fields["bought"].items()
    }
    fields["event_ids"] = b"".join(each.to_bytes(8, "big")[:EVENT_DIGEST_SIZE] for each in fields["event_ids"])
    fields["pending_decisions"] = [
        (decided_at, arm, as_half_floats(features), *others)
        for decided_at, _, arm, features, *others, _ in fields["pending_decisions"]
    ]
    return msgspec.convert(tuple(fields.values()), Customer)


def as_half_floats(packed: bytes) -> bytes:
    """Return 32-bit floats as 16-bit floats."""
    values = unpack(f"<{len(packed) // 4}f", packed)
    return pack(f"<{len(values)}e", *values)


def scheduled_ms_of(record: bytes) -> int:
    """Return when the customer in `record` is due, without decoding the rest."""
    scheduled: int = _HEADER.unpack_from(record)[2]
    return scheduled
