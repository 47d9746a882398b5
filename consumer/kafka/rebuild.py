"""Learning all models anew from the log of training examples, after a change of what their numbers mean.

A worker refuses a snapshot of another meaning (other arms, another horizon) rather than score with it. Folding the log
again under the settings now in force gives models that it accepts. Examples whose label means something else teach
nothing, so after a change of horizon a model begins with what is labelled from then on.
"""

import time
from collections.abc import Callable

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from consumer.core.catalogue import Catalogue
from consumer.core.learner import new_learner
from consumer.core.settings import CoreSettings
from consumer.kafka import clients
from consumer.kafka.log_reader import end_offsets, read_to
from consumer.kafka.settings import KafkaSettings, TopicSettings
from consumer.kafka.trainer import FamilyTrainer
from consumer.kafka.transactions import CannotGoOn
from schemas.codec import Decoder
from schemas.records import FAMILIES, Family

_STALLED_S = 60.0
_DELIVERY_S = 30.0


def rebuild_models(
    kafka: KafkaSettings,
    topics: TopicSettings,
    settings: CoreSettings,
    catalogue: Catalogue,
    decoder: Decoder,
    *,
    stop: Callable[[], bool],
    progress: Callable[[int], None] | None = None,
) -> dict[Family, int]:
    """Fold every example there is and publish one snapshot a family; return how many examples each has folded.

    Run it while no worker runs. Raises CannotGoOn, and Stopping.
    """
    return {
        family: _rebuild(family, kafka, topics, settings, catalogue, decoder, stop, progress) for family in FAMILIES
    }


def _rebuild(
    family: Family,
    kafka: KafkaSettings,
    topics: TopicSettings,
    settings: CoreSettings,
    catalogue: Catalogue,
    decoder: Decoder,
    stop: Callable[[], bool],
    progress: Callable[[int], None] | None,
) -> int:
    log = TopicPartition(topics.name("training-examples"), FAMILIES.index(family), OFFSET_BEGINNING)
    end = end_offsets(clients.admin(kafka), [log], _STALLED_S)[0]
    learner = new_learner(family, settings, catalogue)
    trainer = FamilyTrainer(learner, settings.learner.snapshot_examples)
    snapshot, at, n = learner.snapshot(), learner.last_offset, 0
    reader = clients.reader(kafka, auto_offset_reset="earliest", partition_eof=True)
    try:
        reader.assign([log])
        ends = {(log.topic, log.partition): end}
        for message in read_to(reader, ends, stop=stop, clock_s=time.monotonic, timeout_s=_STALLED_S):
            due = trainer.learn(message.offset() or 0, decoder.decode("training-examples", message.value()))
            n += 1
            if due is not None:
                snapshot, at = due, learner.last_offset
            if progress is not None and n % 1_000 == 0:
                progress(n)
    finally:
        reader.close()
    _publish(kafka, topics, f"{family}@{at}".encode(), snapshot)
    return n


def _publish(kafka: KafkaSettings, topics: TopicSettings, key: bytes, snapshot: bytes) -> None:
    producer = clients.idempotent_producer(kafka)
    producer.produce(topics.name("models"), snapshot, key, 0)
    if producer.flush(_DELIVERY_S):
        raise CannotGoOn(f"the snapshot {key.decode()} could not be delivered within {_DELIVERY_S:.0f} s")
