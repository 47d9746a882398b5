"""What the Kafka side can be told. Every limit names its unit."""

from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Interval

from clients.properties import Properties
from consumer.core.settings import OneOrMore, OneOrMoreMs, Positive, Section, ZeroOrMoreMs
from schemas.topics import TOPICS, Topic
from schemas.units import MIB, Ms

CommitMs = Annotated[Ms, Interval(ge=2_000)]  # in less, a commit could not be finished


@dataclass(frozen=True, slots=True)
class KafkaSettings(Section):
    """How to reach the cluster, and who we are there.

    `properties` go to every librdkafka client as they are (security is set here: `security.protocol`, `sasl.*`,
    `ssl.*`), `consumer_properties` and `producer_properties` to those alone. Properties that exactly-once rests on are
    refused; see `clients.properties.PROTECTED`.
    """

    bootstrap_servers: str = "localhost:9092"  # host:port of one broker or more, separated by commas
    group_id: str = "nextbest"  # the consumer group; part of every transactional id
    client_id: str = "nextbest"  # what brokers call us in their logs and quotas
    instance_id: str | None = None  # a stable name for this slot of the deployment (pod ordinal, host); needed to run
    session_timeout_ms: OneOrMoreMs = Ms(10_000)  # a worker that is silent for longer loses its partitions
    max_poll_interval_ms: OneOrMoreMs = Ms(300_000)  # a worker that does not poll for longer loses its partitions
    transaction_timeout_ms: CommitMs = Ms(10_000)  # how long a dead worker's transaction holds readers back
    connect_timeout_ms: OneOrMoreMs = Ms(10_000)  # how long to wait for the cluster at start
    schema_registry_url: str | None = None  # needed to read or write Avro
    schema_registry_properties: Properties = field(  # of the registry's client; never printed
        default_factory=dict, repr=False
    )
    properties: Properties = field(default_factory=dict, repr=False)  # may hold passwords: never printed
    consumer_properties: Properties = field(default_factory=dict, repr=False)  # of consumers; not printed
    producer_properties: Properties = field(default_factory=dict, repr=False)  # of producers; not printed

    def check_together(self) -> None:
        """Raise ValueError where a name that is needed is empty."""
        if not self.bootstrap_servers.strip():
            raise ValueError("`bootstrap_servers` is empty: give host:port of one broker or more, separated by commas")
        if not self.group_id:
            raise ValueError("`group_id` is empty: it names the consumer group and is part of every transactional id")


@dataclass(frozen=True, slots=True)
class RetentionSettings(Section):
    """How many days each topic keeps its records."""

    clickstream_days: Positive = 14.0  # how long events of behaviour are kept
    purchases_days: Positive = 90.0  # how long orders and refunds are kept
    privacy_days: Positive = 400.0  # how long consent and erasure are kept
    next_best_actions_days: Positive = 30.0  # how long decisions are kept
    dead_letters_days: Positive = 30.0  # how long rejected records are kept, personal data among them
    training_examples_days: Positive = 400.0  # what models can be refolded from
    sessions_days: Positive = 180.0  # what the item index can be refolded from
    verify_horizon_days: Positive = 30.0  # journal and models: how far back decisions can be derived again
    tombstones_days: Positive = 7.0  # a local store that is older than this is stale, and discarded


@dataclass(frozen=True, slots=True)
class TopicSettings(Section):
    """How the topics are named and made. `partitions` is chosen once: changing it would move customers."""

    prefix: str = ""  # before the name of every topic
    partitions: OneOrMore = 8  # of the topics keyed by customer, and so the number of tasks
    replication_factor: OneOrMore = 3  # copies of each partition; 1 on a single broker
    min_insync_replicas: OneOrMore = 2  # copies that must have a record before it counts; 1 on a single broker
    max_input_bytes: OneOrMore = (
        8 * MIB
    )  # over what producers may send, so that an oversized record can be dead-lettered
    max_record_bytes: OneOrMore = 8 * MIB  # the largest record of an output or internal topic
    segment_bytes: OneOrMore = 128 * MIB  # a segment ends at this size, or after the hours below
    segment_hours: Positive = 24.0  # records are deleted and compacted a segment at a time, never in the open one
    min_compaction_lag_ms: ZeroOrMoreMs = Ms(60_000)  # a record stays so long before a newer one of its key replaces it
    max_compaction_lag_hours: Positive = 24.0  # how long an erased customer may stay in the log
    retention: RetentionSettings = field(default_factory=RetentionSettings)

    def check_together(self) -> None:
        """Raise ValueError where more copies are asked for than there are."""
        if self.min_insync_replicas > self.replication_factor:
            raise ValueError(
                f"`min_insync_replicas` is {self.min_insync_replicas} with a `replication_factor` of "
                f"{self.replication_factor}: nothing could ever be written"
            )

    def name(self, topic: Topic) -> str:
        """Return the real name of a topic that the rest of the code knows by its logical name."""
        return self.prefix + topic

    def logical(self, name: str) -> Topic:
        """Return the logical name of a real topic; raise KeyError where it is none of ours."""
        return {self.name(topic): topic for topic in TOPICS}[name]
