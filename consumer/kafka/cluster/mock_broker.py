"""librdkafka's in-process mock broker, with topics of a chosen number of partitions: for the demo and fast tests.

It is for trying things out. It isolates no transaction, stores no offsets sent in one, compacts nothing, answers no
`CreateTopics`, and keeps the last 5 MiB or 100,000 batches of a partition.

The Python client can start such a broker but not give its topics a number of partitions; the C library inside its
wheel can, and is called here directly. Other processes may use the address; the broker ends with this one.
"""

import ctypes
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import confluent_kafka

_PRODUCER = 0  # rd_kafka_type_t
_CONF_OK = 0
_ERROR_BYTES = 512
_REBALANCE_DELAY_MS = 100


class MockBrokerUnavailable(Exception):
    """The client's C library was not found or has no mock broker."""


class MockBroker:
    """A mock cluster on loopback, as a context manager; `bootstrap` is its address.

    `topics` says how many partitions each topic has (real names). A topic that is not among them has 4, once asked for.
    """

    def __init__(self, topics: Mapping[str, int]) -> None:
        self._library = _library()
        self._handle = _new_handle(self._library)
        self._cluster: int | None = self._library.rd_kafka_mock_cluster_new(self._handle, 1)
        if not self._cluster:
            self._library.rd_kafka_destroy(self._handle)
            raise MockBrokerUnavailable("the mock broker could not be started on loopback")
        self.bootstrap: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        # By default the first rebalance comes after 3 s: members with shorter sessions would be gone before it.
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, _REBALANCE_DELAY_MS)
        try:
            for topic, partitions in topics.items():
                self.create_topic(topic, partitions)
        except BaseException:
            self.close()
            raise

    def create_topic(self, topic: str, partitions: int) -> None:
        """Make a topic; raise ValueError where it exists or the numbers are out of range."""
        error = self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1)
        if error != 0:
            said = self._library.rd_kafka_err2str(error).decode()
            raise ValueError(f"the mock broker does not make {topic} with {partitions} partitions: {said}")

    def close(self) -> None:
        """End the broker. Clients that are still connected see it go."""
        if self._cluster:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._library.rd_kafka_destroy(self._handle)
            self._cluster = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _library() -> ctypes.CDLL:
    """Return the librdkafka inside the wheel of confluent-kafka: the one that the client itself has loaded."""
    package = Path(confluent_kafka.__file__).parent
    places = [package.parent / "confluent_kafka.libs", package / ".dylibs"]
    found = sorted(path for place in places if place.is_dir() for path in place.glob("*rdkafka*"))
    if not found:
        raise MockBrokerUnavailable(
            f"no librdkafka beside the confluent-kafka package (looked in {', '.join(map(str, places))}) on "
            f"{sys.platform}: install its wheel, or use a real broker"
        )
    library = ctypes.CDLL(str(found[0]))
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    signatures: dict[str, tuple[type | None, list[type]]] = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_conf_set": (number, [pointer, text, text, text, ctypes.c_size_t]),
        "rd_kafka_new": (pointer, [number, pointer, text, ctypes.c_size_t]),
        "rd_kafka_destroy": (None, [pointer]),
        "rd_kafka_err2str": (text, [number]),
        "rd_kafka_mock_cluster_new": (pointer, [pointer, number]),
        "rd_kafka_mock_cluster_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_topic_create": (number, [pointer, text, number, number]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _new_handle(library: ctypes.CDLL) -> int:
    """Return a client instance that connects nowhere; the mock cluster runs on its threads."""
    said = ctypes.create_string_buffer(_ERROR_BYTES)
    conf = library.rd_kafka_conf_new()
    for name, value in ((b"client.id", b"mock-broker"), (b"log_level", b"3")):
        if library.rd_kafka_conf_set(conf, name, value, said, _ERROR_BYTES) != _CONF_OK:
            raise MockBrokerUnavailable(said.value.decode())
    handle: int | None = library.rd_kafka_new(_PRODUCER, conf, said, _ERROR_BYTES)
    if handle is None:
        raise MockBrokerUnavailable(said.value.decode())
    return handle
