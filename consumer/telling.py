"""What a worker says of its work in words: the first rejection of each kind at once, and a line now and then.

No line holds a key, a value or a customer id.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from consumer.kafka.observer import CommittedTask, RejectedRecord
from consumer.kafka.remedies import remedy_for

log = logging.getLogger("nextbest.worker")

LATELY_S: Final = 300.0
_NAMED_REASONS = 5  # in one line; the others as a number


class Telling:
    """Counts what is committed. `every_s` is the time between two lines, 0 for none; `clock_s` never goes back."""

    def __init__(self, every_s: float, clock_s: Callable[[], float]) -> None:
        self._every_s = every_s
        self._clock_s = clock_s
        self._told_at_s = clock_s()
        self._known: set[tuple[str, str]] = set()  # topic and reason of which the first was told
        self._rejected: Counter[tuple[str, str]] = Counter()
        self._events = self._decisions = 0
        self._lag: dict[tuple[str, int], int] = {}
        self._lately: deque[tuple[float, int, Counter[tuple[str, str]]]] = deque()  # when, records, rejected
        self.lately = ""  # the share rejected, in words; read by other threads

    def committed(self, task: CommittedTask) -> None:
        """Count one task's part of a commit, and tell what was rejected for the first time."""
        rejected = Counter((each.topic, each.rejection.reason) for each in task.rejected)
        for each in task.rejected:
            self._tell_first(each)
        events = sum(task.processed.values())
        self._events += events
        self._decisions += len(task.commit.outputs.decisions)
        self._rejected += rejected
        self._lately.append((self._clock_s(), events + rejected.total(), rejected))
        self._look_back()

    def _tell_first(self, record: RejectedRecord) -> None:
        rejection = record.rejection
        kind = (record.topic, rejection.reason)
        if kind in self._known:
            return
        self._known.add(kind)
        log.warning(
            "first rejected record of its kind: %s[%d] offset %d, %s, field %s: %s. What to do: %s. "
            "It is in the dead letters (nextbest dead-letters show %s:%d:%d); from here on such records are counted",
            record.topic,
            record.partition,
            record.offset,
            rejection.reason,
            rejection.field or "none",
            rejection.message,
            remedy_for(rejection.reason),
            record.topic,
            record.partition,
            record.offset,
        )

    def lag(self, topic: str, task: int, records: int) -> None:
        """Note how many records are waiting on the broker."""
        self._lag[topic, task] = records

    def stopped(self, task: int) -> None:
        """Forget the lag of a task that another worker has now."""
        self._lag = {place: records for place, records in self._lag.items() if place[1] != task}

    def came_round(self) -> None:
        """Tell what was done since the last line, where one is due."""
        self._look_back()
        since_s = self._clock_s() - self._told_at_s
        if not self._every_s or since_s < self._every_s:
            return
        log.log(
            logging.WARNING if self._rejected else logging.INFO,
            "in %.0f s: %d events, %d decisions, %d rejected%s; lag %d records",
            since_s,
            self._events,
            self._decisions,
            self._rejected.total(),
            _by_reason(self._rejected),
            sum(self._lag.values()),
        )
        self._told_at_s += since_s
        self._events = self._decisions = 0
        self._rejected.clear()

    def _look_back(self) -> None:
        while self._lately and self._lately[0][0] < self._clock_s() - LATELY_S:
            self._lately.popleft()
        records, rejected = 0, Counter[tuple[str, str]]()
        for _, n, of_these in self._lately:
            records += n
            rejected += of_these
        share = rejected.total() / records if records else 0.0
        self.lately = (
            f"{share:.1%} rejected of the {records:,} records of the last {LATELY_S / 60:.0f} minutes"
            f"{_by_reason(rejected)}"
        )


def _by_reason(rejected: Counter[tuple[str, str]]) -> str:
    if not rejected:
        return ""
    named = [f"{n:,} {topic} {reason}" for (topic, reason), n in rejected.most_common(_NAMED_REASONS)]
    more = len(rejected) - len(named)
    return f" ({', '.join(named)}{f' and {more} other kinds' if more else ''})"
