"""Customer state: what a task remembers of one customer, and its compact encoding.

One `Customer` is one changelog record. The struct is array-like, so a record holds values and no field names;
feature vectors are packed as 32-bit floats. Bounds on every list come from `StateSettings`.
"""

from struct import Struct
from zlib import crc32

import msgspec

FORMAT = 1
# format, crc32 of what follows it, scheduled_ms: a store can order timers without decoding the rest.
_HEADER = Struct(">BIq")
_CHECKED_FROM = 5

# Decayed counters: each with a fast and a slow half-life.
VIEWS, CARTS, ORDERS, SPEND, SESSIONS, EMPTY_SEARCHES, TROUBLE, SUPPORT, IMPRESSIONS, RESPONSES, DISMISSALS, REFUNDS = (
    range(12)
)
N_COUNTERS = 12
FAST_HALF_LIFE_DAYS = 14.0
SLOW_HALF_LIFE_DAYS = 90.0


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
    decision_id: str
    arm: str  # action|channel
    features: bytes  # float32, in the order of `policy.REWARD_FEATURES`
    predicted: float
    propensity: float
    hold_out: bool
    orders: int  # orders since
    spent: float
    clicked: bool


class Bought(msgspec.Struct, array_like=True, gc=False):
    """How one item was bought by one customer."""

    times: int
    last_at: int
    mean_gap_days: float  # 0 while bought only once


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
    event_ids: list[int] = []  # digests of the latest event ids, oldest first

    n_orders: int = 0
    first_order_ms: int = 0
    last_order_ms: int = 0
    spend: float = 0.0
    order_gap_log_mean: float = 0.0  # mean of log(1 + days between orders), over n_orders - 1 gaps
    # Forward decay (Cormode et al. 2009): each is a sum of 2^((t - first_seen)/half-life), fast and slow in turn.
    counters: list[float] = []

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
    if fmt != FORMAT:
        raise CorruptState(f"state format {fmt}; this build reads format {FORMAT}")
    if crc32(memoryview(record)[_CHECKED_FROM:]) != checksum:
        raise CorruptState("the checksum of a state record does not hold")
    return _decoder.decode(memoryview(record)[_HEADER.size :])


def scheduled_ms_of(record: bytes) -> int:
    """Return when the customer in `record` is due, without decoding the rest."""
    scheduled: int = _HEADER.unpack_from(record)[2]
    return scheduled
