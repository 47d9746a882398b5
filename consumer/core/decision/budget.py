"""Contact budgets of one task: what the catalogue grants for a day, and what the task has spent of it.

A day's budget of the catalogue is for the whole shop; each task is granted an equal share of it, so that no task has to
ask another. Only whole contacts are made: what a share leaves over comes round, on another day for each task, so that
the tasks together have the whole budget on every day. Days are UTC days of event time. Spending is part of the task's
record, so a restart does not refill it.
"""

from collections.abc import Mapping
from math import floor

import msgspec

from schemas.units import DAY_MS


class Spending(msgspec.Struct, frozen=True):
    """Contacts made on `day` (days since the epoch), by action id and channel name."""

    day: int = 0
    contacts: dict[str, float] = {}


class Budget:
    """What is left of the grants of one task."""

    def __init__(self, grants: Mapping[str, float] | None = None, spending: Spending | None = None) -> None:
        self.grants = dict(sorted((grants or {}).items()))
        self._day = spending.day if spending is not None else 0
        self._spent = dict(spending.contacts) if spending is not None else {}

    def left(self, at_ms: int, partition: int = 0) -> dict[str, float]:
        """Return the contacts left to the task of `partition` on the day of `at_ms`, for every name that is limited."""
        self._turn_to(at_ms)
        turn = self._day + partition
        return {
            name: float(floor((turn + 1) * grant) - floor(turn * grant)) - self._spent.get(name, 0.0)
            for name, grant in self.grants.items()
        }

    def spend(self, at_ms: int, *names: str | None) -> None:
        """Count one contact against each limited one of `names`."""
        self._turn_to(at_ms)
        for name in names:
            if name is not None and name in self.grants:
                self._spent[name] = self._spent.get(name, 0.0) + 1.0

    def spending(self) -> Spending:
        """Return what the task's record keeps."""
        return Spending(self._day, dict(sorted(self._spent.items())))

    def _turn_to(self, at_ms: int) -> None:
        day = at_ms // DAY_MS
        if day > self._day:  # what is decided late for a day gone by counts against today
            self._day = day
            self._spent = {}


def equal_share(budgets: Mapping[str, float], partitions: int) -> dict[str, float]:
    """Return the part of the shop's daily budgets that each of `partitions` tasks is granted."""
    return {name: contacts / partitions for name, contacts in budgets.items()}
