"""What the worker tells turns into metrics."""

import pytest

from consumer.observing import MetricsObserver
from consumer.telemetry.metrics import Metrics
from schemas.records import TrainingExample


@pytest.fixture
def metrics() -> Metrics:
    """Return metrics of this test alone."""
    return Metrics()


def example(**changes: object) -> TrainingExample:
    """Return a matured churn example, with changes."""
    fields: dict[str, object] = {
        "family": "churn", "head": "horizon", "feature_set": "f", "features": (), "rows": 1, "label": 1.0,
        "weight": 1.0, "predicted_at": 0, "matured_at": 1, "predicted": 0.8,
    }  # fmt: skip
    return TrainingExample(**{**fields, **changes})  # type: ignore[arg-type]


def test_an_example_is_judged_by_its_family(metrics: Metrics) -> None:
    """Churn by log loss, preference by rank, policy by outcome."""
    observer = MetricsObserver(metrics)
    observer.learned("churn", example())
    observer.learned("churn", example(predicted=None))
    observer.learned("preference", example(family="preference", rank=3, popularity_rank=30, history_rank=0))
    observer.learned("policy", example(family="policy", head="reward", hold_out=True))
    value = metrics.registry.get_sample_value
    assert value("nextbest_folded_examples_total", {"family": "churn"}) == 2
    assert value("nextbest_churn_matured_total", {"head": "horizon"}) == 1
    assert value("nextbest_recommendation_hits_total", {"list": "ours"}) == 1
    assert value("nextbest_recommendation_hits_total", {"list": "popularity"}) is None
    assert value("nextbest_outcomes_total", {"group": "hold_out"}) == 1


def test_a_task_that_has_gone_leaves_no_values_behind(metrics: Metrics) -> None:
    """Lag and customers of a task are shown by the worker that has it, and by no other."""
    observer = MetricsObserver(metrics)
    observer.restored(2, records=10, customers=5, seconds=0.1)
    observer.lag("clickstream", 2, 7)
    observer.stopped(2)
    value = metrics.registry.get_sample_value
    assert value("nextbest_customers", {"task": "2"}) is None
    assert value("nextbest_consumergroup_lag", {"topic": "clickstream", "partition": "2"}) is None
    assert value("nextbest_restored_records_total") == 10
