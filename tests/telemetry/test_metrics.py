"""Metrics: each counted once, named in one place, listed in docs/metrics.md."""

from math import log
from pathlib import Path

import pytest

from consumer.telemetry.metrics import Metrics, log_loss

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return one sample."""
    return metrics.registry.get_sample_value(f"nextbest_{name}", labels)


def test_a_child_is_counted_under_its_labels_alone() -> None:
    """Two label sets of one counter do not mix."""
    metrics = Metrics()
    metrics.events.add("clickstream", "item_view", amount=3)
    metrics.events.add("clickstream", "search")
    metrics.events.add("clickstream", "item_view")
    assert value(metrics, "events_total", topic="clickstream", kind="item_view") == 4
    assert value(metrics, "events_total", topic="clickstream", kind="search") == 1


def test_a_gauge_that_is_forgotten_is_shown_no_more() -> None:
    """A task that another worker has now leaves no stale value behind, and may come back."""
    metrics = Metrics()
    metrics.customers.set(12, "3")
    metrics.customers.forget("3")
    metrics.customers.forget("3")
    assert value(metrics, "customers", task="3") is None
    metrics.customers.set(13, "3")
    assert value(metrics, "customers", task="3") == 13


def test_two_sets_of_metrics_do_not_share_values() -> None:
    """Each process, and each test, has a registry of its own."""
    one, other = Metrics(), Metrics()
    one.commits.add()
    assert value(other, "commits_total") == 0


def test_churn_is_measured_against_the_base_rate() -> None:
    """Both log losses are summed over the same predictions."""
    metrics = Metrics()
    for label, predicted, base_rate in ((1.0, 0.9, 1 / 2), (1.0, 0.8, 2 / 3), (0.0, 0.3, 3 / 4)):
        metrics.observe_churn("horizon", label, predicted, base_rate)
    assert value(metrics, "churn_matured_total", head="horizon") == 3
    assert value(metrics, "churn_log_loss_total", head="horizon") == pytest.approx(-log(0.9) - log(0.8) - log(0.7))
    expected = -log(1 / 2) - log(2 / 3) - log(1 - 3 / 4)
    assert value(metrics, "churn_base_rate_log_loss_total", head="horizon") == pytest.approx(expected)


def test_a_sure_and_wrong_prediction_has_a_bounded_log_loss() -> None:
    """One prediction of exactly 0 or 1 does not make the sum infinite."""
    assert log_loss(1.0, 0.0) == pytest.approx(-log(1e-6))
    assert log_loss(0.0, 1.0) == pytest.approx(-log(1e-6))


@pytest.mark.parametrize(("rank", "hit"), [(1, True), (20, True), (21, False), (0, False), (None, False)])
def test_a_hit_is_a_rank_from_1_to_20(rank: int | None, hit: bool) -> None:
    """Rank 0 means that the item is not in the list at all."""
    metrics = Metrics()
    metrics.observe_recommendation(rank, 5, 0)
    assert (value(metrics, "recommendation_hits_total", list="ours") or 0) == hit
    assert value(metrics, "recommendation_hits_total", list="popularity") == 1
    assert value(metrics, "recommendations_tried_total") == 1


def test_outcomes_are_told_apart_by_group() -> None:
    """The hold-out counts as such, whatever else is said of the decision."""
    metrics = Metrics()
    metrics.observe_outcome(treated=True, hold_out=False, happened=True)
    metrics.observe_outcome(treated=False, hold_out=False, happened=False)
    metrics.observe_outcome(treated=False, hold_out=True, happened=True)
    assert value(metrics, "outcomes_total", group="treated") == 1
    assert value(metrics, "outcomes_matured_total", group="untreated") == 1
    assert value(metrics, "outcomes_total", group="untreated") is None
    assert value(metrics, "outcomes_total", group="hold_out") == 1


def test_every_metric_is_documented_and_nothing_else() -> None:
    """docs/metrics.md lists the names, types and labels that are registered."""
    listed = {
        tuple(cell.strip() for cell in line.strip("|").split("|"))[:2]
        for line in DOCS.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `nextbest_")
    }
    registered = set()
    for family in Metrics().registry.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        registered.add((f"`{name}`", family.type))
    assert listed == registered
