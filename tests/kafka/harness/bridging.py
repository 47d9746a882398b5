"""A shop's own topics on a real broker, with any number of partitions, and processes that bridge them."""

import json
import os
import random
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from confluent_kafka import Message
from confluent_kafka.cimpl import NewTopic

from clients.messages import headers_of
from consumer.bridge.becoming import SOURCE_HEADER, Place
from schemas.topics import Topic
from tests.kafka.harness.cluster import DEADLINE_S, Cluster

START_S = 1_700_000_000

MAPPING = """
[inputs.shop]
topics = ["{prefix}shop-a", "{prefix}shop-b"]

[inputs.shop.fields]
event_id = "id"
customer_id = "who"
occurred_at = {{ path = "at", time = "s" }}

[[inputs.shop.events]]
when = "what == 'seen'"
kind = "item_view"
item_id = "sku"

[[inputs.shop.events]]
when = "what == 'bought'"
kind = "order"
order_id = "id"
currency = {{ value = "EUR" }}
[inputs.shop.events.lines]
item_id = "sku"
unit_price = "price"

[[inputs.shop.events]]              # a purchase is also the last look at the item
when = "what == 'bought'"
kind = "item_view"
item_id = "sku"
"""


class BridgeProcess:
    """`nextbest bridge` in a process of its own, started when made. Its log is `log_file`."""

    def __init__(self, cluster: Cluster, instance_id: str, **settings: str) -> None:
        toml = cluster.folder / "nextbest.toml"
        toml.write_text(MAPPING.format(prefix=cluster.prefix), encoding="utf-8")
        kafka = cluster.kafka(instance_id)
        self.log_file = cluster.folder / f"{instance_id}.log"
        variables = {
            "NEXTBEST_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "NEXTBEST_KAFKA__GROUP_ID": kafka.group_id,
            "NEXTBEST_KAFKA__INSTANCE_ID": instance_id,
            "NEXTBEST_KAFKA__SESSION_TIMEOUT_MS": str(kafka.session_timeout_ms),
            "NEXTBEST_KAFKA__TRANSACTION_TIMEOUT_MS": str(kafka.transaction_timeout_ms),
            "NEXTBEST_TOPICS__PREFIX": cluster.prefix,
            "NEXTBEST_TOPICS__PARTITIONS": str(cluster.partitions),
            "NEXTBEST_TOPICS__REPLICATION_FACTOR": "1",
            "NEXTBEST_TOPICS__MIN_INSYNC_REPLICAS": "1",
            "NEXTBEST_HTTP__PORT": "0",
        } | settings
        command = [sys.executable, "-c", "from consumer.cli import main; main()", "bridge", "--config", str(toml)]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=Path(__file__).parents[3], stdout=log, stderr=log, env=dict(os.environ) | variables
            )

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait()

    def stop(self, timeout_s: float = 15.0) -> int:
        """Ask it to stop, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def log(self) -> str:
        """Return what it has logged so far."""
        return self.log_file.read_text(encoding="utf-8")

    def fail_if_ended(self) -> None:
        """Fail, with its log, where it has ended."""
        assert self.process.poll() is None, f"the bridge ended with {self.process.returncode}:\n{self.log()[-3000:]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()


class Shop:
    """The topics `shop-a` and `shop-b` of a cluster, and what was written to them."""

    def __init__(self, cluster: Cluster, partitions: Mapping[str, int]) -> None:
        self.cluster = cluster
        self.partitions = {cluster.prefix + name: n for name, n in partitions.items()}
        self.wanted: dict[str, list[str]] = defaultdict(list)  # canonical topic → source headers
        self._next_offset: dict[Place, int] = defaultdict(int)
        self._producer = cluster.reached().idempotent_producer()
        new = [NewTopic(name, n, 1) for name, n in self.partitions.items()]
        reached = cluster.reached()
        for made in reached.admin.create_topics(new).values():
            made.result(30)

    def write(self, name: str, partition: int, record: dict[str, Any] | bytes, *becomes: str) -> None:
        """Write one record; `becomes` are the canonical topics of the events that it is to become."""
        topic = self.cluster.prefix + name
        place = Place(topic, partition)
        value = record if isinstance(record, bytes) else json.dumps(record).encode()
        self._producer.produce(topic, value, f"session-{self._next_offset[place] % 7}".encode(), partition)
        self._producer.poll(0)
        for number, each in enumerate(becomes):
            self.wanted[each].append(f"{topic}/{partition}/{self._next_offset[place]}/{number}")
        self._next_offset[place] += 1

    def flush(self) -> None:
        """Wait until all is on the broker."""
        assert self._producer.flush(DEADLINE_S) == 0

    def fill(self, records: int, seed: int = 3) -> None:
        """Write visits of sixty customers over the partitions of both topics, in event-time order."""
        draw = random.Random(seed)
        for number in range(records):
            name, n = draw.choice(list(self.partitions.items()))
            kind = draw.choices(["seen", "bought", "noise"], [80, 10, 10])[0]
            record = {
                "id": f"e{number}", "who": draw.randrange(60), "at": START_S + 20 * number, "what": kind,
                "sku": draw.randrange(30), "price": 5,
            }  # fmt: skip
            becomes = {"seen": ["clickstream"], "bought": ["purchases", "clickstream"], "noise": []}[kind]
            self.write(name.removeprefix(self.cluster.prefix), draw.randrange(n), record, *becomes)
        self.flush()

    def bridged(self, topic: Topic) -> list[Message]:
        """Return what is on a canonical topic, as a `read_committed` reader sees it."""
        return self.cluster.read(topic)

    def n_bridged(self) -> int:
        """Return how many events are on the canonical topics."""
        return sum(len(self.bridged(topic)) for topic in ("clickstream", "purchases"))


def origin_of(message: Message) -> str:
    """Return the source coordinates of a bridged record."""
    return next((value or b"").decode() for name, value in headers_of(message) if name == SOURCE_HEADER)
