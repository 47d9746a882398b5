"""How an event changes what is remembered of a customer. One function a kind of event; every list is bounded."""

from consumer.core.customer.bought import note_bought, schedule_replenishment
from consumer.core.customer.counters import (
    CARTS,
    DISMISSALS,
    EMPTY_SEARCHES,
    IMPRESSIONS,
    ORDERS,
    RESPONSES,
    SESSIONS,
    SUPPORT,
    TROUBLE,
    VIEWS,
    add_to_counter,
    count_from,
    new_counters,
)
from consumer.core.customer.customer import Consent, Customer, DueTimes, OpenSession, Pending
from consumer.core.customer.orders import note_order
from consumer.core.customer.words import remembered
from consumer.core.settings import CoreSettings
from schemas.events import ClickEvent, Context, PrivacyEvent, PurchaseEvent
from schemas.units import DAY_MS

AFFINITY_DECAY = 0.95  # of every category affinity, at each addition
BOUGHT_WEIGHT = 2.0  # of an item in a session that was bought rather than looked at
_EVERY = "*"

_COUNTED = {
    "item_view": VIEWS,
    "cart_add": CARTS,
    "error": TROUBLE,
    "support_contact": SUPPORT,
    "action_impression": IMPRESSIONS,
    "action_click": RESPONSES,
    "action_dismissal": DISMISSALS,
}


def new_customer(customer_id: str, at_ms: int) -> Customer:
    """Return a customer first met at `at_ms`."""
    return Customer(customer_id, first_seen_ms=at_ms, last_seen_ms=at_ms, counters=new_counters())


def meet_earlier(customer: Customer, at_ms: int) -> None:
    """Let what is told late count from its own time on, where that is before all that was known."""
    if at_ms < customer.first_seen_ms:
        count_from(customer, at_ms)


def note_context(customer: Customer, context: Context) -> None:
    """Remember where the customer was met last."""
    last = customer.context
    time_zone, device, country = context.time_zone, context.device, context.country
    if time_zone and time_zone != last.time_zone:
        last.time_zone = remembered(time_zone)
    if device and device != last.device:
        last.device = remembered(device)
    if country and country != last.country:
        last.country = remembered(country)


def open_session(customer: Customer, session_id: str | None, at_ms: int) -> None:
    """Start a session; the previous one has been closed."""
    customer.session = OpenSession(session_id or "", started_ms=at_ms, last_ms=at_ms)
    add_to_counter(customer, SESSIONS, at_ms)


def clear_session(customer: Customer) -> None:
    """Forget the session that ended. The cart outlives it."""
    customer.session = OpenSession()


def apply_click(customer: Customer, event: ClickEvent, category: str | None, settings: CoreSettings) -> None:
    """Count a click event, and remember the item it is about."""
    kind, at_ms = event.kind, event.occurred_at
    counter = _COUNTED.get(kind)
    if counter is not None:
        add_to_counter(customer, counter, at_ms)
    elif kind == "search" and event.n_results == 0:
        add_to_counter(customer, EMPTY_SEARCHES, at_ms)
    item_id = event.item_id
    if item_id is None or kind not in {"item_view", "cart_add", "cart_remove", "wishlist"}:
        return
    if kind == "cart_remove":
        if item_id in customer.cart:
            customer.cart.remove(item_id)
        return
    weight = settings.preference.caused_weight if event.decision_id is not None else 1.0
    _remember_item(customer, item_id, category, weight, settings=settings)
    if kind == "cart_add":
        customer.session.carted = True
        if item_id not in customer.cart:
            customer.cart.append(item_id)
            del customer.cart[: -settings.state.cart_items]


def take_order(customer: Customer, event: PurchaseEvent, settings: CoreSettings) -> None:
    """Take in an order that is told once and in its time, its money in shop currency, as backtests have them."""
    note_order(customer, event, 1.0, settings, stream_time_ms=event.occurred_at)
    add_to_counter(customer, ORDERS, event.occurred_at)
    apply_order(customer, event, settings)


def apply_order(customer: Customer, event: PurchaseEvent, settings: CoreSettings) -> None:
    """Remember the items of an order, when they are first told of."""
    if customer.session.started_ms:
        customer.session.bought = True
    note_order_items(customer, event, event.occurred_at, settings)
    weight = settings.preference.caused_weight if event.decision_id is not None else BOUGHT_WEIGHT
    for line in event.lines:
        if customer.session.started_ms:
            category = line.category and remembered(line.category)
            _remember_item(customer, line.item_id, category, weight, settings=settings)
        if line.item_id in customer.cart:
            customer.cart.remove(line.item_id)


def note_order_items(customer: Customer, event: PurchaseEvent, at_ms: int, settings: CoreSettings) -> None:
    """Remember that the items of an order were bought at `at_ms`, and when what is bought in a rhythm is due."""
    if not customer.consent.objected:
        note_bought(customer, [line.item_id for line in event.lines], at_ms // DAY_MS, settings.state.bought_items)
        schedule_replenishment(customer, at_ms)


def apply_privacy(customer: Customer, event: PrivacyEvent, limit: int) -> None:
    """Remember consent by channel and purpose, or an objection. What was said later counts, whenever it arrives.

    A refusal takes back every earlier consent that it covers: who withdraws all of it has withdrawn that to one
    channel too. A consent to everything lifts an objection, and leaves narrower refusals in force.
    """
    said_ms, consent = event.occurred_at, customer.consent
    if event.kind == "objection":
        consent.objected = True
        consent.objected_ms = max(consent.objected_ms, said_ms)
        _stop_profiling(customer)
        return
    channel, purpose, granted = event.channel or _EVERY, event.purpose or _EVERY, bool(event.granted)
    answers, answered_ms = consent.answers, consent.answered_ms
    if granted and any(
        said_ms < answered_ms.get(wider, 0) and not answers[wider]
        for wider in (f"{c}:{p}" for c in (channel, _EVERY) for p in (purpose, _EVERY))
        if wider in answers
    ):
        return
    pair = f"{channel}:{purpose}"
    if said_ms < answered_ms.get(pair, 0):
        return
    if granted and pair == "*:*" and said_ms >= consent.objected_ms:
        consent.objected = False
    if not granted:
        for other in [other for other in answers if answers[other] and _covers(channel, purpose, other)]:
            if answered_ms.get(other, 0) <= said_ms:
                _forget_answer(consent, other)
    _forget_answer(consent, pair)
    answers[pair] = granted
    answered_ms[pair] = said_ms
    if len(answers) > limit:  # the oldest consent; a refusal is given up last of all
        _forget_answer(consent, min(answers, key=lambda each: (not answers[each], answered_ms.get(each, 0), each)))


def _stop_profiling(customer: Customer) -> None:
    """Predict and learn nothing more of who objected. What the shop needs to keep its word is kept."""
    customer.session.items, customer.session.categories, customer.session.weights = [], [], []
    customer.pending = Pending()
    customer.due = DueTimes()


def _covers(channel: str, purpose: str, pair: str) -> bool:
    """Return whether what is said of `channel` and `purpose` is said of `pair` too."""
    return (channel == _EVERY or pair.startswith(f"{channel}:")) and (purpose == _EVERY or pair.endswith(f":{purpose}"))


def _forget_answer(consent: Consent, pair: str) -> None:
    consent.answers.pop(pair, None)
    consent.answered_ms.pop(pair, None)


def refusals_alone(customer: Customer, at_ms: int) -> Customer | None:
    """Return what must outlive a customer who is forgotten: what was refused or objected to. None where nothing was."""
    consent = customer.consent
    refused = {pair: False for pair, granted in consent.answers.items() if not granted}
    if not refused and not consent.objected:
        return None
    left = new_customer(customer.customer_id, at_ms)
    left.origin_topic, left.origin_offset = customer.origin_topic, customer.origin_offset
    answered_ms = {pair: consent.answered_ms.get(pair, 0) for pair in refused}
    left.consent = Consent(refused, answered_ms, consent.objected, consent.objected_ms)
    return left


def _remember_item(
    customer: Customer, item_id: str, category: str | None, weight: float, *, settings: CoreSettings
) -> None:
    if customer.consent.objected:  # an objection may be lifted later; what was seen while it held stays unknown
        return
    limits = settings.state
    history, session = customer.history, customer.session
    if item_id in history:
        history.remove(item_id)
    history.append(item_id)
    del history[: -limits.history_items]
    session.items.append(item_id)
    session.categories.append(category)
    session.weights.append(weight)
    if len(session.items) > limits.session_items:
        del session.items[0], session.categories[0], session.weights[0]
    if category is not None:
        _like_category(customer.tastes.categories, category, weight, limits.categories)


def _like_category(categories: dict[str, float], category: str, weight: float, limit: int) -> None:
    for name in categories:
        categories[name] *= AFFINITY_DECAY
    categories[category] = categories.get(category, 0.0) + weight
    if len(categories) > limit:
        del categories[min(categories, key=lambda name: (categories[name], name))]
