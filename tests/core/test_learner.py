"""Learners and snapshots: functions of the log, and nothing is adopted that cannot be trusted."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.knowledge import Knowledge
from consumer.core.learner import Learner, new_learner, restore_learner
from consumer.core.settings import DAY_MS, ChurnSettings
from consumer.core.snapshot import RefusedSnapshot
from schemas.records import FAMILIES, Family, TrainingExample
from tests.core.streams import SETTINGS, T0, Stream, default_catalogue, new_task

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
        learner.learn(offset, example)
    return learner


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=15, deadline=None)
@given(cut=st.integers(0, 40))
def test_a_learner_restored_from_a_snapshot_takes_the_same_next_snapshot(family: Family, cut: int) -> None:
    """A trainer that restarts anywhere publishes the bytes that it would have published anyway."""
    n = len(EXAMPLES[family])
    assert n > 40
    unbroken = fold(new_learner(family, SETTINGS, CATALOGUE), family, 0, n)
    first = fold(new_learner(family, SETTINGS, CATALOGUE), family, 0, cut)
    resumed = fold(restore_learner(first.snapshot(), SETTINGS, CATALOGUE), family, cut, n)
    assert resumed.snapshot() == unbroken.snapshot()


def test_examples_out_of_order_are_a_fault() -> None:
    """Folding an offset twice would make a snapshot that is no function of its log."""
    learner = fold(new_learner("churn", SETTINGS, CATALOGUE), "churn", 0, 3)
    with pytest.raises(ValueError, match="in order"):
        learner.learn(2, EXAMPLES["churn"][2])


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
    untaught.last_offset = learner.last_offset
    assert learner.snapshot() == untaught.snapshot()
