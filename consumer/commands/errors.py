"""The one place that tells a user's mistake, or a cluster's refusal, from a fault of ours."""

import sys

MISTAKE = 2  # exit code: what the person at the keyboard can mend
FAILURE = 1  # exit code: what the cluster, the data or the machine did

# Errors whose message is written for people: one message and no stack trace. By name, for an error can only have been
# raised by a module that is loaded, and none should be loaded just to ask.
FOR_PEOPLE = (
    ("consumer.config", "ConfigError", MISTAKE),
    ("consumer.commands.errors", "CommandError", MISTAKE),
    ("consumer.core.catalogue", "CatalogueError", MISTAKE),
    ("consumer.core.journal", "RefusedTaskRecord", MISTAKE),
    ("consumer.core.knowledge.river_classifier", "UnknownModel", MISTAKE),
    ("consumer.core.knowledge.snapshot", "RefusedSnapshot", MISTAKE),
    ("consumer.store.folder_lock", "StoreInUse", MISTAKE),
    ("consumer.evaluate.baselines.trees", "MissingExtra", MISTAKE),
    ("clients.errors", "ClusterAway", FAILURE),
    ("clients.properties", "ProtectedProperty", MISTAKE),
    ("consumer.kafka.dead_letters", "TooManyRejected", FAILURE),
    ("consumer.kafka.cluster.mock_broker", "MockBrokerUnavailable", FAILURE),
    ("consumer.kafka.models.promotion", "CannotPromote", MISTAKE),
    ("consumer.kafka.failures", "RegistryUnavailable", FAILURE),
    ("consumer.kafka.cluster.topics", "TopicsError", MISTAKE),
    ("consumer.kafka.failures", "CannotGoOn", FAILURE),
    ("consumer.replay.files", "OutputRefused", MISTAKE),
    ("consumer.replay.evidence", "NotVerifiable", MISTAKE),
    ("consumer.replay.evidence", "Damaged", FAILURE),
    ("consumer.demo.workers", "WorkerFailed", FAILURE),
    ("producers.publish", "PublishFailed", FAILURE),
    ("producers.recorder", "RecordingFailed", FAILURE),
    ("producers.rows", "UnreadableFile", MISTAKE),
    ("schemas.container", "CorruptContainer", FAILURE),
)


class CommandError(Exception):
    """What was asked can't be done as asked; the message says why and what to do."""


def explained(error: BaseException) -> tuple[str, int] | None:
    """Return what to say about an error, and the exit code; None where it is a fault of the program."""
    for module_name, class_name, exit_code in FOR_PEOPLE:
        kind = getattr(sys.modules.get(module_name), class_name, None)
        if isinstance(kind, type) and isinstance(error, kind):
            return str(error), exit_code
    kafka = sys.modules.get("confluent_kafka")
    if kafka is not None and isinstance(error, kafka.KafkaException):
        return f"Kafka says: {error.args[0].str() if error.args else error}", FAILURE
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError):
        return f"{error.filename}: {(error.strerror or 'cannot be used').lower()}", MISTAKE
    return None
