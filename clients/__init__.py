"""Kafka clients: what the consumer and the producers need of them alike."""

import logging

log = logging.getLogger("nextbest.kafka")  # librdkafka's own lines go here too
