"""The benchmark runs and reports what the design sets budgets for."""

from consumer.core.settings import CoreSettings
from consumer.replay.options import settings_for_recording
from schemas.units import DAY_MS


def test_the_benchmark_measures_every_budget_as_a_multiple_of_the_unit() -> None:
    """On a short simulated stream: an event, a decision and a tick each cost something, in U and in µs."""
    from benchmarks.budgets import BUDGETS, measure, report, simulated_rows
    from consumer.default_catalogue import default_catalogue

    settings = settings_for_recording(CoreSettings(), 0, 7 * DAY_MS)
    rounds, bench = measure(simulated_rows(7_000), settings, default_catalogue())
    costs = report(rounds)
    assert costs.keys() >= BUDGETS.keys()
    for name in BUDGETS:
        assert costs[name]["U"] > 0
        assert costs[name]["n"] > 0
    assert len(bench.task.state) > 0
