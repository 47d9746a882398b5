"""Learning all models anew from the log of training examples, after a change of what their numbers mean.

A worker refuses a snapshot of another meaning (other arms, another horizon) rather than score with it. Folding the log
again under the settings now in force gives models that it accepts. Examples whose label means something else teach
nothing, so after a change of horizon a model begins with what is labelled from then on.
"""

from collections.abc import Callable, Sequence

from confluent_kafka import OFFSET_BEGINNING

from clients import log
from clients.offsets import end_offsets
from consumer.core.catalogue import Catalogue
from consumer.core.knowledge.challenger import learner_of, new_challenger, spec_of
from consumer.core.knowledge.learner import Learner, new_learner
from consumer.core.knowledge.snapshot import model_name
from consumer.core.settings import BUILT_IN, ChallengerSettings, CoreSettings
from consumer.kafka.clocks import monotonic_s, wall_clock_ms
from consumer.kafka.cluster.cluster import Cluster
from consumer.kafka.cluster.log_reader import read_to
from consumer.kafka.models.promotion import STALLED_S, ModelsTopic, record_promotion
from consumer.kafka.models.publisher import ModelPublisher
from consumer.kafka.models.trainer import FamilyTrainer
from schemas.codec import Decoder
from schemas.records import FAMILIES

_DELIVERY_S = 30.0


def rebuild_models(
    cluster: Cluster,
    settings: CoreSettings,
    catalogue: Catalogue,
    decoder: Decoder,
    *,
    stop: Callable[[], bool],
    progress: Callable[[int], None] | None = None,
    challengers: Sequence[ChallengerSettings] = (),
) -> dict[str, int]:
    """Fold every example there is and publish one snapshot a model; return how many examples each has folded.

    The built-in ones among `challengers` are learned anew as well. A model that is in force and not among them can't
    be: then the family's own is put back in force. Run it while no worker runs. Raises CannotGoOn, UnknownModel and
    Stopping.
    """
    rebuilt: dict[str, Learner] = {family: new_learner(family, settings, catalogue) for family in FAMILIES}
    for each in challengers:
        new_challenger(each, settings, catalogue)  # a mistake is told before anything is folded
        if each.model == BUILT_IN:
            rebuilt[model_name(each.family, each.name)] = learner_of(spec_of(each), settings, catalogue)
    publisher = ModelPublisher(cluster.idempotent_producer(), cluster.topics.name("models"))
    folded = {
        model: _rebuild(model, learner, cluster, settings, decoder, publisher, stop, progress)
        for model, learner in rebuilt.items()
    }
    publisher.deliver(_DELIVERY_S)
    known = ModelsTopic(cluster, settings, catalogue, stop)
    for family in FAMILIES:
        model = known.models.in_force(family)
        if model not in rebuilt:
            why = f"{model} was in force and is not among the challengers, so it could not be rebuilt"
            log.warning("%s: %s; the family's own model is in force now", family, why)
            record_promotion(cluster, known.promotion_of(family, why, wall_clock_ms()))
    return folded


def _rebuild(
    model: str,
    learner: Learner,
    cluster: Cluster,
    settings: CoreSettings,
    decoder: Decoder,
    publisher: ModelPublisher,
    stop: Callable[[], bool],
    progress: Callable[[int], None] | None,
) -> int:
    examples = cluster.place("training-examples", FAMILIES.index(learner.family), OFFSET_BEGINNING)
    end = end_offsets(cluster.admin, [examples], STALLED_S)[0]
    trainer = FamilyTrainer(learner, settings.learner.snapshot_examples)
    snapshot, at, n = learner.snapshot(), learner.last_offset, 0
    reader = cluster.reader()
    try:
        reader.assign([examples])
        ends = {(examples.topic, examples.partition): end}
        for message in read_to(reader, ends, stop=stop, clock_s=monotonic_s, timeout_s=STALLED_S):
            due = trainer.learn(message.offset() or 0, decoder.decode("training-examples", message.value()))
            n += 1
            if due is not None:
                snapshot, at = due, learner.last_offset
            if progress is not None and n % 1_000 == 0:
                progress(n)
    finally:
        reader.close()
    publisher.publish(f"{model}@{at}".encode(), snapshot)
    return n
