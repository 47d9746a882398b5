"""When a silent customer is looked at again, and why.

A customer has several deadlines and one timer: the earliest of them. Deadlines are derived from state and are never
stored, so they cannot disagree with it.
"""

from typing import Literal

from consumer.core.churn.churn import next_maturity_ms
from consumer.core.customer.customer import Customer
from consumer.core.hashing import digest64
from consumer.core.settings import CoreSettings
from schemas.units import DAY_MS

Deadline = Literal["label", "outcome", "session_end", "replenishment", "tick", "forget"]


def next_deadline(customer: Customer, settings: CoreSettings) -> tuple[int, Deadline]:
    """Return the earliest deadline of `customer`. At the same moment, what reveals goes before what predicts."""
    due_ms = customer.last_seen_ms + settings.state.time_to_live_days * DAY_MS
    kind: Deadline = "forget"
    if customer.due.tick_ms and customer.due.tick_ms < due_ms:
        due_ms, kind = customer.due.tick_ms, "tick"
    if customer.due.replenish_ms and customer.due.replenish_ms <= due_ms:
        due_ms, kind = customer.due.replenish_ms, "replenishment"
    if customer.session.started_ms:
        session_end_ms = customer.session.last_ms + settings.time.session_gap_ms
        if session_end_ms <= due_ms:
            due_ms, kind = session_end_ms, "session_end"
    if customer.pending.decisions:
        outcome_ms = customer.pending.decisions[0].decided_at + int(settings.policy.outcome_days * DAY_MS)
        if outcome_ms <= due_ms:
            due_ms, kind = outcome_ms, "outcome"
    label_ms = next_maturity_ms(customer, settings.churn)
    if label_ms is not None and label_ms <= due_ms:
        due_ms, kind = label_ms, "label"
    if customer.pending.audience:
        audience_ms = customer.pending.audience[0].predicted_at + int(settings.audience.within_days * DAY_MS)
        if audience_ms <= due_ms:
            due_ms, kind = audience_ms, "label"
    return due_ms, kind


def first_tick_ms(customer_id: str, after_ms: int, tick_days: float) -> int:
    """Return the first tick after `after_ms` on the customer's own grid; grids are spread evenly over customers."""
    tick_ms = int(tick_days * DAY_MS)
    phase = digest64("tick", customer_id) % tick_ms
    return after_ms - (after_ms - phase) % tick_ms + tick_ms
