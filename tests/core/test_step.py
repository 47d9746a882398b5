"""The life of an event: timers, labels, sessions, decisions and what is remembered."""

from dataclasses import replace
from itertools import pairwise
from math import isfinite

from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.churn.churn import feature_set
from consumer.core.churn.features import churn_features, unpack_churn
from consumer.core.customer.updates import new_customer
from consumer.core.knowledge.learner import new_learner
from consumer.core.settings import CoreSettings, StateSettings, TimeSettings
from consumer.core.step import ScoringTask
from consumer.store.memory import MemoryState
from schemas.events import ClickEvent, Context, PrivacyEvent
from schemas.records import TrainingExample
from schemas.units import DAY_MS, HOUR_MS, MINUTE_MS
from tests.core.streams import SETTINGS, T0, Stream, new_task


def commit(task: ScoringTask) -> dict[str, bytes | None]:
    changes = task.state.changes()
    task.state.commit(changes, b"", 1)
    return changes


def test_a_session_ends_in_silence_and_becomes_an_example_for_the_index() -> None:
    """Another customer's event half an hour later ends the first one's session."""
    task = new_task()
    stream = Stream(task)
    stream.click("ann", T0, item_id="a")
    stream.click("ann", T0 + MINUTE_MS, item_id="b")
    assert task.take_outputs().sessions == []
    stream.click("bob", T0 + 40 * MINUTE_MS, item_id="c")
    (session,) = task.take_outputs().sessions
    assert session.items == ("a", "b")
    assert "ann" not in session.session_id


def test_a_cart_left_behind_triggers_abandonment_and_a_bought_one_does_not() -> None:
    """Abandonment is decided on when the session ends with something in the cart."""
    task = new_task()
    stream = Stream(task)
    for name in ("ann", "bob"):
        stream.click(name, T0, "login", item_id=None)
        stream.click(name, T0 + MINUTE_MS, "cart_add")
    stream.order("bob", T0 + 2 * MINUTE_MS, "i1")
    for name in ("ann", "bob"):
        customer = task.state.get(name)
        assert customer is not None
        customer.last_decision_ms = 0  # the session's start was decided on; that is not what is asked here
    task.take_outputs()
    task.advance_to(T0 + HOUR_MS)
    assert {d.customer_id: d.trigger for d in task.take_outputs().decisions} == {
        "ann": "abandonment",
        "bob": "session_end",
    }


def test_a_silent_customer_is_looked_at_again_and_labels_mature_at_the_horizon() -> None:
    """Ticks come without events, and their labels only when the window is over."""
    task = new_task()
    stream = Stream(task)
    stream.order("ann", T0)
    task.advance_to(T0 + 10 * DAY_MS)
    early = task.take_outputs().examples
    assert {e.head for e in early if e.family == "churn"} == {"hazard", "segment"}
    task.advance_to(T0 + 12 * DAY_MS + 1)
    assert "horizon" in {e.head for e in task.take_outputs().examples}
    assert all(e.matured_at <= task.stream_time_ms for e in early)


def test_a_duplicate_event_changes_nothing() -> None:
    """The same event id again leaves the customer as it was."""
    task = new_task()
    stream = Stream(task)
    stream.click("ann", T0, event_id="e1")
    commit(task)
    assert stream.click("ann", T0 + 1, event_id="e1") is None
    assert task.counters["duplicates"] == 1
    assert commit(task) == {}


def test_an_event_beyond_the_allowance_is_rejected_and_one_within_it_counts() -> None:
    """Late by less than the allowance is processed; later is a dead letter that names the field."""
    task = new_task()
    stream = Stream(task)
    stream.click("ann", T0)
    assert stream.click("bob", T0 - SETTINGS.time.late_by_ms) is None
    rejection = stream.click("bob", T0 - SETTINGS.time.late_by_ms - 1)
    assert rejection is not None
    assert (rejection.reason, rejection.field) == ("late", "occurred_at")
    assert task.stream_time_ms == T0


def test_erasure_leaves_nothing_of_the_customer() -> None:
    """State is deleted with a tombstone, and no timer fires for the customer again."""
    task = new_task()
    stream = Stream(task)
    stream.order("ann", T0)
    commit(task)
    task.step("privacy", 0, PrivacyEvent("x", "ann", T0 + 1, "erasure"))
    assert commit(task) == {"ann": None}
    task.take_outputs()
    task.advance_to(T0 + 100 * DAY_MS)
    outputs = task.take_outputs()
    assert (outputs.decisions, outputs.examples, outputs.sessions) == ([], [], [])


def test_an_objection_stops_every_decision() -> None:
    """After it, nothing is decided about the customer, not even nothing."""
    task = new_task()
    task.step("privacy", 0, PrivacyEvent("x", "ann", T0, "objection"))
    stream = Stream(task)
    stream.click("ann", T0 + 1, "cart_add")
    assert task.take_outputs().decisions == []


def test_catch_up_learns_and_decides_nothing() -> None:
    """Nobody wants a reminder for yesterday's cart."""
    task = new_task(mode="catch-up")
    stream = Stream(task)
    stream.order("ann", T0)
    task.advance_to(T0 + 30 * DAY_MS)
    outputs = task.take_outputs()
    assert outputs.decisions == []
    assert outputs.examples


def test_frozen_decides_and_learns_nothing() -> None:
    """No example and no session leaves a frozen task."""
    task = new_task(mode="frozen")
    stream = Stream(task)
    stream.click("ann", T0)
    stream.order("ann", T0 + 1)
    task.advance_to(T0 + 30 * DAY_MS)
    outputs = task.take_outputs()
    assert outputs.decisions
    assert (outputs.examples, outputs.sessions) == ([], [])


def test_a_tick_that_fires_late_decides_nothing_and_is_still_learned_from() -> None:
    """After a jump of stream time, moments that have passed are not acted on."""
    task = new_task()
    stream = Stream(task)
    stream.click("ann", T0, "cart_add")
    task.take_outputs()
    stream.click("bob", T0 + 3 * DAY_MS)
    assert {d.customer_id for d in task.take_outputs().decisions} == {"bob"}


def test_decisions_keep_their_distance() -> None:
    """At most one decision a customer within the interval, whatever triggers it."""
    task = new_task()
    stream = Stream(task)
    for minute in range(0, 24 * 60, 7):
        stream.click("ann", T0 + minute * MINUTE_MS, "cart_add")
    moments = [d.occurred_at for d in task.take_outputs().decisions]
    gaps = [b - a for a, b in pairwise(moments)]
    assert moments
    assert all(gap >= SETTINGS.policy.decide_every_ms for gap in gaps)


def test_due_timers_are_spread_over_steps() -> None:
    """One step fires at most its share; the rest fires with the next ones, and nobody is forgotten."""
    few = replace_settings(time=TimeSettings(timers_per_step=3))
    task = new_task(few)
    stream = Stream(task)
    for n in range(10):
        stream.click(f"c{n}", T0 + n, item_id=f"i{n}")
    ended = []
    for n in range(4):
        task.advance_to(T0 + HOUR_MS + n)
        ended.append(len(task.take_outputs().sessions))
    assert ended == [3, 3, 3, 1]


def test_a_customer_silent_beyond_the_time_to_live_is_forgotten() -> None:
    """State is bounded in time: the changelog gets a tombstone."""
    task = new_task(replace_settings(state=StateSettings(time_to_live_days=30)))
    stream = Stream(task)
    stream.click("ann", T0)
    commit(task)
    task.advance_to(T0 + 31 * DAY_MS)
    assert commit(task) == {"ann": None}


def replace_settings(**parts: object) -> CoreSettings:
    return replace(SETTINGS, **parts)  # type: ignore[arg-type]  # each test passes parts of the settings


moves = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob", "cem"]),
        st.sampled_from(["item_view", "cart_add", "order", "login", "erasure"]),
        st.sampled_from(["a", "b", "c", "d"]),
        st.integers(-2 * HOUR_MS, 5 * DAY_MS),
    ),
    max_size=40,
)


def run(task: ScoringTask, steps: list[tuple[str, str, str, int]], start: int = 0, now: int = T0) -> int:
    stream = Stream(task)
    stream.offset = start
    for customer, kind, item, delta in steps:
        now = max(T0, now + delta)
        if kind == "order":
            stream.order(customer, now, item)
        elif kind == "erasure":
            task.step("privacy", stream.offset, PrivacyEvent(f"e{stream.offset}", customer, now, "erasure"))
            stream.offset += 1
        else:
            stream.click(customer, now, kind, None if kind == "login" else item)  # type: ignore[arg-type]
    return now


@settings(max_examples=60)
@given(moves)
def test_the_same_stream_gives_the_same_bytes(steps: list[tuple[str, str, str, int]]) -> None:
    """Outputs and state are functions of the input alone."""
    first, second = new_task(), new_task()
    run(first, steps)
    run(second, steps)
    assert first.take_outputs() == second.take_outputs()
    assert first.state.changes() == second.state.changes()


@settings(max_examples=60)
@given(moves, st.integers(0, 40))
def test_a_restart_between_commits_makes_no_difference(steps: list[tuple[str, str, str, int]], cut: int) -> None:
    """State read back from its bytes goes on exactly where it was left: outputs and final state are the same."""
    unbroken_state, resumed_state = MemoryState(), MemoryState()
    unbroken = new_task(state=unbroken_state)
    now = run(unbroken, steps[:cut])
    before = unbroken.take_outputs()
    commit(unbroken)

    first = new_task(state=resumed_state)
    run(first, steps[:cut])
    assert first.take_outputs() == before
    commit(first)
    resumed = new_task(state=resumed_state)
    resumed.stream_time_ms = first.stream_time_ms

    for task in (unbroken, resumed):
        run(task, steps[cut:], start=len(steps[:cut]), now=now)
    assert resumed.take_outputs() == unbroken.take_outputs()
    assert resumed.state.changes() == unbroken.state.changes()


@settings(max_examples=40)
@given(moves)
def test_every_list_of_a_customer_is_bounded(steps: list[tuple[str, str, str, int]]) -> None:
    """However long the stream, what is remembered of one customer stays within the limits."""
    tight = replace_settings(
        state=StateSettings(
            history_items=2,
            session_items=3,
            bought_items=2,
            categories=1,
            pending_churn=2,
            pending_decisions=1,
            contacts=1,
            consents=1,
            cart_items=1,
        )
    )
    task = new_task(tight)
    run(task, steps)
    for name in ("ann", "bob", "cem"):
        customer = task.state.get(name)
        if customer is not None:
            assert len(customer.history) <= 2
            assert len(customer.session.items) <= 3
            assert len(customer.bought) <= 2
            assert len(customer.pending.churn) <= 2
            assert len(customer.pending.decisions) <= 1
            assert len(customer.contacts) <= task.core.catalogue.contacts_to_remember()  # caps need as many
            assert len(customer.cart) <= 1


def test_an_action_click_of_an_unknown_decision_is_harmless() -> None:
    """Customers answer to actions that were forgotten long ago."""
    task = new_task()
    event = ClickEvent("e", "ann", T0, "action_click", decision_id="long ago")
    assert task.step("clickstream", 0, event) is None
    assert task.counters["events"] == 1


def test_a_customer_who_stays_for_decades_stops_nothing() -> None:
    """Decayed counters grow with time; after forty years of visits they are still numbers."""
    task = new_task()
    stream = Stream(task)
    for half_year in range(90):
        assert stream.click("ann", half_year * 182 * DAY_MS) is None
        assert stream.order("ann", half_year * 182 * DAY_MS, price=1e12) is None
    customer = task.state.get("ann")
    assert customer is not None
    assert all(isfinite(value) for value in unpack_churn(churn_features(customer, customer.last_seen_ms + 1, 90.0)))


def test_an_order_outside_of_a_session_says_nothing_of_the_next() -> None:
    """Who ordered by phone yesterday and leaves a filled cart behind today has abandoned it."""
    task = new_task(replace(SETTINGS, policy=replace(SETTINGS.policy, decide_every_ms=0)))
    stream = Stream(task)
    stream.order("ann", T0, "i9")
    stream.click("ann", T0 + DAY_MS, "cart_add")
    stream.click("bob", T0 + 2 * DAY_MS)
    assert "abandonment" in [d.trigger for d in task.take_outputs().decisions if d.customer_id == "ann"]


def test_a_risk_that_nothing_was_decided_on_is_still_to_be_acted_on() -> None:
    """A risk seen while catching up, when nothing may be decided, is decided on at the next tick."""
    task = new_task(mode="catch-up")
    Stream(task).order("ann", T0)
    task.knowledge.adopt(certain_churn(task))
    task.advance_to(T0 + 5 * DAY_MS)
    assert not task.take_outputs().decisions
    task.mode = "live"
    for days in range(6, 12):
        task.advance_to(T0 + days * DAY_MS)
    assert [d.trigger for d in task.take_outputs().decisions].count("churn_risk") == 1


def certain_churn(task: ScoringTask) -> bytes:
    """A churn model that has seen nobody come back."""
    learner = new_learner("churn", task.settings, task.core.catalogue)
    features = unpack_churn(churn_features(new_customer("eve", T0), T0, 90.0))
    for offset in range(100):
        learner.fold(
            offset,
            TrainingExample("churn", "horizon", feature_set(SETTINGS.churn), features, 1, 1.0, 1.0, T0, T0 + DAY_MS),
        )
    return learner.snapshot()


def test_a_decision_names_the_zone_that_it_was_reckoned_in() -> None:
    """Not what the shop sent, where there is no such zone."""
    task = new_task()
    stream = Stream(task)
    stream.click("ann", T0, context=Context(time_zone="Mars/Olympus_Mons"))
    stream.click("bob", T0, context=Context(time_zone="Asia/Tokyo"))
    assert [d.time_zone for d in task.take_outputs().decisions] == ["UTC", "Asia/Tokyo"]


def test_labels_mature_however_many_ticks_there_are_to_a_horizon() -> None:
    """What may be remembered is less than a horizon's ticks: then some are not remembered, and the others mature."""
    churn = replace(SETTINGS.churn, horizon_days=40, hazard_days=2, tick_days=2)
    task = new_task(replace_settings(churn=churn, state=StateSettings(pending_churn=4)))
    Stream(task).order("ann", T0)
    for day in range(1, 200):
        task.advance_to(T0 + day * DAY_MS)
    heads = [example.head for example in task.take_outputs().examples]
    assert heads.count("horizon") >= 12
    assert heads.count("hazard") >= heads.count("horizon")


def test_outcomes_mature_however_many_decisions_there_are() -> None:
    """The same of decisions and their outcome window."""
    policy = replace(SETTINGS.policy, decide_every_ms=0, outcome_days=10)
    task = new_task(replace_settings(policy=policy, state=StateSettings(pending_decisions=3)))
    stream = Stream(task)
    for hour in range(24 * 30):
        stream.click("ann", T0 + hour * HOUR_MS)
    assert [example.family for example in task.take_outputs().examples].count("policy") >= 6


def test_an_event_is_a_duplicate_as_long_as_its_id_is_remembered() -> None:
    """The window slides: after it is full, the ids before the oldest one are still known."""
    window = 4
    task = new_task(replace_settings(time=replace(SETTINGS.time, duplicate_window=window)))
    stream = Stream(task)
    for n in range(window + 1):
        stream.click("ann", T0 + n, event_id=f"e{n}")
    for n in range(1, window + 1):
        stream.click("ann", T0 + 10, event_id=f"e{n}")
    assert task.counters["duplicates"] == window
    stream.click("ann", T0 + 11, event_id="e0")
    assert task.counters["duplicates"] == window


def test_what_we_sent_is_nothing_that_the_customer_did() -> None:
    """An impression opens no session, triggers nothing and is no sign of life."""
    task = new_task()
    event = ClickEvent("e", "ann", T0 + DAY_MS, "action_impression", decision_id="d")
    stream = Stream(task)
    stream.click("ann", T0, item_id="a")
    task.advance_to(T0 + HOUR_MS)
    task.take_outputs()
    task.step("clickstream", 9, event)
    ann = task.state.get("ann")
    assert ann is not None
    assert (ann.last_seen_ms, ann.session.started_ms) == (T0, 0)
    assert task.take_outputs().decisions == []
