"""Trainers of challengers: each in a consumer group of its own, on the same examples as the models in force."""

from collections.abc import Callable
from contextlib import suppress
from math import isfinite
from typing import Any

from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient

from clients import log
from consumer.core.catalogue import Catalogue
from consumer.core.knowledge.challenger import Challenger, comparable, new_challenger, restored_challenger
from consumer.core.knowledge.snapshot import model_name
from consumer.core.settings import BUILT_IN, ChallengerSettings, CoreSettings
from consumer.kafka.failures import CannotGoOn
from consumer.kafka.models.follower import ModelsInTopic
from consumer.kafka.models.group import ElectedReader, Folding
from consumer.kafka.models.publisher import ModelPublisher
from consumer.kafka.models.records import encode_score
from consumer.kafka.models.scoreboard import Scoreboard
from consumer.kafka.models.trainer import SCORE_EVERY_S, Learning
from consumer.kafka.observer import Observer
from schemas.codec import Decoder
from schemas.records import Family

GROUP_SUFFIX = "-challenger-"
_BATCH_RECORDS = 10  # a forest takes a millisecond for one, a copy of it a second


class ChallengerTrainer:
    """One challenger, where this worker was elected for it."""

    def __init__(
        self,
        challenger: ChallengerSettings,
        member: Consumer,
        publisher: ModelPublisher,
        admin: AdminClient,
        topic: str,
        decoder: Decoder,
        settings: CoreSettings,
        catalogue: Catalogue,
        models: ModelsInTopic,
        observer: Observer,
        clock_s: Callable[[], float],
    ) -> None:
        """`topic` is the real name of training-examples. Raises UnknownModel where the settings name none."""
        self.name = model_name(challenger.family, challenger.name)
        self._challenger = challenger
        self._settings = settings
        self._catalogue = catalogue
        self._models = models
        self._observer = observer
        self._publisher = publisher
        self._clock_s = clock_s
        self._reader = ElectedReader(member, admin, topic, decoder, self._begin, clock_s, _BATCH_RECORDS)
        self._board: Scoreboard | None = None
        self._score_at_s = clock_s() + SCORE_EVERY_S
        new_challenger(challenger, settings, catalogue)  # a mistake is told at the start, not at the election

    def start(self) -> None:
        """Join the group of this challenger's trainers."""
        self._reader.join()

    def _begin(self, family: Family) -> Folding | None:
        if family != self._challenger.family:
            return None
        kind = self._challenger.model
        self._board = Scoreboard(self.name, kind, promotable=kind == BUILT_IN)
        return _Challenging(self._model(), self._settings, self._board, self._observer, self._publisher)

    def _model(self) -> Challenger:
        """Return the challenger as its latest snapshot has it, or a new one that begins with the log."""
        latest = self._models.latest.get(self.name)
        restored = None
        if latest is not None:
            restored = restored_challenger(self._challenger, self._settings, self._catalogue, latest.data)
        return restored or new_challenger(self._challenger, self._settings, self._catalogue)

    def learn(self, budget_s: float) -> None:
        """Fold in examples that have arrived, for at most about `budget_s`."""
        self._reader.read(budget_s)
        if self._clock_s() >= self._score_at_s:
            self._score_at_s = self._clock_s() + SCORE_EVERY_S
            self._tell_score()
        self._publisher.serve()

    def _tell_score(self) -> None:
        if self._models.in_force(self._challenger.family) == self.name:
            return  # the family's trainer tells how good its predictions are, now that they are made
        if self._reader.families and self._board is not None and self._board.has_news:
            self._publisher.publish(*encode_score(self._board.score()))

    def close(self, timeout_s: float) -> None:
        """Leave the group; what is published is delivered first."""
        with suppress(CannotGoOn):  # perhaps what ends the worker is that nothing can be published any more
            self._tell_score()
        self._publisher.flush(timeout_s)
        self._reader.close()


class _Challenging:
    """A challenger as it is folded: judged by each row, then taught by it."""

    def __init__(
        self,
        model: Challenger,
        settings: CoreSettings,
        board: Scoreboard,
        observer: Observer,
        publisher: ModelPublisher,
    ) -> None:
        self._model = model
        self._churn = settings.churn
        self._snapshot_examples = settings.learner.snapshot_examples
        self._since_snapshot = 0
        self._board = board
        self._observer = observer
        self._publisher = publisher

    @property
    def name(self) -> str:
        """Return the name of the model."""
        return self._model.name

    @property
    def next_offset(self) -> int:
        """Return the offset to read next."""
        return self._model.last_offset + 1

    def fold(self, offset: int, example: Any) -> None:
        """Fold the example at `offset` in; publish the snapshot that is due after it, if one is."""
        if self._board.failed is not None:
            return
        self._board.folded(offset)
        try:
            self._judge(example)
            self._model.learn(offset, example)
        except Exception as error:  # noqa: BLE001 - River's classes raise whatever they like, and scoring has to go on
            self._board.failed = f"it failed at example {offset}: {error!r}"
            log.exception("%s has failed at example %d, and learns no more until its trainer starts again",
                          self.name, offset)  # fmt: skip
            return
        self._publish_when_due(offset)

    def _judge(self, example: Any) -> None:
        if not comparable(example, self._churn):
            return
        own = self._model.probability(example)
        if own is None:
            return
        if not isfinite(own):
            raise ValueError(f"its probability is {own}")
        self._board.add(example.head, example.label, own, example.predicted)
        self._observer.compared(self.name, example.head, example.label, own=own, in_force=example.predicted)

    def _publish_when_due(self, offset: int) -> None:
        self._since_snapshot += 1
        if self._since_snapshot >= self._snapshot_examples:
            self._since_snapshot = 0
            snapshot = self._model.snapshot()
            if snapshot is not None:
                self._publisher.publish(f"{self.name}@{offset}".encode(), snapshot)
                self._observer.published(self.name, offset)


class AllLearning:
    """The trainers of the models in force and of the challengers, in turn."""

    def __init__(self, trainers: list[Learning]) -> None:
        self._trainers = trainers

    def start(self) -> None:
        """Join all groups."""
        for trainer in self._trainers:
            trainer.start()

    def learn(self, budget_s: float) -> None:
        """Give the first its whole budget; the others share as much again."""
        for trainer in self._trainers[:1]:
            trainer.learn(budget_s)
        for trainer in self._trainers[1:]:
            trainer.learn(budget_s / (len(self._trainers) - 1))

    def close(self, timeout_s: float) -> None:
        """Leave all groups."""
        for trainer in self._trainers:
            trainer.close(timeout_s)
