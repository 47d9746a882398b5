"""The catalogue of channels and actions that comes along, for whoever names no other."""

import tomllib
from importlib.resources import files
from typing import Any

from consumer.core.catalogue import Catalogue


def default_mapping() -> dict[str, Any]:
    """Return it as plain data."""
    return tomllib.loads(files("consumer.core").joinpath("catalogue_default.toml").read_text(encoding="utf-8"))


def default_catalogue() -> Catalogue:
    """Return it."""
    return Catalogue.from_mapping(default_mapping())
