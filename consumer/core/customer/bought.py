"""What a customer bought: how often, how lately, in which rhythm, and what is due to be bought again."""

from collections.abc import Iterable
from math import exp, log
from typing import NamedTuple

from consumer.core.customer.customer import Bought, Customer
from schemas.units import DAY_MS

HALF_LIFE_DAYS = 90.0  # of how often an item was bought
WEIGHT_UNIT = 1_000  # `Bought.weight` counts thousandths
GAP_UNIT = 10  # `Bought.gap` counts tenths of a day
SPREAD_UNIT = 1_000
GAP_MEMORY = 6  # a rhythm is that of about so many gaps
LONGEST_STEP = 1.5  # one gap counts as at most e^1.5 = 4.5 times longer or shorter than usual
LONGEST_GAP_DAYS = 6_000
DECAY: tuple[float, ...] = tuple(0.5 ** (days / HALF_LIFE_DAYS) for days in range(round(12 * HALF_LIFE_DAYS)))

# When an item is said to come again.
MIN_TIMES = 3
MIN_GAP_DAYS = 2.0  # a rhythm faster than this needs nobody to remind of it
MAX_SPREAD = 0.5  # mean |log(gap / usual gap)|: above, there is no rhythm
LEAD = 0.9  # of the usual gap: due a little before it is over
TOGETHER_DAYS = 3  # what is due so soon after is reminded of at the same time


class Due(NamedTuple):
    """One item that is due: it is bought about every `gap_days`, and was bought last `days_ago`."""

    due_day: int  # since the epoch
    item_id: str
    gap_days: float
    days_ago: int


def note_bought(customer: Customer, item_ids: Iterable[str], day: int, limit: int) -> None:
    """Remember that `item_ids` were bought on `day`; the least usual of more than `limit` items are forgotten.

    Orders of one day are one purchase, and what was bought before the day known last changes nothing any more.
    """
    bought = customer.bought
    for item_id in item_ids:
        known = bought.get(item_id)
        if known is None:
            bought[item_id] = Bought(times=1, last_day=day, weight=WEIGHT_UNIT)
        elif day > known.last_day:
            note_again(known, day)
    if len(bought) > limit:
        kept = set(by_usage(customer, day)[:limit])
        customer.bought = {item_id: known for item_id, known in bought.items() if item_id in kept}


def note_again(known: Bought, day: int) -> None:
    """Note one more purchase, on a `day` after the one known last."""
    days = min(day - known.last_day, LONGEST_GAP_DAYS)
    if known.times == 1:
        known.gap = days * GAP_UNIT
    else:
        # A mean of logarithms: one long pause among short gaps says little of the rhythm.
        step = min(LONGEST_STEP, max(-LONGEST_STEP, log(days * GAP_UNIT / known.gap)))
        n = min(known.times, GAP_MEMORY)
        known.gap = max(1, round(known.gap * exp(step / n)))
        known.spread += round((abs(step) * SPREAD_UNIT - known.spread) / (n - 1))
    known.weight = round(known.weight * decay(days)) + WEIGHT_UNIT
    known.times += 1
    known.last_day = day


def decay(days: int) -> float:
    """Return what is left of a count after `days`; negative days count as none."""
    return DECAY[min(max(0, days), len(DECAY) - 1)]


def by_usage(customer: Customer, day: int) -> list[str]:
    """Return the items bought by decayed count, largest first; ties to what was bought last, then by id."""

    def key(entry: tuple[str, Bought]) -> tuple[float, int, str]:
        item_id, known = entry
        return (-known.weight * decay(day - known.last_day), -known.last_day, item_id)

    return [item_id for item_id, _ in sorted(customer.bought.items(), key=key)]


def rhythms(customer: Customer, day: int) -> list[Due]:
    """Return what is bought in a rhythm, in the order in which it is due; ties by item id."""
    found = []
    for item_id, known in customer.bought.items():
        gap_days = known.gap / GAP_UNIT
        if known.times >= MIN_TIMES and gap_days >= MIN_GAP_DAYS and known.spread <= MAX_SPREAD * SPREAD_UNIT:
            found.append(Due(known.last_day + int(LEAD * gap_days), item_id, gap_days, day - known.last_day))
    return sorted(found)


def due_items(customer: Customer, day: int) -> list[Due]:
    """Return what is due on `day` or in the days after, the item first that the customer is reminded of."""
    upcoming = [due for due in rhythms(customer, day) if day <= due.due_day < day + TOGETHER_DAYS]
    return sorted(upcoming, key=lambda due: (due.item_id != customer.due.replenish_item, due))


def schedule_replenishment(customer: Customer, after_ms: int, *, reminded: bool = False) -> None:
    """Set when the next item bought in a rhythm is due after `after_ms`, at the hour of the latest order.

    `reminded`: the customer has just been reminded of what is due then, and of that is not reminded again.
    """
    day = after_ms // DAY_MS + (TOGETHER_DAYS - 1 if reminded else 0)
    upcoming = [due for due in rhythms(customer, day) if due.due_day > day]
    if upcoming:
        customer.due.replenish_ms = upcoming[0].due_day * DAY_MS + customer.orders.last_ms % DAY_MS
        customer.due.replenish_item = upcoming[0].item_id
    else:
        customer.due.replenish_ms, customer.due.replenish_item = 0, ""
