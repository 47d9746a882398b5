"""Training challengers beside the models in force: whatever one does, the worker that trains it goes on scoring."""

import math
from collections import defaultdict
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.core.knowledge.challenger import new_challenger
from consumer.core.settings import BUILT_IN, ChallengerSettings
from consumer.kafka.clocks import Clocks
from consumer.kafka.cluster.cluster import Cluster as Reached
from consumer.kafka.cluster.cluster_settings import KafkaSettings, TopicSettings
from consumer.kafka.cluster.mock_broker import MockBroker
from consumer.kafka.failures import CannotGoOn
from consumer.kafka.models import trainer as trainers
from consumer.kafka.models.group import ElectedReader
from consumer.kafka.models.index import ModelIndex
from consumer.kafka.models.records import Score, decode_score
from consumer.kafka.models.trainer import SCORE_EVERY_S, ChallengingModel, OwnModel, Trainer, Training
from consumer.kafka.observer import Observer
from schemas.codec import Decoder, JsonEncoder
from schemas.records import FAMILIES, Family
from schemas.units import DAY_MS, Ms, Seconds
from tests.core.test_challenger import CATALOGUE, CORE, FASTER, TREE, example
from tests.kafka.harness.cluster import Cluster, wait_until
from tests.kafka.harness.training import (
    A_SECOND,
    AT_ONCE,
    Member,
    Written,
    index_of,
    promoted,
    reader_of,
    snapshot_record,
    trainer_of,
)

_JSON = JsonEncoder()


class Told(Observer):
    """Keeps what a challenger said."""

    def __init__(self) -> None:
        self.own: list[float] = []

    def compared(self, model: str, head: str, label: float, own: float, in_force: float) -> None:  # noqa: ARG002
        self.own.append(own)


def training(index: ModelIndex | None = None, observer: Observer | None = None) -> Training:
    return Training(CORE, CATALOGUE, index or ModelIndex(), observer or Observer())


def trained(
    settings: ChallengerSettings, n: int, index: ModelIndex | None = None, told: Observer | None = None
) -> ChallengingModel:
    """Return a challenger that has folded `n` examples in."""
    model = ChallengingModel(settings, training(index, told))
    for number in range(n):
        model.fold(number, example(number))
    return model


def score_of(model: ChallengingModel | OwnModel) -> Score:
    score = model.score()
    assert score is not None
    assert decode_score(msgspec.json.encode(score)) == score
    return score


def test_a_challenger_that_raises_learns_no_more_and_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of models shows at which example it failed, and why."""

    def failing(*arguments: Any) -> Any:
        made: Any = new_challenger(*arguments)
        fold = made.fold

        def fold_until_120(offset: int, row: Any) -> Any:
            if offset == 120:
                raise ZeroDivisionError("in a leaf")
            assert offset < 120, "it was asked again"
            return fold(offset, row)

        made.fold = fold_until_120
        return made

    monkeypatch.setattr(trainers, "new_challenger", failing)
    score = score_of(trained(TREE, 150))
    assert score.failed == "it failed at example 120: ZeroDivisionError('in a leaf')"
    assert score.examples == 121


def test_a_challenger_whose_probability_is_no_number_is_not_judged_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that have run away would spoil the sums of all rows before."""

    def running_away(*arguments: Any) -> Any:
        made: Any = new_challenger(*arguments)
        probability = made.probability
        made.probability = lambda row: probability(row) if row.predicted_at < example(140).predicted_at else math.nan
        return made

    monkeypatch.setattr(trainers, "new_challenger", running_away)
    told = Told()
    score = score_of(trained(TREE, 150, told=told))
    assert score.failed is not None
    assert "example 140: ValueError('its probability is nan')" in score.failed
    assert told.own
    assert all(map(math.isfinite, told.own))
    assert math.isfinite(score.heads["hazard"].own.all.log_loss or 0.0)


def test_figures_that_cannot_be_published_do_not_keep_a_trainer_from_leaving() -> None:
    """A worker that ends because of its producer closes everything else, and its own error is the one that is told."""

    class Refusing(Written):
        def publish(self, key: bytes, data: bytes) -> None:  # noqa: ARG002
            raise CannotGoOn("refused")

    members = [Member(50), Member(50)]
    trainer = trainer_of(training(), members[0], [(FASTER, members[1])], Refusing())
    trainer.learn(A_SECOND)
    trainer.close(AT_ONCE)
    assert all(member.closed for member in members)


def test_a_slow_challenger_gives_back_control_after_the_example_that_used_up_its_time() -> None:
    """What was fetched with it waits for the next turn, and none is lost."""
    now_s, folded = [0.0], []
    reader = reader_of(Member(9), lambda: Seconds(now_s[0]), batch_records=5)

    def fold_slowly(budget_s: float) -> None:
        for _, offset, _ in reader.read(Seconds(budget_s)):
            now_s[0] += 1.0
            folded.append(offset)

    reader.join()
    fold_slowly(1.0)
    assert reader.newly_elected() == list(FAMILIES)
    reader.start("churn", 0)
    fold_slowly(0.2)
    assert folded == [0]
    fold_slowly(2.5)
    assert folded == [0, 1, 2, 3]
    fold_slowly(100.0)
    assert folded == list(range(9))


def test_of_a_challenger_in_force_its_own_trainer_tells_no_figures() -> None:
    """The trainer of the family does: two tellers of one name would take turns in the list of models."""
    assert trained(FASTER, 150).score() is not None
    assert trained(FASTER, 150, promoted("churn.faster", 0)).score() is None


def test_a_promoted_model_is_not_judged_by_what_the_one_before_it_predicted() -> None:
    """Labels come a window later than predictions; those of the first window are about the other model."""

    def judged(index: ModelIndex) -> tuple[str, int]:
        model = OwnModel("churn", training(index))
        for number in range(100):
            model.fold(number, example(number))
        score = score_of(model)
        return score.model, score.heads["hazard"].own.all.n

    assert judged(ModelIndex()) == ("churn", 100)
    assert judged(promoted("churn.faster", example(60).predicted_at)) == ("churn.faster", 40)


def test_a_challenger_goes_on_from_its_snapshot_knowing_how_far_its_labels_go() -> None:
    """Tasks run ahead of each other: a label that comes first after a start may be older than others it knows."""
    data = trained(FASTER, 199).fold(199, example(199))
    assert data is not None
    told = Told()
    challenger = ChallengingModel(FASTER, training(index_of(snapshot_record("churn.faster", 199, data)), told))
    assert challenger.next_offset == 200
    for number in range(100, 160):  # a task that is 40 hours behind
        challenger.fold(200 + number, example(number))
    assert told.own == []  # before the labels of all 200 were known it can say nothing
    for number in range(260, 310):
        challenger.fold(200 + number, example(number))
    assert told.own


def test_a_trainer_trains_what_it_was_elected_for_and_publishes_what_is_due() -> None:
    """The families' own models and the challengers of their families, each from its own place in the log."""
    written = Written()
    own, faster, tree = (Member(410) for _ in range(3))
    latest = trained(FASTER, 199).fold(199, example(199))
    assert latest is not None
    index = index_of(snapshot_record("churn.faster", 199, latest))
    trainer = trainer_of(training(index), own, [(FASTER, faster), (TREE, tree)], written)
    assert written.records == []
    trainer.learn(A_SECOND)
    assert [key for key, _ in written.records] == [b"churn@199", b"churn@399", b"churn.faster@399"]
    trainer.close(AT_ONCE)
    told = {model: written.score(model) for model in ("churn", "churn.faster", "churn.tree", "preference")}
    examples = {model: score and score.examples for model, score in told.items()}
    assert examples == {"churn": 410, "churn.faster": 210, "churn.tree": 410, "preference": None}


@pytest.mark.kafka
def test_a_trainer_slower_than_retention_goes_on_with_what_is_left(
    kafka_bootstrap: str, unique_prefix: str, tmp_path: Path
) -> None:
    """A challenger begins with the oldest example there is; that may expire under it, and the worker must not stop."""
    cluster = Cluster(kafka_bootstrap, unique_prefix, tmp_path)
    cluster.create()
    reached, topic = cluster.reached(), cluster.topics.name("training-examples")
    admin = reached.admin
    producer = reached.idempotent_producer()
    for number in range(30):
        for partition in (0, 1):
            producer.produce(topic, _JSON.encode("training-examples", example(number)), b"", partition)
    assert producer.flush(30.0) == 0

    class ExpiresMeanwhile:
        """Retention takes 20 examples right after a trainer has asked where the log begins, when it starts."""

        asked = 0
        list_topics = admin.list_topics

        def list_offsets(self, *arguments: Any, **options: Any) -> Any:
            found = admin.list_offsets(*arguments, **options)
            for future in found.values():
                future.result(10.0)
            self.asked += 1
            if self.asked == 2:  # the first was at the assignment, the third is of the other family
                for gone in admin.delete_records([TopicPartition(topic, 0, 20)]).values():
                    gone.result(10.0)
            return found

    folded: defaultdict[Family, list[int]] = defaultdict(list)
    member, expires = reached.member("-challenger-slow"), cast("AdminClient", ExpiresMeanwhile())
    reader = ElectedReader(member, expires, topic, Decoder(), clock_s=lambda: AT_ONCE, batch_records=10)
    reader.join()

    def all_read() -> bool:
        for family in reader.newly_elected():
            if family != "policy":
                reader.start(family, 0)
        for family, offset, _ in reader.read(A_SECOND):
            folded[family].append(offset)
        return len(folded["churn"]) >= 10 and len(folded["preference"]) >= 30

    wait_until(all_read, "the examples that are left")
    reader.close()
    assert folded == {"churn": list(range(20, 30)), "preference": list(range(30))}


def test_a_log_that_comes_back_is_read_from_where_it_is_started() -> None:
    """What was fetched before it was lost lies further on: those between are not passed over."""
    member = Member(30)
    reader = reader_of(member)
    reader.join()
    assert list(reader.read(A_SECOND)) == []
    reader.start("churn", 12)
    assert [offset for _, offset, _ in reader.read(AT_ONCE)] == [12]  # of a whole batch
    families = [TopicPartition("training-examples", partition) for partition in range(len(FAMILIES))]
    reader._on_revoke(cast("Any", member), families)
    reader._on_assign(cast("Any", member), families)
    assert reader.start("churn", 3) == 3
    assert [next(reader.read(A_SECOND))[1] for _ in range(10)] == list(range(3, 13))


def test_the_kinds_that_can_be_promoted_are_told_by_their_trainers() -> None:
    """A tree has no plain-data form, the built-in model has one."""
    tree, faster = score_of(trained(TREE, 60)), score_of(trained(FASTER, 60))
    assert (tree.promotable, tree.kind) == (False, TREE.model)
    assert (faster.promotable, faster.kind) == (True, BUILT_IN)


def test_of_several_workers_exactly_one_is_elected_for_a_challenger() -> None:
    """Also where there are more of them than families; when it leaves, another one goes on."""
    with MockBroker({"training-examples": len(FAMILIES)}) as broker:
        slots = [
            Reached(
                KafkaSettings(broker.bootstrap, "shop", instance_id=f"worker-{n}", session_timeout_ms=Ms(1_500)),
                TopicSettings(),
            )
            for n in range(4)
        ]
        producer = slots[0].idempotent_producer()
        for number in range(40):
            producer.produce("training-examples", _JSON.encode("training-examples", example(number)), b"", 0)
        assert producer.flush(30.0) == 0
        now_s = [0.0]
        clocks = Clocks(ms=lambda: Ms(0), s=lambda: Seconds(now_s[0]))

        def worker(slot: Reached, written: Written) -> Trainer:
            member = slot.member("-challenger-faster")
            elected = ElectedReader(
                member, slot.admin, "training-examples", Decoder(), clock_s=lambda: AT_ONCE, batch_records=10
            )
            return Trainer(
                reader_of(Member(0)), [(FASTER, elected)], training(), written, clocks=clocks, republish_ms=DAY_MS
            )

        boards = [Written() for _ in slots]
        workers = [(worker(slot, written), written) for slot, written in zip(slots, boards, strict=True)]
        for trainer, _ in workers:
            trainer.start()

        def told() -> list[tuple[Trainer, Written]]:
            """Let all of them learn, and return those that tell of all examples."""
            now_s[0] += SCORE_EVERY_S
            for trainer, _ in workers:
                trainer.learn(A_SECOND)
            scores = [(each, each[1].score("churn.faster")) for each in workers]
            return [each for each, score in scores if score is not None and score.examples == 40]

        wait_until(lambda: bool(told()), "an elected trainer")
        (first,) = told()
        workers.remove(first)
        first[0].close(AT_ONCE)
        wait_until(lambda: bool(told()), "its successor")
        assert len(told()) == 1
        for trainer, _ in workers:
            trainer.close(AT_ONCE)
