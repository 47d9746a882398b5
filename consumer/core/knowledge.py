"""What all tasks of a process score with: the models and the item index, and which version of each is in force.

Knowledge is learned from all customers and changes between commits only. Each piece is a function of a log and an
offset, so `versions` is all that the journal needs to say which knowledge a commit used.
"""

from consumer.core.catalogue import Catalogue
from consumer.core.churn import ChurnScorer
from consumer.core.items import ItemIndex
from consumer.core.policy import RewardScorer
from consumer.core.preference import Ranker
from consumer.core.settings import CoreSettings
from consumer.core.snapshot import Snapshot, decode_snapshot
from schemas.events import Product
from schemas.records import Session


class Knowledge:
    """The models and the item index in force."""

    def __init__(self, settings: CoreSettings, catalogue: Catalogue) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self.items = ItemIndex(settings.preference)
        self.churn = ChurnScorer(settings.churn)
        self.ranker = Ranker()
        self.reward = RewardScorer(catalogue)
        self.model_versions: dict[str, int] = {}  # family → offset of the last example in the model
        self.sessions_offset = 0  # next to read
        self.products_offset = 0  # next to read

    def adopt(self, snapshot: bytes, *, force: bool = False) -> bool:
        """Score with the model in `snapshot` from here on, if it is newer than the one in force or `force` is set.

        Raises RefusedSnapshot where this build cannot use it.
        """
        decoded = decode_snapshot(snapshot, self._settings, self._catalogue)
        if not force and decoded.offset <= self.model_versions.get(decoded.family, -2):
            return False
        self._install(decoded)
        self.model_versions = dict(sorted((self.model_versions | {decoded.family: decoded.offset}).items()))
        return True

    def _install(self, snapshot: Snapshot) -> None:
        if snapshot.churn is not None:
            self.churn = ChurnScorer(self._settings.churn, snapshot.churn)
        elif snapshot.preference is not None:
            self.ranker = Ranker.from_state(snapshot.preference)
        elif snapshot.policy is not None:
            self.reward = RewardScorer.from_state(snapshot.policy, self._catalogue)

    def fold_session(self, offset: int, session: Session) -> None:
        """Fold the session at `offset` into the item index. Offsets below `sessions_offset` were folded before."""
        if offset >= self.sessions_offset:
            self.items.fold(session)
            self.sessions_offset = offset + 1

    def apply_product(self, offset: int, item_id: str, product: Product | None) -> None:
        """Know the product at `offset`, or forget it (None)."""
        if offset >= self.products_offset:
            self.items.apply_product(item_id, product)
            self.products_offset = offset + 1

    def versions(self) -> dict[str, int]:
        """Return which knowledge is in force, for decisions."""
        return self.model_versions | {"sessions": self.sessions_offset}
