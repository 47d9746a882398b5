"""The catalogue: what the shop can do for a customer, on which channels, at what cost, and when it may.

Plain data comes in (`Catalogue.from_mapping`; the composition root reads the TOML), frozen structs come out. Every
fault is a `CatalogueError` that names the action or channel and the field. An *arm* is one action on one channel.
`docs/catalogue.md` describes every key.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from hashlib import blake2b
from math import log
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec

from consumer.core.customer.segments import Segment
from consumer.core.customer.tastes import DayPart, PriceBand

_T = TypeVar("_T")

NOTHING = "nothing"
MAX_ARMS = 256

Trigger = Literal[
    "session_start",
    "session_end",
    "cart_add",
    "abandonment",
    "purchase",
    "replenishment",
    "churn_risk",
    "service_problem",
]
TRIGGERS: tuple[Trigger, ...] = get_args(Trigger)
Kind = Literal["recommend", "offer", "message", "service"]
Consent = Literal["opt_in", "opt_out"]

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Words = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
LocalTime = Annotated[str, msgspec.Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Money = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Probability = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e6)]
Days = Annotated[float, msgspec.Meta(ge=0, le=3_650)]
Hours = Annotated[float, msgspec.Meta(gt=0, le=8_760)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=1_000)]
Orders = Annotated[int, msgspec.Meta(ge=0)]


class CatalogueError(ValueError):
    """A catalogue that can't be used; the message names the action or channel and the field."""


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to word or fill an action; drawn by weight, whatever the customer."""

    id: Name
    words: Words
    weight: Positive = 1.0


class Audience(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Customers who are likely to buy in a category within `audience.within_days` of the settings."""

    category: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    min_probability: Share


class Eligibility(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who an action is for. What is not given does not restrict."""

    segments: tuple[Segment, ...] = ()
    min_churn_probability: Share | None = None
    max_churn_probability: Share | None = None
    min_orders: Orders | None = None
    max_orders: Orders | None = None
    needs_cart: bool = False
    needs_recommendations: bool = False
    troubles: tuple[str, ...] = ()  # the kinds of trouble that it answers to, such as payment_failed
    devices: tuple[str, ...] = ()  # where the customer was met last
    countries: tuple[str, ...] = ()
    day_parts: tuple[DayPart, ...] = ()  # of the customer's local time at the decision
    categories: tuple[str, ...] = ()  # one of them among the customer's first 3; so with brands (2)
    brands: tuple[str, ...] = ()
    price_bands: tuple[PriceBand, ...] = ()
    audience: Audience | None = None


class Channel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A way to reach a customer. Quiet hours are in the customer's own time zone."""

    words: Words
    cost: Money = 0.0  # of one contact, shop currency
    quiet_from: LocalTime | None = None
    quiet_until: LocalTime | None = None
    max_per_day: Limit | None = None
    max_per_week: Limit | None = None
    intrusive: bool = True  # counts towards the limits over all channels and towards fatigue
    budget_per_day: Positive | None = None  # contacts, over all customers


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something the shop can do, on one or more channels."""

    words: Words
    kind: Kind
    purpose: Name  # what consent is asked for: marketing, service, ...
    channels: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1)]
    triggers: Annotated[tuple[Trigger, ...], msgspec.Meta(min_length=1)]
    margin: Money  # what the outcome is worth, shop currency
    prior_probability: Probability  # of the outcome after this action, before anything was learned
    prior_by_channel: dict[Name, Probability] = {}
    cost: Money = 0.0  # of doing it once, on top of the channel's, shop currency
    cost_per_outcome: Money = 0.0  # paid only where the outcome happens, such as a voucher that is used
    consent: Consent = "opt_in"
    cooldown_days: Days = 0.0  # at least this long between two of this action to one customer
    valid_for_hours: Hours = 24.0
    budget_per_day: Positive | None = None  # contacts, over all customers
    eligibility: Eligibility = Eligibility()
    variants: tuple[Variant, ...] = ()


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happens by itself."""

    prior_probability: Probability


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Contacts that one customer may get over all intrusive channels, in any 24 hours and in any 7 days."""

    max_per_day: Limit = 2
    max_per_week: Limit = 4


class Arm(msgspec.Struct, frozen=True):
    """One action on one channel, with what deciding needs at hand."""

    id: str  # action|channel
    action_id: str
    channel_id: str
    action: Action
    channel: Channel
    cost: float  # of one contact, shop currency
    prior_logit: float
    shares: tuple[float, ...]  # of the variants; empty where there are none


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All actions, in the shop's order. Made by `from_mapping` alone."""

    currency: str
    nothing: Nothing
    limits: Limits
    channels: dict[str, Channel]
    actions: dict[str, Action]
    arms: tuple[Arm, ...] = field(repr=False)
    by_trigger: dict[str, tuple[Arm, ...]] = field(repr=False)
    audiences: dict[str, tuple[str, ...]] = field(repr=False)  # trigger → the categories that its arms ask about
    nothing_prior_logit: float

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> "Catalogue":
        """Return the checked catalogue in `mapping` (a parsed TOML file); raise CatalogueError where it has faults."""
        known = {"currency", "nothing", "limits", "channels", "actions"}
        for key in mapping:
            if key not in known:
                raise CatalogueError(f"catalogue: unknown key `{key}`; known keys are {', '.join(sorted(known))}")
        currency = _convert(mapping.get("currency", ""), str, "currency")
        nothing = _convert(mapping.get("nothing"), Nothing, "nothing")
        limits = _convert(mapping.get("limits", {}), Limits, "limits")
        channels = {
            name: _convert(value, Channel, f"channel `{name}`")
            for name, value in _table(mapping, "channels").items()
            if _named(name, "channel")
        }
        actions = {
            name: _convert(value, Action, f"action `{name}`")
            for name, value in _table(mapping, "actions").items()
            if _named(name, "action")
        }
        for name, channel in channels.items():
            _check_channel(name, channel)
        for name, action in actions.items():
            _check_action(name, action, channels)
        arms = tuple(_arm(a, action, c, channels[c]) for a, action in actions.items() for c in action.channels)
        if len(arms) > MAX_ARMS:
            raise CatalogueError(f"catalogue: {len(arms)} pairs of action and channel; at most {MAX_ARMS} are allowed")
        return cls(
            currency=currency,
            nothing=nothing,
            limits=limits,
            channels=channels,
            actions=actions,
            arms=arms,
            by_trigger={t: tuple(arm for arm in arms if t in arm.action.triggers) for t in TRIGGERS},
            audiences={t: _audiences(arm.action for arm in arms if t in arm.action.triggers) for t in TRIGGERS},
            nothing_prior_logit=_logit(nothing.prior_probability),
        )

    def digest(self) -> str:
        """Return 32 hexadecimal digits that stand for everything in the catalogue, defaults filled in."""
        whole = (self.currency, self.nothing, self.limits, sorted(self.channels.items()), list(self.actions.items()))
        return blake2b(msgspec.json.encode(whole), digest_size=16).hexdigest()

    def budgets(self) -> dict[str, float]:
        """Return the contacts allowed in a day, by action id or channel name, where the catalogue limits them."""
        every: dict[str, Channel | Action] = {**self.channels, **self.actions}
        return {name: it.budget_per_day for name, it in every.items() if it.budget_per_day is not None}

    def contacts_to_remember(self) -> int:
        """Return how many contacts of one customer caps and cooldowns may look back on.

        `gates.remember_contact` drops what they don't.
        """
        quiet = sum(c.max_per_week or 7 * (c.max_per_day or 1) for c in self.channels.values() if not c.intrusive)
        return self.limits.max_per_week + quiet + len(self.actions)


def _table(mapping: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = mapping.get(key)
    if not isinstance(table, Mapping) or not table:
        raise CatalogueError(f"catalogue: `{key}` is missing: a table with at least one entry is needed")
    return table


def _named(name: object, what: str) -> bool:
    try:
        msgspec.convert(name, Name)
    except msgspec.ValidationError:
        raise CatalogueError(
            f"{what} `{name}`: a name starts with a lower-case letter, goes on with letters, digits and _, up to 64"
        ) from None
    if name == NOTHING:
        raise CatalogueError(f"{what} `{name}`: this name is taken: *nothing* is always possible")
    return True


def _convert(value: object, kind: type[_T], where: str) -> _T:
    if value is None:
        raise CatalogueError(f"catalogue: `{where}` is missing")
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        name = path.rstrip("`").lstrip(".")
        message += _did_you_mean(message, name)
        raise CatalogueError(f"{where}: `{name}`: {message}" if name else f"{where}: {message}") from None


def _did_you_mean(message: str, name: str) -> str:
    """Return a hint where `message` names an unknown field in the part `name` of an entry (empty: in the entry)."""
    _, unknown, rest = message.partition("unknown field `")
    if not unknown:
        return ""
    inner = {"eligibility": Eligibility, "eligibility.audience": Audience, "variants[...]": Variant}.get(name)
    structs = (inner,) if inner is not None else (Action, Channel, Limits, Nothing)
    known = [each for struct in structs for each in struct.__struct_fields__]
    close = get_close_matches(rest.rstrip("`"), known, n=1, cutoff=0.6)
    return f"; did you mean `{close[0]}`?" if close else ""


def _check_channel(name: str, channel: Channel) -> None:
    if (channel.quiet_from is None) != (channel.quiet_until is None):
        raise CatalogueError(f"channel `{name}`: `quiet_from` and `quiet_until` are given together or not at all")
    if channel.quiet_from is not None and channel.quiet_from == channel.quiet_until:
        raise CatalogueError(f"channel `{name}`: `quiet_until`: equals `quiet_from`; the channel would never be quiet")


def _check_action(name: str, action: Action, channels: Mapping[str, Channel]) -> None:
    def fail(field_name: str, message: str) -> CatalogueError:
        return CatalogueError(f"action `{name}`: `{field_name}`: {message}")

    if name in channels:
        raise CatalogueError(f"action `{name}`: a channel has this name too; budgets could not tell them apart")
    for channel in action.channels:
        if channel not in channels:
            raise fail("channels", f"there is no channel `{channel}`; there are {', '.join(sorted(channels))}")
    if len(set(action.channels)) < len(action.channels):
        raise fail("channels", "one channel is listed twice")
    for channel in action.prior_by_channel:
        if channel not in action.channels:
            raise fail("prior_by_channel", f"`{channel}` is not among the action's channels")
    variants = [variant.id for variant in action.variants]
    if len(set(variants)) < len(variants):
        raise fail("variants", "two variants have the same id")
    who = action.eligibility
    low, high = who.min_churn_probability, who.max_churn_probability
    if low is not None and high is not None and low > high:
        raise fail("eligibility.min_churn_probability", f"{low} is over max_churn_probability, {high}")
    if who.min_orders is not None and who.max_orders is not None and who.min_orders > who.max_orders:
        raise fail("eligibility.min_orders", f"{who.min_orders} is over max_orders, {who.max_orders}")
    if action.cost_per_outcome > action.margin:
        raise fail("cost_per_outcome", f"{action.cost_per_outcome} is over the margin, {action.margin}")


def _arm(action_id: str, action: Action, channel_id: str, channel: Channel) -> Arm:
    weights = sum(variant.weight for variant in action.variants)
    return Arm(
        id=f"{action_id}|{channel_id}",
        action_id=action_id,
        channel_id=channel_id,
        action=action,
        channel=channel,
        cost=action.cost + channel.cost,
        prior_logit=_logit(action.prior_by_channel.get(channel_id, action.prior_probability)),
        shares=tuple(variant.weight / weights for variant in action.variants),
    )


def _audiences(actions: Iterable[Action]) -> tuple[str, ...]:
    asked = (action.eligibility.audience for action in actions)
    return tuple(sorted({audience.category for audience in asked if audience is not None}))


def _logit(probability: float) -> float:
    return log(probability / (1.0 - probability))
