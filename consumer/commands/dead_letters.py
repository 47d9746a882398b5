"""`nextbest dead-letters`: what was rejected, why, and the ways on."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from consumer.commands.codecs import codec_of, decoder_of
from consumer.commands.common import ConfigOption, catalogue_of, cluster_of, configured, results, stopped_by_signals
from consumer.commands.errors import CommandError
from consumer.commands.mapping import live_decoder

if TYPE_CHECKING:
    from consumer.config import Config
    from schemas.records import Coordinates, DeadLetter

letters_app = typer.Typer(help="Look after what was rejected.", no_args_is_help=True)

_EXAMPLE = "clickstream:0:17"
_SHOWN_BYTES = 2_000  # of a key, a value or a header

ReasonOption = Annotated[str | None, typer.Option("--reason", help="Only those rejected for this reason.")]
TopicOption = Annotated[str | None, typer.Option("--topic", help="Only those of this topic, such as clickstream.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(letters_app, name="dead-letters")


@letters_app.command(name="list")
def list_letters(
    config: ConfigOption = None,
    *,
    reason: ReasonOption = None,
    topic: TopicOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Count the dead letters by topic and reason, with the first of each and what to do about it. Names nobody."""
    from consumer.kafka.dead_letter_log import PUBLISHED_AGAIN
    from consumer.kafka.remedies import remedy_for

    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], DeadLetter] = {}
    replayed: set[Coordinates] = set()
    reasons: dict[Coordinates, tuple[str, str]] = {}
    for letter in _letters(configured(config)):
        if letter.reason == PUBLISHED_AGAIN:
            replayed.add(letter.origin)
        elif reason in (None, letter.reason) and topic in (None, letter.origin.topic):
            kind = (letter.origin.topic, letter.reason)
            counts[kind] += 1
            reasons[letter.origin] = kind
            if kind not in first or letter.timestamp < first[kind].timestamp:
                first[kind] = letter
    again = Counter(reasons[origin] for origin in replayed if origin in reasons)
    if as_json:
        rows = [
            {
                "topic": kind[0],
                "reason": kind[1],
                "records": n,
                "replayed": again[kind],
                "first": _place(first[kind].origin),
                "at": first[kind].timestamp,
                "field": first[kind].field,
                "message": first[kind].message,
                "remedy": remedy_for(kind[1]),
            }
            for kind, n in counts.most_common()
        ]
        typer.echo(json.dumps({"dead_letters": rows}))
        return
    if not counts:
        results.print("there are no dead letters" + (" of that kind" if reason or topic else ""))
    for kind, n in counts.most_common():
        published = f", {again[kind]:,} of them published again" if again[kind] else ""
        results.print(f"{n:,} {kind[0]} {kind[1]}{published}", markup=False)
        results.print(f"  first: {_place(first[kind].origin)}, {_time(first[kind].timestamp)}", markup=False)
        results.print(f"  {first[kind].message}", markup=False)
        results.print(f"  → {remedy_for(kind[1])}", markup=False)


@letters_app.command()
def show(
    coordinates: Annotated[str, typer.Argument(help=f"Of the rejected record: {_EXAMPLE}.", metavar="COORDINATES")],
    config: ConfigOption = None,
) -> None:
    """Show one dead letter with its key, headers and value: personal data, so mind where that goes."""
    from consumer.kafka.dead_letter_log import PUBLISHED_AGAIN
    from consumer.kafka.remedies import remedy_for

    wanted = _coordinates(coordinates)
    shown = False
    for letter in _letters(configured(config)):
        if letter.origin != wanted:
            continue
        if letter.reason == PUBLISHED_AGAIN:
            results.print("it was published again")
            continue
        shown = True
        rows: list[tuple[str, Any]] = [
            ("record", f"{coordinates}, written {_time(letter.timestamp)}"),
            ("reason", letter.reason),
            ("field", letter.field or "none"),
            ("message", letter.message),
            ("what to do", remedy_for(letter.reason)),
            ("key", _text(letter.key)),
            *((f"header {name}", _text(content)) for name, content in letter.headers),
            ("value", _text(letter.value) if letter.value is not None else "not kept"),
            ("size", f"{letter.value_size_bytes:,} bytes, sha256 {letter.value_sha256}"),
        ]
        for name, said in rows:
            results.print(f"{name}: {said}", markup=False)
    if not shown:
        raise CommandError(f"there is no dead letter of {coordinates}: see nextbest dead-letters list")


@letters_app.command()
def replay(
    coordinates: Annotated[
        list[str] | None, typer.Argument(help=f"Of single records: {_EXAMPLE}.", metavar="COORDINATES")
    ] = None,
    *,
    config: ConfigOption = None,
    reason: ReasonOption = None,
    topic: TopicOption = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
) -> None:
    """Publish rejected records to their topic again: those that a worker would take now, each once.

    They count as history: none is too late, and nothing is decided on them. Publishing them twice changes nothing.
    """
    from consumer.kafka.dead_letter_log import Replayer
    from consumer.kafka.failures import Stopping

    named = {_coordinates(each) for each in coordinates or ()}
    if not (named or reason or topic or everything):
        raise CommandError("say which: COORDINATES, --reason REASON, --topic TOPIC, or --all")
    settings = configured(config)

    def chosen(letter: "DeadLetter") -> bool:
        return (
            (not named or letter.origin in named)
            and reason in (None, letter.reason)
            and topic in (None, letter.origin.topic)
        )

    decoder, encoder = codec_of(settings)
    replayer = Replayer(cluster_of(settings), live_decoder(decoder, settings), encoder, settings.time.max_ahead_ms)
    with stopped_by_signals() as stop:
        try:
            told = replayer.replay(chosen, stop.is_set)
        except Stopping:
            raise KeyboardInterrupt from None
    results.print(f"published again: {told.published:,}")
    if told.before:
        results.print(f"left out, published again before: {told.before:,}")
    if told.not_kept:
        results.print(f"left out, too large for a dead letter: {told.not_kept:,}")
    for why, n in told.rejected.most_common():
        results.print(f"left out, would be rejected again: {n:,} {why}", markup=False)


@letters_app.command()
def skip(
    topic: Annotated[str, typer.Argument(help="clickstream, purchases or privacy.", metavar="TOPIC")],
    partition: Annotated[int, typer.Argument(help="The task that stops.", metavar="PARTITION", min=0)],
    config: ConfigOption = None,
    to: Annotated[
        int | None, typer.Option("--to", min=0, help="The offset before which records may be bad; the end of now.")
    ] = None,
) -> None:
    """Take a task past a burst: let its bad records go to the dead letters, however many. Stop all workers before.

    A worker runs until the task has got there. Good records are processed as ever; what is rejected is in the journal.
    """
    from dataclasses import replace

    from consumer.build import build_fingerprint
    from consumer.kafka.burst import Passing, reached_and_end, require_no_workers
    from consumer.kafka.run import Job
    from consumer.kafka.run import run as work
    from consumer.zones import load_zone
    from schemas.topics import EVENT_TOPICS

    settings = configured(config)
    known = next((each for each in EVENT_TOPICS if each == topic), None)
    if known is None or partition >= settings.topics.partitions:
        raise CommandError(
            f"{topic} {partition} is no input of a task: give clickstream, purchases or privacy, and a partition below "
            f"{settings.topics.partitions} (topics.partitions)"
        )
    kafka = replace(settings.kafka, instance_id=settings.kafka.instance_id or "dead-letters-skip")
    cluster = replace(cluster_of(settings), kafka=kafka)
    decoder, encoder = codec_of(settings)
    with stopped_by_signals() as stop:
        require_no_workers(cluster, stop.is_set)
        reached, end = reached_and_end(cluster, known, partition)
        passing = Passing(known, partition, reached=reached, offset=end if to is None else min(end, to))
        job = Job(
            replace(settings.worker, trainer=False),
            settings.core_settings(),
            catalogue_of(settings),
            live_decoder(decoder, settings),
            encoder,
            build=build_fingerprint(),
            load_zone=load_zone,
            let_through={partition: {known: passing.offset}},
        )
        if not passing.done:
            work(cluster, job, stop=lambda: stop.is_set() or passing.done, observer=passing)
    said = f"{topic}[{partition}] was read up to {passing.reached} of {passing.offset}"
    if not passing.done:
        raise CommandError(f"stopped before it was done: {said}. The same command goes on")
    results.print(
        f"{said}: {passing.rejected:,} records went to the dead letters. Start the workers again", markup=False
    )


def _letters(settings: "Config") -> "Iterator[DeadLetter]":
    from consumer.kafka.cluster.check import require_topic
    from consumer.kafka.dead_letter_log import read_letters

    cluster = cluster_of(settings)
    require_topic(cluster, "dead-letters")
    return read_letters(cluster, decoder_of(settings), stop=lambda: False)  # Ctrl-C ends it


def _coordinates(text: str) -> "Coordinates":
    from schemas.records import Coordinates

    topic, _, rest = text.partition(":")
    partition, _, offset = rest.partition(":")
    if not (topic and partition.isdecimal() and offset.isdecimal()):
        raise CommandError(f"{text!r} are no coordinates: expected topic, partition and offset, such as {_EXAMPLE}")
    return Coordinates(topic, int(partition), int(offset))


def _place(origin: "Coordinates") -> str:
    return f"{origin.topic}:{origin.partition}:{origin.offset}"


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _text(data: bytes | None) -> str:
    if data is None:
        return "none"
    more = f" … {len(data):,} bytes" if len(data) > _SHOWN_BYTES else ""
    shown = data[:_SHOWN_BYTES]
    try:
        return shown.decode() + more
    except UnicodeDecodeError:
        return repr(shown) + more
