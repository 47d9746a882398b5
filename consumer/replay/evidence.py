"""What a run left behind, as `verify` reads it: a directory of a replay, or the topics of a live run.

Everything is handed out in the order in which it was written. What cannot be handed out raises one of the two errors
below, because they lead to different answers: *different*, or *not verifiable*.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from consumer.core.merge import MergeRecord
from schemas.events import Product
from schemas.records import Family, JournalRecord, NextBestAction, Session, TrainingExample


class NotVerifiable(Exception):
    """What verification needs is gone for a good reason (expired, erased, not given); the message says what and why."""


class Damaged(Exception):
    """What was recorded is there and is not what was written; the message says where."""


class RecordedProduct(NamedTuple):
    """What one record of products comes to, as read now."""

    offset: int
    item_id: str
    product: Product | None  # None: a tombstone
    asks_registry: bool  # how it reads depends on what a schema registry answers, and no journal says what it did


class Evidence(Protocol):
    """The record of one run of one or more tasks. Topics are logical names; offsets are those of the topics."""

    def problems(self) -> Sequence[str]:
        """Return what is known to be wrong before anything is derived, in words: a file that has another digest, say.

        Evidence with problems is *different*, whatever else comes out.
        """

    def journal(self) -> Iterator[JournalRecord]:
        """Yield the journal of all tasks: each task's records in their order, the tasks mixed in any way.

        Where `examples` returns None, the order must be that in which the commits appended to training-examples.
        """

    def inputs(self, task: int, topic: str, from_offset: int) -> Iterator[MergeRecord]:
        """Yield the records of `topic` on partition `task` from `from_offset` on, after the intake (as in a run).

        Called once for each (task, topic), with the first offset that the journal names, and read as far as needed.
        Raises NotVerifiable where `from_offset` has expired.
        """

    def snapshot(self, model: str, offset: int) -> bytes | None:
        """Return the snapshot of `model` whose last example is at `offset`; None where it is not to be had.

        `model` is a family, for its own model, or ``family.NAME``, for a challenger's.
        """

    def sessions(self, from_offset: int, to_offset: int) -> Iterator[tuple[int, Session]]:
        """Yield (offset, session) with from_offset ≤ offset < to_offset, in order. Raises NotVerifiable if expired."""

    def products(self, from_offset: int, to_offset: int) -> Iterator[RecordedProduct]:
        """Yield the products of that range, in order."""

    def decisions(self, task: int) -> Iterator[NextBestAction]:
        """Yield the decisions that `task` published, in order, from the beginning. Called once for each task."""

    def examples(self, family: Family) -> Iterator[tuple[int, TrainingExample]] | None:
        """Yield (offset, example) of a family's log from the beginning, to derive its snapshots from.

        None: nothing was kept, and the log is what the commits append in the order of `journal`.
        """
