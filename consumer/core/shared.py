"""`Core`: what all tasks of a process share."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import Self

import msgspec

from consumer.core.catalogue import Catalogue
from consumer.core.currency import Exchange
from consumer.core.knowledge.knowledge import Knowledge
from consumer.core.local_time import LocalTime, ZoneLoader
from consumer.core.settings import CoreSettings


@dataclass(frozen=True)
class Core:
    """What tasks score with. Of all this, knowledge alone changes, and between commits only."""

    settings: CoreSettings
    catalogue: Catalogue
    knowledge: Knowledge
    local_time: LocalTime
    build: str  # fingerprint of the program that runs
    grants: Mapping[str, float] = field(default_factory=dict)  # contacts a day of each task, by action or channel

    @classmethod
    def new(
        cls,
        settings: CoreSettings,
        catalogue: Catalogue,
        load_zone: ZoneLoader,
        *,
        build: str,
        grants: Mapping[str, float] | None = None,
    ) -> Self:
        """Return a core that has learned nothing yet."""
        local_time = LocalTime(load_zone, settings.policy.default_time_zone)
        return cls(settings, catalogue, Knowledge(settings, catalogue), local_time, build, grants or {})

    def unlearned(self) -> Self:
        """Return the same core with knowledge of its own, as it was at the beginning."""
        return replace(self, knowledge=Knowledge(self.settings, self.catalogue))

    @cached_property
    def settings_digest(self) -> str:
        """32 hexadecimal digits that change whenever any setting of the core does."""
        return blake2b(msgspec.json.encode(self.settings, order="deterministic"), digest_size=16).hexdigest()

    @cached_property
    def exchange(self) -> Exchange:
        """What money of other currencies is worth in that of the catalogue."""
        return Exchange(self.catalogue.currency, self.settings.currencies.rates)

    @cached_property
    def catalogue_digest(self) -> str:
        """What changes whenever the catalogue does."""
        return self.catalogue.digest()
