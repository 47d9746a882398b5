"""Hard gates: which arms may be chosen at all, and why the others may not.

A gate never weighs anything: consent, objection, caps, cooldowns, quiet hours, eligibility and budgets are kept
whatever an arm is worth. The reason an arm was ruled out is one of the words in `GATES`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

import msgspec

from consumer.core.catalogue import Arm, Catalogue, Channel, Eligibility
from consumer.core.customer.customer import Contact, Customer
from consumer.core.customer.tastes import day_part_of
from consumer.core.customer.words import remembered
from consumer.core.local_time import wall_clock
from consumer.core.reward.request import DecisionRequest
from consumer.core.settings import CoreSettings
from schemas.units import DAY_MS, HOUR_MS, WEEK_MS

_NEVER_MS = 1 << 62

GATES: Mapping[str, str] = {
    "objection": "the customer objects to profiling",
    "segment": "meant for other segments",
    "churn": "meant for another risk of churn",
    "orders": "meant for another number of orders",
    "cart": "the cart is empty",
    "recommendations": "there is nothing to recommend",
    "audience": "not likely enough to buy in the category",
    "trouble": "meant for another kind of trouble",
    "tastes": "meant for other tastes",
    "device": "meant for other devices",
    "day_part": "meant for another time of day",
    "country": "meant for other countries",
    "consent": "no consent for it",
    "cooldown": "done only a short while ago",
    "daily_cap": "enough contacts for one day",
    "weekly_cap": "enough contacts for one week",
    "passed": "its time has passed already",
    "quiet_hours": "its time would pass in the quiet hours",
    "budget": "the budget is spent",
    "limit": "too many actions at once",
}

Gated = tuple[str, str]  # arm id, word of GATES


class Allowed(msgspec.Struct, frozen=True):
    """An arm that passed every gate, and the window in which it may be delivered (epoch ms)."""

    arm: Arm
    deliver_after: int
    deliver_before: int


class ContactHistory:
    """The contacts of one customer, counted once for all arms; `day` and `week` count intrusive channels."""

    __slots__ = ("channel_day", "channel_week", "day", "last_by_action", "limits", "week")

    def __init__(self, contacts: Sequence[Contact], now_ms: int, catalogue: Catalogue) -> None:
        self.limits = catalogue.limits
        self.day = self.week = 0
        self.channel_day: dict[str, int] = {}
        self.channel_week: dict[str, int] = {}
        self.last_by_action: dict[str, int] = {}
        for contact in contacts:
            self.last_by_action[contact.action] = max(contact.at, self.last_by_action.get(contact.action, 0))
            age_ms = now_ms - contact.at
            if age_ms >= WEEK_MS:
                continue
            channel = catalogue.channels.get(contact.channel)
            intrusive = channel is None or channel.intrusive
            self.channel_week[contact.channel] = self.channel_week.get(contact.channel, 0) + 1
            self.week += intrusive
            if age_ms < DAY_MS:
                self.channel_day[contact.channel] = self.channel_day.get(contact.channel, 0) + 1
                self.day += intrusive


def has_consent(customer: Customer, channel: str, purpose: str, *, default: bool) -> bool:
    """Return whether the customer agreed; the most specific statement counts, a refusal where two are alike."""
    consents = customer.consent.answers
    if not consents:
        return default
    exact = consents.get(f"{channel}:{purpose}")
    if exact is not None:
        return exact
    half = [consents[key] for key in (f"{channel}:*", f"*:{purpose}") if key in consents]
    return all(half) if half else consents.get("*:*", default)


def delivery_span(local: datetime, now_ms: int, channel: Channel) -> tuple[int, int]:
    """Return the (after, before) in epoch ms of the first stretch from now on that is outside the quiet hours.

    `local` is `now_ms` on the customer's wall clock. Days on which clocks change are handled by the zone.
    """
    if channel.quiet_from is None or channel.quiet_until is None:
        return now_ms, _NEVER_MS
    minute = local.hour * 60 + local.minute
    start, end = _minute_of(channel.quiet_from), _minute_of(channel.quiet_until)
    if (minute - start) % 1440 >= (end - start) % 1440:
        return now_ms, _next_ms(local, start)
    after = max(now_ms, _next_ms(local, end))
    return after, _next_ms(wall_clock(after, local.tzinfo or UTC), start)


class Passed(NamedTuple):
    """What came through the gates of one request, in the catalogue's order, and what did not."""

    history: ContactHistory
    allowed: list[Allowed]
    gated: list[Gated]


def pass_gates(request: DecisionRequest, catalogue: Catalogue, settings: CoreSettings) -> Passed:
    """Return which of the arms that answer to the trigger may be chosen, and of the others why not."""
    history = ContactHistory(request.customer.contacts, request.now_ms, catalogue)
    arms = catalogue.by_trigger.get(request.trigger, ())
    if request.customer.consent.objected:
        return Passed(history, [], [(arm.id, "objection") for arm in arms])
    default_consent, limit = settings.privacy.default_consent, settings.policy.eligible_limit
    by_action: dict[str, str | None] = {}
    spans: dict[str, tuple[int, int]] = {}
    allowed: list[Allowed] = []
    gated: list[Gated] = []
    for arm in arms:
        if arm.action_id in by_action:
            why = by_action[arm.action_id]
        else:
            why = by_action[arm.action_id] = _why_not_action(arm, request, history)
        why = why or _why_not_channel(arm, request, history, default_consent=default_consent)
        if why is None and len(allowed) >= limit:
            why = "limit"
        if why is None:
            if arm.channel_id not in spans:
                spans[arm.channel_id] = delivery_span(request.local, request.now_ms, arm.channel)
            after, before = spans[arm.channel_id]
            before = min(before, request.now_ms + round(arm.action.valid_for_hours * HOUR_MS))
            if before <= request.decided_ms:
                why = "passed"
            elif after < before:
                allowed.append(Allowed(arm, after, before))
                continue
            else:
                why = "quiet_hours"
        gated.append((arm.id, why))
    return Passed(history, allowed, gated)


def remember_contact(contacts: Sequence[Contact], contact: Contact, limit: int) -> list[Contact]:
    """Return `contacts` with `contact` at the end, without what no cap or cooldown asks about, at most `limit`.

    Older than a week, only the last contact of each action still matters, for its cooldown.
    """
    everything = [*contacts, contact]
    last = {c.action: i for i, c in enumerate(everything)}
    kept = [c for i, c in enumerate(everything) if contact.at - c.at < WEEK_MS or last[c.action] == i]
    return kept[-limit:]


def _why_not_action(arm: Arm, request: DecisionRequest, history: ContactHistory) -> str | None:
    action = arm.action
    why = _why_not_eligible(action.eligibility, request) or _why_not_here(action.eligibility, request)
    if why is not None:
        return why
    last_ms = history.last_by_action.get(arm.action_id)
    if last_ms is not None and request.now_ms - last_ms < action.cooldown_days * DAY_MS:
        return "cooldown"
    return "budget" if request.grants.get(arm.action_id, 1.0) < 1.0 else None


def _why_not_eligible(who: Eligibility, request: DecisionRequest) -> str | None:
    if who.segments and request.segment not in who.segments:
        return "segment"
    low, high = who.min_churn_probability, who.max_churn_probability
    if low is not None or high is not None:
        risk = request.churn_probability
        if risk is None or (low is not None and risk < low) or (high is not None and risk > high):
            return "churn"
    n_orders, fewest, most = request.customer.orders.n, who.min_orders, who.max_orders
    if (fewest is not None and n_orders < fewest) or (most is not None and n_orders > most):
        return "orders"
    if who.needs_cart and not request.customer.cart:
        return "cart"
    if who.needs_recommendations and request.n_recommendations < 1:
        return "recommendations"
    if who.audience is not None:
        likely = request.audience.get(who.audience.category)
        if likely is None or likely < who.audience.min_probability:
            return "audience"
    return "trouble" if who.troubles and request.trouble not in who.troubles else None


def _why_not_here(who: Eligibility, request: DecisionRequest) -> str | None:
    """Return why not for this customer's place, device, time of day or tastes; what is not known matches nothing."""
    if who.devices and request.customer.context.device not in map(remembered, who.devices):
        return "device"
    if who.countries and request.customer.context.country not in map(remembered, who.countries):
        return "country"
    if who.day_parts and day_part_of(request.local.hour) not in who.day_parts:
        return "day_part"
    if not (who.categories or who.brands or who.price_bands):
        return None
    tastes = request.tastes
    if (
        tastes is None
        or (who.categories and not set(map(remembered, who.categories)) & set(tastes.categories))
        or (who.brands and not set(who.brands) & set(tastes.brands))
        or (who.price_bands and tastes.price_band not in who.price_bands)
    ):
        return "tastes"
    return None


def _why_not_channel(
    arm: Arm, request: DecisionRequest, history: ContactHistory, *, default_consent: bool
) -> str | None:
    channel, name = arm.channel, arm.channel_id
    default = default_consent or arm.action.consent == "opt_out"
    if not has_consent(request.customer, name, arm.action.purpose, default=default):
        return "consent"
    if channel.max_per_day is not None and history.channel_day.get(name, 0) >= channel.max_per_day:
        return "daily_cap"
    if channel.max_per_week is not None and history.channel_week.get(name, 0) >= channel.max_per_week:
        return "weekly_cap"
    if channel.intrusive and history.day >= history.limits.max_per_day:
        return "daily_cap"
    if channel.intrusive and history.week >= history.limits.max_per_week:
        return "weekly_cap"
    return "budget" if request.grants.get(name, 1.0) < 1.0 else None


@lru_cache(maxsize=256)
def _minute_of(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def _next_ms(local: datetime, minute: int) -> int:
    """Return the next moment strictly after `local` at which the wall clock shows `minute` of the day, in epoch ms."""
    target = local.replace(hour=minute // 60, minute=minute % 60, second=0, microsecond=0)
    if target <= local:
        target = (target + timedelta(days=1)).replace(fold=0)
    return round(target.timestamp() * 1000)
