"""`ScoringTask`: one event in, the customer's state and what follows from it out.

`step` is the whole life of an event, in the order in which it happens: fire the timers that are due, reveal matured
labels and outcomes, update the customer, predict, decide, explain, and remember what is pending. Reveals come before
the prediction, so an event may complete an older example and never its own.

Stream time is the highest event time processed; there is no other clock here.
"""

from collections import Counter

import msgspec

from consumer.core import teaching
from consumer.core.churn import churn
from consumer.core.currency import apart
from consumer.core.customer import orders, tastes, updates
from consumer.core.customer.bought import schedule_replenishment
from consumer.core.customer.counters import REFUNDS, TROUBLE, add_to_counter
from consumer.core.customer.customer import Customer
from consumer.core.customer.repetitions import is_repetition
from consumer.core.customer.segment_learner import sample_of
from consumer.core.customer.segments import transition, update_segment
from consumer.core.customer.words import remembered
from consumer.core.customer.working_set import WorkingSet
from consumer.core.decision import outcomes
from consumer.core.decision.budget import Budget, Spending
from consumer.core.decision.decide import Moment, decide_for
from consumer.core.intake import Rejection
from consumer.core.preference import audience
from consumer.core.preference.audience_model import predict_pair
from consumer.core.shared import Core
from consumer.core.timers import Deadline, first_tick_ms, next_deadline
from schemas.events import ClickEvent, Event, PrivacyEvent, PurchaseEvent
from schemas.records import Coordinates, Mode, NextBestAction, Session, TrainingExample
from schemas.units import DAY_MS

_TRIED_KINDS = frozenset({"item_view", "cart_add", "wishlist"})
_TROUBLE_KINDS = frozenset({"error", "support_contact"})


class Outputs(msgspec.Struct):
    """What a commit of one task publishes, in the order in which it came about."""

    decisions: list[NextBestAction] = []
    examples: list[TrainingExample] = []
    sessions: list[Session] = []


class Reference(msgspec.Struct, frozen=True):
    """What the age of events is measured by, in a commit: the worker's time, as it was when the commit was opened."""

    now_ms: int
    aged_before_ms: int  # events of an earlier event time teach, and decide nothing


class ScoringTask:
    """One task for the length of a commit: stream time and spending are where the commit before left them.

    Without a `reference` age is measured by stream time, as in recordings: no event is aged.
    """

    def __init__(
        self,
        partition: int,
        core: Core,
        state: WorkingSet,
        mode: Mode = "live",
        *,
        reference: Reference | None = None,
        stream_time_ms: int = 0,
        spending: Spending | None = None,
    ) -> None:
        self.partition = partition
        self.core = core
        self.settings = core.settings
        self.knowledge = core.knowledge
        self.state = state
        self.mode = mode
        self.reference = reference
        self._aged_before_ms = 0 if reference is None else reference.aged_before_ms
        self.stream_time_ms = stream_time_ms
        self.budget = Budget(core.grants, spending)
        self.counters: Counter[str] = Counter()  # events, duplicates, aged, …: never read here
        self._outputs = Outputs()

    def step(self, topic: str, offset: int, event: Event, *, replayed: bool = False) -> Rejection | None:
        """Process one event; return why it was rejected, if it was. Outputs collect until `take_outputs`.

        One that is `replayed`, out of the dead letters, is history: never too late, and nothing is decided on it.
        """
        at_ms = event.occurred_at
        if at_ms > self.stream_time_ms:
            self.stream_time_ms = at_ms
        elif at_ms < self.stream_time_ms - self.settings.time.late_by_ms:
            if _must_be_heeded(event):
                at_ms = self.stream_time_ms
            elif not replayed:
                self.counters["late"] += 1
                behind_days = (self.stream_time_ms - at_ms) / DAY_MS
                return Rejection("late", "occurred_at", f"`occurred_at` is {behind_days:.1f} days behind stream time")
        self._fire_due_timers()

        customer = self._customer_at(event.customer_id, at_ms)
        if is_repetition(customer, event.event_id, self.stream_time_ms, self.settings.time):
            self.counters["duplicates"] += 1
            return None
        self.counters["events"] += 1
        customer.origin_topic, customer.origin_offset = topic, offset

        trigger = self._update(customer, event)
        if trigger == "erasure":
            self.state.delete(customer.customer_id)
            return None
        is_aged = event.occurred_at < self._aged_before_ms
        self.counters["aged"] += is_aged
        if trigger is not None and not is_aged and not replayed:
            trouble = event.kind if trigger == "service_problem" else ""
            self._decide(customer, trigger, at_ms, trouble)
        # A click that triggers nothing puts deadlines off; the one that it may bring forward is the first tick.
        only_put_off = trigger is None and isinstance(event, ClickEvent)
        if not (only_put_off and 0 < customer.scheduled_ms <= customer.due.tick_ms):
            self._reschedule(customer)
        self.state.put(customer)
        return None

    def advance_to(self, stream_time_ms: int) -> None:
        """Move stream time without an event, so that timers of a silent partition fire. It never moves back."""
        self.stream_time_ms = max(self.stream_time_ms, stream_time_ms)
        self._fire_due_timers()

    def take_outputs(self) -> Outputs:
        """Return what came about since the last call."""
        outputs, self._outputs = self._outputs, Outputs()
        return outputs

    # Updating

    def _customer_at(self, customer_id: str, at_ms: int) -> Customer:
        """Return the customer, new or known, with nothing left to reveal up to `at_ms`."""
        customer = self.state.get(customer_id)
        if customer is not None and 0 < customer.scheduled_ms <= at_ms:  # more was due than one step fires
            self._meet_deadlines(customer, at_ms)
            customer = self.state.get(customer_id)
        if customer is None:
            return updates.new_customer(customer_id, at_ms)
        updates.meet_earlier(customer, at_ms)
        return customer

    def _update(self, customer: Customer, event: Event) -> str | None:
        """Apply `event`; return what it triggers, if anything."""
        if isinstance(event, PrivacyEvent):
            if event.kind == "erasure":
                return "erasure"
            updates.apply_privacy(customer, event, self.settings.state.consents)
            return None
        if event.context is not None:
            updates.note_context(customer, event.context)
        if isinstance(event, PurchaseEvent):
            return self._update_by_purchase(customer, event)
        return self._update_by_click(customer, event)

    def _update_by_click(self, customer: Customer, event: ClickEvent) -> str | None:
        at_ms, kind = event.occurred_at, event.kind
        if kind == "action_impression":  # what we sent is nothing that the customer did
            updates.apply_click(customer, event, None, self.settings)
            return None
        opened = self._follow_session(customer, event.session_id, at_ms)
        if opened:
            self._note_visit(customer, at_ms)
        if kind in _TRIED_KINDS and event.item_id is not None:
            if customer.session.items and self._learns_of(customer):
                self._learn_from(teaching.example_of_item(customer, event, event.item_id, self.core))
            category = event.category
            category = remembered(category) if category else self.knowledge.items.category_of(event.item_id)
            if not customer.consent.objected:
                rate, brands = self._rate(event.currency, event.price or 0.0), self.settings.state.brands
                tastes.note_click(customer, event, event.item_id, self.knowledge.items, rate=rate, max_brands=brands)
        else:
            category = None
        updates.apply_click(customer, event, category, self.settings)
        self._note_seen(customer, at_ms)
        if kind in _TROUBLE_KINDS:
            return "service_problem"
        if kind == "cart_add":
            return "cart_add"
        return "session_start" if opened else None

    def _update_by_purchase(self, customer: Customer, event: PurchaseEvent) -> str | None:
        at_ms = event.occurred_at
        if event.kind == "payment_failed":
            add_to_counter(customer, TROUBLE, at_ms)
            self._note_seen(customer, at_ms)
            return "service_problem"
        rate = self._rate(event.currency, event.total)
        if event.kind == "order":
            return self._update_by_order(customer, event, rate)
        if event.kind == "refund":
            add_to_counter(customer, REFUNDS, at_ms)
        change = orders.note_order(customer, event, rate, self.settings, stream_time_ms=self.stream_time_ms)
        outcomes.follow_order(customer, change, self.settings)
        self._note_seen(customer, at_ms)
        return None

    def _update_by_order(self, customer: Customer, event: PurchaseEvent, rate: float | None) -> str | None:
        """Take an order in. One that is told again is the one order, whose latest form counts, and triggers nothing."""
        at_ms, known = event.occurred_at, orders.known_order(customer, event.order_id)
        is_new = known is None or bool(known.flags & orders.AWAITED)
        is_cancelled = known is not None and bool(known.flags & orders.CANCELLED)
        has_new_lines = bool(event.lines) and (known is None or not known.flags & orders.LINES)
        if has_new_lines and not is_cancelled:
            self._learn_of_order(customer, event)
        change = orders.note_order(customer, event, rate, self.settings, stream_time_ms=self.stream_time_ms)
        if is_new or has_new_lines:
            updates.apply_order(customer, event, self.settings)
            if is_new:
                self._note_visit(customer, at_ms)
            if not customer.consent.objected:
                max_brands = self.settings.state.brands
                tastes.note_order(customer, event, self.knowledge.items, rate=rate, max_brands=max_brands)
                audience.note_order(customer, event, self.knowledge.items, self.settings)
        else:
            updates.note_order_items(customer, event, change.order.at, self.settings)
        outcomes.follow_order(customer, change, self.settings)
        if not is_new:
            return None
        self._note_seen(customer, at_ms)
        return None if is_cancelled else "purchase"

    def _rate(self, currency: str | None, money: float) -> float | None:
        """Return what turns money of an event into shop currency; None, counted, where it can only be kept apart."""
        rate = self.core.exchange.rate(currency)
        if rate is None and money:
            self.counters[apart(currency or "")] += 1
        return rate

    def _note_visit(self, customer: Customer, at_ms: int) -> None:
        if not customer.consent.objected:
            hour = self.core.local_time.hour(at_ms, customer.context.time_zone)
            tastes.note_visit(customer, hour, customer.context.device, self.settings.state.devices)

    def _note_seen(self, customer: Customer, at_ms: int) -> None:
        absence_days = (at_ms - customer.last_seen_ms) // DAY_MS
        customer.longest_absence_days = max(customer.longest_absence_days, absence_days)
        customer.last_seen_ms = max(customer.last_seen_ms, at_ms)
        if self.settings.churn.signal == "activity":
            churn.note_signal(customer, at_ms)
        if not customer.due.tick_ms and not customer.consent.objected:
            customer.due.tick_ms = first_tick_ms(customer.customer_id, at_ms, self.settings.churn.tick_days)

    def _follow_session(self, customer: Customer, session_id: str | None, at_ms: int) -> bool:
        """Keep the session up to date; return whether this event opened one."""
        if customer.session.started_ms:
            if session_id is None or session_id == customer.session.id:
                customer.session.last_ms = max(customer.session.last_ms, at_ms)
                return False
            self._end_session(customer)
        updates.open_session(customer, session_id, at_ms)
        return True

    def _end_session(self, customer: Customer) -> None:
        if customer.session.items and self._learns_of(customer):
            self._outputs.sessions.append(teaching.visit(customer, self.partition))
        updates.clear_session(customer)

    def _learns_of(self, customer: Customer) -> bool:
        return self.mode != "frozen" and not customer.consent.objected

    def _learn_of_order(self, customer: Customer, event: PurchaseEvent) -> None:
        if event.lines and self._learns_of(customer):
            self._learn_from(teaching.example_of_basket(customer, event, self.core))
            order = teaching.basket(customer, event, self.partition, self.settings.preference)
            self._outputs.sessions.append(order)

    # Timers

    def _fire_due_timers(self) -> None:
        """Meet the deadlines of the customers due by stream time, earliest first, up to the limit of one step."""
        for _ in range(self.settings.time.timers_per_step):
            customer = self.state.pop_due(self.stream_time_ms)
            if customer is None:
                return
            self._meet_deadlines(customer, self.stream_time_ms)

    def _meet_deadlines(self, customer: Customer, until_ms: int) -> None:
        """Meet every deadline of one customer up to `until_ms`, in order, and schedule the next."""
        while True:
            due_ms, kind = next_deadline(customer, self.settings)
            if due_ms > until_ms:
                break
            if kind == "forget":
                left = updates.refusals_alone(customer, due_ms)
                if left is None:
                    self.state.delete(customer.customer_id)
                    return
                customer = left  # a refusal outlives all else: who said no is not to be asked anew
                continue
            self._meet(customer, kind, due_ms)
        self.state.schedule(customer, due_ms)
        self.state.put(customer)

    def _meet(self, customer: Customer, kind: Deadline, due_ms: int) -> None:
        if kind == "label":
            self._learn_from(churn.reveal(customer, due_ms, self.settings.churn))
            self._learn_from(audience.reveal(customer, due_ms, self.settings.audience))
        elif kind == "outcome":
            self._learn_from(outcomes.reveal_outcomes(customer, due_ms, self.settings))
        elif kind == "session_end":
            abandoned = customer.session.carted and not customer.session.bought and bool(customer.cart)
            self._decide(customer, "abandonment" if abandoned else "session_end", due_ms)
            self._end_session(customer)
        elif kind == "replenishment":
            self._decide(customer, "replenishment", due_ms)
            schedule_replenishment(customer, due_ms, reminded=True)
        else:
            self._tick(customer, due_ms)

    def _tick(self, customer: Customer, due_ms: int) -> None:
        """Look at a silent customer: predict, keep the prediction until its labels mature, act on a high risk."""
        estimate = self.knowledge.churn.estimate(customer, due_ms)
        limit = self.settings.state.pending_churn
        churn.remember_prediction(customer, estimate, due_ms, self.settings.churn, limit=limit)
        predict_pair(customer, self.knowledge.audience, due_ms, self.settings)
        customer.due.tick_ms = due_ms + int(self.settings.churn.tick_days * DAY_MS)
        probability = estimate.probability
        sample = sample_of(customer, due_ms, self.knowledge.thresholds)
        if sample is not None:
            self._learn_from([sample])
        before = customer.segment
        if update_segment(customer, due_ms, probability, self.knowledge.thresholds):
            self.counters[transition(before, customer.segment)] += 1
        if probability is not None and probability >= self.settings.churn.risk_threshold:
            self._act_on_risk(customer, due_ms)

    def _act_on_risk(self, customer: Customer, due_ms: int) -> None:
        """Decide once in a spell of silence, and again after a while: nobody wants to hear of it at every tick."""
        again_ms = int(self.settings.churn.risk_again_days * DAY_MS)
        if customer.risk_decided_ms <= customer.last_seen_ms or due_ms - customer.risk_decided_ms >= again_ms:
            before_ms, customer.risk_decided_ms = customer.risk_decided_ms, due_ms
            if not self._decide(customer, "churn_risk", due_ms):
                customer.risk_decided_ms = before_ms

    def _learn_from(self, examples: list[TrainingExample]) -> None:
        if self.mode != "frozen":
            self._outputs.examples.extend(examples)

    def _reschedule(self, customer: Customer) -> None:
        """Bring the timer forward where an earlier deadline has come up. A later one is found when the timer fires."""
        due_ms = next_deadline(customer, self.settings)[0]
        if not 0 < customer.scheduled_ms <= due_ms:
            self.state.schedule(customer, due_ms)

    # Deciding

    def _decide(self, customer: Customer, trigger: str, at_ms: int, trouble: str = "") -> bool:
        """Decide for one customer, unless the moment has passed, the mode forbids it, or it was done lately.

        Return whether there is a decision.
        """
        settings = self.settings
        if self.mode in {"catch-up", "history"} or customer.consent.objected:
            return False
        if self.stream_time_ms - at_ms > settings.time.tick_decides_within_ms:
            return False
        if self.stream_time_ms < self._aged_before_ms:
            return False
        if customer.last_decision_ms and at_ms - customer.last_decision_ms < settings.policy.decide_every_ms:
            return False
        customer.last_decision_ms = at_ms
        origin = Coordinates(customer.origin_topic, self.partition, customer.origin_offset)
        now_ms = self.stream_time_ms if self.reference is None else self.reference.now_ms
        moment = Moment(trigger, at_ms, origin, self.mode, trouble=trouble, decided_ms=now_ms)
        before = customer.segment
        self._outputs.decisions.append(decide_for(customer, moment, self.core, self.budget))
        if customer.segment != before:
            self.counters[transition(before, customer.segment)] += 1
        return True


def _must_be_heeded(event: Event) -> bool:
    """Return whether the event takes something back: an erasure, an objection, a refusal. It is never too late."""
    return isinstance(event, PrivacyEvent) and not (event.kind == "consent" and event.granted)
