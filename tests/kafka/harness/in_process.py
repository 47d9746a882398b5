"""A worker in the thread of the test, run until something has happened."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from consumer.default_catalogue import default_catalogue
from consumer.kafka.clocks import Clocks, wall_clock_ms
from consumer.kafka.observer import CommittedTask, Observer
from consumer.kafka.run import Job, run
from consumer.kafka.worker import WorkerStatus
from consumer.zones import load_zone
from schemas.codec import Decoder, Encoder, JsonEncoder
from schemas.units import Ms
from tests.kafka.harness.cluster import DEADLINE_S, Cluster
from tests.kafka.harness.worker_process import BUILD


class Watcher(Observer):
    """Counts what a worker commits, and notes its rebalances and restores."""

    def __init__(self) -> None:
        self.records = 0
        self.commits = 0
        self.modes: list[str] = []
        self.tasks: list[set[int]] = []  # of each commit
        self.rebalances: list[str] = []
        self.restored_records: dict[int, int] = {}
        self.judged: Counter[str] = Counter()  # rows, by challenger
        self.snapshots: Counter[str] = Counter()  # published, by model
        self.versions: Mapping[str, int] = {}  # of the knowledge in force
        self.status = WorkerStatus()

    def committed(self, tasks: Sequence[CommittedTask], seconds: float) -> None:  # noqa: ARG002
        """Count the records of a commit."""
        self.commits += 1
        self.tasks.append({task.commit.journal.task for task in tasks})
        for task in tasks:
            self.modes.append(task.commit.journal.mode)
            self.records += sum(run.count for run in task.commit.journal.runs)

    def rebalanced(self, kind: str, tasks: Collection[int]) -> None:  # noqa: ARG002
        """Note what kind it was."""
        self.rebalances.append(kind)

    def restored(self, task: int, records: int, customers: int, seconds: float) -> None:  # noqa: ARG002
        """Note how much of the changelog was read."""
        self.restored_records[task] = records

    def published(self, model: str, offset: int) -> None:  # noqa: ARG002
        """Count the snapshots of a model."""
        self.snapshots[model] += 1

    def adopted(self, versions: Mapping[str, int]) -> None:
        """Note which knowledge is in force."""
        self.versions = versions

    def compared(self, model: str, head: str, label: float, *, own: float, in_force: float) -> None:  # noqa: ARG002
        """Count the rows that a challenger is judged by."""
        self.judged[model] += 1


def work_until(
    cluster: Cluster,
    done: Callable[[Watcher], bool],
    instance_id: str = "worker-0",
    clock_ms: Callable[[], Ms] = wall_clock_ms,
    codec: tuple[Decoder, Encoder] | None = None,
    watcher: Watcher | None = None,
) -> Watcher:
    """Run a worker until `done`, stop it as SIGTERM would, and return what was seen; fail after a deadline."""
    watcher = watcher or Watcher()
    until_s = time.monotonic() + DEADLINE_S
    timed_out = False

    def stop() -> bool:
        nonlocal timed_out
        timed_out = time.monotonic() > until_s
        return timed_out or done(watcher)

    job = Job(
        cluster.worker_settings(instance_id),
        cluster.core,
        default_catalogue(),
        *(codec or (Decoder(), JsonEncoder())),
        build=BUILD,
        load_zone=load_zone,
        challengers=cluster.challengers,
    )
    run(
        cluster.reached(instance_id),
        job,
        stop=stop,
        observer=watcher,
        status=watcher.status,
        clocks=Clocks(ms=clock_ms),
    )
    assert not timed_out, f"not done within {DEADLINE_S:.0f} s; {watcher.records} records were committed"
    return watcher


def work_through(cluster: Cluster, records: int, instance_id: str = "worker-0") -> Watcher:
    """Run a worker until `records` input records are committed."""
    return work_until(cluster, lambda watcher: watcher.records >= records, instance_id)
