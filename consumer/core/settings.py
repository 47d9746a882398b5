"""What the core can be told. Every limit names its unit; their digest is part of each journal record."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Annotated, Any, ClassVar, Literal, get_args, get_type_hints

from annotated_types import Interval

from consumer.core.currency import is_code
from schemas.units import DAY_MS, HOUR_MS, MINUTE_MS, Ms

Signal = Literal["purchase", "activity"]
BUILT_IN = "built-in"  # of a challenger: the model that comes along, with other settings

ZeroOrMore = Annotated[int, Interval(ge=0)]
OneOrMore = Annotated[int, Interval(ge=1)]
ZeroMsOrMore = Annotated[Ms, Interval(ge=0)]
OneMsOrMore = Annotated[Ms, Interval(ge=1)]
NotNegative = Annotated[float, Interval(ge=0)]
Positive = Annotated[float, Interval(gt=0)]
Share = Annotated[float, Interval(ge=0, le=1)]
SomeMs = Annotated[Ms, Interval(ge=1)]
Chance = Annotated[float, Interval(ge=0, lt=1)]
Divisor = Annotated[float, Interval(ge=1)]


class Section:
    """A section of the configuration: its keys, each number with its range beside it.

    The range holds however a section is made: the configuration loader reads it, and so does the constructor.
    """

    __slots__ = ()
    # read by the loader: an unknown key is an error, not a silence
    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    def __post_init__(self) -> None:
        for name, allowed in ranges_of(type(self)).items():
            value = getattr(self, name)
            if not isfinite(value):
                raise ValueError(f"{name} is {value}; it must be a finite number")
            if not _is_within(value, allowed):
                raise ValueError(f"{name} is {value}; it must be {range_in_words(allowed)}")
        self.check_together()

    def check_together(self) -> None:
        """Raise ValueError where values don't go with one another, though each is in its range."""


def ranges_of(section: type) -> Mapping[str, Interval]:
    """Return the range of each key of a section that has one."""
    kinds = get_type_hints(section, include_extras=True)
    return {name: each for name, kind in kinds.items() for each in get_args(kind) if isinstance(each, Interval)}


def range_in_words(allowed: Interval) -> str:
    """Return a range as in "at least 0 and at most 1"."""
    ends = {"more than": allowed.gt, "at least": allowed.ge, "less than": allowed.lt, "at most": allowed.le}
    return " and ".join(f"{words} {end}" for words, end in ends.items() if end is not None)


def _is_within(value: float, allowed: Any) -> bool:
    return (
        (allowed.gt is None or value > allowed.gt)
        and (allowed.ge is None or value >= allowed.ge)
        and (allowed.lt is None or value < allowed.lt)
        and (allowed.le is None or value <= allowed.le)
    )


@dataclass(frozen=True, slots=True)
class TimeSettings(Section):
    """When a record is too early, too late or a repetition, and how sessions and silence are cut."""

    max_ahead_ms: ZeroOrMore = 10 * MINUTE_MS  # further ahead of the broker's timestamp: dead letter
    late_by_ms: ZeroOrMore = 7 * DAY_MS  # allowed lateness; further behind stream time: dead letter
    session_gap_ms: OneOrMore = 30 * MINUTE_MS  # silence that ends a session
    duplicate_window: OneOrMore = 72  # event ids remembered for each customer, as long as they could come again
    timers_per_step: OneOrMore = 64  # due timers fired before one event; the rest wait for the next
    tick_decides_within_ms: OneOrMore = DAY_MS  # a tick that fires later than this decides nothing


@dataclass(frozen=True, slots=True)
class StateSettings(Section):
    """Bounds on what is remembered of a customer."""

    time_to_live_days: OneOrMore = 540  # silent for longer: forgotten, changelog tombstoned
    history_items: OneOrMore = 20  # the customer's own last items
    session_items: OneOrMore = 30  # of a session, the last ones
    orders: OneOrMore = 12  # remembered one by one, the latest: told again, late or given back, they count as they are
    order_days: OneOrMore = 60  # for so long an order is remembered; longer where `time.late_by_ms` is
    bought_items: OneOrMore = 64  # bought before, the most usual: the next basket and replenishment come from them
    categories: OneOrMore = 8  # with an affinity, the strongest
    brands: OneOrMore = 6  # with interest in them, the strongest
    devices: OneOrMore = 4  # met on, the most usual
    pending_churn: OneOrMore = 16  # unmatured predictions
    pending_audience: OneOrMore = 16  # unmatured predictions of purchases in a category
    pending_decisions: OneOrMore = 16  # unmatured outcomes
    consents: OneOrMore = 64  # channel and purpose pairs
    cart_items: OneOrMore = 30  # in the cart, the latest
    contacts: OneOrMore = 24  # contacts remembered for caps and cooldowns


@dataclass(frozen=True, slots=True)
class ChurnSettings(Section):
    """Churn is no `signal` within `horizon_days` of the prediction."""

    signal: Signal = "purchase"  # what staying is; activity is any event of the customer
    horizon_days: Positive = 90.0  # what the published churn probability is about
    hazard_days: Positive = 7.0  # the short head, rolled forward to the horizon
    tick_days: Positive = 7.0  # how often a silent customer is looked at again
    risk_threshold: Share = 0.7  # a tick at or over this probability is a trigger
    risk_again_days: Positive = 30.0  # in one spell of silence, a high risk triggers again after this long

    def check_together(self) -> None:
        """Raise ValueError where the short head looks further than the long one."""
        if self.hazard_days > self.horizon_days:
            raise ValueError(f"hazard_days is {self.hazard_days}; it must be at most horizon_days")


@dataclass(frozen=True, slots=True)
class PreferenceSettings(Section):
    """The item index (session kNN and rules) and the re-ranker."""

    top: OneOrMore = 20  # length of the list that is tried against what came next
    content_items: OneOrMore = 6  # recommended items in one action
    index_sessions: OneOrMore = 500_000  # most recent sessions kept in the index
    index_items: OneOrMore = 200_000  # distinct items in its sessions; beyond, the oldest sessions go
    blocked_items: OneOrMore = 500_000  # unavailable or restricted products remembered; beyond, only known offers count
    sessions_per_item: OneOrMore = 500  # most recent sessions kept for each item
    neighbours: OneOrMore = 100  # sessions most like the current one that a recommendation is made of
    sample_share: Share = 0.05  # share of item events at which the recommendation is tried and learned from
    basket_sample_share: Share = 0.25  # share of orders at which the next basket is tried and learned from
    caused_weight: Share = 0.3  # weight in the index of an item that our own recommendation led to
    explore_share: Share = 0.2  # share of lists whose last slot is drawn from itself and the items that follow
    explore_items: ZeroOrMore = 10  # that follow the list and may be drawn


@dataclass(frozen=True, slots=True)
class AudienceSettings(Section):
    """Audiences: the probability that a customer buys in a category within `within_days`."""

    within_days: Positive = 30.0  # what the probability is about
    bought_categories: OneOrMore = 64  # of a customer, the most usual; about 20 bytes each
    sample_share: Share = 0.5  # share of ticks at which a category is predicted, and learned from; 0: no audiences
    category_slots: OneOrMore = 1_000  # categories whose own rates are kept; beyond, the least met give way


@dataclass(frozen=True, slots=True)
class PolicySettings(Section):
    """When to decide, and how to explore."""

    decide_every_ms: ZeroOrMore = 6 * HOUR_MS  # at most one decision a customer in this interval
    outcome_days: Positive = 3.0  # outcome: a purchase within this time
    hold_out_share: Share = 0.05  # universal hold-out: always nothing
    hold_out_rotation_days: OneOrMore = 90  # then other customers are held out
    nothing_floor: Annotated[float, Interval(ge=0.05, le=0.9)] = 0.05  # *nothing* keeps at least so much, to compare
    propensity_floor: Share = 0.02  # each arm keeps at least this probability, or 0.1 / number of arms if that is less
    exploration: Positive = 20.0  # SquareCB's γ at the start
    exploration_growth: NotNegative = 0.5  # γ grows with (matured examples) ** this
    eligible_limit: OneOrMore = 32  # arms in one decision; those further down in the catalogue are ruled out
    action_budget_price: NotNegative = 0.0  # λ: what a unit of cost costs on top
    fatigue_cost: NotNegative = 0.05  # for each contact in the last 7 days
    default_time_zone: str = "UTC"  # IANA name; for customers whose zone is not known
    reward_learning_rate: Positive = 0.05  # of the model of outcomes
    reward_prior_strength: Positive = 1.0  # AdaGrad's accumulator at the start: more holds the priors longer
    seed: str = "nextbest"  # draws depend on it and on the id of the decision alone


@dataclass(frozen=True, slots=True)
class PrivacySettings(Section):
    """What may be done without an explicit consent event."""

    default_consent: bool = False  # whether customers of whom no consent is recorded may be contacted


@dataclass(frozen=True, slots=True)
class CurrencySettings(Section):
    """Money of other currencies than the catalogue's. Without a rate it is kept apart, and counted."""

    rates: Mapping[str, Positive] = field(default_factory=dict)  # what a unit is worth: { JPY = 0.0061, USD = 0.92 }

    def check_together(self) -> None:
        """Raise ValueError where a rate is none, or not for a currency, or there are two for one."""
        for code, rate in self.rates.items():
            if not is_code(code):
                raise ValueError(f"rates has {code!r}; it takes ISO 4217 codes of three letters, such as JPY")
            if not (isfinite(rate) and rate > 0):
                raise ValueError(f"rates.{code} is {rate}; it must be a finite number more than 0")
        if len({code.upper() for code in self.rates}) < len(self.rates):
            raise ValueError("rates has two values for one currency: capitals and small letters mean the same")


@dataclass(frozen=True, slots=True)
class LearnerSettings(Section):
    """How a trainer folds examples in, and how often it publishes."""

    snapshot_examples: OneOrMore = 200  # a snapshot after this many examples
    learning_rate: Positive = 0.05  # of the churn and preference models
    l2: NotNegative = 1e-5  # how strongly their weights are pulled to 0
    prior_strength: Positive = 300.0  # of churn: where AdaGrad's sums of squares start; larger: shorter first steps
    drift_delta: Chance = 0.002  # of a false drift alarm at any one look over losses and features; 0: no looking
    drift_loosening: Divisor = 2.0  # AdaGrad's sums are divided by it when losses have grown; 1: steps stay as they are


@dataclass(frozen=True, slots=True)
class CoreSettings(Section):
    """All settings that change what the core computes."""

    time: TimeSettings = field(default_factory=TimeSettings)
    state: StateSettings = field(default_factory=StateSettings)
    churn: ChurnSettings = field(default_factory=ChurnSettings)
    preference: PreferenceSettings = field(default_factory=PreferenceSettings)
    audience: AudienceSettings = field(default_factory=AudienceSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    currencies: CurrencySettings = field(default_factory=CurrencySettings)
    learner: LearnerSettings = field(default_factory=LearnerSettings)


@dataclass(frozen=True, slots=True)
class ChallengerSettings(Section):
    """A model that learns from the same examples as the one in force and is compared with it, but decides nothing."""

    name: str  # lower-case letters, digits and dashes; part of its consumer group and of what is recorded of it
    family: Literal["churn"] = "churn"  # whose examples it learns from
    model: str = BUILT_IN  # "built-in", with other [learner] settings; or a River classifier, "forest.ARFClassifier"
    parameters: Mapping[str, Any] = field(default_factory=dict)  # of the model; {class = "optim.FTRLProximal"} nests
    scaled: bool = True  # River classifiers: features are standardised first, which trees need not have

    def check_together(self) -> None:
        """Raise ValueError where the name is none for a consumer group."""
        if not re.fullmatch("[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", self.name):
            raise ValueError(
                f"`name` is {self.name!r}; it takes 1 to 40 lower-case letters, digits and dashes (not at its ends)"
            )
