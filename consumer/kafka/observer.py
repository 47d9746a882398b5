"""What the worker tells whoever watches: one method for each thing that happens, all of them optional.

The worker knows no metrics; the composition root hands in an `Observer` that turns these calls into them.
No call carries a customer id except inside the records of a commit, which an observer must not put into labels or logs.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from consumer.core.intake import Rejection
from consumer.core.journal import ClosedCommit
from consumer.core.learning.drift import Drift
from schemas.records import Family, TrainingExample


class RejectedRecord(NamedTuple):
    """Where a rejected record stands, and why it was rejected. `topic` is the logical name."""

    topic: str
    partition: int
    offset: int
    rejection: Rejection


class CommittedTask(msgspec.Struct, frozen=True):
    """One task's part of a commit."""

    commit: ClosedCommit
    processed: Mapping[tuple[str, str], int]  # (logical topic, kind of event) → records
    rejected: Sequence[RejectedRecord]
    customers: int


class Observer:
    """Hears nothing of it. Override what is of interest; a method must return soon and may not raise."""

    def committed(self, tasks: Sequence[CommittedTask], seconds: float) -> None:
        """Hear of a Kafka transaction that was committed and took `seconds`."""

    def mended(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Hear how often what was mended in records that were read: (logical topic, what) → times."""

    def aborted(self, reason: str) -> None:
        """Hear of a transaction that was aborted; its records will be processed again."""

    def processed(self, records: int, seconds: float) -> None:
        """Hear how long the core took for a batch of records."""

    def rebalanced(self, kind: str, tasks: Collection[int]) -> None:
        """Hear of an assignment; `kind` is assigned, revoked or lost."""

    def restored(self, task: int, records: int, customers: int, seconds: float) -> None:
        """Hear of a task that has its state again, after reading `records` changelog records."""

    def stopped(self, task: int) -> None:
        """Hear of a task that this worker no longer has."""

    def lag(self, topic: str, task: int, records: int) -> None:
        """Hear how many records of a topic are on the broker and not processed."""

    def came_round(self) -> None:
        """Hear, every few seconds, that the loop comes round, with all lags told."""

    def passed_over(self, offset: int, why: str) -> None:
        """Hear of a record of the models topic that can't be read; `why` is for people."""

    def adopted(self, versions: Mapping[str, int]) -> None:
        """Hear which knowledge is in force from now on."""

    def learned(self, family: Family, example: TrainingExample) -> None:
        """Hear of an example that this worker's trainer folds in."""

    def drifted(self, family: Family, move: Drift) -> None:
        """Hear of something that has moved: the losses of the model in force, or a feature."""

    def compared(self, model: str, head: str, label: float, *, own: float, in_force: float) -> None:
        """Hear what a challenger would have said of a row, and what the model in force said."""

    def published(self, model: str, offset: int) -> None:
        """Hear of a model snapshot that this worker published; `model` is its name."""
