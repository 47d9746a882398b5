"""The trainers of a replay note what has moved, for the summary."""

from msgspec import structs

from consumer.core.churn.churn import HAZARD, feature_set
from consumer.core.churn.features import CHURN_FEATURES
from consumer.core.learning.drift import LOSS
from consumer.core.settings import CoreSettings
from consumer.default_catalogue import default_catalogue
from consumer.replay.training import Trainers
from schemas.records import TrainingExample


def test_a_model_that_becomes_worse_is_noted_with_the_time_and_both_means() -> None:
    """The time is that of the label that showed it."""
    core = CoreSettings()
    right = TrainingExample(
        family="churn", head=HAZARD, feature_set=feature_set(core.churn), features=(0.5,) * len(CHURN_FEATURES),
        rows=1, label=1.0, weight=1.0, predicted_at=1, matured_at=1_000, predicted=0.9,
    )  # fmt: skip
    wrong = structs.replace(right, label=0.0, matured_at=2_000)
    trainers = Trainers(core, default_catalogue())
    trainers.fold([right] * 1_000)
    assert trainers.drifts == []
    trainers.fold([wrong] * 200)
    assert {(drift.family, drift.what, drift.at_ms) for drift in trainers.drifts} == {("churn", LOSS, 2_000)}
    assert trainers.drifts[0].before < 0.2 < trainers.drifts[0].after
