"""How customers respond to actions: the truth that a decision model has to find out."""

from producers.simulate.chance import number_of
from producers.simulate.customers import CHANNELS, SimulatedCustomer, Temperament

# Probability that an ordinary customer who has seen the action buys because of it, and would not have otherwise.
ACTION_UPLIFT: dict[str, float] = {
    "recommend_items": 0.12,
    "cart_reminder": 0.25,
    "cart_companion": 0.10,
    "cross_sell": 0.14,
    "replenishment_reminder": 0.22,
    "win_back_offer": 0.28,
    "welcome_guide": 0.08,
    "apology": 0.10,
    "service_call": 0.30,
}
TEMPERAMENT_FACTOR: dict[Temperament, float] = {"eager": 1.7, "ordinary": 1.0, "indifferent": 0.1, "irritable": 0.05}
DISMISSAL_SHARE: dict[Temperament, float] = {"eager": 0.02, "ordinary": 0.05, "indifferent": 0.1, "irritable": 0.5}
ANNOYED_LEAVE_SHARE = 0.06  # dismissals by irritable customers after which they leave for good
CLICKS_PER_PURCHASE = 2.5
STAYS_LONGER_DAYS = 20.0  # mean time by which a clicked action puts off leaving


def uplift_of(action: str) -> float:
    """Return the uplift of an action kind; one that is not in the table gets its own between .06 and .3, for ever."""
    known = ACTION_UPLIFT.get(action)
    return known if known is not None else 0.06 + 0.24 * number_of("uplift", action) / 2**64


def seen_probability(customer: SimulatedCustomer, channel: str | None) -> float:
    """Return the probability that the customer sees a message on the channel."""
    if channel in CHANNELS:
        return customer.opens[CHANNELS.index(channel)]
    return 0.1 + 0.8 * number_of("opens", customer.customer_id, channel) / 2**64


def purchase_probability(temperament: Temperament, action: str, relevance: float = 0.5) -> float:
    """Return the probability that an action, once seen, leads to a purchase.

    `relevance` is the share of the recommended items that fit the customer's tastes, .5 where nothing is recommended.
    """
    return min(0.9, uplift_of(action) * TEMPERAMENT_FACTOR[temperament] * (0.5 + relevance))


def click_probability(temperament: Temperament, action: str, relevance: float = 0.5) -> float:
    """Return the probability that an action, once seen, is clicked; every purchase it leads to starts with a click."""
    return min(0.95, 0.02 + CLICKS_PER_PURCHASE * purchase_probability(temperament, action, relevance))
