"""Taking a task past a burst of bad records, while no worker runs."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from clients.errors import call_again
from clients.offsets import end_offsets
from consumer.kafka.cluster.cluster import Cluster
from consumer.kafka.failures import CannotGoOn
from consumer.kafka.observer import CommittedTask, Observer
from schemas.topics import EventTopic
from schemas.units import Seconds, in_seconds

_TIMEOUT_S: Final = Seconds(30.0)
_LOOK_AGAIN_S = 0.5


def reached_and_end(cluster: Cluster, topic: EventTopic, partition: int) -> tuple[int, int]:
    """Return up to where the group has read a partition (topic by its logical name), and where that ends now."""
    place = cluster.place(topic, partition)
    asking = cluster.member()  # which never joins
    try:
        (committed,) = call_again(lambda: asking.committed([place], timeout=5.0), _TIMEOUT_S)
    finally:
        asking.close()
    return max(committed.offset, 0), end_offsets(cluster.admin, [place], _TIMEOUT_S)[0]


def require_no_workers(cluster: Cluster, stop: Callable[[], bool]) -> None:
    """Raise CannotGoOn where the group has members. One that has stopped is a member until its session is over."""
    group = cluster.kafka.group_id
    until_s = time.monotonic() + in_seconds(cluster.kafka.session_timeout_ms) + 5.0
    while members := cluster.admin.describe_consumer_groups([group])[group].result(_TIMEOUT_S).members:
        if stop():
            raise CannotGoOn(f"stopped while the group {group} still had members; nothing was changed")
        if time.monotonic() > until_s:
            names = ", ".join(sorted(str(member.group_instance_id or member.client_id) for member in members))
            raise CannotGoOn(f"workers of the group {group} are running ({names}): stop them all, and run this again")
        time.sleep(_LOOK_AGAIN_S)


class Passing(Observer):
    """Watches one task until it has read a topic (logical name) up to an offset."""

    def __init__(self, topic: EventTopic, partition: int, *, reached: int, offset: int) -> None:
        self.offset = offset
        self.reached = reached
        self.rejected = 0
        self._topic = topic
        self._partition = partition

    @property
    def done(self) -> bool:
        """Whether it is there."""
        return self.reached >= self.offset

    def committed(self, tasks: Sequence[CommittedTask], seconds: float) -> None:  # noqa: ARG002 - as an observer hears it
        """Note how far the task has come."""
        for task in tasks:
            if task.commit.journal.task == self._partition:
                self.reached = task.commit.journal.next_offsets.get(self._topic, self.reached)
                self.rejected += sum(each.topic == self._topic for each in task.rejected)
