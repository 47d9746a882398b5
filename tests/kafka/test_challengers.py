"""Training challengers beside the models in force: whatever one does, the worker that trains it goes on scoring."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import TopicPartition
from msgspec import structs

from consumer.core.knowledge.challenger import new_challenger
from consumer.core.knowledge.snapshot import decode_snapshot
from consumer.core.settings import BUILT_IN, ChallengerSettings, CoreSettings
from consumer.kafka.cluster.cluster import Cluster as Reached
from consumer.kafka.cluster.cluster_settings import KafkaSettings, TopicSettings
from consumer.kafka.cluster.mock_broker import MockBroker
from consumer.kafka.failures import CannotGoOn
from consumer.kafka.models import challengers
from consumer.kafka.models.challengers import ChallengerTrainer
from consumer.kafka.models.follower import ModelsInTopic
from consumer.kafka.models.group import ElectedReader
from consumer.kafka.models.publisher import ModelPublisher
from consumer.kafka.models.records import LatestSnapshot, Promotion, Score, decode_score, kind_of
from consumer.kafka.models.trainer import SCORE_EVERY_S, Trainer
from consumer.kafka.observer import Observer
from schemas.codec import Decoder, JsonEncoder
from schemas.records import FAMILIES, Family
from schemas.units import Ms
from tests.core.test_challenger import CATALOGUE, CORE, example
from tests.kafka.harness.cluster import Cluster, wait_until

TREE = ChallengerSettings("tree", model="tree.HoeffdingTreeClassifier", parameters={"grace_period": 20})
FASTER = ChallengerSettings("faster", parameters={"learning_rate": 0.3})
_JSON = JsonEncoder()


class Record:
    """A record of training-examples."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def error(self) -> None:
        return None

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes:
        return _JSON.encode("training-examples", example(self._offset))


class Member:
    """A member of a group that was given the log of churn; it hands out at most as many examples as it is asked for."""

    def __init__(self, n: int) -> None:
        self._records = [Record(offset) for offset in range(n)]

    def consume(self, n: int, _timeout_s: float) -> list[Record]:
        taken, self._records = self._records[:n], self._records[n:]
        return taken

    def close(self) -> None:
        pass


class Written(ModelPublisher):
    """Keeps what would be published."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes]] = []

    def publish(self, key: bytes, data: bytes) -> None:
        self.records.append((key, data))

    def serve(self) -> None:
        pass

    def flush(self, timeout_s: float) -> None:
        pass

    def score(self, model: str) -> Score | None:
        """Return the latest score of a model."""
        found = [decode_score(data) for key, data in self.records if kind_of(key) == ("score", model)]
        return found[-1] if found else None


class Told(Observer):
    """Keeps what a challenger said."""

    def __init__(self) -> None:
        self.own: list[float] = []

    def compared(self, model: str, head: str, label: float, *, own: float, in_force: float) -> None:  # noqa: ARG002
        self.own.append(own)


def trained(settings: ChallengerSettings, n: int, models: ModelsInTopic | None = None) -> tuple[Written, Told]:
    """Elect a trainer, let it fold `n` examples and leave."""
    written, told = Written(), Told()
    trainer = ChallengerTrainer(
        settings, Member(n), written, None, "training-examples", Decoder(), CORE, CATALOGUE,  # type: ignore[arg-type]
        models or ModelsInTopic(), told, lambda: 0.0,
    )  # fmt: skip
    folding = trainer._begin("churn")
    assert folding is not None
    trainer._reader.families["churn"] = folding
    trainer.learn(1.0)
    trainer.close(0.0)
    return written, told


def test_a_challenger_that_raises_learns_no_more_and_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of models shows at which example it failed, and why."""

    def failing(*arguments: Any) -> Any:
        made: Any = new_challenger(*arguments)
        learn = made.learn

        def learn_until_120(offset: int, row: Any) -> None:
            if offset == 120:
                raise ZeroDivisionError("in a leaf")
            assert offset < 120, "it was asked again"
            learn(offset, row)

        made.learn = learn_until_120
        return made

    monkeypatch.setattr(challengers, "new_challenger", failing)
    written, _ = trained(TREE, 150)
    score = written.score("churn.tree")
    assert score is not None
    assert score.failed == "it failed at example 120: ZeroDivisionError('in a leaf')"
    assert score.examples == 121
    assert decode_score(msgspec.json.encode(score)) == score


def test_a_challenger_whose_probability_is_no_number_is_not_judged_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that have run away would spoil the sums of all rows before."""

    def running_away(*arguments: Any) -> Any:
        made: Any = new_challenger(*arguments)
        probability = made.probability
        made.probability = lambda row: probability(row) if row.predicted_at < example(140).predicted_at else math.nan
        return made

    monkeypatch.setattr(challengers, "new_challenger", running_away)
    written, told = trained(TREE, 150)
    score = written.score("churn.tree")
    assert score is not None
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

    left = []

    class Leaving(Member):
        def close(self) -> None:
            left.append(self)

    trainer = ChallengerTrainer(
        FASTER, Leaving(50), Refusing(), None, "training-examples", Decoder(), CORE, CATALOGUE,  # type: ignore[arg-type]
        ModelsInTopic(), Observer(), lambda: 0.0,
    )  # fmt: skip
    own = Trainer(
        Leaving(50), Refusing(), None, "training-examples", Decoder(), CORE, CATALOGUE,  # type: ignore[arg-type]
        ModelsInTopic(), Observer(), lambda: 0.0, lambda: 0, republish_s=1e9,
    )  # fmt: skip
    challenging = trainer._begin("churn")
    assert challenging is not None
    trainer._reader.families["churn"], own._reader.families["churn"] = challenging, own._begin("churn")
    for each in (trainer, own):
        each.learn(1.0)
        each.close(0.0)
    assert len(left) == 2


def test_a_slow_challenger_gives_back_control_after_the_example_that_used_up_its_time() -> None:
    """What was fetched with it waits for the next turn, and none is lost."""
    now_s, folded = [0.0], []

    class Slow:
        name = "churn.slow"
        next_offset = 0

        def fold(self, offset: int, _example: Any) -> None:
            now_s[0] += 1.0
            folded.append(offset)

    reader = ElectedReader(
        Member(9), None, "training-examples", Decoder(), lambda _: None, lambda: now_s[0], 5,  # type: ignore[arg-type]
    )  # fmt: skip
    reader.families["churn"] = Slow()
    reader.read(0.2)
    assert folded == [0]
    reader.read(2.5)
    assert folded == [0, 1, 2, 3]
    reader.read(100.0)
    assert folded == list(range(9))


def promoted(model: str, known_ms: int) -> ModelsInTopic:
    """Return what is known after a promotion, at which labels were known up to `known_ms`."""
    models = ModelsInTopic()
    promotion = Promotion(family="churn", model=model, offset=1, behind=("churn",), at_ms=1, why="", known_ms=known_ms)
    models.note_promotion(promotion, LatestSnapshot(b"promotion@churn", b""))
    return models


def test_of_a_challenger_in_force_its_own_trainer_tells_no_figures() -> None:
    """The trainer of the family does: two tellers of one name would take turns in the list of models."""
    assert trained(FASTER, 150)[0].score("churn.faster") is not None
    assert trained(FASTER, 150, promoted("churn.faster", 0))[0].score("churn.faster") is None


def test_a_promoted_model_is_not_judged_by_what_the_one_before_it_predicted() -> None:
    """Labels come a window later than predictions; those of the first window are about the other model."""

    def rows_judged(models: ModelsInTopic) -> int:
        written = Written()
        trainer = Trainer(
            Member(100), written, None, "training-examples", Decoder(), CORE, CATALOGUE, models,  # type: ignore[arg-type]
            Observer(), lambda: 0.0, lambda: 0, republish_s=1e9,
        )  # fmt: skip
        trainer._reader.families["churn"] = trainer._begin("churn")
        trainer.learn(1.0)
        trainer.close(0.0)
        score = written.score(models.in_force("churn"))
        assert score is not None
        return score.heads["hazard"].own.all.n

    assert rows_judged(ModelsInTopic()) == 100
    assert rows_judged(promoted("churn.faster", example(60).predicted_at)) == 40


def test_a_challenger_goes_on_from_its_snapshot_knowing_how_far_its_labels_go() -> None:
    """Tasks run ahead of each other: a label that comes first after a start may be older than others it knows."""
    core = CoreSettings(churn=CORE.churn)
    written, _ = trained(FASTER, 200)
    key, data = next(record for record in written.records if kind_of(record[0])[0] == "snapshot")
    assert key == b"churn.faster@199"
    models = ModelsInTopic()
    models.note_snapshot("churn.faster", LatestSnapshot(key, data))
    state = decode_snapshot(data, core, CATALOGUE).churn
    assert state is not None
    trainer = ChallengerTrainer(
        FASTER, Member(0), Written(), None, "training-examples", Decoder(), core, CATALOGUE,  # type: ignore[arg-type]
        models, Observer(), lambda: SCORE_EVERY_S,
    )  # fmt: skip
    challenger = trainer._model()
    assert challenger.last_offset == 199
    for number in range(100, 160):  # a task that is 40 hours behind
        challenger.learn(200 + number, example(number))
    assert challenger.probability(example(190)) is None  # before the labels of 191 to 199 were known
    challenger.learn(400, example(260))
    assert challenger.probability(structs.replace(example(260), predicted_at=example(260).matured_at)) is not None


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

    class Folded:
        name = "churn.slow"

        def __init__(self) -> None:
            self.offsets: list[int] = []

        @property
        def next_offset(self) -> int:
            return self.offsets[-1] + 1 if self.offsets else 0

        def fold(self, offset: int, _example: Any) -> None:
            self.offsets.append(offset)

    folded, other = Folded(), Folded()
    start: Callable[[Family], Any] = {"churn": folded, "preference": other}.get
    member = reached.member("-challenger-slow")
    reader = ElectedReader(member, ExpiresMeanwhile(), topic, Decoder(), start, lambda: 0.0, 10)  # type: ignore[arg-type]
    reader.join()

    def all_read() -> bool:
        reader.read(1.0)
        return len(folded.offsets) >= 10 and len(other.offsets) >= 30

    wait_until(all_read, "the examples that are left")
    reader.close()
    assert folded.offsets == list(range(20, 30))
    assert other.offsets == list(range(30))


def test_the_kinds_that_can_be_promoted_are_told_by_their_trainers() -> None:
    """A tree has no plain-data form, the built-in model has one."""
    tree, faster = trained(TREE, 60)[0].score("churn.tree"), trained(FASTER, 60)[0].score("churn.faster")
    assert tree is not None
    assert faster is not None
    assert (tree.promotable, tree.kind) == (False, TREE.model)
    assert (faster.promotable, faster.kind) == (True, BUILT_IN)


def test_of_several_workers_exactly_one_is_elected_for_a_challenger() -> None:
    """Also where there are more of them than families; when it leaves, another one goes on."""
    with MockBroker({"training-examples": len(FAMILIES)}) as broker:
        kafka = KafkaSettings(broker.bootstrap, group_id="shop", session_timeout_ms=Ms(1_500))
        workers = [Reached(replace(kafka, instance_id=f"worker-{n}"), TopicSettings()) for n in range(4)]
        producer = workers[0].idempotent_producer()
        for number in range(40):
            producer.produce("training-examples", _JSON.encode("training-examples", example(number)), b"", 0)
        assert producer.flush(30.0) == 0
        boards = [Written() for _ in workers]
        trainers = [
            ChallengerTrainer(
                FASTER, worker.member("-challenger-faster"), written, worker.admin, "training-examples", Decoder(),
                CORE, CATALOGUE, ModelsInTopic(), Observer(), lambda: 0.0,
            )
            for worker, written in zip(workers, boards, strict=True)
        ]  # fmt: skip
        for trainer in trainers:
            trainer.start()

        def elected() -> list[ChallengerTrainer]:
            for trainer in trainers:
                trainer.learn(1.0)
            return [trainer for trainer in trainers if "churn" in trainer._reader.families]

        def told(trainer: ChallengerTrainer) -> int:
            return trainer._board._examples if trainer._board is not None else 0

        wait_until(lambda: any(told(trainer) == 40 for trainer in elected()), "an elected trainer")
        (first,) = elected()
        trainers.remove(first)
        first.close(0.0)
        wait_until(lambda: any(told(trainer) == 40 for trainer in elected()), "its successor")
        assert len(elected()) == 1
        for trainer in trainers:
            trainer.close(0.0)
