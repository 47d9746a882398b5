"""Folds training examples into models: the families' own and their challengers, where this worker was elected.

There is a consumer group for the own models and one for each challenger; each log of a group goes to one worker. A
snapshot is a function of the log up to its offset, taken after every so many examples and nowhere else. So a trainer
needs no transaction: it goes on from the latest snapshot, and two trainers of one model (an old one that does not know
yet that it was replaced) publish the same bytes, of which readers ignore the second.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from typing import Protocol

from clients import log
from consumer.core.catalogue import Catalogue
from consumer.core.knowledge.challenger import judged_prediction, new_challenger
from consumer.core.knowledge.learner import new_learner, restore_learner
from consumer.core.knowledge.snapshot import RefusedSnapshot, model_name, snapshot_key
from consumer.core.settings import BUILT_IN, ChallengerSettings, CoreSettings
from consumer.kafka.clocks import Clocks
from consumer.kafka.failures import CannotGoOn
from consumer.kafka.models.group import ElectedReader
from consumer.kafka.models.index import ModelIndex
from consumer.kafka.models.publisher import ModelPublisher
from consumer.kafka.models.records import ModelsRecord, Score, encode_score
from consumer.kafka.models.scoreboard import Scoreboard
from consumer.kafka.observer import Observer
from schemas.records import Family, TrainingExample
from schemas.units import Ms, Seconds

SCORE_EVERY_S = 10.0
BATCH_RECORDS = 200
CHALLENGER_BATCH_RECORDS = 10  # a forest takes a millisecond for one, a copy of it a second


@dataclass(frozen=True, slots=True)
class Training:
    """What all models are trained with. `index` is what is known from the models topic."""

    settings: CoreSettings
    catalogue: Catalogue
    index: ModelIndex
    observer: Observer


class Trained(Protocol):
    """A model that is trained here."""

    @property
    def model(self) -> str:
        """Return its name."""

    @property
    def next_offset(self) -> int:
        """Return the offset of its family's log to read next."""

    def fold(self, offset: int, example: TrainingExample) -> bytes | None:
        """Fold the example at `offset` in; return the snapshot that is due after it, if one is."""

    def score(self) -> Score | None:
        """Return how good it is, where that is for this trainer to tell and has changed since."""

    def to_keep(self) -> Sequence[ModelsRecord]:
        """Return the records of the models topic that this trainer keeps from expiring."""


class OwnModel:
    """A family's own model. Its trainer judges what is in force, by what it has predicted."""

    def __init__(self, family: Family, training: Training) -> None:
        """Raise CannotGoOn where its latest snapshot cannot be used."""
        self.model = family
        self._family = family
        self._training = training
        latest = training.index.latest.get(family)
        try:
            self._learner = (
                new_learner(family, training.settings, training.catalogue)
                if latest is None
                else restore_learner(latest.data, training.settings, training.catalogue)
            )
        except RefusedSnapshot as refused:
            raise CannotGoOn(str(refused)) from refused
        self._board = self._new_board()

    @property
    def next_offset(self) -> int:
        """Return the offset to read next."""
        return self._learner.next_offset

    def fold(self, offset: int, example: TrainingExample) -> bytes | None:
        """Fold the example at `offset` in."""
        observer = self._training.observer
        folded = self._learner.fold(offset, example)
        observer.learned(self._family, example)
        for move in folded.moves:
            observer.drifted(self._family, move)
        self._judge(offset, example)
        return folded.snapshot

    def _new_board(self) -> Scoreboard:
        return Scoreboard(self._training.index.in_force(self._family), BUILT_IN, promotable=True)

    def _judge(self, offset: int, example: TrainingExample) -> None:
        index = self._training.index
        if self._board.model != index.in_force(self._family):
            self._board = self._new_board()
        self._board.folded(offset)
        promotion = index.promotion(self._family)
        if promotion is not None and example.predicted_at < promotion.known_ms:
            return  # the model before it said that
        predicted = judged_prediction(example, self._training.settings.churn)
        if predicted is not None:
            self._board.add(example.head, example.label, predicted, predicted)

    def score(self) -> Score | None:
        """Return how good the model in force is."""
        return self._board.score() if self._board.has_news else None

    def to_keep(self) -> Sequence[ModelsRecord]:
        """Return what is in force and may be again, also of a challenger: nobody may be training that any more."""
        return self._training.index.to_keep(self._family)


class ChallengingModel:
    """A challenger: judged by each row beside the model in force, then taught by it. It may fail and harms nobody."""

    def __init__(self, settings: ChallengerSettings, training: Training) -> None:
        """Go on from its latest snapshot, or begin with the log. Raises UnknownModel where `settings` name no model."""
        self.model = model_name(settings.family, settings.name)
        self._family = settings.family
        self._training = training
        latest = training.index.latest.get(self.model)
        self._challenger = new_challenger(
            settings, training.settings, training.catalogue, None if latest is None else latest.data
        )
        self._board = Scoreboard(self.model, settings.model, promotable=settings.model == BUILT_IN)

    @property
    def next_offset(self) -> int:
        """Return the offset to read next."""
        return self._challenger.next_offset

    def fold(self, offset: int, example: TrainingExample) -> bytes | None:
        """Fold the example at `offset` in, unless it has failed before."""
        if self._board.failed is not None:
            return None
        self._board.folded(offset)
        try:
            self._judge(example)
            return self._challenger.fold(offset, example).snapshot
        except Exception as error:  # noqa: BLE001 - River's classes raise whatever they like, and scoring has to go on
            self._board.failed = f"it failed at example {offset}: {error!r}"
            log.exception("%s has failed at example %d, and learns no more until its trainer starts again",
                          self.model, offset)  # fmt: skip
            return None

    def _judge(self, example: TrainingExample) -> None:
        in_force = judged_prediction(example, self._training.settings.churn)
        own = None if in_force is None else self._challenger.probability(example)
        if own is None or in_force is None:
            return
        if not isfinite(own):
            raise ValueError(f"its probability is {own}")
        self._board.add(example.head, example.label, own, in_force)
        self._training.observer.compared(self.model, example.head, example.label, own=own, in_force=in_force)

    def score(self) -> Score | None:
        """Return how good it is, unless it is in force: then its family's trainer tells that."""
        if self._training.index.in_force(self._family) == self.model or not self._board.has_news:
            return None
        return self._board.score()

    def to_keep(self) -> Sequence[ModelsRecord]:
        """Return nothing: a challenger whose snapshots are gone learns anew."""
        return ()


@dataclass(slots=True)
class _Group:
    """One consumer group, as this worker is a member of it."""

    reader: ElectedReader
    begin: Callable[[Family], Trained | None]  # None: the examples of that family are not wanted
    trained: dict[Family, Trained] = field(default_factory=dict)


class Trainer:
    """All models that this worker trains. What they are to publish, it publishes."""

    def __init__(
        self,
        own: ElectedReader,
        challengers: Sequence[tuple[ChallengerSettings, ElectedReader]],
        training: Training,
        publisher: ModelPublisher,
        *,
        clocks: Clocks,
        republish_ms: Ms,
    ) -> None:
        """`own` is the group of the families' own models. Raises UnknownModel for a challenger that cannot be made."""
        for settings, _ in challengers:  # a mistake is told at the start, not at the election
            new_challenger(settings, training.settings, training.catalogue)
        self._own = _Group(own, partial(OwnModel, training=training))
        self._challengers = [
            _Group(reader, partial(_challenger_of, settings=settings, training=training))
            for settings, reader in challengers
        ]
        self._groups = (self._own, *self._challengers)
        self._publisher = publisher
        self._observer = training.observer
        self._clock_s = clocks.s
        self._clock_ms = clocks.ms
        self._republish_ms = republish_ms
        self._republished_ms: dict[bytes, int] = {}
        self._score_at_s = clocks.s() + SCORE_EVERY_S

    def start(self) -> None:
        """Join all groups."""
        for group in self._groups:
            group.reader.join()

    def learn(self, budget_s: Seconds) -> None:
        """Fold in examples that have arrived, and publish what is due.

        The own models have the whole of `budget_s`; the challengers share as much again.
        """
        self._fold(self._own, budget_s)
        for group in self._challengers:
            self._fold(group, Seconds(budget_s / len(self._challengers)))
        self._republish_when_due()
        if self._clock_s() >= self._score_at_s:
            self._score_at_s = self._clock_s() + SCORE_EVERY_S
            self._tell_scores()
        self._publisher.serve()

    def _fold(self, group: _Group, budget_s: Seconds) -> None:
        for family in group.trained.keys() - group.reader.families:
            del group.trained[family]  # another worker has it
        for family in group.reader.newly_elected():
            trained = group.begin(family)
            if trained is not None:
                group.trained[family] = trained
                first = group.reader.start(family, trained.next_offset)
                log.info("training %s from example %d", trained.model, first)
        for family, offset, example in group.reader.read(budget_s):
            trained = group.trained[family]
            snapshot = trained.fold(offset, example)
            if snapshot is not None:
                self._publisher.publish(snapshot_key(trained.model, offset), snapshot)
                self._observer.published(trained.model, offset)

    def _trained(self) -> list[Trained]:
        return [group.trained[family] for group in self._groups for family in group.reader.families]

    def _republish_when_due(self) -> None:
        """Publish again what is old by the broker's clock, so that retention takes neither what is in force nor why."""
        now_ms = self._clock_ms()
        for record in (record for trained in self._trained() for record in trained.to_keep()):
            newest_ms = max(record.published_ms, self._republished_ms.get(record.key, 0))
            if now_ms - newest_ms >= self._republish_ms:
                self._republished_ms[record.key] = now_ms
                self._publisher.publish(record.key, record.data)

    def _tell_scores(self) -> None:
        for trained in self._trained():
            score = trained.score()
            if score is not None:
                self._publisher.publish(*encode_score(score))

    def close(self, timeout_s: Seconds) -> None:
        """Leave all groups; what is published is delivered first."""
        with suppress(CannotGoOn):  # perhaps what ends the worker is that nothing can be published any more
            self._tell_scores()
        self._publisher.flush(timeout_s)
        for group in self._groups:
            group.reader.close()


def _challenger_of(family: Family, *, settings: ChallengerSettings, training: Training) -> Trained | None:
    return ChallengingModel(settings, training) if family == settings.family else None
