"""Challengers on a real broker: they learn, are compared, put in force and taken back; what cannot be says why."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from consumer.commands import models as models_command
from consumer.commands.errors import CommandError
from consumer.config import Config
from consumer.core.knowledge.knowledge import Knowledge
from consumer.core.knowledge.learner import new_learner
from consumer.core.knowledge.snapshot import ChallengerSpec, snapshot_key
from consumer.core.settings import ChallengerSettings, ChurnSettings, CoreSettings, LearnerSettings
from consumer.core.shared import Core
from consumer.default_catalogue import default_catalogue
from consumer.kafka.cluster.cluster_settings import TopicSettings
from consumer.kafka.cluster.topics import TopicsError
from consumer.kafka.evidence import TopicEvidence
from consumer.kafka.failures import Stopping
from consumer.kafka.models import promotion as models_topic
from consumer.kafka.models.follower import KnowledgeFollower
from consumer.kafka.models.index import ModelIndex
from consumer.kafka.models.promotion import CannotPromote, ModelOverview, ModelRow, record_promotion
from consumer.kafka.models.publisher import ModelPublisher
from consumer.kafka.models.rebuild import rebuild_models
from consumer.kafka.models.records import (
    Comparison,
    Judged,
    ModelsRecord,
    Promotion,
    UnreadableRecord,
    decode_promotion,
    encode_promotion,
    kind_of,
)
from consumer.kafka.models.trainer import Training
from consumer.kafka.observer import Observer
from consumer.measure.prequential import Figures
from consumer.replay.verify import verify
from consumer.store.memory import MemoryState
from consumer.zones import load_zone
from schemas.codec import Decoder
from schemas.units import HOUR_MS, Ms, Seconds
from tests.kafka.harness.cluster import Cluster
from tests.kafka.harness.in_process import Watcher, work_until
from tests.kafka.harness.stream import shop_stream
from tests.kafka.harness.training import AT_ONCE, Member, Written, index_of, snapshot_record, trainer_of
from tests.kafka.harness.worker_process import BUILD
from tests.test_cli import nextbest

NOW_MS = 1_800_000_000_000
FASTER = ChallengerSettings("faster", parameters={"learning_rate": 0.3})
TREE = ChallengerSettings("tree", model="tree.HoeffdingTreeClassifier", scaled=False)


def read(cluster: Cluster) -> ModelOverview:
    return ModelOverview(cluster.reached(), cluster.core, default_catalogue(), stop=lambda: False)


def rows(cluster: Cluster) -> dict[str, ModelRow]:
    return {row.model: row for row in read(cluster).rows(NOW_MS)}


def models_used(cluster: Cluster) -> list[str]:
    """Return the churn models that commits used, in the journal's order, each once for a stretch."""
    used: list[str] = []
    for record in sorted(cluster.decoded("journal"), key=lambda each: (each.task, each.sequence)):
        for model in record.model_versions:
            if record.task == 0 and model.startswith("churn") and used[-1:] != [model]:
                used.append(model)
    return used


@pytest.mark.kafka
def test_a_challenger_learns_is_promoted_followed_by_the_workers_and_rolled_back(
    kafka_bootstrap: str, unique_prefix: str, tmp_path: Path
) -> None:
    """One story over one broker; at the end everything is derived again, promoted model and all."""
    cluster = Cluster(kafka_bootstrap, unique_prefix, tmp_path)
    cluster.challengers = (FASTER, TREE)
    cluster.core = replace(
        cluster.core,
        churn=ChurnSettings(horizon_days=10.0, hazard_days=2.0),
        learner=LearnerSettings(snapshot_examples=50),
    )
    cluster.create()
    stream = shop_stream(customers=120, sessions=1_600, partitions=cluster.partitions)
    parts = [stream[start : start + len(stream) // 4] for start in range(0, 4 * (len(stream) // 4), len(stream) // 4)]
    produced = 0

    def produce(part: int) -> None:
        nonlocal produced
        cluster.produce(parts[part])
        produced += len(parts[part])

    def before_and_after_the_promotion(seen: Watcher) -> Iterator[bool]:
        produce(0)
        while not (seen.versions.get("churn") and seen.snapshots["churn.faster"]):
            yield False
        produce(1)
        while seen.records < produced:
            yield False
        promotion = read(cluster).promotion_of("faster", "it was better", NOW_MS)
        record_promotion(cluster.reached(), promotion)
        while "churn.faster" not in seen.versions:
            yield False
        produce(2)
        while seen.records < produced or seen.snapshots["churn"] < 3 or not seen.judged["churn.tree"]:
            yield False
        yield True

    run(cluster, before_and_after_the_promotion)
    found = rows(cluster)
    assert {model: row.role for model, row in found.items() if row.family == "churn"} == {
        "churn.faster": "champion",
        "churn": "previous",  # it goes on learning, so that a rollback is instant
        "churn.tree": "challenger",
    }
    assert found["churn.tree"].kind == TREE.model
    topic = read(cluster)
    with pytest.raises(CannotPromote, match="no form in plain data"):
        topic.promotion_of("tree", "", NOW_MS)
    with pytest.raises(CannotPromote, match=r"no model forest.*churn\.faster"):
        topic.promotion_of("forest", "", NOW_MS)
    with pytest.raises(CannotPromote, match="in force already"):
        topic.promotion_of("churn.faster", "", NOW_MS)

    back = topic.rollback_of("churn", "it was not", NOW_MS)
    assert (back.model, back.behind) == ("churn", ())
    record_promotion(cluster.reached(), back)

    def after_the_rollback(seen: Watcher) -> Iterator[bool]:
        produce(3)
        while seen.records < len(parts[3]) or not (seen.judged["churn.faster"] and seen.judged["churn.tree"]):
            yield False
        yield True

    run(cluster, after_the_rollback)
    found = rows(cluster)
    assert found["churn"].role == "champion"
    assert found["churn.faster"].role == "challenger"
    for model in ("churn.faster", "churn.tree"):
        hazard = found[model].heads["hazard"]
        assert hazard.own.all.n == hazard.in_force.all.n > 0
        assert hazard.own.all.log_loss != hazard.in_force.all.log_loss
    with pytest.raises(CannotPromote, match="nothing to roll back to"):
        read(cluster).rollback_of("churn", "", NOW_MS)
    assert models_used(cluster) == ["churn", "churn.faster", "churn"]
    with TopicEvidence(cluster.reached(), Decoder(), cluster.core.time.max_ahead_ms) as recording:
        verdict = verify(recording, Core.new(cluster.core, default_catalogue(), load_zone, build=BUILD), MemoryState)
    assert verdict.kind == "same", verdict
    assert_rebuilt(cluster)


def assert_rebuilt(cluster: Cluster) -> None:
    """Rebuild with and without the challenger that is in force: only with it in the settings can it be learned anew."""

    def rebuild(challengers: tuple[ChallengerSettings, ...]) -> dict[str, int]:
        return rebuild_models(
            cluster.reached(), cluster.core, default_catalogue(),
            decoder=Decoder(), stop=lambda: False, challengers=challengers,
        )  # fmt: skip

    assert "churn.faster is in force from now on" in said(cluster, "promote", "faster", "--why", "once more")
    folded = rebuild((FASTER, TREE))
    assert folded["churn.faster"] == folded["churn"] > 0
    topic = read(cluster)
    assert topic.index.in_force("churn") == "churn.faster"
    rebuild(())
    promotion = read(cluster).index.promotion("churn")
    assert promotion is not None
    assert promotion.model == "churn"
    assert "could not be rebuilt" in promotion.why
    assert "churn: churn.faster is in force from now on" in said(cluster, "rollback")
    listed = {row["model"]: row for row in json.loads(said(cluster, "list", "--json"))["models"]}
    assert (listed["churn.faster"]["role"], listed["churn.tree"]["kind"]) == ("champion", TREE.model)


def said(cluster: Cluster, *command: str) -> str:
    """Run `nextbest models` on the cluster; return what it printed."""
    done = nextbest(
        "models", *command,
        NEXTBEST_KAFKA__BOOTSTRAP_SERVERS=cluster.bootstrap,
        NEXTBEST_TOPICS__PREFIX=cluster.prefix,
        NEXTBEST_TOPICS__PARTITIONS=str(cluster.partitions),
        NEXTBEST_CHURN__HORIZON_DAYS="10",
        NEXTBEST_CHURN__HAZARD_DAYS="2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(cluster: Cluster, story: Callable[[Watcher], Iterator[bool]]) -> None:
    """Run a worker through a story, which yields whether it is at its end."""
    told: list[Iterator[bool]] = []

    def step(seen: Watcher) -> bool:
        if not told:
            told.append(story(seen))
        return next(told[0])

    work_until(cluster, step)


def publish(cluster: Cluster, *records: tuple[bytes, bytes]) -> None:
    """Write to the models topic."""
    publisher = ModelPublisher(cluster.reached().idempotent_producer(), cluster.topics.name("models"))
    for key, data in records:
        publisher.publish(key, data)
    publisher.deliver(Seconds(30.0))


def snapshot(core: CoreSettings, name: str | None = None, offset: int = 9) -> tuple[bytes, bytes]:
    """Return a snapshot of a churn model that has learned nothing up to `offset`."""
    learner = new_learner("churn", core, default_catalogue(), None if name is None else ChallengerSpec(name, {}))
    learner.last_offset = offset
    return snapshot_key(learner.model, offset), learner.snapshot()


@pytest.mark.kafka
def test_the_commands_answer_in_words_whatever_the_topic_holds(
    kafka_bootstrap: str, unique_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No topic, an empty one, a model of other settings with a higher offset, and somebody else who promotes."""
    cluster = Cluster(kafka_bootstrap, unique_prefix, tmp_path)
    with pytest.raises(TopicsError, match="models is not there: run `nextbest topics create`"):
        read(cluster)
    cluster.create()
    assert rows(cluster) == {}
    with pytest.raises(CannotPromote, match="there are no challengers"):
        read(cluster).promotion_of("faster", "", NOW_MS)
    with pytest.raises(CannotPromote, match="nothing to roll back to"):
        read(cluster).rollback_of("policy", "", NOW_MS)

    other = replace(cluster.core, churn=ChurnSettings(horizon_days=77.0))
    publish(cluster, snapshot(other, "a", offset=500))
    assert not rows(cluster)["churn.a"].promotable
    with pytest.raises(CannotPromote, match="other settings"):
        read(cluster).promotion_of("a", "", NOW_MS)
    publish(cluster, snapshot(cluster.core, "a"), snapshot(cluster.core, "b"))  # as a rebuild writes it
    row = rows(cluster)["churn.a"]
    assert (row.offset, row.promotable, row.refused) == (9, True, None)

    mine, theirs = (read(cluster).promotion_of(name, f"{name} it is", NOW_MS) for name in ("a", "b"))
    theirs = structs.replace(theirs, at_ms=NOW_MS + 5)
    assert (mine.model, mine.offset) == ("churn.a", 9)
    publish(cluster, encode_promotion(theirs))
    monkeypatch.setattr(models_command, "_read", lambda _: read(cluster))
    config = Config(kafka=cluster.kafka(), topics=cluster.topics)
    with pytest.raises(CommandError, match=r"churn\.a is not in force: churn\.b .* b it is"):
        models_command._record(config, mine)
    assert rows(cluster)["churn.b"].role == "champion"


def promotion(model: str, at_ms: int) -> Promotion:
    return Promotion(family="churn", model=model, offset=10, behind=(), at_ms=at_ms, why="")


def test_an_older_promotion_that_is_published_again_changes_nothing() -> None:
    """A trainer may do so before it has heard of the newer one."""
    models = ModelIndex()
    older, newer = promotion("churn.a", 1), promotion("churn.b", 2)
    assert models.note_promotion(older, ModelsRecord(b"promotion@churn", b""))
    assert models.note_promotion(newer, ModelsRecord(b"promotion@churn", b""))
    assert not models.note_promotion(older, ModelsRecord(b"promotion@churn", b""))
    assert not models.note_promotion(newer, ModelsRecord(b"promotion@churn", b""))
    assert models.in_force("churn") == "churn.b"
    assert models.in_force("policy") == "policy"


def test_records_of_the_models_topic_are_told_apart_by_their_keys() -> None:
    """And what is none of ours is passed over by whoever decodes it."""
    key, value = encode_promotion(promotion("churn.a", 1))
    assert kind_of(key) == ("promotion", "churn")
    assert decode_promotion(value) == promotion("churn.a", 1)
    assert kind_of(b"churn.a@12") == ("snapshot", "churn.a")
    assert kind_of(b"score@churn.a@12") == ("score", "churn.a")
    with pytest.raises(UnreadableRecord, match="format 9"):
        decode_promotion(value.replace(b'"format":1', b'"format":9'))
    with pytest.raises(UnreadableRecord, match="can't be read"):
        decode_promotion(b"{")


class ModelsTopic:
    """A cluster of one topic, models, and who reads it."""

    def __init__(self, *records: tuple[bytes, bytes]) -> None:
        self.topics = TopicSettings()
        self._records = list(enumerate(records))

    def reader(self) -> "ModelsTopic":
        return self

    def consume(self, _n: int, _timeout_s: float) -> list[Any]:
        found, self._records = self._records, []
        return [message_of(offset, key, value) for offset, (key, value) in found]


def message_of(offset: int, key: bytes, value: bytes) -> SimpleNamespace:
    fields = {"topic": "models", "offset": offset, "key": key, "value": value, "timestamp": (1, 0), "error": None}
    return SimpleNamespace(**{name: lambda value=value: value for name, value in fields.items()})


class PassedOver(Observer):
    """Keeps what was passed over."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str]] = []

    def passed_over(self, offset: int, why: str) -> None:
        self.told.append((offset, why))


def test_workers_pass_over_what_is_no_record_of_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot without an offset in its key is not adopted, and ends nobody; it is told where it is."""
    core, (key, data) = CoreSettings(), snapshot(CoreSettings())
    topic = ModelsTopic((b"churn@abc", data), (b"promotion@churn", b"{"), (key, data))
    knowledge, watcher = Knowledge(core, default_catalogue()), PassedOver()
    follower = KnowledgeFollower(
        topic, Decoder(), knowledge, clock_s=lambda: Seconds(0.0), stop=lambda: False, observer=watcher  # type: ignore[arg-type]
    )  # fmt: skip
    adopted: list[bytes] = []
    monkeypatch.setattr(knowledge, "adopt", adopted.append)
    follower.adopt(Seconds(1.0))
    assert adopted == [data]
    assert list(follower.index.latest) == ["churn"]
    assert [offset for offset, _ in watcher.told] == [0, 1]
    assert "'churn@abc': expected MODEL@OFFSET" in watcher.told[0][1]


def test_what_must_outlive_retention_is_what_is_in_force_and_where_rollbacks_lead() -> None:
    """With the promotion itself; other challengers learn anew where their snapshots are gone."""
    models = ModelIndex()
    for model in ("churn", "churn.a", "churn.b", "policy"):
        models.note_snapshot(model, ModelsRecord(f"{model}@5".encode(), b""))
    assert [record.key for record in models.to_keep("churn")] == [b"churn@5"]
    record = ModelsRecord(b"promotion@churn", b"")
    models.note_snapshot("churn.c", ModelsRecord(b"churn.c@5", b""))
    models.note_promotion(structs.replace(promotion("churn.a", 1), behind=("churn", "churn.b")), record)
    kept = [each.key for each in models.to_keep("churn")]
    assert kept == [b"promotion@churn", b"churn@5", b"churn.a@5", b"churn.b@5"]
    assert models.to_keep("preference") == []


def test_a_snapshot_is_published_again_by_its_age_in_the_topic_not_by_that_of_the_worker() -> None:
    """A worker that is restarted each day would otherwise never do it, and retention would take the last snapshot."""
    core, now_ms, written = CoreSettings(), [100 * HOUR_MS], Written()
    data = new_learner("churn", core, default_catalogue()).snapshot()
    index = index_of(snapshot_record("churn", 5, data, published_ms=now_ms[0] - 23 * HOUR_MS))
    told = Training(core, default_catalogue(), index, Observer())
    trainer = trainer_of(told, Member(0), [], written, clock_ms=lambda: Ms(now_ms[0]))
    trainer.learn(AT_ONCE)
    assert written.records == []
    now_ms[0] += HOUR_MS
    trainer.learn(AT_ONCE)
    trainer.learn(AT_ONCE)
    assert written.records == [(b"churn@5", data)]
    index.note_snapshot("churn", snapshot_record("churn", 5, data, published_ms=now_ms[0]))
    now_ms[0] += 23 * HOUR_MS
    trainer.learn(AT_ONCE)
    assert written.records == [(b"churn@5", data)]


def test_a_command_that_is_interrupted_while_it_reads_ends_as_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with a stack trace."""

    def interrupted(*_: object, **__: object) -> None:
        raise Stopping

    monkeypatch.setattr(models_topic, "ModelOverview", interrupted)
    with pytest.raises(KeyboardInterrupt):
        models_command._read(Config())


def test_the_list_shows_roles_ages_and_figures(capsys: pytest.CaptureFixture[str]) -> None:
    """One line a model and head; what is not known is a dash."""
    figures = Judged(all=Figures(1_200, 0.51234, 0.75), recent=Figures(800, 0.5, None))
    row = ModelRow(
        family="churn", model="churn.faster", role="challenger", kind="built-in", offset=90, examples=1_300,
        from_offset=4, age_s=7_300.0, promotable=True, refused="it is damaged", failed="it is nan",
        heads={"hazard": Comparison(own=figures, in_force=figures)},
    )  # fmt: skip
    bare = ModelRow("policy", "policy", "champion", None, -1, None, None, 5.0, False, None, None, {})
    models_command._print_table([row, bare])
    lines = capsys.readouterr().out.splitlines()
    shown = (
        "churn churn.faster challenger built-in 1,300 from 4 90 2 h hazard 1,200 0.5123 0.5000 0.7500 – 0.5123 0.7500"
    )
    assert " ".join(lines[1].split()) == shown
    assert lines[2].split()[:4] == ["policy", "policy", "champion", "–"]
    assert lines[3:] == ["churn.faster: it is damaged", "churn.faster: it is nan"]
