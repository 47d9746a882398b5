"""Privacy: what customers refuse, object to and have erased, in whichever order and however late it arrives."""

from collections.abc import Iterator
from itertools import count, permutations

import pytest

from consumer.core.customer.customer import Customer, decode_customer, encode_customer
from consumer.core.customer.updates import apply_privacy, new_customer
from consumer.core.decision.gates import has_consent
from consumer.core.step import ScoringTask
from schemas.events import PrivacyEvent
from schemas.units import DAY_MS
from tests.core.streams import T0, Stream, new_task

LATER = T0 + 30 * DAY_MS
_numbers: Iterator[int] = count()


def said(at_ms: int, *, granted: bool, channel: str | None = None, purpose: str | None = None) -> PrivacyEvent:
    return PrivacyEvent(f"v{next(_numbers)}", "ann", at_ms, "consent", channel, purpose, granted)


def tell(task: ScoringTask, event: PrivacyEvent) -> object:
    return task.step("privacy", next(_numbers), event)


def after(*events: PrivacyEvent, limit: int = 64) -> Customer:
    customer = new_customer("ann", T0)
    for event in events:
        apply_privacy(customer, event, limit)
        customer = decode_customer(encode_customer(customer))
    return customer


def may(customer: Customer, channel: str = "email", purpose: str = "marketing") -> bool:
    return has_consent(customer, channel, purpose, default=False)


@pytest.mark.parametrize("wider", [{}, {"channel": "email"}, {"purpose": "marketing"}])
def test_a_wide_refusal_takes_back_narrow_consents(wider: dict[str, str]) -> None:
    """Who withdraws everything has withdrawn email too, though email was agreed to by name."""
    agreed = said(T0, granted=True, channel="email", purpose="marketing")
    assert may(after(agreed))
    assert not may(after(agreed, said(T0 + 1, granted=False, **wider)))


def test_a_wide_refusal_leaves_what_it_does_not_cover() -> None:
    """Email refused says nothing of push."""
    customer = after(
        said(T0, granted=True, channel="push", purpose="marketing"), said(T0 + 1, granted=False, channel="email")
    )
    assert may(customer, "push")
    assert not may(customer, "email")


def test_a_consent_to_everything_leaves_narrow_refusals() -> None:
    """The most specific statement counts."""
    customer = after(said(T0, granted=False, channel="email"), said(T0 + 1, granted=True))
    assert not may(customer, "email")
    assert may(customer, "push")


def test_the_order_of_arrival_makes_no_difference() -> None:
    """What was said last counts, whatever came last."""
    events = [
        said(T0, granted=True, channel="email", purpose="marketing"),
        said(T0 + 1, granted=False),
        said(T0 + 2, granted=True, channel="push"),
        said(T0 + 3, granted=False, channel="push", purpose="marketing"),
    ]
    for order in permutations(events):
        customer = after(*order)
        assert not may(customer, "email")
        assert not may(customer, "push")
        assert may(customer, "push", "service")


def test_an_old_consent_does_not_lift_a_newer_objection() -> None:
    """A consent to everything lifts an objection made before it, not one made after it."""
    objection = PrivacyEvent("v", "ann", T0 + 1, "objection")
    assert after(objection, said(T0, granted=True)).consent.objected
    assert not after(objection, said(T0 + 2, granted=True)).consent.objected


def test_the_bound_gives_up_consents_before_refusals() -> None:
    """However many statements there are, a refusal is not lost to make room for a consent."""
    refused = said(T0, granted=False, channel="email", purpose="marketing")
    customer = after(refused, *(said(T0 + n, granted=True, channel=f"c{n}") for n in range(1, 20)), limit=4)
    assert len(customer.consent.answers) == len(customer.consent.answered_ms) == 4
    assert not may(customer)
    assert may(customer, "c19")


def test_what_is_taken_back_is_never_too_late() -> None:
    """An erasure that took a month to arrive erases; a consent that did is rejected like any late event."""
    task = new_task()
    stream = Stream(task)
    stream.click("ann", LATER)
    late = tell(task, said(T0, granted=True, channel="email"))
    assert late is not None
    assert tell(task, said(T0, granted=False, channel="email")) is None
    assert tell(task, PrivacyEvent("o", "ann", T0, "objection")) is None
    customer = task.state.get("ann")
    assert customer is not None
    assert customer.consent.objected
    assert not may(customer)
    assert tell(task, PrivacyEvent("e", "ann", T0, "erasure")) is None
    assert task.state.get("ann") is None


def test_a_refusal_outlives_the_customer() -> None:
    """Silent for too long, a customer is forgotten; that they objected is not, again and again."""
    task = new_task()
    stream = Stream(task)
    for customer_id in ("ann", "bob"):
        stream.click(customer_id, T0)
    tell(task, PrivacyEvent("o", "ann", T0 + 1, "objection"))
    tell(task, said(T0 + 1, granted=False, channel="email"))
    for years in (2, 4, 6):
        stream.click("eve", T0 + years * 365 * DAY_MS)
        assert task.state.get("bob") is None
        ann = task.state.get("ann")
        assert ann is not None
        assert ann.consent.objected
        assert ann.consent.answers == {"email:*": False}
        assert not ann.history
        assert not ann.event_ids
    task.take_outputs()
    stream.click("ann", T0 + 6 * 365 * DAY_MS + 1)
    assert not task.take_outputs().decisions


def test_what_is_seen_while_an_objection_holds_stays_unknown() -> None:
    """Not even after it is lifted, in the same visit: no history, no purchases remembered, nothing for the index."""
    task = new_task()
    stream = Stream(task)
    stream.click("ann", T0, item_id="before")
    tell(task, PrivacyEvent("objects", "ann", T0 + 1, "objection"))
    stream.click("ann", T0 + 2, item_id="meanwhile")
    stream.order("ann", T0 + 3, "bought-meanwhile")
    tell(task, said(T0 + 4, granted=True))
    stream.click("ann", T0 + 5, item_id="after")
    task.advance_to(T0 + DAY_MS)
    assert [session.items for session in task.take_outputs().sessions] == [("after",)]
    customer = task.state.get("ann")
    assert customer is not None
    assert customer.history == ["before", "after"]
    assert not customer.bought
