"""The figures of the summary, against numbers worked out by hand."""

from array import array
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.evaluate.metrics import auc
from consumer.replay.quality import Quality
from schemas.records import Family, TrainingExample


def example(family: Family, head: str = "horizon", label: float = 1.0, **more: object) -> TrainingExample:
    fields: dict[str, object] = {
        "feature_set": "",
        "features": (),
        "rows": 1,
        "weight": 1.0,
        "predicted_at": 0,
        "matured_at": 0,
    }
    return TrainingExample(family=family, head=head, label=label, **(fields | more))  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_auc_is_the_share_of_pairs_in_the_right_order(pairs: list[tuple[int, bool]]) -> None:
    """By ranks or by counting all pairs, ties as a half: the same number."""
    predicted = array("d", [score / 5 for score, _ in pairs])
    labels = array("b", [int(label) for _, label in pairs])
    positives = [p for p, label in zip(predicted, labels, strict=True) if label]
    negatives = [p for p, label in zip(predicted, labels, strict=True) if not label]
    if not positives or not negatives:
        assert auc(predicted, labels) is None
        return
    won = sum((p > n) + 0.5 * (p == n) for p in positives for n in negatives)
    assert auc(predicted, labels) == pytest.approx(won / (len(positives) * len(negatives)))


def test_log_loss_is_beside_that_of_the_share_of_churners_known_at_the_prediction() -> None:
    """Two examples by hand: the base rate starts at a half and knows what had matured when a prediction was made."""
    quality = Quality()
    quality.add(example("churn", label=1.0, predicted=0.8, predicted_at=0, matured_at=10))
    quality.add(example("churn", label=0.0, predicted=0.4, predicted_at=10, matured_at=20))
    churn = quality.churn()
    assert churn.log_loss == pytest.approx((-log(0.8) - log(0.6)) / 2)
    assert churn.base_rate_log_loss == pytest.approx((-log(1 / 2) - log(1 / 3)) / 2)
    assert churn.auc == 1.0


def test_examples_of_a_model_that_knew_nothing_are_counted_and_not_scored() -> None:
    """Without a prediction there is nothing to judge, but the label did mature."""
    quality = Quality()
    quality.add(example("churn", predicted=None))
    quality.add(example("churn", head="hazard", predicted=0.5))
    churn = quality.churn()
    assert (churn.matured, churn.scored) == ({"hazard": 1, "horizon": 1}, 0)
    assert churn.log_loss is None
    assert churn.reason


def test_hits_count_within_the_first_twenty_only() -> None:
    """Rank 1 and 20 are hits, 21 and absence are not; MRR is over all that were asked for."""
    quality = Quality()
    for rank in (1, 20, 21, 0):
        quality.add(example("preference", head="next-item", rank=rank, popularity_rank=0, history_rank=2))
    preference = quality.preference()
    assert preference.n == 4
    assert preference.ours.hit_rate_at_20 == 0.5
    assert preference.ours.mrr_at_20 == pytest.approx((1 + 1 / 20) / 4)
    assert preference.popularity.hit_rate_at_20 == 0.0
    assert preference.own_last_20.mrr_at_20 == 0.5


def test_outcomes_are_told_apart_by_what_was_done() -> None:
    """Treated, hold-out and randomised nothing each have their own share; an empty group has none."""
    quality = Quality()
    quality.add(example("policy", label=1.0, treated=True, value=30.0))
    quality.add(example("policy", label=0.0, treated=True))
    quality.add(example("policy", label=0.0, hold_out=True))
    outcomes = quality.outcomes()
    assert (outcomes.treated.outcome_rate, outcomes.treated.mean_value) == (0.5, 15.0)
    assert outcomes.hold_out.outcome_rate == 0.0
    assert outcomes.randomised_nothing.outcome_rate is None
