"""Which models there are, by the models topic alone; and putting one of them in force, or the one before back."""

from collections.abc import Callable
from typing import Final

import msgspec
from confluent_kafka import OFFSET_BEGINNING

from clients import log
from consumer.core.catalogue import Catalogue
from consumer.core.knowledge.challenger import latest_label_ms
from consumer.core.knowledge.snapshot import RefusedSnapshot, decode_snapshot, family_of, model_name
from consumer.core.settings import BUILT_IN, CoreSettings
from consumer.kafka.cluster.check import require_topic
from consumer.kafka.cluster.cluster import Cluster
from consumer.kafka.cluster.log_reader import read_through
from consumer.kafka.models.index import ModelIndex
from consumer.kafka.models.publisher import ModelPublisher
from consumer.kafka.models.records import (
    MAX_BEHIND,
    Comparison,
    ModelsRecord,
    Promotion,
    Score,
    UnreadableRecord,
    decode_promotion,
    decode_score,
    encode_promotion,
    kind_of,
)
from schemas.records import FAMILIES, Family
from schemas.units import Seconds

_DELIVERY_S: Final = Seconds(30.0)


class CannotPromote(Exception):
    """What was asked for can't be put in force; the message says why and what to do."""


class ModelRow(msgspec.Struct, frozen=True):
    """One model, as `nextbest models list` shows it. What is not known is None."""

    family: str
    model: str
    role: str  # champion: in force; previous: what a rollback leads to; challenger
    kind: str | None  # "built-in", or the River class
    offset: int  # of the last example in it
    examples: int | None  # folded in and judged since `from_offset`, by the trainer that has it now
    from_offset: int | None
    age_s: float  # since its newest snapshot or score
    promotable: bool
    refused: str | None  # why its newest snapshot can't be used under the present settings
    failed: str | None  # why it learns no more
    heads: dict[str, Comparison]


class ModelOverview:
    """All models there are: the models topic read once from end to end, for commands.

    Of snapshots it takes, as workers do, those that can be used.
    """

    def __init__(
        self,
        cluster: Cluster,
        settings: CoreSettings,
        catalogue: Catalogue,
        *,
        stop: Callable[[], bool],
    ) -> None:
        """Raises TopicsError where there is no such topic, CannotGoOn and Stopping."""
        self.index = ModelIndex()
        self._settings = settings
        self._catalogue = catalogue
        self._refused: dict[str, tuple[ModelsRecord, str]] = {}  # by model: its newest one, and why
        self._known_ms: dict[str, int] = {}  # by family: event time of the latest label in any of its models
        self.scores: dict[str, tuple[Score, int]] = {}  # by model, with the broker's time
        require_topic(cluster, "models")
        for message in read_through(cluster, cluster.place("models", 0, OFFSET_BEGINNING), stop):
            key, value = message.key() or b"", message.value()
            if value is not None:
                self._take(ModelsRecord(key, value, message.timestamp()[1]))

    def _take(self, record: ModelsRecord) -> None:
        kind, model = kind_of(record.key)
        try:
            if kind == "snapshot":
                self._take_snapshot(model, record)
            elif kind == "promotion":
                self.index.note_promotion(decode_promotion(record.data), record)
            else:
                self.scores[model] = (decode_score(record.data), record.published_ms)
        except UnreadableRecord as error:
            log.warning("a record of the models topic is passed over: %s", error)

    def _take_snapshot(self, model: str, record: ModelsRecord) -> None:
        try:
            snapshot = decode_snapshot(record.data, self._settings, self._catalogue)
        except RefusedSnapshot as refused:
            self._refused[model] = (record, str(refused))
            return
        self._refused.pop(model, None)
        self.index.note_snapshot(model, record)
        known_ms = latest_label_ms(snapshot.models) or 0
        self._known_ms[snapshot.family] = max(self._known_ms.get(snapshot.family, 0), known_ms)

    def rows(self, now_ms: int) -> list[ModelRow]:
        """Return every model there is, by family: the one in force first, then the one before it."""
        known = {*self.index.latest, *self._refused, *self.scores}
        rows = [self._row(model, now_ms) for model in known if family_of(model) in FAMILIES]
        roles = ("champion", "previous", "challenger")
        return sorted(rows, key=lambda row: (row.family, roles.index(row.role), row.model))

    def _row(self, model: str, now_ms: int) -> ModelRow:
        usable = self.index.latest.get(model)
        refused, why_refused = self._refused.get(model, (None, None))
        snapshot = usable or refused
        score, scored_ms = self.scores.get(model, (None, 0))
        published_ms = max(snapshot.published_ms if snapshot is not None else 0, scored_ms)
        return ModelRow(
            family=family_of(model),
            model=model,
            role=self._role(model),
            kind=score.kind if score is not None else BUILT_IN,
            offset=max(snapshot.offset if snapshot is not None else -1, score.offset if score is not None else -1),
            examples=score.examples if score is not None else None,
            from_offset=score.from_offset if score is not None else None,
            age_s=max(0.0, (now_ms - published_ms) / 1000),
            promotable=usable is not None,
            refused=why_refused,
            failed=score.failed if score is not None else None,
            heads=score.heads if score is not None else {},
        )

    def _role(self, model: str) -> str:
        family = family_of(model)
        if model == self.index.in_force(family):
            return "champion"
        promotion = self.index.promotion(family)
        return "previous" if promotion is not None and promotion.behind[-1:] == (model,) else "challenger"

    # What to put in force

    def promotion_of(self, name: str, why: str, now_ms: int) -> Promotion:
        """Return the record that puts a model in force; raise CannotPromote where it cannot be.

        `name` is that of a challenger or of a family, whose own model is meant.
        """
        model = self._model_named(name)
        family: Family = family_of(model)  # type: ignore[assignment]  # `_model_named` found it among ours
        before = self.index.in_force(family)
        if model == before:
            raise CannotPromote(f"{model} is in force already")
        known = self.index.promotion(family)
        behind = (*(known.behind if known is not None else ()), before)[-MAX_BEHIND:]
        return self._promotion(family, model, behind, why=why, now_ms=now_ms)

    def rollback_of(self, family: Family, why: str, now_ms: int) -> Promotion:
        """Return the record that puts the model before the latest promotion back in force."""
        known = self.index.promotion(family)
        if known is None or not known.behind:
            raise CannotPromote(
                f"{self.index.in_force(family)} is in force and replaced no other: there is nothing to roll back to"
            )
        return self._promotion(family, known.behind[-1], known.behind[:-1], why=why, now_ms=now_ms)

    def _promotion(self, family: Family, model: str, behind: tuple[str, ...], *, why: str, now_ms: int) -> Promotion:
        snapshot = self.index.latest.get(model)
        if snapshot is None:
            raise CannotPromote(self._why_no_snapshot(model))
        known = self.index.promotion(family)
        return Promotion(
            family=family,
            model=model,
            offset=snapshot.offset,
            behind=behind,
            at_ms=now_ms if known is None else max(now_ms, known.at_ms + 1),  # after it, whatever the clock here says
            why=why,
            known_ms=self._known_ms.get(family, 0),
        )

    def _why_no_snapshot(self, model: str) -> str:
        if model in self._refused:
            return f"{model} can't be put in force: {self._refused[model][1]}"
        score = self.scores[model][0] if model in self.scores else None
        if score is None or score.promotable:
            return f"{model} has published no snapshot yet: it needs more examples"
        return (
            f"{model} is a {score.kind}, which has no form in plain data: workers could not score with the same model, "
            f'and `nextbest verify` could not derive it. Promote a challenger with model = "{BUILT_IN}" instead'
        )

    def _model_named(self, name: str) -> str:
        known = {*self.index.latest, *self._refused, *self.scores, *FAMILIES}
        for model in (name, *(model_name(family, name) for family in FAMILIES)):
            if model in known:
                return model
        others = ", ".join(sorted(known - set(FAMILIES))) or "no challengers"
        raise CannotPromote(f"there is no model {name} in the models topic; there are {others}, and the families' own")


def record_promotion(cluster: Cluster, promotion: Promotion) -> None:
    """Write a promotion to the models topic; workers follow it between two commits. Raises CannotGoOn."""
    publisher = ModelPublisher(cluster.idempotent_producer(), cluster.topics.name("models"))
    publisher.publish(*encode_promotion(promotion))
    publisher.deliver(_DELIVERY_S)
