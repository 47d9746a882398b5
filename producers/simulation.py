"""Running a simulated population against Kafka: publishing what customers do, reading what is decided about them."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event as StopEvent
from typing import Final

from confluent_kafka import KafkaException, TopicPartition

from producers.clients import Properties, new_admin, new_producer, new_reader, reach
from producers.offsets import REQUEST_S, first_offsets, newest_ms, next_offsets
from producers.publish import PROGRESS_EVERY_S, Progress, Publisher, PublishReport
from producers.rows import CLICKSTREAM, Row
from producers.simulate import Population
from schemas.codec import Decoder
from schemas.errors import InvalidRecord
from schemas.records import NextBestAction
from schemas.units import HOUR_MS

DECISIONS: Final = "next-best-actions"
_STEP_MS: Final = HOUR_MS  # of event time, between two looks at the decisions, where there is no pace
_LOOK_EVERY_ROWS: Final = 500
_NAP_S: Final = 0.02
_FIND_EVERY_S: Final = 2.0

Decode = Callable[[bytes | None], NextBestAction]


@dataclass(frozen=True, slots=True)
class SimulationReport:
    """What came of a simulation. `noise` holds the population's counts: late, duplicate, malformed and responses."""

    published: PublishReport
    noise: dict[str, int]
    decisions: dict[str, int]  # read, by action
    reacted: int  # decisions that something can follow from
    unreadable_decisions: int
    event_time_ms: int  # of the end


def start_ms_for(now_ms: int, speed: float, duration_s: float) -> int:
    """Return when to start so that event time reaches the present at the end.

    Event time that runs ahead of the broker's clock would be rejected.
    """
    return now_ms - int(speed * duration_s * 1_000)


def published_until_ms(bootstrap: str, prefix: str = "", properties: Properties | None = None) -> int | None:
    """Return the broker's time of the newest clickstream record; None where there is none.

    Raises `BrokerAway` where no broker answers and `KafkaException` where it refuses.
    """
    admin = new_admin(bootstrap, properties)
    reach(admin, bootstrap)
    topic = admin.list_topics(timeout=REQUEST_S).topics.get(prefix + CLICKSTREAM)
    if topic is None or not topic.partitions:
        return None
    return newest_ms(admin, [(prefix + CLICKSTREAM, partition) for partition in topic.partitions])


class DecisionReader:
    """Reads decisions made from now on, from all partitions, as soon as the topic is there."""

    def __init__(
        self, bootstrap: str, prefix: str = "", properties: Properties | None = None, decode: Decode | None = None
    ) -> None:
        """`decode` turns a record's value into a decision, or raises `InvalidRecord`; by default it reads JSON."""
        self._topic = prefix + DECISIONS
        self._admin = new_admin(bootstrap, properties)
        self._consumer = new_reader(bootstrap, properties)
        self._decode = decode or _json_decoder()
        self._found = False
        self.unreadable = 0
        self.find(from_now=True)

    def find(self, *, from_now: bool) -> bool:
        """Look for the topic; a topic that appears later is read from its beginning. Return whether it was found."""
        if self._found:
            return True
        try:
            topic = self._admin.list_topics(timeout=REQUEST_S).topics.get(self._topic)
            if topic is None or not topic.partitions:
                return False
            places = [(self._topic, partition) for partition in topic.partitions]
            start = next_offsets(self._admin, places) if from_now else first_offsets(self._admin, places)
        except KafkaException:
            return False  # asked again later
        self._consumer.assign([TopicPartition(*place, offset) for place, offset in start.items()])
        self._found = True
        return True

    def take(self, timeout_s: float) -> Iterator[NextBestAction]:
        """Yield the decisions that have come, after waiting at most `timeout_s` for the first."""
        if not self._found:
            time.sleep(timeout_s)
            return
        first = self._consumer.poll(timeout_s)
        if first is None:
            return
        for message in (first, *self._consumer.consume(1_000, 0)):
            if message.error() is not None:
                continue  # an end of partition, or a passing fault that the client mends itself
            try:
                yield self._decode(message.value())
            except InvalidRecord:
                self.unreadable += 1

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


def _json_decoder() -> Decode:
    decoder = Decoder()
    return lambda value: decoder.decode("next-best-actions", value)


class _Run:
    """One simulation run."""

    def __init__(
        self,
        population: Population,
        publisher: Publisher,
        decisions: DecisionReader | None,
        on_row: Callable[[Row], None] | None,
        progress: Callable[[Progress], None] | None,
        stop: StopEvent,
        clock: Callable[[], float],
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
        self._clock = clock
        self.started_s = self._told_s = self._found_s = clock()

    def advance(self, until_ms: int) -> None:
        """Publish what arrives up to `until_ms`, and react to decisions in between."""
        for row in self.population.events_until(until_ms):
            self.publish(row)
            if self.rows % _LOOK_EVERY_ROWS == 0:
                self.look(0.0)
                if self._stop.is_set():
                    return

    def publish(self, row: Row) -> None:
        self.publisher.send(row)
        self.rows += 1
        if self._on_row is not None:
            self._on_row(row)

    def look(self, timeout_s: float) -> None:
        """Serve delivery reports, take decisions and react to them, and tell how far it is."""
        self.publisher.serve()
        now_s = self._clock()
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
            publisher, seconds = self.publisher, self._clock() - self.started_s
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
                seconds=self._clock() - self.started_s,
            ),
            noise=dict(self.population.counts),
            decisions=dict(self.actions),
            reacted=self.reacted,
            unreadable_decisions=0 if self.decisions is None else self.decisions.unreadable,
            event_time_ms=self.population.now_ms,
        )


def simulate_to_kafka(
    population: Population,
    *,
    bootstrap: str,
    prefix: str = "",
    properties: Properties | None = None,
    reader_properties: Properties | None = None,
    speed: float | None = 1.0,
    until_ms: int | None = None,
    duration_s: float | None = None,
    products: bool = True,
    react: bool = True,
    decode: Decode | None = None,
    on_row: Callable[[Row], None] | None = None,
    stop: StopEvent | None = None,
    progress: Callable[[Progress], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> SimulationReport:
    """Let the population live, `speed` times as fast as the clock, or (None) as fast as it goes.

    It ends at event time `until_ms`, after `duration_s`, or when `stop` is set, whichever comes first; without a pace
    `until_ms` is needed. `products` publishes the shop's items first. `on_row` sees each row published. Raises
    `PublishFailed` where the producer can't go on, `BrokerAway` where no broker answers.
    """
    if speed is None and until_ms is None:
        raise ValueError("as fast as it goes has no end of its own: `until_ms` is needed")
    if speed is not None and not speed > 0:
        raise ValueError(f"the speed is {speed}: it must be more than 0")
    stop = stop or StopEvent()
    producer = new_producer(bootstrap, properties)
    reach(producer, bootstrap)
    decisions = DecisionReader(bootstrap, prefix, reader_properties, decode) if react else None
    run = _Run(population, Publisher(producer, prefix), decisions, on_row, progress, stop, clock)
    try:
        if products:
            for row in population.products():
                run.publish(row)
        _live(run, speed, until_ms, duration_s, stop, clock)
        run.publisher.flush()
    finally:
        if decisions is not None:
            decisions.close()
    run.tell()
    return run.report()


def _live(
    run: _Run,
    speed: float | None,
    until_ms: int | None,
    duration_s: float | None,
    stop: StopEvent,
    clock: Callable[[], float],
) -> None:
    """Advance event time step by step until one of the ends is reached."""
    origin_ms, started_s = run.population.now_ms, clock()
    while not stop.is_set():
        passed_s = clock() - started_s
        over = duration_s is not None and passed_s >= duration_s
        if speed is None:
            target_ms = run.population.now_ms + _STEP_MS
        else:
            target_ms = origin_ms + int(min(passed_s, duration_s or passed_s) * speed * 1_000)
        if until_ms is not None and target_ms >= until_ms:
            target_ms, over = until_ms, True
        run.advance(target_ms)
        if over:
            return
        run.look(_NAP_S if speed is not None else 0.0)
