"""What the models topic holds, by name: kept up to date by the follower, and asked by trainers and commands."""

from consumer.kafka.models.records import ModelsRecord, Promotion


class ModelIndex:
    """What the models topic holds, as far as it was read: the latest snapshot of each model, and what is in force."""

    def __init__(self) -> None:
        self.latest: dict[str, ModelsRecord] = {}  # by the name of the model
        self._promotions: dict[str, tuple[Promotion, ModelsRecord]] = {}  # by family, with the record

    def note_snapshot(self, model: str, record: ModelsRecord) -> None:
        """Know a snapshot that can be used, if it is as new as the one known."""
        known = self.latest.get(model)
        if known is None or record.offset >= known.offset:
            self.latest[model] = record

    def note_promotion(self, promotion: Promotion, record: ModelsRecord) -> bool:
        """Know a promotion; return whether it changes what is in force. An older one, published again, does not."""
        known = self.promotion(promotion.family)
        if known is not None and promotion.at_ms < known.at_ms:
            return False
        self._promotions[promotion.family] = (promotion, record)
        return known is None or promotion.model != known.model

    def promotion(self, family: str) -> Promotion | None:
        """Return the promotion that holds for a family, if there is one."""
        return self._promotions[family][0] if family in self._promotions else None

    def in_force(self, family: str) -> str:
        """Return the name of the model in force: the family's own, unless another was promoted."""
        promotion = self.promotion(family)
        return family if promotion is None else promotion.model

    def to_keep(self, family: str) -> list[ModelsRecord]:
        """Return the records of a family that must outlive retention: what is in force, and what may be again."""
        if family not in self._promotions:
            return [self.latest[family]] if family in self.latest else []
        promotion, record = self._promotions[family]
        models = dict.fromkeys((family, promotion.model, *promotion.behind))
        return [record, *(self.latest[model] for model in models if model in self.latest)]
