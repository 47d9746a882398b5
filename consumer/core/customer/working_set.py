"""The customers a task is working on: decoded, changed, and due, on top of what is committed.

Nothing here reaches the committed state before `commit`: an aborted commit is undone by `roll_back`, which forgets
everything that was decoded. Timers are a function of the customers alone (each has one `scheduled_ms`), so they need no
record of their own and survive a restore.
"""

from collections.abc import Iterator, Mapping
from heapq import heappop, heappush
from typing import Protocol

from consumer.core.customer.customer import Customer, decode_customer, encode_customer
from schemas.units import HOUR_MS

TIMER_WINDOW_MS = 6 * HOUR_MS  # how far ahead timers are loaded from the committed state


class CommittedState(Protocol):
    """Customer records as of the last commit: bytes by customer id, with an index of when each is due."""

    def get(self, customer_id: str) -> bytes | None:
        """Return the record of one customer, or None."""

    def due(self, from_ms: int, until_ms: int) -> Iterator[tuple[int, str]]:
        """Yield (scheduled_ms, customer_id) with from_ms ≤ scheduled_ms < until_ms, in that order.

        Customers that were never scheduled (scheduled_ms ≤ 0) are not among them.
        """

    def apply(self, changes: Mapping[str, bytes | None], task_record: bytes, changelog_offset: int) -> None:
        """Write `changes` (None deletes), the task's own record and the changelog offset, all or nothing."""

    def task_record(self) -> bytes | None:
        """Return the task's own record as of the last commit, or None for a fresh store."""

    def changelog_offset(self) -> int:
        """Return the next changelog offset to read; 0 for a fresh store."""

    def __len__(self) -> int:
        """Return the number of customers."""

    def close(self) -> None:
        """Release what is held open. Nothing may be called after."""


class WorkingSet:
    """Customers by id, decoded on demand. `cache_customers` bounds what is kept decoded between commits."""

    def __init__(self, committed: CommittedState, cache_customers: int = 100_000) -> None:
        self._committed = committed
        self._cache_customers = cache_customers
        self._cache: dict[str, Customer] = {}
        self._changed: dict[str, Customer | None] = {}
        self._timers: list[tuple[int, str]] = []  # heap; an entry counts while it equals the customer's scheduled_ms
        self._timers_loaded_until_ms = 1

    def __len__(self) -> int:
        """Return the number of committed customers."""
        return len(self._committed)

    def get(self, customer_id: str) -> Customer | None:
        """Return the customer, who may be changed in place if `put` is called after."""
        customer = self._cache.get(customer_id)
        if customer is None and customer_id not in self._changed:
            record = self._committed.get(customer_id)
            if record is not None:
                customer = self._cache[customer_id] = decode_customer(record)
        return customer

    def put(self, customer: Customer) -> None:
        """Mark `customer` as changed (or new)."""
        customer_id = customer.customer_id
        self._cache[customer_id] = self._changed[customer_id] = customer

    def delete(self, customer_id: str) -> None:
        """Forget a customer with the next commit."""
        self._cache.pop(customer_id, None)
        self._changed[customer_id] = None

    def schedule(self, customer: Customer, due_ms: int) -> None:
        """Set when `customer` is looked at next. The caller calls `put` as for any change."""
        customer.scheduled_ms = due_ms
        if due_ms < self._timers_loaded_until_ms:
            heappush(self._timers, (due_ms, customer.customer_id))

    def pop_due(self, now_ms: int) -> Customer | None:
        """Return the customer with the lowest (scheduled_ms, id) that is due at `now_ms`, or None.

        The caller must `schedule` that customer anew, later than before, or delete it.
        """
        if now_ms >= self._timers_loaded_until_ms:
            self._load_timers(now_ms + TIMER_WINDOW_MS)
        timers = self._timers
        while timers and timers[0][0] <= now_ms:
            due_ms, customer_id = heappop(timers)
            customer = self.get(customer_id)
            if customer is not None and customer.scheduled_ms == due_ms:
                return customer
        return None

    def _load_timers(self, until_ms: int) -> None:
        from_ms = self._timers_loaded_until_ms
        for entry in self._committed.due(from_ms, until_ms):
            heappush(self._timers, entry)
        for customer in self._changed.values():
            if customer is not None and from_ms <= customer.scheduled_ms < until_ms:
                heappush(self._timers, (customer.scheduled_ms, customer.customer_id))
        self._timers_loaded_until_ms = until_ms

    def changes(self) -> dict[str, bytes | None]:
        """Return the encoded records of all changed customers, by id in order; None for a deleted one."""
        changed = self._changed
        return {
            customer_id: None if (customer := changed[customer_id]) is None else encode_customer(customer)
            for customer_id in sorted(changed)
        }

    def commit(self, changes: Mapping[str, bytes | None], task_record: bytes, changelog_offset: int) -> None:
        """Hand what `changes` returned to the committed state, once Kafka has it."""
        self._committed.apply(changes, task_record, changelog_offset)
        cache = self._cache
        for customer_id in self._changed:
            if customer_id in cache:  # most recently changed last, so that the bound drops the longest idle
                cache[customer_id] = cache.pop(customer_id)
        self._changed.clear()
        for customer_id in list(cache)[: max(0, len(cache) - self._cache_customers)]:
            del cache[customer_id]

    def roll_back(self) -> None:
        """Forget everything that is not committed, and everything decoded with it."""
        self._cache.clear()
        self._changed.clear()
        self._timers.clear()
        self._timers_loaded_until_ms = 1
