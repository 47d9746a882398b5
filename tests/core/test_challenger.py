"""Challengers: anything of River's that classifies can be named, nothing else, and none of them sees the future."""

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from consumer.core.churn.churn import HAZARD, HORIZON, ChurnState, feature_set
from consumer.core.churn.features import CHURN_FEATURES
from consumer.core.churn.season import SeasonState
from consumer.core.knowledge.challenger import Challenger, judged_prediction, latest_label_ms, new_challenger
from consumer.core.knowledge.families import ChurnModels
from consumer.core.knowledge.river_classifier import UnknownModel, river_classifier
from consumer.core.knowledge.snapshot import decode_snapshot
from consumer.core.settings import ChallengerSettings, ChurnSettings, CoreSettings, LearnerSettings
from consumer.default_catalogue import default_catalogue
from consumer.measure.prequential import RECENT_EXAMPLES, Prequential, Tally
from schemas.records import TrainingExample
from schemas.units import DAY_MS
from tests.core.streams import T0

CATALOGUE = default_catalogue()
CORE = CoreSettings(churn=ChurnSettings(horizon_days=20.0, hazard_days=2.0))
TREE = ChallengerSettings("tree", model="tree.HoeffdingTreeClassifier", parameters={"grace_period": 20})
FASTER = ChallengerSettings("faster", parameters={"learning_rate": 0.3})


def example(number: int, head: str = HAZARD) -> TrainingExample:
    """Return the example of a prediction made `number` hours after the beginning; the first feature tells its label."""
    days = CORE.churn.hazard_days if head == HAZARD else CORE.churn.horizon_days
    label = float(number % 3 > 0)
    features = (label + (number % 7) / 20.0, *[(number * k % 11) / 10.0 for k in range(1, len(CHURN_FEATURES))])
    at_ms = T0 + number * 3_600_000
    return TrainingExample(
        family="churn", head=head, feature_set=feature_set(CORE.churn), features=features, rows=1, label=label,
        weight=1.0, predicted_at=at_ms, matured_at=at_ms + int(days * DAY_MS), predicted=0.6,
    )  # fmt: skip


def taught(settings: ChallengerSettings, n: int) -> Challenger:
    challenger = new_challenger(settings, CORE, CATALOGUE)
    for number in range(n):
        challenger.fold(number, example(number))
    return challenger


@pytest.mark.parametrize("settings", [TREE, FASTER])
def test_a_challenger_learns_to_tell_labels_apart(settings: ChallengerSettings) -> None:
    """A tree of River's and the built-in model alike."""
    challenger = taught(settings, 300)
    told = [(example(number).label, challenger.probability(example(number))) for number in range(300, 320)]
    yes = [p for label, p in told if label and p is not None]
    no = [p for label, p in told if not label and p is not None]
    assert len(yes) + len(no) == 20
    assert min(yes) > max(no)


@pytest.mark.parametrize("settings", [TREE, FASTER])
def test_a_challenger_answers_with_what_had_matured_when_the_prediction_was_made(settings: ChallengerSettings) -> None:
    """Two logs that differ only in labels that matured later give the same answer; an earlier label changes it."""
    asked = example(130)

    def answer(first_flipped: int) -> float | None:
        challenger = new_challenger(settings, CORE, CATALOGUE)
        for number in range(130):
            row = example(number)
            label = row.label if number < first_flipped else 1.0 - row.label
            challenger.fold(number, structs.replace(row, label=label))
        return challenger.probability(asked)

    known = next(number for number in range(130) if example(number).matured_at > asked.predicted_at)
    assert answer(known) is not None
    assert answer(known) == answer(130)
    assert answer(known - 60) != answer(130)


@pytest.mark.parametrize("settings", [TREE, FASTER])
def test_a_challenger_that_knew_nothing_yet_gives_no_answer(settings: ChallengerSettings) -> None:
    """No label had matured at the first predictions."""
    assert taught(settings, 100).probability(example(10)) is None


@pytest.mark.parametrize("settings", [TREE, FASTER])
def test_asking_a_challenger_changes_nothing(settings: ChallengerSettings) -> None:
    """The same answers and snapshots, asked once or often."""
    asked, unasked = taught(settings, 150), taught(settings, 150)
    for number in range(150, 200):
        asked.probability(example(number))
        assert asked.fold(number, example(number)) == unasked.fold(number, example(number))
    assert asked.probability(example(200)) == unasked.probability(example(200)) is not None


def test_the_built_in_challenger_goes_on_from_its_snapshot_bit_for_bit() -> None:
    """And a challenger of the same name with other parameters begins anew, for it would be neither of the two."""

    def snapshots(challenger: Challenger) -> dict[int, bytes]:
        numbers = range(challenger.next_offset, 300)
        folded = {number: challenger.fold(number, example(number)).snapshot for number in numbers}
        return {number: data for number, data in folded.items() if data is not None}

    core = replace(CORE, learner=LearnerSettings(snapshot_examples=50))
    unbroken = snapshots(new_challenger(FASTER, core, CATALOGUE))
    assert list(unbroken) == [49, 99, 149, 199, 249, 299]
    kept = unbroken[149]
    assert snapshots(new_challenger(FASTER, core, CATALOGUE, kept)) == {at: unbroken[at] for at in (199, 249, 299)}
    assert decode_snapshot(kept, core, CATALOGUE).model == "churn.faster"
    other = ChallengerSettings("faster", parameters={"learning_rate": 0.1})
    assert new_challenger(other, core, CATALOGUE, kept).next_offset == 0
    assert new_challenger(FASTER, core, CATALOGUE, b"damaged").next_offset == 0


def test_a_challenger_without_plain_data_has_no_snapshot() -> None:
    """Trees learn anew when they start."""
    core = replace(CORE, learner=LearnerSettings(snapshot_examples=1))
    assert new_challenger(TREE, core, CATALOGUE).fold(0, example(0)).snapshot is None
    assert new_challenger(TREE, core, CATALOGUE, b"").next_offset == 0


def test_models_that_draw_are_the_same_each_time() -> None:
    """A forest is given a seed where the settings give none."""
    forest = ChallengerSettings("forest", model="river.forest.ARFClassifier", parameters={"n_models": 3})
    assert taught(forest, 200).probability(example(210)) == taught(forest, 200).probability(example(210))


def test_parameters_can_be_objects_of_rivers() -> None:
    """A table with its class."""
    optimizer = {"class": "optim.FTRLProximal", "alpha": 0.2}
    model = river_classifier("linear_model.LogisticRegression", {"optimizer": optimizer})
    assert type(model.optimizer).__name__ == "FTRLProximal"
    assert model.optimizer.alpha == 0.2
    bagged = river_classifier("ensemble.BaggingClassifier", {"model": {"class": "tree.HoeffdingTreeClassifier"}})
    assert type(bagged.model).__name__ == "HoeffdingTreeClassifier"


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("os.system", {}, "River has no module os"),
        ("forest.ARFClassifer", {}, r"Did you mean forest\.ARFClassifier\?"),
        ("forest.ARFRegressor", {}, "is no classifier, but a regressor"),
        ("forest._ARF", {}, "is no name of a class"),
        ("forest", {}, "write module and class"),
        ("base.__builtins__", {}, "is no name of a class"),
        ("tree.HoeffdingTreeClassifier", {"grace": 1}, "no parameter grace; it takes grace_period"),
        ("linear_model.LogisticRegression", {"optimizer": {"class": "os.path"}}, "River has no module os"),
        ("linear_model.LogisticRegression", {"optimizer": {"class": "optim.Nothing"}}, "has no class Nothing"),
        (
            "linear_model.LogisticRegression",
            {"optimizer": {"class": "datasets.SMSSpam"}},
            "nothing that a model of River",
        ),
        ("linear_model.Perceptron", {"l2": "much"}, "can't be"),
        ("compose.Nothing", {}, "has no class Nothing"),  # a module that lists a name which it does not hold
    ],
)
def test_what_names_no_classifier_is_refused_in_words(name: str, parameters: Mapping[str, object], words: str) -> None:
    """What was named, what is wrong with it, and what would be right."""
    with pytest.raises(UnknownModel, match=words):
        river_classifier(name, parameters)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"horizon": 3}, "no parameter horizon; it takes learning_rate"),
        ({"l2": "much"}, "must be a number"),
        ({"drift_loosening": 0.5}, "drift_loosening is 0.5; it must be at least 1"),
    ],
)
def test_a_built_in_challenger_takes_only_what_its_learner_takes(parameters: dict[str, object], words: str) -> None:
    """With the challenger's name before it."""
    with pytest.raises(UnknownModel, match=f"challenger slow: .*{words}"):
        new_challenger(ChallengerSettings("slow", parameters=parameters), CORE, CATALOGUE)


def test_only_rows_that_judge_the_model_in_force_are_compared() -> None:
    """Treated customers and predictions of a model that knew nothing do not."""
    row = example(1, HORIZON)
    assert judged_prediction(row, CORE.churn) == row.predicted is not None
    for change in ({"predicted": None}, {"weight": 0.0}, {"feature_set": "of another horizon"}, {"head": "segment"}):
        assert judged_prediction(structs.replace(row, **change), CORE.churn) is None


ROWS = st.lists(st.tuples(st.booleans(), st.floats(0.001, 0.999)), min_size=1, max_size=60)


@given(ROWS)
def test_figures_are_the_mean_loss_and_the_area_under_the_curve(rows: list[tuple[bool, float]]) -> None:
    """The area by counting pairs, where predictions lie on the middle of the bins of the logit."""
    on_bins = [(label, 1 / (1 + math.exp(-(round(math.log(p / (1 - p)), 1) + 0.05)))) for label, p in rows]
    tally = Tally()
    for label, p in on_bins:
        tally.add(float(label), p)
    figures = tally.figures()
    assert figures.n == len(rows)
    losses = [-math.log(p if label else 1 - p) for label, p in on_bins]
    assert figures.log_loss == pytest.approx(sum(losses) / len(losses))
    pairs = [
        (p > q) + 0.5 * (abs(p - q) < 1e-9) - (0 < p - q < 1e-9) for y, p in on_bins if y for z, q in on_bins if not z
    ]
    assert figures.auc == (pytest.approx(sum(pairs) / len(pairs)) if pairs else None)


def test_of_late_forgets_what_was_long_ago() -> None:
    """While the figures of all keep it."""
    judge = Prequential()
    for _ in range(RECENT_EXAMPLES):
        judge.add(1.0, 0.01)
    for _ in range(2 * RECENT_EXAMPLES):
        judge.add(1.0, 0.99)
    assert judge.recent().log_loss == pytest.approx(-math.log(0.99))
    assert judge.all().n == 3 * RECENT_EXAMPLES
    assert judge.all().log_loss == pytest.approx(-(math.log(0.01) + 2 * math.log(0.99)) / 3)


def test_a_model_without_heads_knows_no_label() -> None:
    """As one that was read from an older format may be."""
    assert latest_label_ms(ChurnModels()) is None
    assert latest_label_ms(ChurnModels(churn=ChurnState({}, SeasonState()))) is None
