"""`nextbest replay` and `nextbest verify`: a recorded stream without a broker, and deriving decisions again."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from consumer.commands.codecs import decoder_of
from consumer.commands.common import (
    ConfigOption,
    catalogue_of,
    cluster_of,
    configured,
    core_of,
    progress_bar,
    results,
    stopped_by_signals,
    to_people,
)
from consumer.commands.errors import CommandError
from consumer.commands.mapping import FormatOption, InputOption, form_of_file, live_decoder, mapped_form

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.replay.summary import Summary
    from consumer.replay.verify import Verdict
    from producers.rows import BadRow, Row


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(replay)
    app.command()(verify)


def replay(
    file: Annotated[Path, typer.Argument(help="A recorded stream.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A new or empty directory, or one of an earlier replay.")],
    *,
    format_name: FormatOption = None,
    input_name: InputOption = None,
    config: ConfigOption = None,
    partitions: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Tasks to spread the customers over; as many as there were recorded partitions, otherwise 1.",
            show_default=False,
        ),
    ] = None,
    assume_consent: Annotated[
        bool, typer.Option(help="Whether customers of whom no consent is recorded may be contacted.")
    ] = True,
) -> None:
    """Run a recorded stream through the same tasks and models, without a broker, and summarise what came of it.

    Two runs give the same decisions, byte for byte.
    """
    from consumer.config import load_config_and_origins
    from consumer.replay.files import Source
    from consumer.replay.options import ReplayOptions, settings_for_recording, time_span_ms
    from consumer.replay.replay import Stream
    from consumer.replay.replay import replay as run
    from consumer.replay.summary import nothing_usable
    from consumer.store.memory import MemoryState
    from producers.readers import UnreadableFile, read_rows

    settings, origins = load_config_and_origins(config, os.environ)
    form = form_of_file(file, format_name, input_name, settings)
    with TemporaryDirectory(prefix="nextbest-") as spill, progress_bar() as bar:
        looking = bar.add_task("looking through", total=None)
        rows = _Counted(read_rows(file, form.reader, spill=Path(spill)), (UnreadableFile,))
        span = time_span_ms(rows)
        bar.update(looking, completed=rows.n, total=rows.n)
        core = settings.core_settings()
        if span is not None:
            core = settings_for_recording(core, *span, explicit=origins.keys(), assume_consent=assume_consent)
        replaying = bar.add_task("replaying", total=rows.n)
        done = 0

        def progress(n: int) -> None:
            nonlocal done
            done = n
            bar.update(replaying, completed=n)

        try:
            summary = run(
                Stream(
                    read_rows(file, form.reader, spill=Path(spill)),
                    Source.of(file, form.name, form.sections),
                    decoder_of(settings),
                    unreadable=(UnreadableFile,),
                ),
                out,
                core_of(core, catalogue_of(settings)),
                MemoryState,
                options=ReplayOptions(
                    partitions=partitions or max(1, rows.partitions), last_ms=span[1] if span is not None else None
                ),
                progress=progress,
            )
        except KeyboardInterrupt:
            bar.stop()
            said = f"interrupted after {done:,} of {rows.n:,} rows: this replay has written nothing to {out}"
            to_people.print(said, markup=False, soft_wrap=True)
            raise
    _print_summary(summary)
    for warning in summary.warnings:
        to_people.print(f"warning: {warning}", markup=False, soft_wrap=True)
    results.print(f"decisions, journal and the rest: {out}")
    if (why := nothing_usable(summary)) is not None:
        raise CommandError(f"{file}: {why}")


class _Counted:
    """The rows of a file, counted; a file that breaks off ends there."""

    def __init__(self, rows: "Iterator[Row | BadRow]", unreadable: tuple[type[Exception], ...]) -> None:
        self._rows = rows
        self._unreadable = unreadable
        self.n = 0
        self.partitions = 0  # that the rows were recorded from

    def __iter__(self) -> "Iterator[Row | BadRow]":
        from consumer.replay.inlet import recorded_partitions

        try:
            for row in self._rows:
                self.n += 1
                self.partitions = max(self.partitions, recorded_partitions(row))
                yield row
        except self._unreadable:
            return  # said by the replay itself, which comes to the same place


def _print_summary(summary: "Summary") -> None:
    from consumer.replay.summary import summary_rows

    table = Table("", "", "", box=None, show_header=False)
    section = None
    for part, name, value in summary_rows(summary):
        table.add_row(part if part != section else "", name, value)
        section = part
    results.print(table)


def verify(
    directory: Annotated[Path | None, typer.Argument(help="What a replay wrote.")] = None,
    input_file: Annotated[
        Path | None, typer.Option("--input", help="Where the replayed file is now, if it was moved.")
    ] = None,
    topics: Annotated[bool, typer.Option("--topics", help="Verify a live run, from its topics.")] = False,
    config: ConfigOption = None,
) -> None:
    """Derive all decisions again, bit for bit, and say: same, different (and where), or not verifiable (and why)."""
    from consumer.replay.evidence import Damaged, NotVerifiable
    from consumer.replay.verify import Verdict

    if topics == (directory is not None):
        raise CommandError("give the directory of a replay, or --topics for a live run")
    try:
        verdict = _verify_directory(directory, input_file, config) if directory is not None else _verify_topics(config)
    except NotVerifiable as error:
        verdict = Verdict("not_verifiable", str(error))
    except Damaged as error:
        verdict = Verdict("different", str(error))
    results.print(f"{verdict.kind.replace('_', ' ')}: {verdict.message}", markup=False)
    for detail in verdict.details:
        results.print(f"  {detail}", markup=False)
    raise typer.Exit(verdict.exit_code)


def _verify_directory(directory: Path, input_file: Path | None, config: Path | None) -> "Verdict":
    from consumer.replay.directory import DirectoryEvidence, source_of
    from consumer.replay.verify import verify as derive_again
    from consumer.store.memory import MemoryState
    from producers.readers import read_rows

    with TemporaryDirectory(prefix="nextbest-") as spill, progress_bar() as bar:
        task = bar.add_task("records derived again", total=None)
        settings = configured(config)

        def rows(path: Path, name: str) -> "Iterator[Row | BadRow]":
            if sections := source_of(directory).inputs:  # as they were then
                input_name = name.removeprefix("inputs.") if name.startswith("inputs.") else None
                return read_rows(path, mapped_form(input_name, sections, settings).reader, spill=Path(spill))
            return read_rows(path, name, spill=Path(spill))

        evidence = DirectoryEvidence(directory, rows, input_file, decoder_of(settings))
        core = core_of(evidence.settings, evidence.catalogue)
        return derive_again(evidence, core, MemoryState, lambda n: bar.update(task, completed=n))


def _verify_topics(config: Path | None) -> "Verdict":
    from msgspec.structs import replace

    from consumer.kafka.cluster.check import require_topics
    from consumer.kafka.evidence import TopicEvidence
    from consumer.kafka.failures import Stopping
    from consumer.replay.verify import verify as derive_again
    from consumer.store.memory import MemoryState

    settings = configured(config)
    core = core_of(settings.core_settings(), catalogue_of(settings))
    decoder = live_decoder(decoder_of(settings), settings)
    cluster, max_ahead_ms = cluster_of(settings), core.settings.time.max_ahead_ms
    require_topics(cluster)
    with progress_bar() as bar, stopped_by_signals() as stop:
        task = bar.add_task("records derived again", total=None)
        try:
            with TopicEvidence(cluster, decoder, max_ahead_ms, stop=stop.is_set) as evidence:
                verdict = derive_again(evidence, core, MemoryState, lambda n: bar.update(task, completed=n))
                all_read = verdict.kind == "same" or verdict.task is None
                if all_read and (beyond := evidence.uncommitted_inputs()):
                    told = f"{beyond:,} input records lie beyond the last commit of their task: not processed yet"
                    verdict = replace(verdict, details=(*verdict.details, told))
                return verdict
        except Stopping:
            raise KeyboardInterrupt from None
