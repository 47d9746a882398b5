"""Events that came before: a bounded record of event ids, for as long as a repetition could be taken in."""

from hashlib import blake2b

from consumer.core.customer.customer import EVENT_DIGEST_SIZE, Customer
from consumer.core.settings import TimeSettings
from schemas.units import DAY_MS


def is_repetition(customer: Customer, event_id: str, stream_time_ms: int, settings: TimeSettings) -> bool:
    """Return whether the event was seen before; remember it if not.

    An event is forgotten once it would be too late to be taken in again, or is not among the latest
    `duplicate_window` of its customer.
    """
    digest = blake2b(event_id.encode(), digest_size=8).digest()[:EVENT_DIGEST_SIZE]
    seen = customer.event_ids
    at = seen.find(digest)
    while at > 0 and at % EVENT_DIGEST_SIZE:  # found across two others
        at = seen.find(digest, at + 1)
    if at >= 0:
        return True
    customer.event_ids = seen + digest
    days, today = customer.event_days, stream_time_ms // DAY_MS
    if not days:
        days += (today, 0)
    elif today >= days[0] + len(days) - 1:
        _begin_day(customer, today, oldest=(stream_time_ms - settings.late_by_ms) // DAY_MS)
    days[-1] += 1
    too_many = len(customer.event_ids) // EVENT_DIGEST_SIZE - settings.duplicate_window
    while too_many > 0:
        n = min(too_many, days[1])
        _forget(customer, n)
        too_many -= n
    return False


def _begin_day(customer: Customer, today: int, oldest: int) -> None:
    """Let the counts end with `today`, and forget what came before the day `oldest`: its event time was no later."""
    days = customer.event_days
    while len(days) > 1 and days[0] < oldest:
        if days[1]:
            _forget(customer, days[1])
        else:
            _drop_day(days)
    if len(days) == 1:
        days[0] = today
    days += [0] * (today - days[0] - len(days) + 2)


def _forget(customer: Customer, n: int) -> None:
    """Forget the `n` oldest, which are of one day."""
    days = customer.event_days
    customer.event_ids = customer.event_ids[n * EVENT_DIGEST_SIZE :]
    days[1] -= n
    while len(days) > 2 and not days[1]:
        _drop_day(days)


def _drop_day(days: list[int]) -> None:
    days[0] += 1
    del days[1]
