"""The cluster as this process uses it: clients with the settings that this project rests on."""

from dataclasses import dataclass
from functools import cached_property

from confluent_kafka import OFFSET_INVALID, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._metadata import ClusterMetadata

from clients.config import Config, base_config, consumer_config, producer_config
from clients.errors import reach
from clients.properties import ProtectedProperty, with_properties
from consumer.kafka.cluster.cluster_settings import KafkaSettings, TopicSettings
from schemas.topics import Topic
from schemas.units import MIB, in_seconds


@dataclass(frozen=True)
class Cluster:
    """How to reach a cluster and what our topics are called there; makes the clients of this process.

    Every client is made with the user's properties; raises ProtectedProperty for one that may not be set, and
    KafkaException for one that librdkafka does not know.
    """

    kafka: KafkaSettings
    topics: TopicSettings

    @cached_property
    def admin(self) -> AdminClient:
        """The admin client, always the same one: the futures of a client that was collected fail."""
        kafka = self.kafka
        return AdminClient(with_properties(base_config(kafka.bootstrap_servers, kafka.client_id), kafka.properties))

    def reach(self) -> ClusterMetadata:
        """Return what the cluster says of itself; raise ClusterAway where no broker answers within the timeout."""
        return reach(self.admin, self.kafka.bootstrap_servers, in_seconds(self.kafka.connect_timeout_ms))

    def place(self, topic: Topic, partition: int, offset: int = OFFSET_INVALID) -> TopicPartition:
        """Return a partition of a topic (logical name), and an offset in it."""
        return TopicPartition(self.topics.name(topic), partition, offset)

    def member(self, group_suffix: str = "", assignor: str = "range") -> Consumer:
        """Return a consumer that takes part in a group: the workers' own, or another of the same name with a suffix.

        The assignor range gives one member the same partition of all topics. The instance id, where there is one, makes
        the membership static. Offsets are never committed by the client.
        """
        kafka = self.kafka
        static: Config = {} if kafka.instance_id is None else {"group.instance.id": kafka.instance_id}
        return self._consumer(
            {
                "group.id": kafka.group_id + group_suffix,
                "group.protocol": "classic",
                "partition.assignment.strategy": assignor,
                "auto.offset.reset": "error",
                "session.timeout.ms": kafka.session_timeout_ms,
                "heartbeat.interval.ms": max(kafka.session_timeout_ms // 4, 100),
                "max.poll.interval.ms": max(kafka.max_poll_interval_ms, kafka.session_timeout_ms),
            }
            | static
        )

    def reader(self) -> Consumer:
        """Return a consumer for assigned partitions outside any group: restore, models, sessions, verify."""
        # librdkafka asks for a group; nothing is committed under it
        return self._consumer({"group.id": f"{self.kafka.group_id}-reader", "auto.offset.reset": "earliest"})

    def _consumer(self, config: Config) -> Consumer:
        kafka = self.kafka
        base = consumer_config(kafka.bootstrap_servers, kafka.client_id)
        return Consumer(with_properties(base | config, kafka.properties, kafka.consumer_properties))

    def transactional_producer(self, slot: str) -> Producer:
        """Return a producer for transactions; the caller calls `init_transactions`.

        `slot` must be stable: a random one would leave a dead worker's transaction open, and every `read_committed`
        reader waiting, until the transaction's timeout.
        """
        timeout_ms = self.kafka.transaction_timeout_ms
        config = self._producer_config(
            {
                "transactional.id": f"{self.kafka.group_id}-{slot}",
                "transaction.timeout.ms": timeout_ms,
                # A delivery must give up before the coordinator gives the transaction up.
                "message.timeout.ms": timeout_ms * 3 // 4,
            }
        )
        for name in ("message.timeout.ms", "delivery.timeout.ms"):
            delivery_ms = int(config.get(name, 1))
            if not 0 < delivery_ms < timeout_ms:
                raise ProtectedProperty(
                    f"the property {name!r} is {delivery_ms}: it must be above 0 and below "
                    f"kafka.transaction_timeout_ms ({timeout_ms}), or a delivery outlives its transaction"
                )
        return Producer(config)

    def idempotent_producer(self) -> Producer:
        """Return a producer without transactions, for what is a function of what was read: snapshots of models."""
        return Producer(self._producer_config({}))

    def _producer_config(self, config: Config) -> Config:
        kafka = self.kafka
        base = producer_config(kafka.bootstrap_servers, kafka.client_id) | {
            "linger.ms": 5,
            "message.max.bytes": 8 * MIB,
            "queue.buffering.max.kbytes": 64 * 1024,
        }
        return with_properties(base | config, kafka.properties, kafka.producer_properties)
