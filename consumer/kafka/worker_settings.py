"""What the worker loop can be told. Every limit names its unit."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Interval

from consumer.core.settings import OneMsOrMore, OneOrMore, Positive, Section, ZeroMsOrMore
from schemas.units import MIB, MINUTE_MS, Ms

AgeReference = Literal["clock", "stream"]
WorkerMode = Literal["auto", "history", "frozen"]


@dataclass(frozen=True, slots=True)
class DeadLetterSettings(Section):
    """How many records a task may reject before the worker stops rather than drain its topics, and what is kept."""

    max_share: Annotated[float, Interval(gt=0, le=1)] = 0.1  # of what a task has seen, `window_records` at most
    window_records: OneOrMore = 10_000  # the latest records, which `max_share` is of
    min_rejected: OneOrMore = 50  # of the latest records, before their share counts
    max_run_records: OneOrMore = 500  # one after the other
    max_value_bytes: OneOrMore = MIB  # of a larger value only the digest and the coordinates are kept


@dataclass(frozen=True, slots=True)
class WorkerSettings(Section):
    """How a worker reads, commits and learns.

    `mode`: *auto* goes live and into catch-up by lag; *history* learns and decides nothing; *frozen* scores with what
    is known at the start and learns nothing.

    `age_reference`: what is older than `catch_up_after_ms` by the worker's *clock* teaches and decides nothing; with
    *stream* time alone is the measure, which no event is behind by so much.
    """

    state_dir: str | None = "state/{instance_id}"  # of this worker alone; empty: in memory, read from the changelog
    mode: WorkerMode = "auto"  # auto is live, and catch-up by lag
    batch_records: OneOrMore = 1_000  # read at a time
    queued_records: OneOrMore = 20_000  # of one topic of one task; beyond it, fetching pauses (backpressure)
    merge_wait_ms: OneMsOrMore = Ms(100)  # after silence, records of one topic wait so long for those of the others
    commit_interval_ms: OneMsOrMore = Ms(1_000)  # at most so long between two commits while records come
    commit_records: OneOrMore = 20_000  # processed without a commit, by all tasks of the worker together
    max_aborts: OneOrMore = 5  # aborted commits in a row before the worker stops
    last_commit_budget_ms: OneMsOrMore = Ms(4_000)  # for the last commit of tasks taken away, or of a worker that stops
    restore_timeout_ms: OneMsOrMore = Ms(120_000)  # without progress; an open transaction of a dead worker ends before
    catch_up_after_ms: OneMsOrMore = Ms(15 * MINUTE_MS)  # behind by more: learn, decide nothing; live again at half
    age_reference: AgeReference = "clock"  # events older than that decide nothing; "stream" where time is simulated
    heartbeat_ms: ZeroMsOrMore = Ms(0)  # after so long a silence stream time follows the clock; 0: never
    cache_customers: OneOrMore = 100_000  # decoded, for each task
    learn_budget_ms: OneMsOrMore = Ms(200)  # at a time, for reading knowledge and for folding examples
    republish_hours: Positive = 24.0  # how often the latest snapshots are published again: retention spares them
    trainer: bool = True  # take part in learning; a frozen worker never does
    check_group_offsets: bool = True  # only a broker that forgets transactional offsets (for trying out) needs False
    dead_letters: DeadLetterSettings = field(default_factory=DeadLetterSettings)

    def state_folder(self, instance_id: str) -> Path | None:
        """Return where the stores of this worker lie: `{instance_id}` in `state_dir` stands for the worker's name."""
        if not self.state_dir:
            return None
        return Path(self.state_dir.replace("{instance_id}", instance_id.replace("/", "_")))
