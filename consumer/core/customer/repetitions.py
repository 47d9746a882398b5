"""Events that came before: a bounded record of event ids, for as long as a repetition could be taken in."""

from hashlib import blake2b

from consumer.core.customer.customer import EVENT_DIGEST_SIZE, Customer
from consumer.core.settings import DAY_MS, TimeSettings


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
    if days and days[-2] == today:
        days[-1] += 1
    else:
        days += (today, 1)
        _forget_old(customer, (stream_time_ms - settings.late_by_ms) // DAY_MS)
    too_many = len(customer.event_ids) // EVENT_DIGEST_SIZE - settings.duplicate_window
    if too_many > 0:
        _forget(customer, too_many)
    return False


def _forget_old(customer: Customer, before_day: int) -> None:
    """Forget what came before a day of stream time: its event time was no later."""
    days = customer.event_days
    while days[0] < before_day:
        _forget(customer, days[1])


def _forget(customer: Customer, n: int) -> None:
    """Forget the `n` oldest; the day of none of them is kept."""
    customer.event_ids = customer.event_ids[n * EVENT_DIGEST_SIZE :]
    days = customer.event_days
    while n:
        gone = min(n, days[1])
        days[1] -= gone
        n -= gone
        if not days[1]:
            del days[:2]
