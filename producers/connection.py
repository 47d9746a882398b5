"""How producers, and readers of what they published, reach a cluster."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._metadata import ClusterMetadata

from clients.config import base_config, consumer_config, producer_config
from clients.errors import reach
from clients.properties import Properties, with_properties
from schemas.topics import Topic
from schemas.units import Seconds

_CLIENT_ID: Final = "nextbest-produce"
REQUEST_S: Final = Seconds(15.0)  # for an answer of a cluster that was reached


@dataclass(frozen=True)
class Connection:
    """An address, the prefix of the topics there, and what is passed through to clients of each kind.

    Raises ProtectedProperty, when a client is made, for a property that may not be set.
    """

    bootstrap: str
    prefix: str = ""
    properties: Properties = field(default_factory=dict, repr=False)  # of every client
    consumer_properties: Properties = field(default_factory=dict, repr=False)
    producer_properties: Properties = field(default_factory=dict, repr=False)
    connect_timeout_s: Seconds = Seconds(10.0)

    @cached_property
    def admin(self) -> AdminClient:
        """The admin client, always the same one: the futures of a client that was collected fail."""
        return AdminClient(with_properties(base_config(self.bootstrap, _CLIENT_ID), self.properties))

    def reach(self) -> ClusterMetadata:
        """Return what the cluster says of itself; raise ClusterAway where no broker answers within the timeout."""
        return reach(self.admin, self.bootstrap, self.connect_timeout_s)

    def name(self, topic: Topic) -> str:
        """Return the real name of a topic."""
        return self.prefix + topic

    def producer(self) -> Producer:
        """Return a producer whose queue is bounded."""
        config = producer_config(self.bootstrap, _CLIENT_ID) | {
            "linger.ms": 50,
            "queue.buffering.max.messages": 100_000,
            "queue.buffering.max.kbytes": 256 * 1024,
            "delivery.timeout.ms": 60_000,
        }
        return Producer(with_properties(config, self.properties, self.producer_properties))

    def reader(self) -> Consumer:
        """Return a consumer for assigned partitions."""
        config = consumer_config(self.bootstrap, _CLIENT_ID) | {
            "group.id": "nextbest-record",  # the client asks for one; nothing is committed to it
            "auto.offset.reset": "earliest",
        }
        return Consumer(with_properties(config, self.properties, self.consumer_properties))
