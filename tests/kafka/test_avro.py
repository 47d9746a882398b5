"""Avro in and Avro out, with the schemas of a registry."""

from dataclasses import replace
from pathlib import Path

import pytest

from consumer.commands.codecs import codec_of
from consumer.config import Config
from consumer.core.shared import Core
from consumer.default_catalogue import default_catalogue
from consumer.kafka.evidence import TopicEvidence
from consumer.replay.verify import verify
from consumer.store.memory import MemoryState
from consumer.zones import load_zone
from schemas.avro_schemas import STRUCTS, avro_schema
from schemas.codec import AvroEncoder, Decoder, JsonEncoder
from tests.kafka.harness.cluster import Cluster
from tests.kafka.harness.in_process import work_until
from tests.kafka.harness.stream import InputRecord, shop_stream
from tests.kafka.harness.worker_process import BUILD
from tests.schemas.wire import SchemaTable

AVRO_MAGIC = b"\x00"


def test_the_configured_format_decides_what_is_written_and_both_are_read() -> None:
    """With a registry (here the client's in-memory one) our schemas are registered and Avro is written."""
    config = Config()
    config = replace(config, format="avro", kafka=replace(config.kafka, schema_registry_url="mock://"))
    decoder, encoder = codec_of(config)
    (record,) = shop_stream(customers=1, sessions=1, partitions=1)[:1]
    event = decoder.decode_event(record.topic, record.value)
    written = encoder.encode(record.topic, event)
    assert written.startswith(AVRO_MAGIC)
    assert decoder.decode_event(record.topic, written) == event


@pytest.mark.kafka
def test_a_worker_reads_and_writes_avro_and_verifies(kafka_bootstrap: str, unique_prefix: str, tmp_path: Path) -> None:
    """The same stream in Avro gives decisions, examples and a journal in Avro, which can be derived again."""
    cluster = Cluster(kafka_bootstrap, unique_prefix, tmp_path)
    cluster.create()
    ids = {topic: number for number, topic in enumerate(sorted(STRUCTS), start=1)}
    encoder = AvroEncoder(ids)
    decoder = Decoder(SchemaTable({number: avro_schema(topic) for topic, number in ids.items()}))
    stream = [
        InputRecord(r.topic, r.partition, r.key, encoder.encode(r.topic, Decoder().decode_event(r.topic, r.value)))
        for r in shop_stream(customers=40, sessions=200, partitions=cluster.partitions)
    ]
    cluster.produce(stream)
    work_until(cluster, lambda watcher: watcher.records >= len(stream), codec=(decoder, encoder))

    values = [message.value() or b"" for message in cluster.read("next-best-actions")]
    assert values
    assert all(value.startswith(AVRO_MAGIC) for value in values)
    assert not cluster.read("dead-letters")
    with TopicEvidence(cluster.reached(), decoder, cluster.core.time.max_ahead_ms) as recording:
        verdict = verify(recording, Core.new(cluster.core, default_catalogue(), load_zone, build=BUILD), MemoryState)
    assert verdict.kind == "same", verdict
    decision = decoder.decode("next-best-actions", values[0])
    assert Decoder().decode("next-best-actions", JsonEncoder().encode("next-best-actions", decision)) == decision
