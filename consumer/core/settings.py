"""What the core can be told. Every limit names its unit; their digest is part of each journal record."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from schemas.units import DAY_MS as DAY_MS  # noqa: PLC0414 - modules of the core import units from here
from schemas.units import HOUR_MS as HOUR_MS  # noqa: PLC0414
from schemas.units import MINUTE_MS as MINUTE_MS  # noqa: PLC0414

Signal = Literal["purchase", "activity"]
BUILT_IN = "built-in"  # of a challenger: the model that comes along, with other settings

_STRICT = {"extra": "forbid"}  # read by the configuration loader: an unknown key is an error, not a silence


@dataclass(frozen=True, slots=True)
class TimeSettings:
    """When a record is too early, too late or a repetition, and how sessions and silence are cut."""

    __pydantic_config__ = _STRICT
    max_ahead_ms: int = 10 * MINUTE_MS  # further ahead of the broker's timestamp: dead letter
    late_by_ms: int = 7 * DAY_MS  # further behind stream time: dead letter
    session_gap_ms: int = 30 * MINUTE_MS  # silence that ends a session
    duplicate_window: int = 32  # event ids remembered for each customer
    timers_per_step: int = 64  # due timers fired before one event; the rest wait for the next
    tick_decides_within_ms: int = DAY_MS  # a tick that fires later than this decides nothing


@dataclass(frozen=True, slots=True)
class StateSettings:
    """Bounds on what is remembered of a customer."""

    __pydantic_config__ = _STRICT
    time_to_live_days: int = 540  # silent for longer: forgotten, changelog tombstoned
    history_items: int = 20  # the customer's own last items
    session_items: int = 30  # of a session, the last ones
    bought_items: int = 64  # bought before, the most usual: the next basket and replenishment come from them
    categories: int = 8  # with an affinity, the strongest
    brands: int = 6  # with interest in them, the strongest
    devices: int = 4  # met on, the most usual
    pending_churn: int = 16  # unmatured predictions
    pending_audience: int = 16  # unmatured predictions of purchases in a category
    pending_decisions: int = 16  # unmatured outcomes
    consents: int = 64  # channel and purpose pairs
    cart_items: int = 30  # in the cart, the latest
    contacts: int = 24  # contacts remembered for caps and cooldowns


@dataclass(frozen=True, slots=True)
class ChurnSettings:
    """Churn is no `signal` within `horizon_days` of the prediction."""

    __pydantic_config__ = _STRICT
    signal: Signal = "purchase"  # what staying is: "purchase" or "activity" (any event of the customer)
    horizon_days: float = 90.0  # what the published churn probability is about
    hazard_days: float = 7.0  # the short head, rolled forward to the horizon
    tick_days: float = 7.0  # how often a silent customer is looked at again
    risk_threshold: float = 0.7  # a tick at or over this probability is a trigger
    risk_again_days: float = 30.0  # in one spell of silence, a high risk triggers again after this long

    def __post_init__(self) -> None:
        if not 0 < self.hazard_days <= self.horizon_days:
            raise ValueError(f"hazard_days is {self.hazard_days}; it must be over 0 and at most horizon_days")
        if self.tick_days <= 0:
            raise ValueError(f"tick_days is {self.tick_days}; it must be over 0")


@dataclass(frozen=True, slots=True)
class PreferenceSettings:
    """The item index (session kNN and rules) and the re-ranker."""

    __pydantic_config__ = _STRICT
    top: int = 20  # length of the list that is tried against what came next
    content_items: int = 6  # recommended items in one action
    index_sessions: int = 500_000  # most recent sessions kept in the index
    index_items: int = 200_000  # distinct items in its sessions; beyond, the oldest sessions go
    blocked_items: int = 500_000  # unavailable or restricted products remembered; beyond, only known offers are offered
    sessions_per_item: int = 500  # most recent sessions kept for each item
    neighbours: int = 100  # sessions most like the current one that a recommendation is made of
    sample_share: float = 0.05  # share of item events at which the recommendation is tried and learned from
    basket_sample_share: float = 0.25  # share of orders at which the next basket is tried and learned from
    caused_weight: float = 0.3  # weight in the index of an item that our own recommendation led to
    explore_share: float = 0.2  # share of lists whose last slot is drawn from itself and the items that follow
    explore_items: int = 10  # that follow the list and may be drawn


@dataclass(frozen=True, slots=True)
class AudienceSettings:
    """Audiences: the probability that a customer buys in a category within `within_days`."""

    __pydantic_config__ = _STRICT
    within_days: float = 30.0  # what the probability is about
    bought_categories: int = 64  # of a customer, the most usual; about 20 bytes each
    sample_share: float = 0.5  # share of ticks at which a category is predicted, and learned from; 0: no audiences
    category_slots: int = 1_000  # categories whose own rates are kept; beyond, the least met give way

    def __post_init__(self) -> None:
        if self.within_days <= 0:
            raise ValueError(f"within_days is {self.within_days}; it must be over 0")
        if not 0.0 <= self.sample_share <= 1.0:
            raise ValueError(f"sample_share is {self.sample_share}; it must lie between 0 and 1")
        if self.category_slots < 1 or self.bought_categories < 1:
            raise ValueError("category_slots and bought_categories must be at least 1")


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """When to decide, and how to explore."""

    __pydantic_config__ = _STRICT
    decide_every_ms: int = 6 * HOUR_MS  # at most one decision a customer in this interval
    outcome_days: float = 3.0  # outcome: a purchase within this time
    hold_out_share: float = 0.05  # universal hold-out: always nothing
    hold_out_rotation_days: int = 90  # then other customers are held out
    nothing_floor: float = 0.05  # *nothing* keeps at least this probability, for comparison; 0.05 to 0.9
    propensity_floor: float = 0.02  # each arm keeps at least this probability, or 0.1 / number of arms if that is less
    exploration: float = 20.0  # SquareCB's γ at the start
    exploration_growth: float = 0.5  # γ grows with (matured examples) ** this
    eligible_limit: int = 32  # arms in one decision; those further down in the catalogue are ruled out
    action_budget_price: float = 0.0  # λ: what a unit of cost costs on top
    fatigue_cost: float = 0.05  # for each contact in the last 7 days
    default_time_zone: str = "UTC"  # IANA name; for customers whose zone is not known
    reward_learning_rate: float = 0.05  # of the model of outcomes
    reward_prior_strength: float = 1.0  # AdaGrad's accumulator at the start: more holds the priors longer
    seed: str = "nextbest"  # draws depend on it and on the id of the decision alone

    def __post_init__(self) -> None:
        if not 0.05 <= self.nothing_floor <= 0.9:
            raise ValueError(f"nothing_floor is {self.nothing_floor}; it must lie between 0.05 and 0.9")
        for name in ("hold_out_share", "propensity_floor"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie between 0 and 1")
        for name in ("exploration", "reward_learning_rate"):
            if getattr(self, name) <= 0.0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be over 0")
        if self.hold_out_rotation_days < 1 or self.eligible_limit < 1:
            raise ValueError("hold_out_rotation_days and eligible_limit must be at least 1")


@dataclass(frozen=True, slots=True)
class PrivacySettings:
    """What may be done without an explicit consent event."""

    __pydantic_config__ = _STRICT
    default_consent: bool = False  # whether customers of whom no consent is recorded may be contacted


@dataclass(frozen=True, slots=True)
class LearnerSettings:
    """How a trainer folds examples in, and how often it publishes."""

    __pydantic_config__ = _STRICT
    snapshot_examples: int = 200  # a snapshot after this many examples
    learning_rate: float = 0.05  # of the churn and preference models
    l2: float = 1e-5  # how strongly their weights are pulled to 0
    prior_strength: float = 300.0  # of churn: where AdaGrad's sums of squares start; larger means shorter first steps
    drift_delta: float = 0.002  # chance of a false drift alarm at any one look over losses and features; 0: no looking
    drift_loosening: float = 2.0  # AdaGrad's sums are divided by this when losses have grown; 1: steps stay as they are

    def __post_init__(self) -> None:
        if self.drift_delta >= 1.0:
            raise ValueError(f"drift_delta is {self.drift_delta}; it must be under 1")
        if self.drift_loosening < 1.0:
            raise ValueError(f"drift_loosening is {self.drift_loosening}; it must be at least 1")


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """All settings that change what the core computes."""

    __pydantic_config__ = _STRICT
    time: TimeSettings = field(default_factory=TimeSettings)
    state: StateSettings = field(default_factory=StateSettings)
    churn: ChurnSettings = field(default_factory=ChurnSettings)
    preference: PreferenceSettings = field(default_factory=PreferenceSettings)
    audience: AudienceSettings = field(default_factory=AudienceSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    learner: LearnerSettings = field(default_factory=LearnerSettings)


@dataclass(frozen=True, slots=True)
class ChallengerSettings:
    """A model that learns from the same examples as the one in force and is compared with it, but decides nothing."""

    __pydantic_config__ = _STRICT
    name: str  # lower-case letters, digits and dashes; part of its consumer group and of what is recorded of it
    family: Literal["churn"] = "churn"  # whose examples it learns from
    model: str = BUILT_IN  # "built-in", with other [learner] settings; or a River classifier, "forest.ARFClassifier"
    parameters: Mapping[str, Any] = field(default_factory=dict)  # of the model; {class = "optim.FTRLProximal"} nests
    scaled: bool = True  # River classifiers: features are standardised first, which trees need not have

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", self.name):
            raise ValueError(
                f"`name` is {self.name!r}; it takes 1 to 40 lower-case letters, digits and dashes (not at its ends)"
            )
