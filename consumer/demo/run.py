"""The demo from start to end: broker, workers, stream, view, and a folder with what was published."""

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event as StopEvent
from threading import Thread

from rich.console import Console, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.text import Text

from consumer.demo.view import BROKER_WARNING, actions, figures, in_words, view
from consumer.demo.watch import Watch, connection_to
from consumer.demo.workers import DemoWorker, WorkerFailed, environment_of_workers
from consumer.kafka.cluster.cluster_settings import TopicSettings
from consumer.kafka.cluster.mock_broker import MockBroker
from consumer.kafka.cluster.topics import topic_plan
from producers.publish import Progress
from producers.rows import PRODUCTS, Row
from producers.simulate import Population, PopulationSettings
from producers.simulation import simulate_to_kafka, start_ms_for
from schemas.codec import Decoder
from schemas.units import DAY_MS, Seconds

PARTITIONS = 4
WORKERS = 2
CUSTOMERS = 400
DAYS_A_SECOND = 1.0
EVENTS_FILE = "next-best-actions.jsonl"
STARTING = "starting two workers"

_SPEED = DAYS_A_SECOND * 86_400
_READY_WITHIN_S = 60.0
_DRAIN_WITHIN_S = 8.0
_STOP_WITHIN_S = 12.0
_REFRESH_S = 1.0


class Shop:
    """The simulated population, living in a thread of its own until its time is over or it is told to stop."""

    def __init__(self, bootstrap: str, duration_s: Seconds) -> None:
        start_ms = start_ms_for(int(time.time() * 1000), _SPEED, duration_s)
        self._bootstrap = bootstrap
        self._duration_s = duration_s
        settings = PopulationSettings(join_days=20.0, expiry_slack_ms=3 * DAY_MS)  # a round trip takes days here
        self._population = Population(seed=7, n_customers=CUSTOMERS, start_ms=start_ms, settings=settings)
        self._thread = Thread(target=self._live, name="simulated shop", daemon=True)
        self._stop = StopEvent()
        self._error: BaseException | None = None
        self.event_time_ms = start_ms
        self.published = 0

    def open(self) -> None:
        """Begin."""
        self._thread.start()

    def is_open(self) -> bool:
        """Return whether events are still coming; raise what ended the simulation, if something did."""
        if self._error is not None:
            raise self._error
        return self._thread.is_alive()

    def close(self) -> None:
        """Stop, and wait for the last event to be delivered."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _live(self) -> None:
        try:
            simulate_to_kafka(
                self._population,
                connection_to(self._bootstrap),
                speed=_SPEED,
                react_to=Decoder(),
                duration_s=self._duration_s,
                stop=self._stop,
                on_row=self._count,
                progress=self._note,
            )
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            self._error = error

    def _note(self, progress: Progress) -> None:
        self.event_time_ms = progress.event_time_ms

    def _count(self, row: Row) -> None:
        self.published += row.topic != PRODUCTS


def run_demo(seconds: float, live: bool, out: Path) -> int:
    """Run the demo with a stream of `seconds`; return the exit code. It ends within 30 s of the end of the stream."""
    console = Console(highlight=False)
    environment, unused = environment_of_workers(os.environ)
    if unused:
        console.print(f"not used in the demo: {', '.join(unused)}", markup=False)
    out.mkdir(parents=True, exist_ok=True)
    console.print(BROKER_WARNING)
    console.print(f"A simulated shop with {CUSTOMERS} customers, {DAYS_A_SECOND:g} day a second; {WORKERS} workers.")
    topics = TopicSettings(partitions=PARTITIONS, replication_factor=1, min_insync_replicas=1)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="nextbest-demo-")))
        broker = stack.enter_context(MockBroker({spec.name: spec.partitions for spec in topic_plan(topics)}))
        workers = [
            stack.enter_context(
                DemoWorker(
                    f"worker-{n}",
                    broker.bootstrap,
                    PARTITIONS,
                    folder=folder,
                    log_file=out / f"worker-{n}.log",
                    environment=environment,
                )
            )
            for n in range(1, WORKERS + 1)
        ]
        watch = stack.enter_context(Watch(broker.bootstrap, PARTITIONS, workers, out / EVENTS_FILE))
        shop = Shop(broker.bootstrap, Seconds(seconds))
        try:
            if not live:
                console.print(STARTING)
            with console.status(STARTING) if live else nullcontext():
                _wait_until_ready(workers)
            ended_well = _show(console, workers, watch, shop, seconds=seconds, live=live)
        except KeyboardInterrupt:
            stopped = f"stopped; {watch.decisions:,} decisions so far in {out / EVENTS_FILE}"
            console.print(stopped, markup=False, soft_wrap=True)
            raise
        except WorkerFailed as failed:
            raise WorkerFailed(f"{failed}\n(the whole log is in {out})") from failed
        finally:
            shop.close()
        _print_result(console, watch, shop, out)
    if not ended_well:
        console.print(f"a worker did not stop by itself; see its log in {out}")
    return 0 if ended_well else 1


def _wait_until_ready(workers: Sequence[DemoWorker]) -> None:
    """Wait until every worker says that it is ready."""
    deadline_s = time.monotonic() + _READY_WITHIN_S
    waiting = list(workers)
    while waiting:
        for worker in workers:
            worker.check()
        waiting = [worker for worker in waiting if not worker.is_ready()]
        if waiting and time.monotonic() > deadline_s:
            raise WorkerFailed(f"{waiting[0].name} was not ready within {_READY_WITHIN_S:.0f} s")
        time.sleep(0.1)


def _show(
    console: Console, workers: Sequence[DemoWorker], watch: Watch, shop: Shop, *, seconds: float, live: bool
) -> bool:
    """Let the stream run and the workers finish it; return whether they stopped well."""
    shop.open()
    started_s = time.monotonic()

    def screen() -> RenderableType:
        passed_s = min(time.monotonic() - started_s, seconds)
        return view(
            watch,
            passed_s,
            seconds,
            event_time_ms=shop.event_time_ms,
            published=shop.published,
            size=console.size,
        )

    with ExitStack() as stack:
        display = stack.enter_context(Live(console=console, auto_refresh=False, transient=True)) if live else None
        shown_s = 0.0
        ended_s: float | None = None
        while ended_s is None or (watch.lag and time.monotonic() < ended_s + _DRAIN_WITHIN_S):
            for worker in workers:
                worker.check()
            watch.look(Seconds(0.1))
            if ended_s is None and not shop.is_open():
                ended_s = time.monotonic()
            if display is not None and time.monotonic() - shown_s >= _REFRESH_S:
                shown_s = time.monotonic()
                display.update(screen(), refresh=True)
        for worker in workers:
            worker.ask_to_stop()
        deadline_s = time.monotonic() + _STOP_WITHIN_S
        well = [worker.wait(deadline_s) for worker in workers]
        before = -1
        while watch.decisions != before:  # what the last commits hold
            before = watch.decisions
            watch.look(Seconds(0.5))
    return all(well)


def _print_result(console: Console, watch: Watch, shop: Shop, out: Path) -> None:
    """Print what came of it."""
    console.print()
    console.print(figures(watch, shop.published))
    console.print()
    console.print(actions(watch))
    console.print("\nthe latest decisions, in plain words:")
    for decision in reversed(watch.latest):
        what, why = in_words(decision)
        console.print(f"  {what}", markup=False)
        console.print(Padding(Text(f"because: {why}"), (0, 0, 0, 4)))
    console.print(f"\nall {watch.decisions:,} next-best-action events: {out / EVENTS_FILE}")
