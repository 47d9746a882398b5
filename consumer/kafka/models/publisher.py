"""Writing to the models topic."""

from confluent_kafka import KafkaException, Producer

from consumer.kafka.failures import CannotGoOn
from schemas.units import Seconds


class ModelPublisher:
    """Produces to the models topic, without transactions: what it writes is a function of what was read."""

    def __init__(self, producer: Producer, topic: str) -> None:
        self._producer = producer
        self._topic = topic

    def publish(self, key: bytes, data: bytes) -> None:
        """Hand a record over for delivery, in order. Raises CannotGoOn where the client refuses it."""
        while True:
            try:
                self._producer.produce(self._topic, data, key, 0)
                return
            except BufferError:
                self._producer.poll(0.05)
            except KafkaException as raised:
                raise CannotGoOn(f"{key.decode()} cannot be published to {self._topic}: {raised}") from raised

    def serve(self) -> None:
        """Let the client report what it has delivered."""
        self._producer.poll(0)

    def flush(self, timeout_s: Seconds) -> None:
        """Wait until everything is delivered, or the time is over: what is lost then is made again from the log."""
        self._producer.flush(timeout_s)

    def deliver(self, timeout_s: Seconds) -> None:
        """Wait until everything is delivered. Raises CannotGoOn where it is not in time."""
        left = self._producer.flush(timeout_s)
        if left:
            raise CannotGoOn(f"{left} records could not be delivered to {self._topic} within {timeout_s:.0f} s")
