"""What one can know of a running consumer from outside: its topics and its metrics. Nothing is asked of its inside."""

import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from confluent_kafka import TopicPartition

from clients.messages import poll_batch
from consumer.core.catalogue import NOTHING
from consumer.demo.workers import DemoWorker
from consumer.replay.quality import Quality
from producers.connection import Connection
from schemas.codec import Decoder, JsonEncoder
from schemas.records import FAMILIES, NextBestAction
from schemas.units import Seconds

DECISIONS: Final = "next-best-actions"
EXAMPLES: Final = "training-examples"
_QUIET = 3  # errors alone: that connections end with the broker is no news here
_METRICS_EVERY_S = 1.0
_BATCH = 2_000
_LATEST = 4
_ANOTHER_EVERY_S = 4.0  # time to read one


def connection_to(bootstrap: str) -> Connection:
    """Return how the demo reaches its broker, which writes its transaction markers without a checksum."""
    return Connection(bootstrap, properties={"log_level": _QUIET}, consumer_properties={"check.crcs": False})


class Showcase:
    """Picks a few of the latest decisions to show: in turn one of each action, long enough to be read."""

    def __init__(self) -> None:
        self.shown: deque[NextBestAction] = deque(maxlen=_LATEST)
        self._latest_of: dict[str, NextBestAction] = {}  # action → its latest decision
        self._picked: dict[str, None] = {}  # actions, the one last picked at the end
        self._picked_at_s = 0.0

    def add(self, decision: NextBestAction) -> None:
        """Take note of a decision."""
        self._latest_of[decision.action] = decision

    def look(self, now_s: float) -> None:
        """Show one more decision where it is time to: of the action that was picked longest ago."""
        if len(self.shown) < _LATEST:  # no action twice while others may come
            candidates = [action for action in self._latest_of if action not in self._picked]
        elif now_s - self._picked_at_s >= _ANOTHER_EVERY_S:
            candidates = [action for action, decision in self._latest_of.items() if decision not in self.shown]
        else:
            return
        if not candidates:
            return
        order = list(self._picked)
        action = min(candidates, key=lambda each: (order.index(each) if each in order else -1, each == NOTHING))
        self._picked.pop(action, None)
        self._picked[action] = None
        self._picked_at_s = now_s
        self.shown.append(self._latest_of[action])


class Watch:
    """Reads decisions and matured examples as they are committed, writes the decisions to a file, keeps count."""

    def __init__(self, bootstrap: str, partitions: int, workers: Sequence[DemoWorker], file: Path) -> None:
        self._workers = workers
        self._consumer = connection_to(bootstrap).reader()
        self._consumer.assign(
            [
                *(TopicPartition(DECISIONS, number, 0) for number in range(partitions)),
                *(TopicPartition(EXAMPLES, number, 0) for number in range(len(FAMILIES))),
            ]
        )
        self._decoder, self._encoder = Decoder(), JsonEncoder()
        self._file = file.open("wb")
        self._seen: set[str] = set()
        self._events_at: deque[tuple[float, float]] = deque(maxlen=6)
        self._metrics_at_s = 0.0
        self.actions: Counter[tuple[str, str]] = Counter()  # (action, channel)
        self._showcase = Showcase()
        self.quality = Quality()
        self.events = self.rejected = self.lag = self.customers = 0

    def look(self, timeout_s: Seconds) -> None:
        """Take in what has come, waiting at most `timeout_s` for the first record."""
        for message in poll_batch(self._consumer, _BATCH, timeout_s):
            value = message.value()
            if message.error() is None and isinstance(value, bytes):
                self._take(message.topic() or "", value)
        now_s = time.monotonic()
        if now_s - self._metrics_at_s >= _METRICS_EVERY_S:
            self._metrics_at_s = now_s
            self._take_metrics(now_s)
        self._showcase.look(now_s)

    def _take(self, topic: str, value: bytes) -> None:
        if topic == EXAMPLES:
            self.quality.add(self._decoder.decode("training-examples", value))
            return
        decision = self._decoder.decode("next-best-actions", value)
        if decision.decision_id in self._seen:  # this broker shows what an aborted transaction had written, too
            return
        self._seen.add(decision.decision_id)
        self._file.write(self._encoder.encode(DECISIONS, decision) + b"\n")
        self.actions[decision.action, decision.channel or "–"] += 1
        self._showcase.add(decision)

    def _take_metrics(self, now_s: float) -> None:
        answers = [worker.metrics() for worker in self._workers]
        if not all(answers):
            return  # one of them is starting or has stopped: what is shown stays
        found: Counter[str] = Counter()
        for answer in answers:
            found.update(answer)
        self.events = int(found["nextbest_events_total"])
        self.rejected = int(found["nextbest_rejected_total"])
        self.lag = int(found["nextbest_consumergroup_lag"])
        self.customers = int(found["nextbest_customers"])
        self._events_at.append((now_s, float(self.events)))

    @property
    def latest(self) -> Sequence[NextBestAction]:
        """Return a few of the latest decisions, of different actions where possible; the last one was picked last."""
        return self._showcase.shown

    @property
    def events_per_s(self) -> float:
        """Return the rate over the last seconds."""
        if len(self._events_at) < 2:
            return 0.0
        (from_s, before), (to_s, now) = self._events_at[0], self._events_at[-1]
        return (now - before) / (to_s - from_s)

    @property
    def decisions(self) -> int:
        """Return how many decisions were seen, *nothing* among them."""
        return self.actions.total()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._consumer.close()
