"""How a backtest learns: from which share of what happened, and with which catalogue."""

import tomllib
from importlib.resources import files

from consumer.core.catalogue import Catalogue

LEARNED_FROM = 50_000  # of fewer positions or baskets, all; of more, so many or the share that is configured


def learned_share(n: int, configured: float) -> float:
    """Return the share of `n` positions or baskets that are learned from, not below what a worker is configured to."""
    return max(configured, min(1.0, LEARNED_FROM / max(1, n)))


def any_catalogue() -> Catalogue:
    """Return the catalogue that comes along: only what learns of rewards makes something of it."""
    return Catalogue.from_mapping(
        tomllib.loads(files("consumer.core").joinpath("catalogue_default.toml").read_text(encoding="utf-8"))
    )
