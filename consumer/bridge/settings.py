"""What the bridge can be told. Every limit names its unit."""

from dataclasses import dataclass

from consumer.core.settings import OneMsOrMore, OneOrMore, Section
from schemas.units import HOUR_MS, MINUTE_MS, Ms


@dataclass(frozen=True, slots=True)
class BridgeSettings(Section):
    """How `nextbest bridge` reads topics of a shop's own and writes the canonical ones."""

    group_id: str | None = None  # its consumer group; that of the workers with `-bridge` behind it if not given
    max_lead_ms: OneMsOrMore = Ms(HOUR_MS)  # of event time: so far ahead of the slowest source partition, records wait
    idle_after_ms: OneMsOrMore = Ms(5 * MINUTE_MS)  # a partition without progress for longer holds nobody back
    look_interval_ms: OneMsOrMore = Ms(1_000)  # how often it is asked what the other processes have reached
    batch_records: OneOrMore = 1_000  # read at a time
    queued_records: OneOrMore = 5_000  # of one source partition; beyond it, fetching pauses (backpressure)
    commit_interval_ms: OneMsOrMore = Ms(200)  # at most so long between two commits while records come
    commit_records: OneOrMore = 20_000  # source records in one commit
    max_aborts: OneOrMore = 5  # aborted commits in a row before the process stops
    last_commit_budget_ms: OneMsOrMore = Ms(4_000)  # for the last commit of partitions taken away, or at a stop

    def check_together(self) -> None:
        """Raise ValueError where a name that is needed is empty."""
        if self.group_id == "":
            raise ValueError("`group_id` is empty: leave it out, or name the consumer group of the bridge")
