"""Running a simulated population against Kafka: publishing what customers do, reading what is decided about them."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event as StopEvent
from typing import Final

from confluent_kafka import KafkaException, TopicPartition

from clients.errors import ClusterAway
from clients.messages import poll_batch
from clients.offsets import beginning_offsets, end_offsets, newest_ms
from producers.connection import REQUEST_S, Connection
from producers.publish import PROGRESS_EVERY_S, Progress, Publisher, PublishReport
from producers.rows import Row
from producers.simulate import Population
from schemas.codec import Decoder
from schemas.errors import InvalidRecord
from schemas.records import NextBestAction
from schemas.units import Seconds

_LOOK_EVERY_ROWS: Final = 500
_NAP_S: Final = Seconds(0.02)
_FIND_EVERY_S: Final = 2.0
_BATCH_MESSAGES: Final = 1_000


@dataclass(frozen=True, slots=True)
class SimulationReport:
    """What came of a simulation."""

    published: PublishReport
    decisions: dict[str, int]  # read, by action
    reacted: int  # decisions that something can follow from
    unreadable_decisions: int
    event_time_ms: int  # of the end


def start_ms_for(now_ms: int, speed: float, duration_s: Seconds) -> int:
    """Return when to start so that event time reaches the present at the end.

    Event time that runs ahead of the broker's clock would be rejected.
    """
    return now_ms - int(speed * duration_s * 1_000)


def published_until_ms(connection: Connection) -> int | None:
    """Return the broker's time of the newest clickstream record; None where there is none.

    Raises `ClusterAway` where no broker answers and `KafkaException` where it refuses.
    """
    name = connection.name("clickstream")
    topic = connection.reach().topics.get(name)
    if topic is None or not topic.partitions:
        return None
    return newest_ms(connection.admin, [TopicPartition(name, partition) for partition in topic.partitions], REQUEST_S)


class DecisionReader:
    """Reads decisions made from now on, from all partitions, as soon as the topic is there."""

    def __init__(self, connection: Connection, decoder: Decoder) -> None:
        self._connection = connection
        self._consumer = connection.reader()
        self._decoder = decoder
        self._found = False
        self.unreadable = 0
        self.find(from_now=True)

    def find(self, *, from_now: bool) -> bool:
        """Look for the topic; a topic that appears later is read from its beginning. Return whether it was found."""
        if self._found:
            return True
        admin, name = self._connection.admin, self._connection.name("next-best-actions")
        try:
            topic = admin.list_topics(timeout=REQUEST_S).topics.get(name)
            if topic is None or not topic.partitions:
                return False
            partitions = [TopicPartition(name, partition) for partition in topic.partitions]
            start = (end_offsets if from_now else beginning_offsets)(admin, partitions, REQUEST_S)
        except (KafkaException, ClusterAway):
            return False  # asked again later
        self._consumer.assign(
            [TopicPartition(name, each.partition, offset) for each, offset in zip(partitions, start, strict=True)]
        )
        self._found = True
        return True

    def take(self, timeout_s: Seconds) -> Iterator[NextBestAction]:
        """Yield the decisions that have come, after waiting at most `timeout_s` for the first."""
        if not self._found:
            time.sleep(timeout_s)
            return
        for message in poll_batch(self._consumer, _BATCH_MESSAGES, timeout_s):
            if message.error() is not None:
                continue  # an end of partition, or a passing fault that the client mends itself
            try:
                yield self._decoder.decode("next-best-actions", message.value())
            except InvalidRecord:
                self.unreadable += 1

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


class _Run:
    """One simulation run."""

    def __init__(
        self,
        population: Population,
        publisher: Publisher,
        decisions: DecisionReader | None,
        *,
        on_row: Callable[[Row], None] | None,
        progress: Callable[[Progress], None] | None,
        stop: StopEvent,
    ) -> None:
        self.population = population
        self.publisher = publisher
        self.decisions = decisions
        self.actions: Counter[str] = Counter()
        self.reacted = 0
        self.rows = 0
        self._on_row = on_row
        self._progress = progress
        self._stop = stop
        self.started_s = self._told_s = self._found_s = time.monotonic()

    def live(self, speed: float, duration_s: Seconds | None) -> None:
        """Advance event time step by step until the end is reached."""
        origin_ms, started_s = self.population.now_ms, time.monotonic()
        while not self._stop.is_set():
            passed_s = time.monotonic() - started_s
            self.advance(origin_ms + int(min(passed_s, duration_s or passed_s) * speed * 1_000))
            if duration_s is not None and passed_s >= duration_s:
                return
            self.look(_NAP_S)

    def advance(self, until_ms: int) -> None:
        """Publish what arrives up to `until_ms`, and react to decisions in between."""
        for row in self.population.events_until(until_ms):
            self.publish(row)
            if self.rows % _LOOK_EVERY_ROWS == 0:
                self.look(Seconds(0.0))
                if self._stop.is_set():
                    return

    def publish(self, row: Row) -> None:
        self.publisher.send(row)
        self.rows += 1
        if self._on_row is not None:
            self._on_row(row)

    def look(self, timeout_s: Seconds) -> None:
        """Serve delivery reports, take decisions and react to them, and tell how far it is."""
        self.publisher.serve()
        now_s = time.monotonic()
        if self.decisions is None:
            self.publisher.serve(timeout_s)
        else:
            if now_s - self._found_s >= _FIND_EVERY_S:
                self._found_s = now_s
                self.decisions.find(from_now=False)
            for decision in self.decisions.take(timeout_s):
                self.actions[decision.action] += 1
                self.reacted += self.population.react(decision)
        if now_s - self._told_s >= PROGRESS_EVERY_S:
            self._told_s = now_s
            self.tell()

    def tell(self) -> None:
        if self._progress is not None:
            publisher, seconds = self.publisher, time.monotonic() - self.started_s
            delivered, failed = publisher.delivered.total(), publisher.failed.total()
            self._progress(Progress(self.rows, delivered, failed, 0, self.population.now_ms, seconds))

    def report(self) -> SimulationReport:
        publisher = self.publisher
        return SimulationReport(
            published=PublishReport(
                rows=self.rows,
                delivered=dict(publisher.delivered),
                kinds=dict(publisher.kinds),
                bad={},
                failed=dict(publisher.failed),
                seconds=time.monotonic() - self.started_s,
            ),
            decisions=dict(self.actions),
            reacted=self.reacted,
            unreadable_decisions=0 if self.decisions is None else self.decisions.unreadable,
            event_time_ms=self.population.now_ms,
        )


def simulate_to_kafka(
    population: Population,
    connection: Connection,
    *,
    speed: float = 1.0,
    duration_s: Seconds | None = None,
    react_to: Decoder | None = None,
    on_row: Callable[[Row], None] | None = None,
    stop: StopEvent | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> SimulationReport:
    """Publish the shop's items, then let the population live, `speed` times as fast as the clock.

    It ends after `duration_s`, or when `stop` is set. Customers react to the decisions that `react_to` decodes; None
    reads none. `on_row` sees each row published. Raises `PublishFailed` where the producer can't go on, `ClusterAway`
    where no broker answers.
    """
    if not speed > 0:
        raise ValueError(f"the speed is {speed}: it must be more than 0")
    stop = stop or StopEvent()
    connection.reach()
    decisions = DecisionReader(connection, react_to) if react_to is not None else None
    publisher = Publisher(connection.producer(), connection.prefix)
    run = _Run(population, publisher, decisions, on_row=on_row, progress=progress, stop=stop)
    try:
        for row in population.products():
            run.publish(row)
        run.live(speed, duration_s)
        publisher.flush()
    finally:
        if decisions is not None:
            decisions.close()
    run.tell()
    return run.report()
