"""Learning all models anew from the log of training examples, after a change of what their numbers mean.

A worker refuses a snapshot of another meaning (other arms, another horizon) rather than score with it. Folding the log
again under the settings now in force gives models that it accepts. Examples whose label means something else teach
nothing, so after a change of horizon a model begins with what is labelled from then on.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from confluent_kafka import OFFSET_BEGINNING

from clients import log
from consumer.core.catalogue import Catalogue
from consumer.core.knowledge.challenger import new_challenger, spec_of
from consumer.core.knowledge.learner import Learner, new_learner
from consumer.core.knowledge.snapshot import snapshot_key
from consumer.core.settings import BUILT_IN, ChallengerSettings, CoreSettings
from consumer.kafka.clocks import wall_clock_ms
from consumer.kafka.cluster.cluster import Cluster
from consumer.kafka.cluster.log_reader import read_through
from consumer.kafka.models.promotion import ModelOverview, record_promotion
from consumer.kafka.models.publisher import ModelPublisher
from schemas.codec import Decoder
from schemas.records import FAMILIES, TrainingExample
from schemas.units import Seconds

_DELIVERY_S: Final = Seconds(30.0)


def rebuild_models(
    cluster: Cluster,
    settings: CoreSettings,
    catalogue: Catalogue,
    *,
    decoder: Decoder,
    stop: Callable[[], bool],
    progress: Callable[[int], None] | None = None,
    challengers: Sequence[ChallengerSettings] = (),
) -> dict[str, int]:
    """Fold every example there is and publish one snapshot a model; return how many examples each has folded.

    The built-in ones among `challengers` are learned anew as well. A model that is in force and not among them can't
    be: then the family's own is put back in force. Run it while no worker runs. Raises CannotGoOn, UnknownModel and
    Stopping.
    """
    learners = [new_learner(family, settings, catalogue) for family in FAMILIES]
    for each in challengers:
        new_challenger(each, settings, catalogue)  # a mistake is told before anything is folded
        if each.model == BUILT_IN:
            learners.append(new_learner(each.family, settings, catalogue, spec_of(each)))
    publisher = ModelPublisher(cluster.idempotent_producer(), cluster.topics.name("models"))
    folded = {}
    for learner in learners:
        log_of_family = cluster.place("training-examples", FAMILIES.index(learner.family), OFFSET_BEGINNING)
        examples = (
            (message.offset() or 0, decoder.decode("training-examples", message.value()))
            for message in read_through(cluster, log_of_family, stop)
        )
        folded[learner.model] = _rebuild(learner, examples, publisher, progress)
    publisher.deliver(_DELIVERY_S)
    known = ModelOverview(cluster, settings, catalogue, stop=stop)
    for family in FAMILIES:
        model = known.index.in_force(family)
        if model not in folded:
            why = f"{model} was in force and is not among the challengers, so it could not be rebuilt"
            log.warning("%s: %s; the family's own model is in force now", family, why)
            record_promotion(cluster, known.promotion_of(family, why, wall_clock_ms()))
    return folded


def _rebuild(
    learner: Learner,
    examples: Iterable[tuple[int, TrainingExample]],
    publisher: ModelPublisher,
    progress: Callable[[int], None] | None,
) -> int:
    """Fold all examples and publish the latest snapshot that was due, or the empty one; return how many there were."""
    snapshot, at, n = learner.snapshot(), learner.last_offset, 0
    for offset, example in examples:
        due = learner.fold(offset, example).snapshot
        n += 1
        if due is not None:
            snapshot, at = due, offset
        if progress is not None and n % 1_000 == 0:
            progress(n)
    publisher.publish(snapshot_key(learner.model, at), snapshot)
    return n
