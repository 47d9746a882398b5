"""Hard gates: what may not be done is not done, and it is known why."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.catalogue import Catalogue, Channel
from consumer.core.customer.customer import Consent, Contact, LastContext
from consumer.core.decision.gates import (
    GATES,
    Allowed,
    ContactHistory,
    Gated,
    delivery_span,
    has_consent,
    pass_gates,
    remember_contact,
)
from consumer.core.local_time import wall_clock
from consumer.core.reward.request import DecisionRequest
from consumer.core.settings import CoreSettings, PolicySettings, PrivacySettings
from schemas.units import DAY_MS, HOUR_MS
from tests.core.decisions import NOON_MS, a_customer, a_request, changed, small_mapping

ALL = ["offer|email", "offer|push", "call|phone"]


def gates(
    request: DecisionRequest, catalogue: Catalogue | None = None, *, consent: bool = True, limit: int = 32
) -> tuple[list[Allowed], list[Gated]]:
    """Return what the gates let through for `request`, and what they don't."""
    settings = CoreSettings(
        policy=PolicySettings(eligible_limit=limit), privacy=PrivacySettings(default_consent=consent)
    )
    _, allowed, gated = pass_gates(request, catalogue or changed(), settings)
    return allowed, gated


def passed(request: DecisionRequest, catalogue: Catalogue | None = None, **told: Any) -> list[str]:
    """Return the ids of the arms that the gates let through."""
    return [one.arm.id for one in gates(request, catalogue, **told)[0]]


def test_what_answers_to_the_trigger_passes_in_the_shops_order() -> None:
    """Without anything against it every arm of the trigger may be chosen; other triggers' arms are not mentioned."""
    assert gates(a_request())[1] == []
    assert passed(a_request()) == ALL
    assert passed(a_request(trigger="churn_risk")) == ALL[:2]
    assert gates(a_request(trigger="cart_add")) == ([], [])


def test_an_objection_stops_everything() -> None:
    """Consent given before does not help against an objection."""
    allowed, gated = gates(a_request(a_customer(consent=Consent(objected=True, answers={"*:*": True}))))
    assert allowed == []
    assert gated == [(arm, "objection") for arm in ALL]


@pytest.mark.parametrize(
    ("consents", "default", "expected"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"*:*": False}, True, False),
        ({"*:*": False, "email:*": True}, False, True),
        ({"*:*": False, "*:marketing": True}, False, True),
        ({"email:*": True, "*:marketing": False}, True, False),
        ({"email:*": False, "*:marketing": False, "email:marketing": True}, False, True),
        ({"email:marketing": False, "email:*": True, "*:*": True}, True, False),
        ({"push:*": False, "*:service": False}, True, True),
    ],
)
def test_the_most_specific_consent_counts(consents: dict[str, bool], default: bool, expected: bool) -> None:
    """Channel and purpose beat one of them, one of them beats all; of two alike the refusal counts."""
    assert has_consent(a_customer(consent=Consent(answers=consents)), "email", "marketing", default=default) is expected


def test_opt_out_actions_need_no_consent_but_keep_a_refusal() -> None:
    """A service message goes out by default, and does not once it was refused."""
    catalogue = changed("call", consent="opt_out")
    assert passed(a_request(), catalogue, consent=False) == ["call|phone"]
    refused = a_customer(consent=Consent(answers={"phone:*": False}))
    assert gates(a_request(refused), catalogue, consent=False)[1][-1] == ("call|phone", "consent")


@pytest.mark.parametrize(
    ("eligibility", "request_fields", "why"),
    [
        ({"segments": ["lost"]}, {}, "segment"),
        ({"min_churn_probability": 0.7}, {}, "churn"),
        ({"max_churn_probability": 0.5}, {}, "churn"),
        ({"min_churn_probability": 0.1}, {"churn_probability": None}, "churn"),
        ({"min_orders": 4}, {}, "orders"),
        ({"max_orders": 2}, {}, "orders"),
        ({"needs_cart": True}, {}, "cart"),
        ({"needs_recommendations": True}, {"n_recommendations": 0}, "recommendations"),
        ({"troubles": ["payment_failed"]}, {"trouble": "error"}, "trouble"),
    ],
)
def test_who_is_not_meant_is_not_contacted(
    eligibility: dict[str, Any], request_fields: dict[str, Any], why: str
) -> None:
    """Each condition rules its action out with a word of its own, and no other action."""
    allowed, gated = gates(a_request(**request_fields), changed(eligibility=eligibility))
    assert [one.arm.id for one in allowed] == ["call|phone"]
    assert gated == [("offer|email", why), ("offer|push", why)]
    assert why in GATES


def test_who_is_meant_passes_every_condition() -> None:
    """All conditions together let the customer through whom they describe."""
    eligibility = {
        "segments": ["slipping"],
        "min_churn_probability": 0.6,
        "max_churn_probability": 0.6,
        "min_orders": 3,
        "max_orders": 3,
        "needs_cart": True,
        "needs_recommendations": True,
        "troubles": ["error"],
    }
    request = a_request(a_customer(cart=["tea"]), trouble="error")
    assert passed(request, changed(eligibility=eligibility)) == ALL


def test_a_cooldown_ends_to_the_millisecond() -> None:
    """The same action is closed on all channels until its days are over."""
    catalogue = changed(cooldown_days=10)
    for age_ms, expected in ((10 * DAY_MS - 1, ["call|phone"]), (10 * DAY_MS, ALL)):
        customer = a_customer(contacts=[Contact(NOON_MS - age_ms, "offer", "push")])
        assert passed(a_request(customer), catalogue) == expected


def test_limits_count_intrusive_contacts_of_all_channels() -> None:
    """Two contacts in a day close every intrusive channel; what is shown on the site does not count."""
    on_site = [Contact(NOON_MS - HOUR_MS, "hint", "on_site")] * 9
    one = [*on_site, Contact(NOON_MS - DAY_MS + 1, "hint", "email")]
    two = [*one, Contact(NOON_MS - 2, "hint", "push")]
    assert passed(a_request(a_customer(contacts=one))) == ALL
    assert gates(a_request(a_customer(contacts=two)))[1] == [(arm, "daily_cap") for arm in ALL]
    week = [Contact(NOON_MS - day * DAY_MS, "hint", "email") for day in (1, 3, 5, 6)]
    assert gates(a_request(a_customer(contacts=week)))[1] == [(arm, "weekly_cap") for arm in ALL]
    week[0] = Contact(NOON_MS - 7 * DAY_MS, "hint", "email")
    assert passed(a_request(a_customer(contacts=week))) == ALL


def test_a_channel_has_caps_of_its_own() -> None:
    """A full channel is closed, the others stay open."""
    mapping = small_mapping()
    mapping["channels"]["email"] |= {"max_per_day": 1, "max_per_week": 2}
    catalogue = Catalogue.from_mapping(mapping)
    today = a_customer(contacts=[Contact(NOON_MS - 1, "hint", "email")])
    assert gates(a_request(today), catalogue)[1] == [("offer|email", "daily_cap")]
    week = a_customer(contacts=[Contact(NOON_MS - d * DAY_MS, "hint", "email") for d in (2, 3)])
    assert gates(a_request(week), catalogue)[1] == [("offer|email", "weekly_cap")]


def test_a_spent_budget_closes_its_action_or_channel() -> None:
    """A grant of less than one contact closes; no grant means no limit."""
    assert passed(a_request(grants={"offer": 0.5})) == ["call|phone"]
    assert passed(a_request(grants={"push": 0.0, "offer": 1.0})) == ["offer|email", "call|phone"]


def test_the_number_of_arms_is_bounded() -> None:
    """Past the limit the first in the shop's order stay, the others are named."""
    allowed, gated = gates(a_request(), limit=2)
    assert [one.arm.id for one in allowed] == ALL[:2]
    assert gated == [("call|phone", "limit")]


def utc_ms(*moment: int, zone: str = "UTC", fold: int = 0) -> int:
    """Return the epoch ms at which the clock in `zone` shows year, month, day, hour, minute."""
    year, month, day, hour, minute = moment
    return round(datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone), fold=fold).timestamp() * 1000)


def test_quiet_hours_are_the_customers_own() -> None:
    """At 20:30 UTC it is night in Berlin and day in New York."""
    now_ms = utc_ms(2026, 7, 1, 20, 30)
    windows = {}
    for zone in ("Europe/Berlin", "America/New_York"):
        allowed, _ = gates(
            a_request(a_customer(context=LastContext(time_zone=zone)), now_ms=now_ms), changed(valid_for_hours=96)
        )
        windows[zone] = (allowed[0].deliver_after, allowed[0].deliver_before)
    assert windows["Europe/Berlin"] == (utc_ms(2026, 7, 2, 5, 0), utc_ms(2026, 7, 2, 19, 0))
    assert windows["America/New_York"] == (now_ms, utc_ms(2026, 7, 2, 1, 0))


def test_what_would_pass_in_the_quiet_hours_is_not_chosen() -> None:
    """An action that is over before the morning is ruled out on the quiet channel only."""
    request = a_request(now_ms=utc_ms(2026, 7, 1, 23, 0))
    allowed, gated = gates(request, changed(valid_for_hours=8))
    assert gated == [("offer|email", "quiet_hours")]
    assert allowed[0].deliver_before == request.now_ms + 8 * HOUR_MS


ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"]
CLOCKS = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.integers(0, 59))


@given(
    st.integers(utc_ms(2000, 1, 1, 0, 0), utc_ms(2037, 1, 1, 0, 0)), st.sampled_from(ZONES), st.tuples(CLOCKS, CLOCKS)
)
def test_a_delivery_never_starts_before_now_nor_in_the_quiet_hours(
    now_ms: int, zone: str, quiet: tuple[str, str]
) -> None:
    """In every zone, on every day of the year, the clock at the start of the window is outside the quiet hours."""
    start, end = quiet
    if start == end:
        return
    channel = Channel(words="x", quiet_from=start, quiet_until=end)
    after, before = delivery_span(wall_clock(now_ms, ZoneInfo(zone)), now_ms, channel)
    assert now_ms <= after < before
    assert after <= now_ms + 50 * HOUR_MS  # Samoa once left out a day
    clock = f"{wall_clock(after, ZoneInfo(zone)):%H:%M}"
    inside = start <= clock < end if start < end else clock >= start or clock < end
    assert not inside or _clocks_change(after, zone)  # an hour that is left out or comes twice


def _clocks_change(at_ms: int, zone: str) -> bool:
    near = [wall_clock(at_ms + d, ZoneInfo(zone)).utcoffset() for d in (-DAY_MS, DAY_MS)]
    return near[0] != near[1]


@pytest.mark.parametrize("moment_ms", [0, 253_402_300_799_999])
def test_the_ends_of_time_do_no_harm(moment_ms: int) -> None:
    """The first and the last moment that an event may carry have a window too."""
    for zone in ZONES:
        request = a_request(a_customer(context=LastContext(time_zone=zone)), now_ms=moment_ms)
        assert all(one.deliver_after < one.deliver_before for one in gates(request)[0])


@given(st.lists(st.tuples(st.integers(0, 60), st.sampled_from("abc")), max_size=30))
def test_what_is_forgotten_of_contacts_changes_no_gate(moments: list[tuple[int, str]]) -> None:
    """Caps and cooldowns read the same from what is remembered as from everything."""
    catalogue = changed()
    everything: list[Contact] = []
    remembered: list[Contact] = []
    for day, action in sorted(moments):
        contact = Contact(NOON_MS + day * DAY_MS, action, "email")
        everything.append(contact)
        remembered = remember_contact(remembered, contact, limit=100)
        whole = ContactHistory(everything, contact.at, catalogue)
        short = ContactHistory(remembered, contact.at, catalogue)
        assert (short.day, short.week, short.last_by_action) == (whole.day, whole.week, whole.last_by_action)
        assert (short.channel_day, short.channel_week) == (whole.channel_day, whole.channel_week)


def test_contacts_remembered_are_bounded() -> None:
    """The oldest go first."""
    contacts: list[Contact] = []
    for i in range(9):
        contacts = remember_contact(contacts, Contact(NOON_MS + i, "offer", "email"), limit=4)
    assert [c.at - NOON_MS for c in contacts] == [5, 6, 7, 8]
