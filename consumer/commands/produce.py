"""`nextbest produce` and `nextbest record`: streams into Kafka, and out of it into a file."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from consumer.commands.codecs import codec_of
from consumer.commands.common import ConfigOption, configured, progress_bar, results, stopped_by_signals, to_people
from consumer.commands.errors import CommandError
from consumer.commands.mapping import FormatOption, InputOption, form_of_file
from schemas.topics import INPUT_TOPICS
from schemas.units import DAY_MS, Seconds, in_seconds

if TYPE_CHECKING:
    from consumer.config import Config
    from producers.connection import Connection
    from producers.publish import PublishReport

produce_app = typer.Typer(help="Publish a simulated population or a recorded stream.", no_args_is_help=True)

WARN_BAD_SHARE = 0.01


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(produce_app, name="produce")
    app.command()(record)


def connection_of(config: "Config") -> "Connection":
    """Return how the producers reach the cluster that the configuration names."""
    from producers.connection import Connection

    kafka = config.kafka
    return Connection(
        kafka.bootstrap_servers,
        config.topics.prefix,
        properties=kafka.properties,
        consumer_properties=kafka.consumer_properties,
        producer_properties=kafka.producer_properties,
        connect_timeout_s=in_seconds(kafka.connect_timeout_ms),
    )


@produce_app.command()
def simulate(
    config: ConfigOption = None,
    *,
    customers: Annotated[int, typer.Option(min=1, help="Size of the population.")] = 1_000,
    seed: Annotated[int, typer.Option(help="The same seed and the same reactions give the same events.")] = 0,
    speed: Annotated[float, typer.Option(min=0.001, help="Event time for each second of the clock.")] = 1.0,
    seconds: Annotated[float | None, typer.Option(min=1, help="How long; until interrupted when not given.")] = None,
    react: Annotated[bool, typer.Option(help="Read next-best-actions and let customers react.")] = True,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Also where later events have been published before.")
    ] = False,
) -> None:
    """Let a simulated population shop: seeded, with a known truth, with late, duplicate and malformed events.

    Faster than the clock it needs --seconds: event time then starts in the past and ends in the present.
    """
    import time

    from producers.simulate import Population
    from producers.simulation import published_until_ms, simulate_to_kafka, start_ms_for

    if speed > 1 and seconds is None:
        raise CommandError("a --speed over 1 needs --seconds: event time must not run ahead of the broker's clock")
    settings = configured(config)
    now_ms = int(time.time() * 1000)
    duration_s = None if seconds is None else Seconds(seconds)
    start_ms = start_ms_for(now_ms, speed, duration_s) if duration_s is not None else now_ms
    connection = connection_of(settings)
    if not anyway:
        _refuse_the_past(start_ms, published_until_ms(connection), settings.topics.name("clickstream"))
    population = Population(seed=seed, n_customers=customers, start_ms=start_ms)
    with progress_bar() as bar, stopped_by_signals() as stop:
        task = bar.add_task("events published", total=None)
        report = simulate_to_kafka(
            population,
            connection,
            speed=speed,
            duration_s=duration_s,
            react_to=codec_of(settings)[0] if react else None,
            stop=stop,
            progress=lambda at: bar.update(task, completed=at.rows),
        )
    _print_report(report.published)
    results.print(f"decisions read: {sum(report.decisions.values()):,}, reacted to {report.reacted:,}")
    if report.unreadable_decisions:
        to_people.print(f"{report.unreadable_decisions:,} decisions could not be read")


def _refuse_the_past(start_ms: int, newest_ms: int | None, topic: str) -> None:
    """Raise CommandError where events would begin more than a day before those that are in the topic."""
    if newest_ms is None or start_ms >= newest_ms - DAY_MS:
        return
    start, newest = (datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M") for ms in (start_ms, newest_ms))
    raise CommandError(
        f"events would begin at {start} UTC, and {topic} holds records up to {newest} UTC: workers would reject them "
        "as too late, and stop. Use other topics for this run (topics.prefix and kafka.group_id, then `nextbest topics "
        "create`), leave out --speed, or insist with --anyway"
    )


@produce_app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="A recorded stream.")],
    *,
    format_name: FormatOption = None,
    input_name: InputOption = None,
    config: ConfigOption = None,
    speed: Annotated[
        float | None, typer.Option(min=0.001, help="Times the recorded pace; as fast as it goes when not given.")
    ] = None,
    keep_partitions: Annotated[bool, typer.Option(help="Use the recorded partitions instead of the keys.")] = False,
) -> None:
    """Publish a recorded stream, or a shop's own records as what they become; bad rows are counted and reported."""
    from producers.publish import publish_to_kafka
    from producers.readers import read_rows

    settings = configured(config)
    form = form_of_file(file, format_name, input_name, settings)
    with progress_bar() as bar, stopped_by_signals() as stop:
        task = bar.add_task("rows published", total=None)
        report = publish_to_kafka(
            read_rows(file, form.reader),
            connection_of(settings),
            speed=speed,
            keep_partitions=keep_partitions,
            stop=stop,
            progress=lambda at: bar.update(task, completed=at.rows),
        )
    _print_report(report)
    if not stop.is_set():
        _require_use(file, report)


def record(
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")],
    *,
    topics: Annotated[
        list[str] | None, typer.Option("--topic", help="Logical name, may be repeated; all inputs when not given.")
    ] = None,
    follow: Annotated[bool, typer.Option(help="Go on at the end of the log, until interrupted.")] = False,
    config: ConfigOption = None,
) -> None:
    """Record topics to an Avro container: bytes, headers and broker times as they are."""
    from producers.recorder import record as record_topics

    settings = configured(config)
    with progress_bar() as bar, stopped_by_signals() as stop:
        task = bar.add_task("records", total=None)
        report = record_topics(
            connection_of(settings),
            topics or INPUT_TOPICS,
            out,
            follow=follow,
            stop=stop,
            progress=lambda at: bar.update(task, completed=at.records, total=at.expected),
        )
    for topic, n in sorted(report.records.items()):
        results.print(f"{topic}: {n:,} records")
    results.print(f"{report.bytes:,} bytes in {report.seconds:.1f} s → {report.path}")
    if not report.complete and not follow:
        to_people.print("stopped before the end of the log")
        raise typer.Exit(1)


def _print_report(report: "PublishReport") -> None:
    table = Table("", "rows", box=None)
    for topic, n in sorted(report.delivered.items()):
        table.add_row(f"delivered to {topic}", f"{n:,}")
    if report.skipped:
        table.add_row("no event by their mapping", f"{report.skipped:,}")
    for reason, n in sorted(report.bad.items()):
        table.add_row(f"bad: {reason}", f"{n:,}")
    for name, n in sorted(report.failed.items()):
        table.add_row(f"not delivered: {name}", f"{n:,}")
    table.add_row("all", f"{report.rows:,}")
    results.print(table)
    for bad in report.examples_of_bad:
        to_people.print(f"line {bad.line}: {bad.message}", markup=False)
    if report.unreadable is not None:
        to_people.print(f"not read to its end: {report.unreadable}", markup=False)
    if report.failed or report.unreadable is not None:
        raise typer.Exit(1)


def _require_use(file: Path, report: "PublishReport") -> None:
    """Warn of many bad rows; raise CommandError where no row of the file could be published."""
    n_bad = sum(report.bad.values())
    if not report.rows:
        raise CommandError(f"{file}: there are no rows in it")
    if n_bad > WARN_BAD_SHARE * report.rows:
        reason, n = max(report.bad.items(), key=lambda entry: entry[1])
        first = next(bad for bad in report.examples_of_bad if bad.reason == reason)
        of_them = f"{n:,} of them for {reason}; line {first.line}: {first.message}"
        if n_bad == report.rows:
            raise CommandError(f"{file}: none of {report.rows:,} rows could be used; {of_them}")
        said = f"{n_bad:,} of {report.rows:,} rows ({n_bad / report.rows:.1%}) could not be used; {of_them}"
        to_people.print(f"warning: {said}", markup=False, soft_wrap=True)
