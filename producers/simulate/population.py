"""A population of customers who live, visit, buy, respond and leave: events in the order in which they arrive."""

import heapq
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Final

import orjson

from producers.rows import CLICKSTREAM, PRIVACY, PRODUCTS, PURCHASES, Row
from producers.simulate.assortment import Shop
from producers.simulate.chance import Chance
from producers.simulate.customers import VISIT_SHAPE, SimulatedCustomer, Truth
from producers.simulate.noise import MALFORMED_KINDS, broken
from producers.simulate.population_settings import PopulationSettings
from producers.simulate.response import (
    ANNOYED_LEAVE_SHARE,
    DISMISSAL_SHARE,
    STAYS_LONGER_DAYS,
    click_probability,
    purchase_probability,
    seen_probability,
)
from producers.simulate.visits import Errand, Event, Happening, Visit
from schemas.records import NextBestAction
from schemas.units import DAY_MS, HOUR_MS, MINUTE_MS

DEFAULT_START_MS: Final = 1_735_689_600_000  # 2025-01-01
REMEMBERED_DECISIONS: Final = 100_000  # reacting is idempotent by decision id, as far back as this

# What a stream of chance is for; part of what a seed means, so never renumbered.
_TRAITS, _VISIT, _ERRAND, _PRIVACY_CHANGE, _REFUND = range(5)


class _Refund:
    """An order to be given back."""

    __slots__ = ("order",)

    def __init__(self, order: Event) -> None:
        self.order = order


Appointment = Errand | NextBestAction | _Refund | str | None
"""What is due: an errand, an action to be seen, a refund, a privacy event (by name), or (None) a visit by itself."""


class Population:
    """Simulated customers with a known truth, deterministic given the seed, the settings and the reactions.

    Two clocks matter: events happen at their event time, and arrive in the order in which `events_until` yields them
    (a late event arrives after its event time). Nothing here reads a wall clock.
    """

    def __init__(
        self,
        seed: int | str = 0,
        n_customers: int = 1_000,
        start_ms: int = DEFAULT_START_MS,
        settings: PopulationSettings | None = None,
    ) -> None:
        """`start_ms` is the event time at which the simulation begins, epoch milliseconds."""
        self.settings = settings or PopulationSettings()
        self.start_ms = start_ms
        self.now_ms = start_ms  # arrival time of the last event handed out
        self.shop = Shop(seed, self.settings)
        self.counts: Counter[str] = Counter()  # late, duplicate, malformed:<kind>, actions: offered, seen, clicked …
        self._chance = Chance(seed)
        self._sequence = count()
        self._agenda: list[tuple[int, int, int, Appointment]] = []  # (due, sequence, customer, what)
        self._arrivals: list[tuple[int, int, Row]] = []
        self._reacted: dict[str, None] = {}
        self._customers = [self._new_customer(index) for index in range(n_customers)]

    def _new_customer(self, index: int) -> SimulatedCustomer:
        chance = self._chance.for_customer(index, _TRAITS, 0)
        customer = SimulatedCustomer(index, chance, self.shop, self.settings, start_ms=self.start_ms)
        first_visit_ms = customer.joined_ms + int(chance.random() * customer.visit_gap_days * DAY_MS)
        self._plan(first_visit_ms, index, "consent")
        self._plan(first_visit_ms, index, None)
        for event, share in (
            ("consent_change", self.settings.consent_change_share),
            ("objection", self.settings.objection_share),
            ("erasure", self.settings.erasure_share),
        ):
            if chance.random() < share:
                self._plan(first_visit_ms + int(chance.uniform(2, 90) * DAY_MS), index, event)
        return customer

    def _plan(self, at_ms: int, index: int, what: Appointment) -> None:
        heapq.heappush(self._agenda, (at_ms, next(self._sequence), index, what))

    # What the outside sees

    def __len__(self) -> int:
        return len(self._customers)

    def customer_ids(self) -> list[str]:
        """Return the ids of all customers, those included who have not joined yet."""
        return [customer.customer_id for customer in self._customers]

    def truth(self, customer_id: str) -> Truth:
        """Return what is true of a customer now. Raises `KeyError` for an unknown id."""
        customer = self._find(customer_id)
        if customer is None:
            raise KeyError(customer_id)
        return customer.truth(self.shop)

    def products(self) -> Iterator[Row]:
        """Yield one `products` record for each item of the shop."""
        for line, item in enumerate(self.shop.items, start=1):
            value = {
                "item_id": item.item_id,
                "category": item.category_name,
                "brand": item.brand,
                "price": item.price,
                "margin": item.margin,
            }
            key = item.item_id.encode()
            yield Row(PRODUCTS, self.start_ms, key, orjson.dumps(value), line, "product", timestamp_ms=self.start_ms)

    def events_until(self, until_ms: int) -> Iterator[Row]:
        """Yield what arrives up to and including `until_ms`, in order of arrival.

        Reactions may come in between two rows; what they lead to arrives later than what was yielded already.
        """
        agenda, arrivals = self._agenda, self._arrivals
        while True:
            due_ms = agenda[0][0] if agenda else until_ms + 1
            if due_ms <= until_ms and (not arrivals or due_ms <= arrivals[0][0]):
                at_ms, _, index, what = heapq.heappop(agenda)
                self._keep(at_ms, self._customers[index], what)
            elif arrivals and arrivals[0][0] <= until_ms:
                self.now_ms, _, row = heapq.heappop(arrivals)
                yield row
            else:
                break
        self.now_ms = max(self.now_ms, until_ms)

    def react(self, decision: NextBestAction) -> bool:
        """Take note of a decision; impression, click, dismissal and purchase follow as the truth has it.

        Return False where nothing can follow: no action, seen before, an unknown customer, or expired.
        """
        if decision.action == "nothing" or decision.decision_id in self._reacted:
            return False
        customer = self._find(decision.customer_id)
        if customer is None:
            return False
        self._reacted[decision.decision_id] = None
        if len(self._reacted) > REMEMBERED_DECISIONS:
            del self._reacted[next(iter(self._reacted))]
        at_ms = max(self.now_ms, decision.occurred_at, decision.deliver_after or 0)
        before_ms = decision.deliver_before
        if before_ms is not None and at_ms > before_ms + self.settings.expiry_slack_ms:
            self.counts["expired"] += 1
            return False
        self.counts["offered"] += 1
        self._plan(at_ms + 1, customer.index, decision)
        return True

    def _find(self, customer_id: str) -> SimulatedCustomer | None:
        number = customer_id[1:]
        if not number.isdecimal() or int(number) >= len(self._customers):
            return None
        customer = self._customers[int(number)]
        return customer if customer.customer_id == customer_id else None

    # What becomes due

    def _keep(self, at_ms: int, customer: SimulatedCustomer, what: Appointment) -> None:
        """Let happen what is due. Who has left for good keeps no appointment, and asks for erasure at most."""
        if at_ms >= customer.leaves_ms and what != "erasure":
            return
        if what is None:
            self._visit(at_ms, customer, None)
        elif isinstance(what, Errand):
            self._visit(at_ms, customer, what)
        elif isinstance(what, NextBestAction):
            self._see(at_ms, customer, what)
        elif isinstance(what, _Refund):
            self._chance.for_customer(customer.index, _REFUND, customer.events)
            self._emit(customer, Happening(PURCHASES, at_ms, "refund", what.order))
        else:
            self._speak_of_privacy(at_ms, customer, what)

    def _visit(self, at_ms: int, customer: SimulatedCustomer, errand: Errand | None) -> None:
        """Hold a visit. Plan the next one after a visit by itself; errands come on top."""
        customer.uses += 1
        purpose = _VISIT if errand is None else _ERRAND
        # A stream by the time of the visit: it stays the same whatever else the customer was made to do.
        chance = self._chance.for_customer(customer.index, purpose, at_ms)
        if errand is None:
            self._plan(self._next_visit_ms(customer, at_ms), customer.index, None)
        visit = Visit(customer, self.shop, self.settings, chance, start_ms=at_ms, errand=errand)
        for happening in visit.happenings():
            self._emit(customer, happening)
        for _ in range(visit.troubles):
            share = self.settings.trouble_leave_share * (2 if customer.temperament == "irritable" else 1)
            if chance.random() < share:
                customer.leave(visit.ended_at, "trouble")
        if visit.order is not None:
            self._after_order(visit, visit.order, customer)

    def _next_visit_ms(self, customer: SimulatedCustomer, at_ms: int) -> int:
        chance = self._chance
        gap_days = chance.gammavariate(VISIT_SHAPE, customer.visit_gap_days / VISIT_SHAPE)
        next_ms = at_ms + int(gap_days * DAY_MS) + HOUR_MS
        local_day_ms = (next_ms + customer.offset_ms) // DAY_MS * DAY_MS - customer.offset_ms
        at_hour_ms = local_day_ms + int((customer.hour + chance.gauss(0, 2)) * HOUR_MS)
        return at_hour_ms if at_hour_ms > at_ms + HOUR_MS else next_ms

    def _after_order(self, visit: Visit, order: Event, customer: SimulatedCustomer) -> None:
        chance = self._chance
        if chance.random() < 0.04:
            self._plan(visit.ended_at + int(chance.uniform(2, 12) * DAY_MS), customer.index, _Refund(order))
        for index in visit.bought:
            cycle_days = self.shop.items[index].cycle_days
            if cycle_days is not None and chance.random() < 0.7:
                again_ms = visit.ended_at + int(cycle_days * chance.gammavariate(16, 1 / 16) * DAY_MS)
                self._plan(again_ms, customer.index, Errand(items=(index,), buys=chance.random() < 0.8))

    def _see(self, at_ms: int, customer: SimulatedCustomer, decision: NextBestAction) -> None:
        """Let the customer see an action, or not, and do what the truth says."""
        chance = self._chance.for_words("action", decision.decision_id)
        if chance.random() >= seen_probability(customer, decision.channel):
            return
        seen_ms = at_ms + int(chance.uniform(1, 30) * MINUTE_MS)
        items = tuple(index for line in decision.content if (index := self.shop.index_of(line.item_id)) is not None)
        relevance = self._relevance(customer, items)
        # All draws are made before anything is emitted, which draws too.
        clicked = chance.random() < click_probability(customer.temperament, decision.action, relevance)
        buys = chance.random() < (
            purchase_probability(customer.temperament, decision.action, relevance)
            / click_probability(customer.temperament, decision.action, relevance)
        )
        dismissed = not clicked and chance.random() < DISMISSAL_SHARE[customer.temperament]
        annoyed = dismissed and customer.temperament == "irritable" and chance.random() < ANNOYED_LEAVE_SHARE
        longer_ms = int(chance.expovariate(1 / STAYS_LONGER_DAYS) * DAY_MS)
        self._tell(seen_ms, "action_impression", customer, decision)
        if clicked:
            self._tell(seen_ms + MINUTE_MS, "action_click", customer, decision)
            customer.leaves_ms += longer_ms
            self._plan(seen_ms + 2 * MINUTE_MS, customer.index, Errand(decision.decision_id, items, buys))
        elif dismissed:
            self._tell(seen_ms + MINUTE_MS, "action_dismissal", customer, decision)
        if annoyed:
            customer.leave(seen_ms + 2 * MINUTE_MS, "annoyed")

    def _relevance(self, customer: SimulatedCustomer, items: tuple[int, ...]) -> float:
        """Return the share of the items that fit the customer's tastes; .5 where there are none."""
        if not items:
            return 0.5
        near = {successor for viewed in customer.viewed[-3:] for successor in self.shop.successors[viewed]}
        near.update(customer.viewed)
        fitting = sum(1 for index in items if index in near or self.shop.items[index].category in customer.categories)
        return fitting / len(items)

    def _tell(self, at_ms: int, kind: str, customer: SimulatedCustomer, decision: NextBestAction) -> None:
        self.counts[kind] += 1
        context = customer.contexts[0] | {"channel": decision.channel}
        self._emit(
            customer, Happening(CLICKSTREAM, at_ms, kind, {"decision_id": decision.decision_id, "context": context})
        )

    def _speak_of_privacy(self, at_ms: int, customer: SimulatedCustomer, what: str) -> None:
        self._chance.for_customer(customer.index, _PRIVACY_CHANGE, at_ms)
        if what == "consent":
            granted = customer.consent == "all"
            self._emit(customer, Happening(PRIVACY, at_ms, "consent", {"granted": granted}))
            if customer.consent == "email":
                self._emit(customer, Happening(PRIVACY, at_ms + 1, "consent", {"channel": "email", "granted": True}))
        elif what == "consent_change":
            self._emit(customer, Happening(PRIVACY, at_ms, "consent", {"granted": customer.consent != "all"}))
        else:
            self._emit(customer, Happening(PRIVACY, at_ms, what, {}))
            if what == "erasure":
                customer.leave(at_ms, "erasure")

    # How it arrives

    def _emit(self, customer: SimulatedCustomer, happening: Happening) -> None:
        """Send one event on its way, now and then late, twice, or followed by a broken record."""
        topic, at_ms, kind, fields = happening
        customer.events += 1
        event: Event = {
            "event_id": f"{customer.customer_id}-{customer.events}",
            "customer_id": customer.customer_id,
            "occurred_at": at_ms,
            "kind": kind,
        }
        event.update(fields)
        settings, draw = self.settings, self._chance.random()
        arrives_ms = at_ms
        if draw < settings.late_share and topic != PRIVACY:
            arrives_ms += 5 * MINUTE_MS + int(self._chance.random() * settings.late_days * DAY_MS)
            self.counts["late"] += 1
        row = Row(topic, at_ms, customer.key, orjson.dumps(event), 0, kind, timestamp_ms=arrives_ms)
        heapq.heappush(self._arrivals, (arrives_ms, next(self._sequence), row))
        draw -= settings.late_share
        if 0 <= draw < settings.duplicate_share:
            self._duplicate(row)
        elif 0 <= draw - settings.duplicate_share < settings.malformed_share:
            self._break(row, event, customer)

    def _duplicate(self, row: Row) -> None:
        at_ms = row.arrival_ms + 1_000 + int(self._chance.random() * 5 * MINUTE_MS)
        again = Row(row.topic, row.occurred_at, row.key, row.value, 0, "duplicate", timestamp_ms=at_ms)
        self.counts["duplicate"] += 1
        heapq.heappush(self._arrivals, (at_ms, next(self._sequence), again))

    def _break(self, row: Row, event: Event, customer: SimulatedCustomer) -> None:
        which = int(self._chance.random() * len(MALFORMED_KINDS))
        if row.topic == PRIVACY:
            return
        name, key, value = broken(which, customer.key, event)
        kind = f"malformed:{name}"
        self.counts[kind] += 1
        at_ms = row.arrival_ms + 1
        bad = Row(row.topic, at_ms, key, value, 0, kind, timestamp_ms=at_ms)
        heapq.heappush(self._arrivals, (at_ms, next(self._sequence), bad))
