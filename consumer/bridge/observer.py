"""What the bridge tells whoever watches; the composition root hands in an observer that makes metrics of it."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Self


@dataclass(slots=True)
class Tally:
    """Records of one commit. Source topics go by their full names, canonical ones by their logical names."""

    read: Counter[str] = field(default_factory=Counter)  # source topic → records
    written: Counter[str] = field(default_factory=Counter)  # canonical topic → records
    skipped: Counter[str] = field(default_factory=Counter)  # source topic → records that become no event
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)  # source topic, reason → records

    def __iadd__(self, other: "Tally") -> Self:
        """Add what another has counted."""
        self.read += other.read
        self.written += other.written
        self.skipped += other.skipped
        self.rejected += other.rejected
        return self


class BridgeObserver:
    """Hears nothing of it. Override what is of interest; a method must return soon and may not raise."""

    def committed(self, tally: Tally, seconds: float) -> None:
        """Hear of a Kafka transaction that was committed and took `seconds`."""

    def aborted(self, reason: str) -> None:
        """Hear of a transaction that was aborted; its records will be read again."""

    def rebalanced(self, kind: str, partitions: int) -> None:
        """Hear of an assignment of so many partitions; `kind` is assigned, revoked or lost."""

    def lag(self, topic: str, partition: int, records: int) -> None:
        """Hear how many records of a source partition are on the broker and not bridged."""

    def gave_up(self, topic: str, partition: int) -> None:
        """Hear of a source partition that another process has now."""
