"""What the worker tells turns into metrics."""

from math import log

import pytest

from consumer.core.journal import OpenCommit, TaskRecord
from consumer.core.learning.drift import Drift
from consumer.kafka.observer import CommittedTask
from consumer.observing import MAX_CURRENCIES, MetricsObserver
from consumer.telemetry.metrics import Metrics
from consumer.telling import Telling
from schemas.records import TrainingExample
from schemas.units import DAY_MS
from tests.core.streams import SETTINGS, T0, Stream, new_task


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
    observer = MetricsObserver(metrics, Telling(0.0, lambda: 0.0))
    observer.learned("churn", example())
    observer.learned("churn", example(predicted=None))
    observer.learned(
        "preference", example(family="preference", head="next-item", rank=3, popularity_rank=30, history_rank=0)
    )
    observer.learned("policy", example(family="policy", head="reward", hold_out=True))
    value = metrics.registry.get_sample_value
    assert value("nextbest_folded_examples_total", {"family": "churn"}) == 2
    assert value("nextbest_churn_matured_total", {"head": "horizon"}) == 1
    assert value("nextbest_recommendation_hits_total", {"list": "ours"}) == 1
    assert value("nextbest_recommendation_hits_total", {"list": "popularity"}) is None
    assert value("nextbest_outcomes_total", {"group": "hold_out"}) == 1


def test_a_task_that_has_gone_leaves_no_values_behind(metrics: Metrics) -> None:
    """Lag and customers of a task are shown by the worker that has it, and by no other."""
    observer = MetricsObserver(metrics, Telling(0.0, lambda: 0.0))
    observer.restored(2, records=10, customers=5, seconds=0.1)
    observer.lag("clickstream", 2, 7)
    observer.stopped(2)
    value = metrics.registry.get_sample_value
    assert value("nextbest_customers", {"task": "2"}) is None
    assert value("nextbest_consumergroup_lag", {"topic": "clickstream", "partition": "2"}) is None
    assert value("nextbest_restored_records_total") == 10


def test_moves_between_segments_are_counted_and_samples_are_judged_as_nothing(metrics: Metrics) -> None:
    """A commit tells who moved; an example of the segment head carries no prediction."""
    task = new_task(SETTINGS)
    stream = Stream(task)
    stream.click("ann", T0)
    commit = OpenCommit(task, TaskRecord())
    stream.click("ann", T0 + 40 * DAY_MS)
    observer = MetricsObserver(metrics, Telling(0.0, lambda: 0.0))
    told = CommittedTask(commit.close(), {}, (), customers=1)
    observer.committed([told], 0.1)
    observer.learned("churn", example(head="segment", predicted=None))
    value = metrics.registry.get_sample_value
    assert value("nextbest_segment_moves_total", {"before": "new", "after": "slipping"}) == 1
    assert value("nextbest_churn_matured_total", {"head": "segment"}) is None


def test_drift_is_counted_by_what_moved_and_said_with_where_it_went(
    metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    """One counter for each series, one line with both means."""
    MetricsObserver(metrics, Telling(0.0, lambda: 0.0)).drifted("churn", Drift("log_loss", 0.25, 0.5))
    value = metrics.registry.get_sample_value
    assert value("nextbest_drift_total", {"family": "churn", "what": "log_loss"}) == 1
    assert "the mean of log_loss went from 0.25 to 0.5" in caplog.text


def test_a_challenger_is_counted_beside_the_model_in_force(metrics: Metrics) -> None:
    """The same rows in both sums."""
    MetricsObserver(metrics, Telling(0.0, lambda: 0.0)).compared("churn.forest", "hazard", 1.0, own=0.5, in_force=0.8)
    value, labels = metrics.registry.get_sample_value, {"model": "churn.forest", "head": "hazard"}
    assert value("nextbest_challenger_matured_total", labels) == 1
    assert value("nextbest_challenger_log_loss_total", labels) == pytest.approx(-log(0.5))
    assert value("nextbest_challenged_log_loss_total", labels) == pytest.approx(-log(0.8))


def test_a_model_that_is_no_longer_in_force_is_shown_no_more(metrics: Metrics) -> None:
    """After a promotion the name of the model is another."""
    observer = MetricsObserver(metrics, Telling(0.0, lambda: 0.0))
    observer.adopted({"churn": 10, "sessions": 3})
    observer.adopted({"churn.faster": 12, "sessions": 3})
    value = metrics.registry.get_sample_value
    assert value("nextbest_model_offset", {"model": "churn"}) is None
    assert value("nextbest_model_offset", {"model": "churn.faster"}) == 12


def test_money_without_a_rate_is_shown_by_currency_and_said_once(
    metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    """However many currencies producers make up, the labels stay few."""
    observer = MetricsObserver(metrics, Telling(0.0, lambda: 0.0))
    task = new_task()
    stream = Stream(task)
    for n in range(40):
        code = f"{chr(65 + n % 26)}{chr(65 + n // 26)}X"
        stream.click("ann", T0 + n, price=1.0, currency=code)
    closed = OpenCommit(task, TaskRecord()).close()
    for _ in range(2):
        observer.committed([CommittedTask(closed, {}, [], customers=1)], 0.1)
    value = metrics.registry.get_sample_value
    assert value("nextbest_money_apart_total", {"currency": "AAX"}) == 2
    assert value("nextbest_money_apart_total", {"currency": "other"}) == 2 * (40 - MAX_CURRENCIES)
    assert len([each for each in caplog.records if "has no rate" in each.getMessage()]) == MAX_CURRENCIES + 1
