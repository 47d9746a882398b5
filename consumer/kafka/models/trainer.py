"""Folds training examples into the models: the trainer of each family is elected by a consumer group of its own.

A snapshot is a function of the log up to its offset, taken after every so many examples and nowhere else. So a trainer
needs no transaction: it goes on from the latest snapshot, and two trainers of one family (an old one that does not know
yet that it was replaced) publish the same bytes, of which readers ignore the second.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient

from consumer.core.catalogue import Catalogue
from consumer.core.knowledge.challenger import comparable
from consumer.core.knowledge.learner import Learner, new_learner, restore_learner
from consumer.core.knowledge.snapshot import RefusedSnapshot
from consumer.core.learning.drift import Drift
from consumer.core.settings import BUILT_IN, CoreSettings
from consumer.kafka.failures import CannotGoOn
from consumer.kafka.models.follower import ModelsInTopic
from consumer.kafka.models.group import ElectedReader
from consumer.kafka.models.publisher import ModelPublisher
from consumer.kafka.models.records import encode_score
from consumer.kafka.models.scoreboard import Scoreboard
from consumer.kafka.observer import Observer
from schemas.codec import Decoder
from schemas.records import Family

SCORE_EVERY_S = 10.0
_BATCH_RECORDS = 200


class Learning(Protocol):
    """What the worker's loop does with trainers of any kind."""

    def start(self) -> None:
        """Join the group."""

    def learn(self, budget_s: float) -> None:
        """Fold in examples that have arrived, for at most about `budget_s`."""

    def close(self, timeout_s: float) -> None:
        """Leave the group; what is published is delivered first."""


class FamilyTrainer:
    """The learner of one family, and how many examples it is past its latest snapshot."""

    def __init__(self, learner: Learner, snapshot_examples: int) -> None:
        self._learner = learner
        self._snapshot_examples = snapshot_examples
        self._since_snapshot = 0
        self.moves: list[Drift] = []  # what the latest example showed to have moved

    @property
    def next_offset(self) -> int:
        """Return the offset to read next."""
        return self._learner.last_offset + 1

    def learn(self, offset: int, example: Any) -> bytes | None:
        """Fold one example in; return the snapshot that is due after it, if one is.

        Counting from the latest snapshot gives the same places in the log as counting from its beginning: every
        snapshot was taken at such a place.
        """
        self.moves = self._learner.learn(offset, example)
        self._since_snapshot += 1
        if self._since_snapshot < self._snapshot_examples:
            return None
        self._since_snapshot = 0
        return self._learner.snapshot()


class Trainer:
    """The families that this worker trains. `models` is what is known from the models topic."""

    def __init__(
        self,
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
        clock_ms: Callable[[], int],
        republish_s: float,
    ) -> None:
        """`topic` is the real name of training-examples."""
        self._reader = ElectedReader(member, admin, topic, decoder, self._begin, clock_s, _BATCH_RECORDS)
        self._publisher = publisher
        self._settings = settings
        self._catalogue = catalogue
        self._models = models
        self._observer = observer
        self._clock_s = clock_s
        self._clock_ms = clock_ms
        self._republish_ms = republish_s * 1000
        self._republished_ms: dict[bytes, int] = {}
        self._scoreboards: dict[Family, Scoreboard] = {}
        self._score_at_s = clock_s() + SCORE_EVERY_S

    def start(self) -> None:
        """Join the group of trainers."""
        self._reader.join()

    def _begin(self, family: Family) -> "_OwnModel":
        learner = self._learner(family)
        self._scoreboards[family] = self._new_scoreboard(family)
        return _OwnModel(family, FamilyTrainer(learner, self._settings.learner.snapshot_examples), self._folded)

    def _learner(self, family: Family) -> Learner:
        latest = self._models.latest.get(family)
        if latest is None:
            return new_learner(family, self._settings, self._catalogue)
        try:
            return restore_learner(latest.data, self._settings, self._catalogue)
        except RefusedSnapshot as refused:
            raise CannotGoOn(str(refused)) from refused

    def _folded(
        self, family: Family, offset: int, example: Any, trained: FamilyTrainer, snapshot: bytes | None
    ) -> None:
        self._observer.learned(family, example)
        for move in trained.moves:
            self._observer.drifted(family, move)
        self._judge(family, offset, example)
        if snapshot is not None:
            self._publisher.publish(f"{family}@{offset}".encode(), snapshot)
            self._observer.published(family, offset)

    # Scores of what is in force

    def _new_scoreboard(self, family: Family) -> Scoreboard:
        return Scoreboard(self._models.in_force(family), BUILT_IN, promotable=True)

    def _judge(self, family: Family, offset: int, example: Any) -> None:
        board = self._scoreboards[family]
        if board.model != self._models.in_force(family):
            board = self._scoreboards[family] = self._new_scoreboard(family)
        board.folded(offset)
        promotion = self._models.promotion(family)
        if promotion is not None and example.predicted_at < promotion.known_ms:
            return  # the model before it said that
        if family == "churn" and comparable(example, self._settings.churn):
            board.add(example.head, example.label, example.predicted, example.predicted)

    def _tell_scores(self) -> None:
        for family in self._reader.families:
            board = self._scoreboards[family]
            if board.has_news:
                self._publisher.publish(*encode_score(board.score()))

    def learn(self, budget_s: float) -> None:
        """Fold in examples that have arrived, for at most `budget_s`, and publish the snapshots that become due."""
        self._reader.read(budget_s)
        self._republish_when_due()
        if self._clock_s() >= self._score_at_s:
            self._score_at_s = self._clock_s() + SCORE_EVERY_S
            self._tell_scores()
        self._publisher.serve()

    def _republish_when_due(self) -> None:
        """Publish again what is old by the broker's clock, so that retention takes neither what is in force nor why.

        The trainer of a family does so for a promoted challenger, too: nobody may be training it any more.
        """
        now_ms = self._clock_ms()
        for family in self._reader.families:
            for record in self._models.to_keep(family):
                newest_ms = max(record.published_ms, self._republished_ms.get(record.key, 0))
                if now_ms - newest_ms >= self._republish_ms:
                    self._republished_ms[record.key] = now_ms
                    self._publisher.publish(record.key, record.data)

    def close(self, timeout_s: float) -> None:
        """Leave the group; what is published is delivered first."""
        with suppress(CannotGoOn):  # perhaps what ends the worker is that nothing can be published any more
            self._tell_scores()
        self._publisher.flush(timeout_s)
        self._reader.close()


class _OwnModel:
    """A family's own model, as it is folded."""

    def __init__(
        self,
        family: Family,
        trained: FamilyTrainer,
        folded: Callable[[Family, int, Any, FamilyTrainer, bytes | None], None],
    ) -> None:
        self._family = family
        self._trained = trained
        self._folded = folded

    @property
    def name(self) -> str:
        """Return the name of the model: that of the family."""
        return self._family

    @property
    def next_offset(self) -> int:
        """Return the offset to read next."""
        return self._trained.next_offset

    def fold(self, offset: int, example: Any) -> None:
        """Fold the example at `offset` in."""
        self._folded(self._family, offset, example, self._trained, self._trained.learn(offset, example))
