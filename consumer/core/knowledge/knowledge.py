"""What all tasks of a process score with: the models and the item index, and which version of each is in force.

Knowledge is learned from all customers and changes between commits only. Each piece is a function of a log and an
offset, so `versions` is all that the journal needs to say which knowledge a commit used.
"""

import msgspec

from consumer.core.catalogue import Catalogue
from consumer.core.churn.churn import ChurnScorer
from consumer.core.customer.segments import Thresholds
from consumer.core.customer.tastes import PriceBands
from consumer.core.customer.words import remembered
from consumer.core.knowledge.families import FAMILY_SPECS, Models
from consumer.core.knowledge.snapshot import decode_snapshot, family_of
from consumer.core.preference.audience_model import AudienceScorer
from consumer.core.preference.basket import BasketRanker
from consumer.core.preference.basket_index import BasketIndex
from consumer.core.preference.items import ItemIndex
from consumer.core.preference.preference import Ranker
from consumer.core.reward.model import RewardScorer
from consumer.core.settings import CoreSettings
from schemas.events import Product
from schemas.records import Family, Session


class Knowledge:
    """The models and the item index in force."""

    # What the table of families makes of the models' states
    churn: ChurnScorer
    thresholds: Thresholds
    price_bands: PriceBands
    ranker: Ranker
    basket_ranker: BasketRanker
    audience: AudienceScorer
    reward: RewardScorer

    def __init__(self, settings: CoreSettings, catalogue: Catalogue) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self.items = ItemIndex(settings.preference)
        self.baskets = BasketIndex(settings.preference)
        for family, spec in FAMILY_SPECS.items():
            self._install(family, spec.models())
        self.model_versions: dict[str, int] = {}  # model in force → offset of the last example in it
        self._in_force: dict[str, str] = {}  # family → its challenger that was promoted
        self.sessions_offset = 0  # next to read
        self.products_offset = 0  # next to read

    def adopt(self, snapshot: bytes, *, force: bool = False) -> bool:
        """Score with the model in `snapshot` from here on, if it is newer than the one in force or `force` is set.

        Snapshots of a model that is not the one in force for its family change nothing, unless `force` is set.
        Raises RefusedSnapshot where this build cannot use it.
        """
        decoded = decode_snapshot(snapshot, self._settings, self._catalogue)
        model, family = decoded.model, decoded.family
        if not force and model != self.in_force(family):
            return False
        if not force and decoded.offset <= self.model_versions.get(model, -2):
            return False
        self._install(family, decoded.models)
        others = {name: offset for name, offset in self.model_versions.items() if family_of(name) != family}
        self.model_versions = dict(sorted((others | {model: decoded.offset}).items()))
        return True

    def in_force(self, family: str) -> str:
        """Return the name of the model whose snapshots are adopted: the family's own, unless one was promoted."""
        return self._in_force.get(family, family)

    def promote(self, model: str) -> None:
        """Adopt snapshots of `model` and no other of its family. What was adopted is in force until one comes."""
        self._in_force[family_of(model)] = model

    def _install(self, family: Family, models: Models) -> None:
        for name, scorer in FAMILY_SPECS[family].scorers(self._settings, self._catalogue, models).items():
            setattr(self, name, scorer)

    def fold_session(self, offset: int, session: Session) -> None:
        """Fold the session at `offset` into the index of its kind. Those below `sessions_offset` were folded before."""
        if offset >= self.sessions_offset:
            (self.baskets if session.kind == "basket" else self.items).fold(session)
            self.sessions_offset = offset + 1

    def apply_product(self, offset: int, item_id: str, product: Product | None) -> None:
        """Know the product at `offset`, or forget it (None)."""
        if offset >= self.products_offset:
            if product is not None and product.category is not None:
                product = msgspec.structs.replace(product, category=remembered(product.category))
            self.items.apply_product(item_id, product)
            self.products_offset = offset + 1

    def versions(self) -> dict[str, int]:
        """Return which knowledge is in force, for decisions."""
        return self.model_versions | {"sessions": self.sessions_offset}
