"""What an event teaches at once: the visit that ended and the order for the indexes, and on a sample of events where
the item or the order stood in what would have been recommended just before, for the rankers.
"""

from hashlib import blake2b

from consumer.core.customer.customer import EVENT_DIGEST_SIZE, Customer
from consumer.core.customer.words import remembered
from consumer.core.preference.basket import try_next_basket
from consumer.core.preference.preference import try_next_item
from consumer.core.settings import PreferenceSettings
from consumer.core.shared import Core
from schemas.events import ClickEvent, PurchaseEvent
from schemas.records import Session, SessionKind, TrainingExample


def example_of_item(customer: Customer, event: ClickEvent, item_id: str, core: Core) -> list[TrainingExample]:
    """Return the example that the item of `event` makes, where the event is in the sample."""
    settings, knowledge = core.settings.preference, core.knowledge
    if _chance_of_event(customer) >= settings.sample_share:
        return []
    index, ranker, weight = knowledge.items, knowledge.ranker, _weight(event, settings)
    return [
        try_next_item(
            index,
            ranker,
            customer,
            item_id,
            predicted_at_ms=customer.session.last_ms,
            matured_at_ms=event.occurred_at,
            settings=settings,
            weight=weight,
        )
    ]


def example_of_basket(customer: Customer, event: PurchaseEvent, core: Core) -> list[TrainingExample]:
    """Return the example that an order makes, where the event is in the sample and not the customer's first order."""
    settings, knowledge = core.settings.preference, core.knowledge
    if not customer.orders.n or _chance_of_event(customer) >= settings.basket_sample_share:
        return []
    index, ranker, weight = knowledge.baskets, knowledge.basket_ranker, _weight(event, settings)
    items, at_ms, seed_words = tuple(_categories(event)), event.occurred_at, (event.event_id,)
    return [
        try_next_basket(
            index, ranker, customer, items, at_ms=at_ms, settings=settings, seed_words=seed_words, weight=weight
        )
    ]


def visit(customer: Customer, partition: int) -> Session:
    """Return the customer's session as the item index learns it."""
    return Session(
        session_id=_anonymous(customer, partition, "visit"),
        ended_at=customer.session.last_ms,
        items=tuple(customer.session.items),
        categories=tuple(customer.session.categories),
        weights=tuple(customer.session.weights),
    )


def basket(customer: Customer, event: PurchaseEvent, partition: int, settings: PreferenceSettings) -> Session:
    """Return the order as the basket index learns it."""
    name, of_items = _anonymous(customer, partition, "basket"), _categories(event)
    weights = (_weight(event, settings),) * len(of_items)
    return Session(name, event.occurred_at, tuple(of_items), tuple(of_items.values()), weights, "basket")


def _categories(event: PurchaseEvent) -> dict[str, str | None]:
    """Return the items of an order, each once, with their categories."""
    return {line.item_id: line.category and remembered(line.category) for line in event.lines}


def _weight(event: ClickEvent | PurchaseEvent, settings: PreferenceSettings) -> float:
    """Return how much the event counts: less where our own recommendation led to it."""
    return settings.caused_weight if event.decision_id is not None else 1.0


def _chance_of_event(customer: Customer) -> float:
    """Return a number in [0, 1) that is a function of the id of the customer's latest event."""
    return int.from_bytes(customer.event_ids[-EVENT_DIGEST_SIZE:], "big") / (1 << 8 * EVENT_DIGEST_SIZE)


def _anonymous(customer: Customer, partition: int, kind: SessionKind) -> str:
    """Return a name for the customer's session that doesn't lead back to the customer.

    The customer's id is no part of it: ids can be guessed, and a guess could be confirmed by its digest.
    """
    times = f"{customer.session.started_ms}\x1f{customer.session.last_ms}"
    words = f"{partition}\x1f{customer.origin_topic}\x1f{customer.origin_offset}\x1f{times}"
    if kind != "visit":
        words = f"{words}\x1f{kind}"
    return blake2b(words.encode(), digest_size=16, person=b"nextbest.session").hexdigest()
