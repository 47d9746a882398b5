"""From the rows of a recording to records as they would stand on the topics: partition, offset, decoded and judged.

The replay and the verification of one read their inputs through here, so both see the same.
"""

import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeAlias, cast

import msgspec

from consumer.core.intake import Rejection, read
from consumer.core.merge import MergeRecord
from consumer.replay.evidence import Damaged
from schemas.codec import Decoder, asks_registry
from schemas.events import Product
from schemas.partitioning import partition_of
from schemas.products import read_product
from schemas.topics import EVENT_TOPICS, INPUT_TOPICS

PRODUCTS = "products"
MAX_WAITING_RECORDS = 2_000_000  # of other topics, while one is looked for: more than that, and it will not come


class UsableRow(Protocol):
    """A row of a recording that is a record of a topic. `arrival_ms` is when it reached the log, epoch ms."""

    @property
    def topic(self) -> str: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102
    @property
    def line(self) -> int: ...  # noqa: D102
    @property
    def arrival_ms(self) -> int: ...  # noqa: D102
    @property
    def occurred_at(self) -> int: ...  # noqa: D102


class UnusableRow(Protocol):
    """A row of a recording that is no record of any topic, and why."""

    @property
    def line(self) -> int: ...  # noqa: D102
    @property
    def reason(self) -> str: ...  # noqa: D102
    @property
    def message(self) -> str: ...  # noqa: D102


AnyRow: TypeAlias = UsableRow | UnusableRow


def is_input(record: UsableRow) -> bool:
    """Return whether the record is of a topic that is read: a recording may hold others, decisions for example."""
    return record.topic in INPUT_TOPICS


def usable(row: AnyRow) -> UsableRow | None:
    """Return the row if it is one of a topic."""
    return cast("UsableRow", row) if hasattr(row, "topic") else None


def merged_rows(row: AnyRow) -> int:
    """Return how many further rows of the recording went into this one, as those of one order do."""
    merged: int = getattr(row, "merged", 0)
    return merged


def recorded_partitions(row: AnyRow) -> int:
    """Return how many partitions there must have been where this row was recorded; 0 where it says nothing of them."""
    record = usable(row)
    partition: int | None = getattr(row, "partition", None)
    return 0 if record is None or partition is None or record.topic not in EVENT_TOPICS else partition + 1


class ProductRecord(msgspec.Struct, frozen=True):
    """One record of the products topic; `product` None is a tombstone, `item_id` None says that no item could be told.

    A record with a `rejection` blocks its item. `asks_registry`: how it reads depends on a schema registry.
    """

    offset: int
    item_id: str | None
    product: Product | None
    rejection: Rejection | None = None
    asks_registry: bool = False


class Inlet:
    """Gives each row its partition and its offset there, decodes it and judges it."""

    def __init__(
        self, partitions: int, max_ahead_ms: int, decoder: Decoder | None = None, last_ms: int | None = None
    ) -> None:
        """`last_ms` ends the recording: no row without a time of arrival came later, whatever its clock said."""
        self._last_ms = sys.maxsize if last_ms is None else last_ms
        self._partitions = partitions
        self._max_ahead_ms = max_ahead_ms
        self._decoder = decoder or Decoder()
        self._next_offsets: dict[tuple[str, int], int] = {}
        self._next_product = 0

    def record_of(self, row: UsableRow) -> tuple[int, MergeRecord]:
        """Return the partition and the record of a row that is about a customer."""
        topic, key, value, timestamp_ms = row.topic, row.key, row.value, row.arrival_ms
        if getattr(row, "timestamp_ms", None) is None:
            timestamp_ms = min(timestamp_ms, self._last_ms)
        partition = partition_of(key, self._partitions) if key else 0
        offset = self._next_offsets.get((topic, partition), 0)
        self._next_offsets[topic, partition] = offset + 1
        event = read(
            self._decoder,
            topic,
            key,
            value,
            partition=partition,
            partitions=self._partitions,
            timestamp_ms=timestamp_ms,
            max_ahead_ms=self._max_ahead_ms,
        )
        headers: tuple[tuple[str, bytes | None], ...] = getattr(row, "headers", ())
        return partition, MergeRecord(topic, offset, timestamp_ms, key, value, event, headers)

    def mended(self) -> Counter[str]:
        """Return how often what was mended: `topic field what` → records (lines, for what is mended in lines)."""
        return Counter({f"{topic} {mend.field} {mend.what}": n for (topic, mend), n in self._decoder.mended.items()})

    def product_of(self, row: UsableRow) -> ProductRecord:
        """Return the product of a row of that topic."""
        offset, self._next_product = self._next_product, self._next_product + 1
        read, rejection = read_product(self._decoder, row.key, row.value), None
        if (fault := read.fault) is not None:
            rejection = Rejection(fault.reason, fault.field, fault.message)
        return ProductRecord(offset, read.item_id, read.product, rejection, asks_registry(row.value))


class Rereading:
    """The inputs of a replay once more, by task and topic, in one pass over the rows."""

    def __init__(self, rows: Iterable[AnyRow], inlet: Inlet) -> None:
        self._rows = iter(rows)
        self._inlet = inlet
        self._waiting: dict[tuple[int, str], deque[MergeRecord]] = {}
        self._n_waiting = 0
        self._products: list[ProductRecord] = []

    def records(self, task: int, topic: str) -> Iterator[MergeRecord]:
        """Yield the records of one topic partition. Raises Damaged where the rows cannot be read on."""
        waiting = self._waiting.setdefault((task, topic), deque())
        while True:
            while not waiting:
                if not self._read_row():
                    return
            self._n_waiting -= 1
            yield waiting.popleft()

    def products(self, from_offset: int, to_offset: int) -> Iterator[ProductRecord]:
        """Yield the products in a range of offsets."""
        while len(self._products) < to_offset and self._read_row():
            pass
        yield from self._products[from_offset:to_offset]

    def _read_row(self) -> bool:
        try:
            row = next(self._rows, None)
        except Exception as error:  # a reader of a damaged file raises whatever it stumbles over
            raise Damaged(f"the input cannot be read: {error}") from error
        if row is None:
            return False
        record = usable(row)
        if record is None or not is_input(record):
            return True
        if record.topic == PRODUCTS:
            self._products.append(self._inlet.product_of(record))
            return True
        partition, merge_record = self._inlet.record_of(record)
        self._waiting.setdefault((partition, record.topic), deque()).append(merge_record)
        self._n_waiting += 1
        if self._n_waiting > MAX_WAITING_RECORDS:
            raise Damaged("the journal asks for inputs that do not come")
        return True
