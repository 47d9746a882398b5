"""Output and internal records: decisions, dead letters, training examples, sessions and the journal.

Each struct is the typed twin of one ``.avsc`` file in ``schemas/avro``. Times are epoch milliseconds, UTC.
"""

from typing import Annotated, Final, Literal

import msgspec

Mode = Literal["live", "catch-up", "history", "frozen"]
Family = Literal["churn", "preference", "policy"]
SessionKind = Literal["visit", "basket"]
# JSON has no NaN and no infinity, and neither has a decision.
_LARGEST: Final = 1.7976931348623157e308
Finite = Annotated[float, msgspec.Meta(ge=-_LARGEST, le=_LARGEST)]
FAMILIES: tuple[Family, ...] = ("churn", "preference", "policy")  # the partition of each in training-examples


class Coordinates(msgspec.Struct, frozen=True, gc=False):
    """Where an input record came from."""

    topic: str
    partition: int
    offset: int


class Recommendation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One recommended item. `why` names the source: together, next, again, category, popular, replenish, cart."""

    item_id: str
    score: Finite
    why: str
    propensity: Finite | None = None  # of the slot that explores: how likely this item was to stand there


class EligibleArm(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One arm that could have been chosen, and with what probability."""

    action: str
    channel: str | None = None
    variant: str | None = None
    propensity: Finite


class Reason(msgspec.Struct, frozen=True):
    """One reason for a decision: in words for people, with the number it rests on for machines."""

    name: str
    words: str
    value: Finite


class Tastes(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the customer goes for, as far as it is known; the strongest first."""

    categories: tuple[str, ...] = ()  # at most 3
    brands: tuple[str, ...] = ()  # at most 2
    price_band: str | None = None  # third of the shop's customers by the price of what they look at: low, mid, high
    day_part: str | None = None  # of the local day, such as evening
    device: str | None = None


class NextBestAction(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record of ``next-best-actions``; idempotent to consume by `decision_id`.

    `action` is ``nothing`` where no action was chosen; then `channel` and `variant` are null.
    `propensity` is the joint probability of (action, channel, variant) under the policy in force.
    """

    decision_id: str
    customer_id: str
    occurred_at: int  # event time of the decision
    trigger: str
    action: str
    channel: str | None
    variant: str | None
    content: tuple[Recommendation, ...]
    deliver_after: int | None
    deliver_before: int | None
    time_zone: str
    propensity: Finite
    eligible: tuple[EligibleArm, ...]
    churn_probability: Finite | None
    churn_signal: str
    segment: str
    hold_out: bool
    reasons: tuple[Reason, ...]
    model_versions: dict[str, int]  # model name → offset of the last example in it; `sessions` → sessions offset
    origin: Coordinates  # the customer's input record that this decision follows from
    mode: Mode
    first_purchase_probability: Finite | None = None  # within the horizon, of customers who never bought
    tastes: Tastes | None = None


class DeadLetter(msgspec.Struct, frozen=True):
    """One record of ``dead-letters``: the original bytes, or their digest where they are too large to carry."""

    origin: Coordinates
    timestamp: int  # of the broker
    reason: str  # a short fixed word, fit for a metric label
    field: str | None
    message: str
    key: bytes | None
    value: bytes | None  # null where larger than the limit
    value_size_bytes: int
    value_sha256: str
    headers: tuple[tuple[str, bytes | None], ...] = ()


class TrainingExample(msgspec.Struct, frozen=True):
    """One matured example of one family. It carries no customer id.

    `features` holds `rows` vectors one after the other, in the order that the digest `feature_set` stands for.
    What was predicted when the features were taken comes along, so that quality is measured prequentially from
    this topic alone:

    - churn: `head` is ``horizon`` or ``hazard``, of customers who never ordered ``first-horizon`` or ``first-hazard``;
      `predicted` the probability; `label` 1 for churned (no first order). Head ``segment`` is a sample without a label.
    - preference: `head` is ``next-item`` or ``basket``; `rows` differences (chosen − expected); `label` 1; `rank`,
      `popularity_rank` and `history_rank` are where the chosen item stood in each list (1 is the top, 0 means not in
      the list). Of a basket, `rank` is that of the item ranked best, and the other two are not known.
    - preference, head ``category``: `label` 1 where the customer bought in the category that `arm` names, within the
      window of audiences; `predicted` the probability; ranks are not known.
    - policy: `head` is ``reward``; `label` the outcome (1 = it happened); `arm` is ``action|channel``.
    """

    family: Family
    head: str
    feature_set: str
    features: tuple[Finite, ...]
    rows: int
    label: Finite
    weight: Finite
    predicted_at: int
    matured_at: int
    predicted: Finite | None = None
    rank: int | None = None
    popularity_rank: int | None = None
    history_rank: int | None = None
    arm: str | None = None
    propensity: Finite | None = None
    hold_out: bool = False
    treated: bool = False
    active: bool = False  # churn: the signal was seen within one horizon before the prediction
    value: Finite = 0.0  # policy: money spent within the outcome window


class Session(msgspec.Struct, frozen=True):
    """One finished session, for the item indexes. It carries no customer id.

    A visit holds the items met, in order and with repeats; a basket holds the items of one order.
    """

    session_id: str  # a digest
    ended_at: int
    items: tuple[str, ...]
    categories: tuple[str | None, ...]
    weights: tuple[Finite, ...]  # < 1 for items that a recommendation of ours led to; more for bought ones
    kind: SessionKind = "visit"


class Run(msgspec.Struct, frozen=True):
    """One stretch of the merge order: the next `count` records of `topic`, or stream time moved to `advance_to`."""

    topic: str | None
    count: int
    advance_to: int | None = None


MAX_REJECTED: Final = 1_000  # stretches of rejected records in one journal record


class Rejected(msgspec.Struct, frozen=True):
    """`count` records of one topic, one behind the other from `offset` on, that were rejected for the same reason."""

    topic: str
    reason: str
    offset: int
    count: int


class JournalRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record of ``journal``: everything that a commit of one task depended on, and digests of what came of it.

    The chain `previous_checksum` → `checksum` ties the records of one task together. A field that came with a later
    version is left out where it is at its default, so that checksums of older records hold.
    """

    task: int
    sequence: int
    build: str
    settings_digest: str
    catalogue_digest: str
    mode: Mode
    model_versions: dict[str, int]
    sessions_offset: int  # next to read
    products_offset: int  # next to read
    runs: tuple[Run, ...]
    first_offsets: dict[str, int]  # topic → first offset processed in this commit (next to read before it)
    next_offsets: dict[str, int]  # topic → next to read after it
    stream_time: int
    inputs_digest: str
    outputs_digest: str
    examples_digest: str
    state_digest: str
    grants: dict[str, Finite]
    previous_checksum: str
    checksum: str
    rejected: tuple[Rejected, ...] = ()  # in the order in which they were processed; at most MAX_REJECTED
    rejected_left_out: int = 0  # records
    reference_time: int | None = None  # what the age of events was measured by; None where that was stream time
    aged_before: int | None = None  # events of an earlier event time decided nothing
