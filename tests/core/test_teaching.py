"""What a task teaches: of whom, of what, and under which name."""

from dataclasses import replace

from consumer.core.settings import PrivacySettings
from schemas.events import OrderLine, PrivacyEvent, PurchaseEvent
from schemas.units import DAY_MS, HOUR_MS
from tests.core.streams import SETTINGS, T0, Stream, new_task


def test_the_name_of_a_session_does_not_depend_on_the_customers_id() -> None:
    """Otherwise whoever guesses an id could confirm it, also after an erasure."""
    names = []
    for customer_id in ("ann", "bob"):
        task = new_task()
        stream = Stream(task)
        stream.click(customer_id, T0)
        stream.click("eve", T0 + HOUR_MS)
        names.append([session.session_id for session in task.take_outputs().sessions])
    assert names[0] == names[1]


def test_nothing_more_is_learned_of_who_objected() -> None:
    """No label, no outcome, no session and no tick after an objection, whatever the customer does."""
    task = new_task()
    stream = Stream(task)
    stream.order("ann", T0)
    task.advance_to(T0 + 5 * DAY_MS)
    task.step("privacy", 0, PrivacyEvent("x", "ann", T0 + 5 * DAY_MS, "objection"))
    task.take_outputs()
    for day in range(6, 12):
        stream.click("ann", T0 + day * DAY_MS, item_id=f"i{day}")
        stream.click("ann", T0 + day * DAY_MS + 1, item_id="i1")
        stream.order("ann", T0 + day * DAY_MS + 2, "i1")
    task.advance_to(T0 + 60 * DAY_MS)
    outputs = task.take_outputs()
    assert (outputs.decisions, outputs.examples, outputs.sessions) == ([], [], [])


def test_a_decision_without_a_choice_is_no_example() -> None:
    """Where every action was ruled out, neither the policy nor the comparison of groups learns from it."""
    task = new_task(replace(SETTINGS, privacy=PrivacySettings(default_consent=False)))
    stream = Stream(task)
    stream.click("ann", T0, "login", item_id=None)
    (decision,) = task.take_outputs().decisions
    assert len(decision.eligible) == 1
    task.advance_to(T0 + 10 * DAY_MS)
    assert [e for e in task.take_outputs().examples if e.family == "policy"] == []


def test_an_order_that_our_recommendation_led_to_counts_less_in_its_visit() -> None:
    """Otherwise the index would learn its own recommendations as what visitors want."""
    task = new_task()
    Stream(task).click("ann", T0, item_id="seen")
    lines = (OrderLine("recommended", 1, 5.0),)
    task.step("purchases", 9, PurchaseEvent("p", "ann", T0 + 1, "order", "o", lines, decision_id="d"))
    task.advance_to(T0 + DAY_MS)
    visit = next(session for session in task.take_outputs().sessions if session.kind == "visit")
    assert visit.weights == (1.0, task.settings.preference.caused_weight)


def test_an_event_never_completes_its_own_example() -> None:
    """The item of an event is not in what was recommended before it unless the customer or others had it before."""
    task = new_task()
    stream = Stream(task)
    stream.click("ann", T0, item_id="a")
    stream.click("ann", T0 + 1, item_id="never-seen-before")
    (example,) = [e for e in task.take_outputs().examples if e.family == "preference"]
    assert (example.rank, example.popularity_rank, example.history_rank) == (0, 0, 0)
