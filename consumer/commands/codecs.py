"""What the commands read and write records with: the codec, and the schema registry behind it."""

from functools import cache
from typing import TYPE_CHECKING

from consumer.commands.errors import CommandError

if TYPE_CHECKING:
    from clients.properties import Property
    from consumer.config import Config
    from consumer.kafka.cluster.registry import SchemaSource
    from schemas.codec import Decoder, Encoder


def codec_of(config: "Config") -> "tuple[Decoder, Encoder]":
    """Return what reads both formats (Avro where a registry is configured) and what writes the configured one."""
    from schemas.avro_schemas import STRUCTS, avro_schema
    from schemas.codec import AvroEncoder, JsonEncoder
    from schemas.topics import TOPICS

    decoder = decoder_of(config)
    if config.format == "json":
        return decoder, JsonEncoder()
    source = schema_source_of(config)
    if source is None:
        raise CommandError('format = "avro" needs kafka.schema_registry_url, where the schemas are registered')
    names: dict[str, str] = {topic: config.topics.name(topic) for topic in TOPICS}
    ids = {topic: source.register(f"{names[topic]}-value", avro_schema(topic)) for topic in STRUCTS}
    return decoder, AvroEncoder(ids)


def decoder_of(config: "Config") -> "Decoder":
    """Return what reads records as the worker does, under the same limit: a recording is judged as its topics were."""
    from schemas.codec import Decoder

    return Decoder(schema_source_of(config), config.topics.max_record_bytes)


def schema_source_of(config: "Config") -> "SchemaSource | None":
    """Return where Avro schemas are looked up, where a registry is configured: one and the same for a registry."""
    kafka = config.kafka
    if kafka.schema_registry_url is None:
        return None
    return _schema_source(kafka.schema_registry_url, tuple(sorted(kafka.schema_registry_properties.items())))


@cache
def _schema_source(url: str, properties: "tuple[tuple[str, Property], ...]") -> "SchemaSource":
    from consumer.kafka.cluster.registry import SchemaSource

    return SchemaSource(url, dict(properties))
