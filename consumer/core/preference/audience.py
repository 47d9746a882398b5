"""Audiences: the probability that a customer buys in a category within N days.

One model serves all pairs of customer and category. What it sees of a pair is how often, how lately and in which
rhythm the customer bought in the category, what share of the interest it has, how the customer orders at all, and how
many others buy there (`audience_model` keeps that, in bounded slots). At some of a customer's ticks a pair is predicted
and kept until N days are over, for both labels; so the model learns from a sample of pairs, and from no label early.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import log, log1p
from struct import Struct
from typing import NamedTuple

from consumer.core.customer.bought import GAP_UNIT, HALF_LIFE_DAYS, SPREAD_UNIT, WEIGHT_UNIT, decay, note_again
from consumer.core.customer.counters import FAST_HALF_LIFE_DAYS, ORDERS, SLOW_HALF_LIFE_DAYS
from consumer.core.customer.customer import NOT_KNOWN, Bought, Customer, PendingAudience
from consumer.core.customer.words import LONGEST_WORD, remembered
from consumer.core.hashing import digest64, name_of
from consumer.core.preference.items import ItemIndex
from consumer.core.settings import AudienceSettings, CoreSettings
from schemas.events import PurchaseEvent
from schemas.records import TrainingExample
from schemas.units import DAY_MS

AGAIN, FIRST, UNSURE = range(3)
HEAD = "category"  # of these examples in the preference family
LONGEST_NAME = LONGEST_WORD  # longer names of categories are no audiences

AUDIENCE_FEATURES: tuple[str, ...] = (
    "rate",  # log-odds of buying there, of all of whom as much is known: see `kind_of`
    "bought",
    "unsure",
    "once",
    "times",
    "rate_own",  # log of the purchases in the category to expect within the window, from their decayed count
    "share",  # of the customer's orders
    "days_since_bought",
    "due",  # log(days since / usual gap), where bought there more than once
    "rhythm",  # log(1 + window / usual gap), likewise
    "regular",  # 1 / (1 + spread of the gaps), from the third time on
    "interest",  # share of the customer's affinity to categories
    "any_interest",
    "categories",  # bought in, as far as is remembered
    "categories_an_order",
    "orders",
    "orders_fast",
    "orders_slow",
    "days_since_order",
    "overdue",
    "days_since_seen",
    "tenure_days",
)
_PACKED = Struct(f"<{len(AUDIENCE_FEATURES)}e")  # 16 bits each: three digits of a logarithm are enough
_DAYS_OF_WEIGHT = HALF_LIFE_DAYS / log(2.0)  # days that a decayed count stands for, once they have passed
_PRIOR_TIMES, _PRIOR_DAYS = 0.1, 30.0  # a count so small, in so many days, is added to each count


@lru_cache(maxsize=8)
def feature_set(settings: AudienceSettings) -> str:
    """Return what stands for features and label: an example of another window must teach nothing."""
    return name_of("audience", "1", *AUDIENCE_FEATURES, repr(float(settings.within_days)))


def note_purchase(
    customer: Customer, categories: Iterable[str | None], at_ms: int, settings: CoreSettings, *, weight: float = 1.0
) -> None:
    """Remember a purchase in `categories`, and that earlier predictions about them have come true.

    `weight` is below 1 where our own action led to it.
    """
    bought = {name: None for name in categories if name and len(name) <= LONGEST_NAME}
    window_ms = int(settings.audience.within_days * DAY_MS)
    for pending in customer.pending.audience:
        if pending.category in bought and pending.predicted_at < at_ms <= pending.predicted_at + window_ms:
            pending.bought_weight = max(pending.bought_weight, round(weight * WEIGHT_UNIT))
    day, histories = at_ms // DAY_MS, customer.bought_categories
    for category in bought:
        known = histories.get(category)
        if known is None:
            histories[category] = Bought(times=1, last_day=day, weight=WEIGHT_UNIT)
        elif day > known.last_day:
            note_again(known, day)
    while len(histories) > settings.audience.bought_categories:
        del histories[min(histories, key=lambda name: (_usage(histories[name], day), histories[name].last_day, name))]


def note_order(customer: Customer, event: PurchaseEvent, items: ItemIndex, settings: CoreSettings) -> None:
    """Remember in which categories an order is. What a decision of ours led to counts less."""
    weight = settings.preference.caused_weight if event.decision_id is not None else 1.0
    categories = (
        remembered(line.category) if line.category else items.category_of(line.item_id) for line in event.lines
    )
    note_purchase(customer, categories, event.occurred_at, settings, weight=weight)


def _usage(known: Bought, day: int) -> float:
    return known.weight * decay(day - known.last_day)


def kind_of(customer: Customer, category: str, settings: AudienceSettings) -> int:
    """Return whether the customer bought in `category` before: AGAIN, FIRST, or UNSURE where it may be forgotten."""
    histories = customer.bought_categories
    if category in histories:
        return AGAIN
    return FIRST if len(histories) < settings.bought_categories else UNSURE


def customer_part(customer: Customer, at_ms: int) -> tuple[float, ...]:
    """Return the features of the customer alone, the last ones of AUDIENCE_FEATURES."""
    since_first_days = max(0, at_ms - customer.first_seen_ms) / DAY_MS
    fast, slow = customer.counters[2 * ORDERS : 2 * ORDERS + 2]
    since_order = log1p(max(0, at_ms - (customer.orders.last_ms or customer.first_seen_ms)) / DAY_MS)
    histories = customer.bought_categories
    return (
        log1p(len(histories)),
        log1p(sum([each.times for each in histories.values()]) / max(1, customer.orders.n)),
        log1p(customer.orders.n),
        log1p(fast * 2.0 ** (-since_first_days / FAST_HALF_LIFE_DAYS)),
        log1p(slow * 2.0 ** (-since_first_days / SLOW_HALF_LIFE_DAYS)),
        since_order,
        since_order - customer.orders.gap_log_mean if customer.orders.n > 1 else 0.0,
        log1p(max(0, at_ms - customer.last_seen_ms) / DAY_MS),
        log1p(since_first_days),
    )


def category_part(customer: Customer, category: str, kind: int, *, at_ms: int, window_days: float) -> tuple[float, ...]:
    """Return the features of the pair alone: all between those of others and those of the customer."""
    day = at_ms // DAY_MS
    since_first_days = max(0, at_ms - customer.first_seen_ms) / DAY_MS
    seen_days = _DAYS_OF_WEIGHT * (1.0 - decay(int(since_first_days))) + _PRIOR_DAYS
    known = customer.bought_categories.get(category)
    likes = customer.tastes.categories
    interest = likes[category] / sum(likes.values()) if category in likes else 0.0
    if known is None:
        own = log(_PRIOR_TIMES * window_days / seen_days)
        unsure = float(kind == UNSURE)
        since = log1p(since_first_days)
        return (0.0, unsure, 0.0, 0.0, own, 0.0, since, 0.0, 0.0, 0.0, interest, float(interest > 0.0))
    since_days = max(0, day - known.last_day)
    usage = _usage(known, day) / WEIGHT_UNIT
    gap_days = known.gap / GAP_UNIT
    return (
        1.0,
        0.0,
        float(known.times == 1),
        log1p(known.times),
        log((usage + _PRIOR_TIMES) * window_days / seen_days),
        min(1.0, known.times / max(1, customer.orders.n)),
        log1p(since_days),
        log1p(since_days) - log1p(gap_days) if known.times > 1 else 0.0,
        log1p(window_days / gap_days) if gap_days > 0.0 else 0.0,
        1.0 / (1.0 + known.spread / SPREAD_UNIT) if known.times > 2 else 0.0,
        interest,
        float(interest > 0.0),
    )


def pack(rate_logit: float, of_category: Sequence[float], of_customer: Sequence[float]) -> bytes:
    """Return the packed features; what they unpack to is what is predicted with, and learned from."""
    return _PACKED.pack(rate_logit, *of_category, *of_customer)


def unpack(packed: bytes) -> tuple[float, ...]:
    """Return the values in `packed`, in the order of AUDIENCE_FEATURES."""
    return _PACKED.unpack(packed)


def drawn_category(customer: Customer, known: Sequence[str], at_ms: int, share: float) -> str | None:
    """Return the category to predict for `customer` at a tick, at a `share` of the ticks: half of them own, half not.

    `known` are those that others buy in, in a fixed order. The draw is a digest of the customer and the time.
    """
    chance = digest64("audience", customer.customer_id, str(at_ms))
    if (chance >> 11) / (1 << 53) >= share:
        return None
    bought = customer.bought_categories
    own = [*bought, *(name for name in customer.tastes.categories if name not in bought and len(name) <= LONGEST_NAME)]
    pool = own if own and (chance % 2 or not known) else known
    return pool[(chance >> 1) % len(pool)] if pool else None


class Estimate(NamedTuple):
    """What the model says of one pair. The probability is None where nothing was learned."""

    probability: float | None
    features: bytes


def remember_prediction(customer: Customer, category: str, estimate: Estimate, at_ms: int, *, limit: int) -> None:
    """Keep what was predicted until the window is over, unless `limit` predictions are kept already."""
    if len(customer.pending.audience) < limit:
        probability = NOT_KNOWN if estimate.probability is None else estimate.probability
        customer.pending.audience.append(PendingAudience(at_ms, category, estimate.features, probability, 0))


def next_maturity_ms(customer: Customer, settings: AudienceSettings) -> int | None:
    """Return when the next label of `customer` matures, or None."""
    pending = customer.pending.audience
    return pending[0].predicted_at + int(settings.within_days * DAY_MS) if pending else None


def reveal(customer: Customer, now_ms: int, settings: AudienceSettings) -> list[TrainingExample]:
    """Return the examples whose window is over by `now_ms`, and stop remembering them."""
    window_ms = int(settings.within_days * DAY_MS)
    examples: list[TrainingExample] = []
    for pending in customer.pending.audience:
        if pending.predicted_at + window_ms > now_ms:
            break
        bought = pending.bought_weight > 0
        examples.append(
            TrainingExample(
                family="preference",
                head=HEAD,
                feature_set=feature_set(settings),
                features=unpack(pending.features),
                rows=1,
                label=float(bought),
                weight=pending.bought_weight / WEIGHT_UNIT if bought else 1.0,
                predicted_at=pending.predicted_at,
                matured_at=pending.predicted_at + window_ms,
                predicted=None if pending.probability == NOT_KNOWN else pending.probability,
                arm=pending.category,
            )
        )
    del customer.pending.audience[: len(examples)]
    return examples
