"""The catalogue that the tests of the worker decide with: the one that comes with the product."""

import tomllib
from importlib.resources import files

from consumer.core.catalogue import Catalogue


def catalogue() -> Catalogue:
    """Return the default catalogue."""
    text = files("consumer.core").joinpath("catalogue_default.toml").read_text(encoding="utf-8")
    return Catalogue.from_mapping(tomllib.loads(text))
