"""Learners and snapshots: functions of the log, and nothing is adopted that cannot be trusted."""

from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from zlib import crc32

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from consumer.core.catalogue import Catalogue
from consumer.core.churn.churn import HAZARD, HORIZON
from consumer.core.churn.churn import feature_set as churn_features_of
from consumer.core.knowledge import snapshot as snapshots
from consumer.core.knowledge.families import FAMILY_SPECS, ChurnModels
from consumer.core.knowledge.knowledge import Knowledge
from consumer.core.knowledge.learner import Learner, new_learner, restore_learner
from consumer.core.knowledge.snapshot import (
    ChallengerSpec,
    RefusedSnapshot,
    decode_snapshot,
    encode_snapshot,
    read_snapshot,
)
from consumer.core.learning.drift import LOSS, REST_EXAMPLES, Drift
from consumer.core.preference import audience
from consumer.core.settings import AudienceSettings, ChurnSettings, LearnerSettings
from consumer.default_catalogue import default_catalogue
from schemas.records import FAMILIES, Family, TrainingExample
from schemas.units import DAY_MS
from tests.core.decisions import small_mapping
from tests.core.streams import SETTINGS, T0, Stream, new_task

CATALOGUE = default_catalogue()


def made_examples() -> dict[Family, list[TrainingExample]]:
    task = new_task()
    stream = Stream(task)
    for day in range(40):
        for customer in range(6):
            if (day + customer) % (customer + 2) == 0:
                stream.click(f"c{customer}", T0 + day * DAY_MS + customer, item_id=f"i{day % 5}")
                stream.click(
                    f"c{customer}", T0 + day * DAY_MS + 100 + customer, "cart_add", item_id=f"i{(day + 1) % 5}"
                )
                if day % 3 == 0:
                    stream.order(f"c{customer}", T0 + day * DAY_MS + 200 + customer, f"i{(day + 1) % 5}")
    examples = task.take_outputs().examples
    return {family: [e for e in examples if e.family == family] for family in FAMILIES}


EXAMPLES = made_examples()


def fold(learner: Learner, family: Family, start: int, stop: int) -> Learner:
    for offset, example in enumerate(EXAMPLES[family][start:stop], start):
        learner.fold(offset, example)
    return learner


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=15)
@given(cut=st.integers(0, 40))
def test_a_learner_restored_from_a_snapshot_takes_the_same_next_snapshot(family: Family, cut: int) -> None:
    """A trainer that restarts anywhere publishes the bytes that it would have published anyway."""
    n = len(EXAMPLES[family])
    assert n > 40
    unbroken = fold(new_learner(family, SETTINGS, CATALOGUE), family, 0, n)
    first = fold(new_learner(family, SETTINGS, CATALOGUE), family, 0, cut)
    resumed = fold(restore_learner(first.snapshot(), SETTINGS, CATALOGUE), family, cut, n)
    assert resumed.snapshot() == unbroken.snapshot()


@pytest.mark.parametrize("family", FAMILIES)
def test_examples_of_other_features_teach_nothing_and_stop_nobody(family: Family) -> None:
    """The log outlives builds: what an older one left in it must not keep a trainer, or a rebuild, from going on."""
    examples = [structs.replace(example, feature_set="of another build") for example in EXAMPLES[family]]
    learner = new_learner(family, SETTINGS, CATALOGUE)
    for offset, example in enumerate(examples):
        learner.fold(offset, example)
    untaught = new_learner(family, SETTINGS, CATALOGUE)
    untaught.last_offset = learner.last_offset
    assert learner.snapshot() == untaught.snapshot()


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=10, deadline=None)
@given(gaps=st.lists(st.integers(1, 3), min_size=40, max_size=40), restart_at=st.integers(0, 5))
def test_snapshots_are_due_after_every_so_many_examples_wherever_a_learner_began(
    family: Family, gaps: list[int], restart_at: int
) -> None:
    """Examples are counted, not offsets; from the latest snapshot on it is the same places with the same bytes."""
    core = replace(SETTINGS, learner=LearnerSettings(snapshot_examples=7))
    offsets = list(accumulate(gaps))

    def due(learner: Learner) -> dict[int, bytes]:
        rows = [row for row in zip(offsets, EXAMPLES[family], strict=False) if row[0] >= learner.next_offset]
        folded = {offset: learner.fold(offset, example).snapshot for offset, example in rows}
        return {offset: data for offset, data in folded.items() if data is not None}

    from_the_beginning = due(new_learner(family, core, CATALOGUE))
    assert list(from_the_beginning) == offsets[6::7]
    before = list(from_the_beginning.items())[:restart_at]
    learner = restore_learner(before[-1][1], core, CATALOGUE) if before else new_learner(family, core, CATALOGUE)
    assert dict(before) | due(learner) == from_the_beginning


def test_examples_out_of_order_are_a_fault() -> None:
    """Folding an offset twice would make a snapshot that is no function of its log."""
    learner = fold(new_learner("churn", SETTINGS, CATALOGUE), "churn", 0, 3)
    with pytest.raises(ValueError, match="in order"):
        learner.fold(2, EXAMPLES["churn"][2])


@pytest.mark.parametrize("family", FAMILIES)
def test_knowledge_adopts_what_is_newer_and_ignores_what_is_older(family: Family) -> None:
    """A late duplicate of an old snapshot does not turn the model back, unless verify asks for it."""
    old = fold(new_learner(family, SETTINGS, CATALOGUE), family, 0, 10).snapshot()
    new = fold(new_learner(family, SETTINGS, CATALOGUE), family, 0, 20).snapshot()
    knowledge = Knowledge(SETTINGS, CATALOGUE)
    assert knowledge.adopt(new)
    assert not knowledge.adopt(old)
    assert knowledge.model_versions == {family: 19}
    assert knowledge.adopt(old, force=True)
    assert knowledge.versions() == {family: 9, "sessions": 0}


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_damaged_snapshot_is_refused_in_words(position: int, flip: int) -> None:
    """One flipped byte anywhere, and the message says what to do."""
    data = bytearray(new_learner("churn", SETTINGS, CATALOGUE).snapshot())
    data[position % len(data)] ^= flip
    with pytest.raises(RefusedSnapshot, match="models rebuild"):
        Knowledge(SETTINGS, CATALOGUE).adopt(bytes(data))


def test_a_snapshot_of_another_river_is_refused_in_words() -> None:
    """Its numbers may differ, so nothing is learned on from it or scored with it."""
    snapshot = decode_snapshot(new_learner("churn", SETTINGS, CATALOGUE).snapshot(), SETTINGS, CATALOGUE)
    older = encode_snapshot(structs.replace(snapshot, river_version="0.25.0"))
    with pytest.raises(RefusedSnapshot, match=r"learned with River 0\.25\.0, this build has .*models rebuild"):
        Knowledge(SETTINGS, CATALOGUE).adopt(older)


FORMAT_1 = sorted((Path(__file__).parent / "snapshots" / "format_1").iterdir())


def numbers_in(value: object) -> list[float]:
    """Return every number in plain data, in order of size; that of the examples stood twice in format 1."""
    if isinstance(value, dict):
        value = [each for name, each in value.items() if name != "n_examples"]
    if isinstance(value, list | tuple):
        return sorted(number for each in value for number in numbers_in(each))
    return [float(value)] if isinstance(value, int | float) and not isinstance(value, bool) else []


@pytest.mark.parametrize("path", FORMAT_1, ids=lambda path: path.stem)
def test_snapshots_of_format_1_can_be_read_and_nothing_in_them_is_lost(path: Path) -> None:
    """Their models are those of one family each, down to the last number; a challenger's says whose it is."""
    data = path.read_bytes()
    old = msgspec.msgpack.decode(data[4:])
    snapshot = read_snapshot(data)
    assert (old["format"], snapshot.format, snapshot.offset) == (1, 2, old["offset"])
    assert snapshot.model == path.stem
    assert snapshot.meaning == old["meaning"]
    models = [old[name] for name in ("churn", "segments", "drift", "preference", "basket", "audience", "policy")]
    assert numbers_in(msgspec.to_builtins(snapshot.models)) == numbers_in(models)
    assert read_snapshot(encode_snapshot(snapshot)) == snapshot


@pytest.mark.parametrize("path", FORMAT_1, ids=lambda path: path.stem)
def test_learners_and_workers_go_on_from_a_snapshot_of_format_1(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as its numbers mean the same, which River's version and the settings decide."""
    snapshot = read_snapshot(path.read_bytes())
    monkeypatch.setattr(snapshots, "river_version", snapshot.river_version)
    same = {family: replace(spec, meaning=lambda *_: snapshot.meaning) for family, spec in FAMILY_SPECS.items()}
    monkeypatch.setattr(snapshots, "FAMILY_SPECS", same)
    catalogue = Catalogue.from_mapping(small_mapping())
    learner = restore_learner(path.read_bytes(), SETTINGS, catalogue)
    assert learner.models() == snapshot.models
    learner.fold(60, EXAMPLES[learner.family][0])
    knowledge = Knowledge(SETTINGS, catalogue)
    knowledge.promote(learner.model)
    assert knowledge.adopt(path.read_bytes())
    assert knowledge.adopt(learner.snapshot())
    assert knowledge.model_versions == {path.stem: 60}


def test_a_snapshot_of_a_newer_build_is_refused_in_words() -> None:
    """Which formats this build reads, and what to do."""
    snapshot = new_learner("churn", SETTINGS, CATALOGUE).snapshot()
    newer = encode_snapshot(structs.replace(read_snapshot(snapshot), format=9))
    with pytest.raises(RefusedSnapshot, match=r"format 9, this build reads 1 to 2: .*models rebuild"):
        Knowledge(SETTINGS, CATALOGUE).adopt(newer)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"family": "churn"},
        {"family": "churn", "churn": {"horizon": 7}},
        {"family": "policy", "churn": [1], "policy": 7},
    ],
)
def test_a_snapshot_that_says_less_than_its_format_asks_is_refused_in_words(fields: dict[str, object]) -> None:
    """Whatever stands in the topic, nobody meets a stack trace."""
    body = msgspec.msgpack.encode({"format": 1, **fields})
    with pytest.raises(RefusedSnapshot, match="cannot be read"):
        read_snapshot(crc32(body).to_bytes(4, "big") + body)


def test_the_table_of_families_makes_each_scorer_of_knowledge_once() -> None:
    """A name that is missing would be found at the first decision, one that is there twice never."""
    specs = [spec.scorers(SETTINGS, CATALOGUE, spec.models()) for spec in FAMILY_SPECS.values()]
    assert sorted(name for made in specs for name in made) == sorted(Knowledge.__annotations__)


def test_the_table_of_families_makes_a_learner_for_each_model_of_a_snapshot() -> None:
    """One without would be left out of every snapshot, and nobody would learn of it."""
    for spec in FAMILY_SPECS.values():
        learners = spec.learners(SETTINGS, CATALOGUE, spec.models())
        assert sorted(learners) == sorted(field.name for field in structs.fields(spec.models))


def test_only_the_model_in_force_is_adopted() -> None:
    """A challenger changes nothing until it is promoted; from then on the own model does not, until a rollback."""
    own = [fold(new_learner("churn", SETTINGS, CATALOGUE), "churn", 0, n).snapshot() for n in (10, 20, 30)]
    challenging = new_learner("churn", SETTINGS, CATALOGUE, ChallengerSpec("b", {}))
    theirs = fold(challenging, "churn", 0, 15).snapshot()
    knowledge = Knowledge(SETTINGS, CATALOGUE)
    assert knowledge.adopt(own[0])
    assert not knowledge.adopt(theirs)
    knowledge.promote("churn.b")
    assert knowledge.model_versions == {"churn": 9}  # until a snapshot of the other comes
    assert not knowledge.adopt(own[1])
    assert knowledge.adopt(theirs)
    assert knowledge.model_versions == {"churn.b": 14}
    knowledge.promote("churn")
    assert knowledge.adopt(own[2])
    assert knowledge.model_versions == {"churn": 29}


def test_a_learner_tells_of_moves_and_one_that_restarts_on_the_way_tells_of_the_same() -> None:
    """Losses that grow, noticed at the same examples."""
    sample = next(example for example in EXAMPLES["churn"] if example.head == HAZARD)
    right = structs.replace(sample, label=1.0, predicted=0.9)
    wrong = structs.replace(sample, label=0.0, predicted=0.9)
    rows = [right] * (REST_EXAMPLES + 100) + [right, wrong] * 200

    def run(cuts: list[int]) -> list[tuple[int, Drift]]:
        learner, moves = new_learner("churn", SETTINGS, CATALOGUE), []
        for offset, row in enumerate(rows):
            if offset in cuts:
                learner = restore_learner(learner.snapshot(), SETTINGS, CATALOGUE)
            moves += [(offset, move) for move in learner.fold(offset, row).moves]
        return moves

    moves = run([])
    assert {move.what for _, move in moves} == {LOSS}
    assert all(move.after > move.before for _, move in moves)
    assert run([50, 2_150, 2_230]) == moves


def test_drift_is_looked_for_in_the_hazard_head_alone() -> None:
    """The labels of the others tell of months ago."""
    sample = next(example for example in EXAMPLES["churn"] if example.head == HAZARD)

    def moves(head: str) -> int:
        learner = new_learner("churn", SETTINGS, CATALOGUE)
        rows = (structs.replace(sample, head=head, label=float(n < 600), predicted=0.9) for n in range(1_200))
        return sum(len(learner.fold(offset, row).moves) for offset, row in enumerate(rows))

    assert moves(HAZARD) > 0
    assert moves(HORIZON) == 0


def test_a_snapshot_of_another_horizon_is_refused() -> None:
    """A changed meaning is never scored with."""
    snapshot = fold(new_learner("churn", SETTINGS, CATALOGUE), "churn", 0, 5).snapshot()
    other = replace(SETTINGS, churn=ChurnSettings(horizon_days=30))
    with pytest.raises(RefusedSnapshot, match="other settings"):
        restore_learner(snapshot, other, CATALOGUE)


def test_an_example_labelled_by_another_horizon_teaches_nothing() -> None:
    """After a change of horizon the log of examples can be folded anew, and only what still means the same counts."""
    other = replace(SETTINGS, churn=ChurnSettings(horizon_days=30))
    learner = fold(new_learner("churn", other, CATALOGUE), "churn", 0, 30)
    untaught = new_learner("churn", other, CATALOGUE)
    taught, blank = learner.models(), untaught.models()
    assert isinstance(taught, ChurnModels)
    assert isinstance(blank, ChurnModels)
    assert taught.churn == blank.churn


def test_whole_days_mean_the_same_as_a_number_with_a_point() -> None:
    """Settings come from files, variables and code; models and examples of 30 days are those of 30.0 days."""
    assert churn_features_of(ChurnSettings(horizon_days=90, hazard_days=7)) == churn_features_of(ChurnSettings())
    churn_features_of.cache_clear()
    whole = churn_features_of(ChurnSettings(horizon_days=90, hazard_days=7))
    churn_features_of.cache_clear()
    assert churn_features_of(ChurnSettings()) == whole
    audience.feature_set.cache_clear()
    whole = audience.feature_set(AudienceSettings(within_days=30))
    audience.feature_set.cache_clear()
    assert audience.feature_set(AudienceSettings(within_days=30.0)) == whole
