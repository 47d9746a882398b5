"""Budgets: a day's contacts are shared out over the tasks, and a restart does not refill them."""

from dataclasses import replace

from consumer.core.decision.budget import Budget, equal_share
from consumer.core.settings import PolicySettings
from consumer.default_catalogue import default_catalogue
from schemas.units import DAY_MS
from tests.core.streams import SETTINGS, T0, Stream, new_task


def test_contacts_are_taken_off_what_is_granted_for_the_day() -> None:
    """Only limited names are counted, and the next day starts afresh."""
    budget = Budget({"phone": 2.0})
    budget.spend(T0, "service_call", "phone")
    assert budget.left(T0) == {"phone": 1.0}
    assert budget.left(T0 + DAY_MS) == {"phone": 2.0}


def test_a_restart_does_not_refill_a_budget() -> None:
    """What was spent comes back with the task's record."""
    budget = Budget({"phone": 2.0})
    budget.spend(T0, "phone")
    assert Budget({"phone": 2.0}, budget.spending()).left(T0 + 1) == {"phone": 1.0}


def test_a_decision_late_for_yesterday_counts_against_today() -> None:
    """A timer that fires late cannot spend a budget that is gone."""
    budget = Budget({"phone": 1.0})
    budget.spend(T0, "phone")
    assert budget.left(T0 - DAY_MS) == {"phone": 0.0}


def test_tasks_share_a_budget_equally() -> None:
    """Together they spend what the catalogue allows for the shop."""
    assert equal_share({"phone": 40.0}, 8) == {"phone": 5.0}


def test_a_task_stays_within_its_budget() -> None:
    """However many customers would be contacted, the channel is used as often as it was granted."""
    settings = replace(SETTINGS, policy=PolicySettings(hold_out_share=0.0, nothing_floor=0.05))
    free, limited = new_task(settings), new_task(settings)
    limited.budget = Budget(dict.fromkeys(default_catalogue().channels, 3.0))
    used = []
    for task in (free, limited):
        stream = Stream(task)
        for n in range(60):
            stream.click(f"c{n}", T0 + n, item_id=f"i{n % 7}")
            stream.click(f"c{n}", T0 + n, "cart_add", item_id=f"i{n % 5}")
        decisions = task.take_outputs().decisions
        used.append([d.channel for d in decisions if d.channel is not None])
    assert len(used[0]) > 3 * len(set(used[0]))
    assert all(used[1].count(channel) <= 3 for channel in used[1])
    assert limited.budget.spending().contacts


def test_a_share_below_one_contact_comes_round() -> None:
    """40 contacts over 64 tasks are 40 contacts on every day, and no task always goes without."""
    tasks = [Budget(equal_share({"phone": 40.0}, 64)) for _ in range(64)]
    had = [0.0] * 64
    for day in range(20_000, 20_064):
        left = [budget.left(day * DAY_MS, partition)["phone"] for partition, budget in enumerate(tasks)]
        assert sum(left) == 40.0
        had = [before + now for before, now in zip(had, left, strict=True)]
    assert set(had) == {40.0}
