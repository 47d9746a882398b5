"""The shop: items with categories, brands and prices, and how one item leads to another."""

from dataclasses import dataclass
from itertools import accumulate

from producers.simulate.chance import Chance
from producers.simulate.population_settings import PopulationSettings

SUCCESSORS = 6  # items that an item leads to
BRANDS_PER_CATEGORY = 5
_CROSS_CATEGORY_SHARE = 0.25  # successors from another category
_CONSUMABLE_SHARE = 0.3  # categories that are bought again and again


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the shop; `cycle_days` is how long it lasts where it is used up."""

    item_id: str
    category: int
    category_name: str
    brand: str
    price: float
    margin: float
    cycle_days: float | None


class Shop:
    """All items. Items are referred to by their index.

    `successors[i]` are the items that item i leads to, likeliest first, with `successor_weights` (cumulative);
    `complements[i]` is bought together with it.
    """

    def __init__(self, seed: int | str, settings: PopulationSettings) -> None:
        """Make the shop of a seed: the same seed and sizes make the same shop."""
        chance = Chance(seed).for_words("shop")
        self.items: list[Item] = []
        self.by_category: list[list[int]] = [[] for _ in range(settings.categories)]
        self._make_items(chance, settings)
        self.popularity = [_zipf(len(members)) for members in self.by_category]  # cumulative, within a category
        self.category_weights = _zipf(settings.categories)
        self.successor_weights = _zipf(SUCCESSORS)
        self.successors = [self._successors_of(chance, index) for index in range(len(self.items))]
        self.complements = [self._other_category(chance, item.category) for item in self.items]

    def _make_items(self, chance: Chance, settings: PopulationSettings) -> None:
        prices = [chance.lognormvariate(3.2, 0.8) for _ in range(settings.categories)]
        margins = [chance.uniform(0.15, 0.5) for _ in range(settings.categories)]
        cycles = [
            chance.uniform(14, 45) if chance.random() < _CONSUMABLE_SHARE else None for _ in range(settings.categories)
        ]
        for index in range(settings.items):
            category = index % settings.categories
            price = round(max(0.5, prices[category] * chance.lognormvariate(0, 0.4)), 2)
            self.by_category[category].append(index)
            self.items.append(
                Item(
                    item_id=f"i{index:05d}",
                    category=category,
                    category_name=f"category-{category:02d}",
                    brand=f"brand-{category:02d}-{chance.randrange(BRANDS_PER_CATEGORY)}",
                    price=price,
                    margin=round(price * margins[category], 2),
                    cycle_days=cycles[category],
                )
            )

    def _successors_of(self, chance: Chance, index: int) -> tuple[int, ...]:
        category = self.items[index].category
        members = self.by_category[category]
        found = []
        for _ in range(SUCCESSORS):
            if chance.random() < _CROSS_CATEGORY_SHARE:
                found.append(self._other_category(chance, category))
            else:
                found.append(members[chance.randrange(len(members))])
        return tuple(found)

    def _other_category(self, chance: Chance, category: int) -> int:
        # A fixed neighbour category, so that co-occurrence holds for categories too.
        neighbour = self.by_category[(category * 7 + 3) % len(self.by_category)]
        return neighbour[chance.randrange(len(neighbour))]

    def pick(self, chance: Chance, category: int) -> int:
        """Return an item of the category, popular ones more often."""
        return self.by_category[category][chance.among(self.popularity[category])]

    def index_of(self, item_id: str) -> int | None:
        """Return the index of the item, or None where the shop has no such item."""
        number = item_id[1:]
        if item_id[:1] == "i" and number.isdecimal() and int(number) < len(self.items):
            return int(number)
        return None


def _zipf(size: int) -> list[float]:
    return list(accumulate(1 / (rank + 1) ** 0.8 for rank in range(size)))
