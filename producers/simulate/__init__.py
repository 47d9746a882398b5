"""A simulated shop population with a known truth: tastes, cadence, churn hazard and response to actions."""

from producers.simulate.assortment import Item, Shop
from producers.simulate.customers import Temperament, Truth
from producers.simulate.noise import MALFORMED_KINDS
from producers.simulate.population import Population
from producers.simulate.population_settings import PopulationSettings
from producers.simulate.response import purchase_probability

__all__ = [
    "MALFORMED_KINDS",
    "Item",
    "Population",
    "PopulationSettings",
    "Shop",
    "Temperament",
    "Truth",
    "purchase_probability",
]
