"""One simulated customer: latent traits, which are the truth, and what the customer remembers."""

from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from producers.simulate.assortment import BRANDS_PER_CATEGORY, Shop
from producers.simulate.chance import Chance
from producers.simulate.population_settings import PopulationSettings
from schemas.units import DAY_MS, HOUR_MS

Temperament = Literal["eager", "ordinary", "indifferent", "irritable"]
LeftBecause = Literal["time", "trouble", "annoyed", "erasure"]
Consent = Literal["all", "email", "none"]

CHANNELS = ("email", "push", "on_site", "phone")

_TEMPERAMENTS: tuple[tuple[Temperament, float], ...] = (
    ("eager", 0.25),
    ("ordinary", 0.5),
    ("indifferent", 0.15),
    ("irritable", 0.1),
)
_TEMPERAMENT_WEIGHTS = list(accumulate(share for _, share in _TEMPERAMENTS))
# IANA zone, its standard offset in hours (summer time is left out: it would change nothing here), country, region.
_PLACES = (
    ("Europe/Berlin", 1, "DE", "BE"),
    ("Europe/Berlin", 1, "DE", "BY"),
    ("Europe/London", 0, "GB", "LND"),
    ("Europe/Madrid", 1, "ES", "MD"),
    ("America/New_York", -5, "US", "NY"),
    ("America/Los_Angeles", -8, "US", "CA"),
    ("Asia/Tokyo", 9, "JP", "13"),
)
_DEVICES = ("mobile", "desktop", "tablet", "app")
_REFERRERS = (None, "search", "newsletter", "social")
VISIT_SHAPE = 1.5  # of the gamma distribution of gaps: visits are a little more regular than chance,
PURCHASE_SHAPE = 3.0  # purchases clearly more so


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true of a customer and no consumer is told. Times are epoch milliseconds of event time.

    `leaves_at_ms` is when the customer goes for good as things stand; trouble and annoyance can bring it forward, a
    clicked action puts it off. `tastes` are shares by category name, `opens` the probability that a message on a
    channel is seen.
    """

    customer_id: str
    temperament: Temperament
    joined_at_ms: int
    leaves_at_ms: int
    leaves_because: LeftBecause
    tastes: dict[str, float]
    visit_gap_days: float
    purchase_gap_days: float
    opens: dict[str, float]
    time_zone: str


class SimulatedCustomer:
    """Traits drawn once, and the little that a customer remembers."""

    __slots__ = (
        "bought",
        "brand",
        "cart",
        "categories",
        "category_weights",
        "consent",
        "contexts",
        "customer_id",
        "events",
        "hour",
        "index",
        "joined_ms",
        "key",
        "leaves_because",
        "leaves_ms",
        "needs_ms",
        "offset_ms",
        "opens",
        "purchase_gap_days",
        "temperament",
        "time_zone",
        "uses",
        "viewed",
        "visit_gap_days",
    )

    def __init__(self, index: int, chance: Chance, shop: Shop, settings: PopulationSettings, *, start_ms: int) -> None:
        """Draw the customer's traits from `chance`, which is set for this customer."""
        self.index = index
        self.customer_id = f"c{index:07d}"
        self.key = self.customer_id.encode()
        self.events = 0
        self.uses = 0  # visits and other appointments so far: each draws from a stream of its own
        self.viewed: list[int] = []
        self.bought: list[int] = []
        self.cart: list[int] = []
        self._draw_tastes(chance, shop)
        self._draw_habits(chance, settings)
        self._draw_life(chance, settings, start_ms)

    def _draw_tastes(self, chance: Chance, shop: Shop) -> None:
        self.categories = tuple(chance.among(shop.category_weights) for _ in range(4))
        self.category_weights = list(accumulate(chance.expovariate(1) + 0.05 for _ in self.categories))
        self.brand = chance.randrange(BRANDS_PER_CATEGORY)

    def _draw_habits(self, chance: Chance, settings: PopulationSettings) -> None:
        self.temperament = _TEMPERAMENTS[chance.among(_TEMPERAMENT_WEIGHTS)][0]
        self.visit_gap_days = settings.visit_gap_days * chance.lognormvariate(0, 0.6)
        self.purchase_gap_days = settings.purchase_gap_days * chance.lognormvariate(0, 0.5)
        self.hour = chance.gauss(17, 3)
        self.opens = tuple(round(chance.betavariate(2, 2), 3) for _ in CHANNELS)
        self.time_zone, offset_hours, country, region = _PLACES[chance.randrange(len(_PLACES))]
        self.offset_ms = offset_hours * HOUR_MS
        self.contexts = tuple(
            {
                "device": _DEVICES[chance.randrange(len(_DEVICES))],
                "channel": "web" if chance.random() < 0.6 else "app",
                "country": country,
                "region": region,
                "time_zone": self.time_zone,
                "referrer": _REFERRERS[chance.randrange(len(_REFERRERS))],
            }
            for _ in range(2)
        )
        consents: tuple[Consent, Consent] = ("email", "none")
        self.consent: Consent = "all" if chance.random() < settings.consent_share else consents[chance.randrange(2)]

    def _draw_life(self, chance: Chance, settings: PopulationSettings, start_ms: int) -> None:
        joined_days = 0.0 if chance.random() < settings.joined_share else chance.random() * settings.join_days
        self.joined_ms = start_ms + int(joined_days * DAY_MS)
        # Customers who come rarely leave sooner: what a churn model can learn from cadence.
        stays_days = settings.leave_after_days * (settings.visit_gap_days / self.visit_gap_days) ** 0.5
        self.leaves_ms = self.joined_ms + int(chance.expovariate(0.693 / stays_days) * DAY_MS)
        self.leaves_because: LeftBecause = "time"
        first_need_days = chance.random() * self.purchase_gap_days
        self.needs_ms = self.joined_ms + int(first_need_days * DAY_MS)

    def leave(self, at_ms: int, because: LeftBecause) -> None:
        """Leave for good at that time, unless the customer would be gone by then anyway."""
        if at_ms < self.leaves_ms:
            self.leaves_ms, self.leaves_because = at_ms, because

    def remember(self, shelf: list[int], item: int, limit: int = 12) -> None:
        """Put an item on one of the customer's own lists, the oldest falls off."""
        shelf.append(item)
        if len(shelf) > limit:
            del shelf[0]

    def truth(self, shop: Shop) -> Truth:
        """Return what is true of the customer now."""
        tastes: dict[str, float] = {}
        before = 0.0
        for category, weight in zip(self.categories, self.category_weights, strict=True):
            name = shop.items[shop.by_category[category][0]].category_name
            tastes[name] = tastes.get(name, 0.0) + (weight - before) / self.category_weights[-1]
            before = weight
        return Truth(
            customer_id=self.customer_id,
            temperament=self.temperament,
            joined_at_ms=self.joined_ms,
            leaves_at_ms=self.leaves_ms,
            leaves_because=self.leaves_because,
            tastes=tastes,
            visit_gap_days=self.visit_gap_days,
            purchase_gap_days=self.purchase_gap_days,
            opens=dict(zip(CHANNELS, self.opens, strict=True)),
            time_zone=self.time_zone,
        )
