"""The rows of a replay that count for nothing: how many for which reason, the first of each, and what to do."""

from collections import Counter

from consumer.core.intake import Rejection
from schemas.units import DAY_MS

LATE = "late"
OTHER_TOPIC = "other_topic"  # a recording may hold what is no input: nothing is wrong with that
AHEAD_OF_TIME = "ahead_of_time"
WARN_SHARE = 0.01
_MOST_LEAPS = 1_000  # told apart; in a file with more it is the order that is wrong, not a clock


class Losses:
    """Counts lost rows as they come."""

    def __init__(self, late_by_ms: int) -> None:
        """`late_by_ms` is how late a row may be."""
        self._late_by_ms = late_by_ms
        self.late = 0
        self.bad: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self._leaps: dict[int, tuple[int, float]] = {}  # task → line and days of the last leap in stream time
        self._made_late: Counter[tuple[int, float]] = Counter()

    def add(self, line: int, why: Rejection, task: int | None = None) -> None:
        """Count a row; `task` is the one that found it late."""
        self.examples.setdefault(why.reason, f"line {line}: {why.message}")
        if why.reason != LATE:
            self.bad[why.reason] += 1
            return
        self.late += 1
        leap = None if task is None else self._leaps.get(task)
        if leap is not None and (leap in self._made_late or len(self._made_late) < _MOST_LEAPS):
            self._made_late[leap] += 1

    def note_time(self, line: int, task: int, before_ms: int, after_ms: int) -> None:
        """Note that a row moved a task's stream time: a leap of more than the allowance can make others late."""
        if before_ms and after_ms - before_ms > self._late_by_ms:
            self._leaps[task] = line, (after_ms - before_ms) / DAY_MS

    def warnings(self, rows: int, unreadable_after: str | None) -> tuple[str, ...]:
        """Return what makes the figures of a replay of so many rows doubtful; the file may have broken off."""
        found = [] if unreadable_after is None else [f"not read to its end: {unreadable_after}"]
        if (n_ahead := self.bad[AHEAD_OF_TIME]) > 0:
            row = "row is ahead of its time and was" if n_ahead == 1 else "rows are ahead of their time and were"
            advice = "Is the file in the order of event time?" if 2 * n_ahead > rows else "Mend the clock, or the row"
            found.append(f"{n_ahead:,} {row} left out; {self.examples[AHEAD_OF_TIME]}. {advice}")
        if self.late > WARN_SHARE * rows:
            late_rows = f"{self.late:,} of {rows:,} rows ({self.late / rows:.1%}) came too late and count for nothing"
            found.append(f"{late_rows}. {self._advice_on_late()}")
        n_bad = self.bad.total() - self.bad[OTHER_TOPIC] - n_ahead
        if n_bad > WARN_SHARE * rows:
            reason, n = next(pair for pair in self.bad.most_common() if pair[0] not in (OTHER_TOPIC, AHEAD_OF_TIME))
            bad_rows = f"{n_bad:,} of {rows:,} rows ({n_bad / rows:.1%}) could not be used"
            found.append(f"{bad_rows}; {n:,} of them for {reason}; {self.examples[reason]}")
        return tuple(found)

    def _advice_on_late(self) -> str:
        if self._made_late:
            (line, days), n = self._made_late.most_common(1)[0]
            if 2 * n > self.late:
                ahead = f"line {line}, which is {days:,.0f} days ahead of all before it"
                return f"{n:,} of them come after {ahead}: if its clock was wrong, mend that row or leave it out"
        return "Is the file in the order of event time? If events do come so late, raise time.late_by_ms"
