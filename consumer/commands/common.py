"""What several commands share: the configuration option, the catalogue, progress bars."""

import os
import signal
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event as StopEvent
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from consumer.commands.errors import CommandError

if TYPE_CHECKING:
    from rich.progress import Progress

    from consumer.config import Config
    from consumer.core.catalogue import Catalogue
    from consumer.core.settings import CoreSettings
    from consumer.core.shared import Core
    from consumer.kafka.cluster.cluster import Cluster

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="TOML file; NEXTBEST_CONFIG names one as well. The environment goes over it.",
        metavar="FILE",
    ),
]

to_people = Console(stderr=True, highlight=False)  # progress and remarks; results go to standard output
results = Console(highlight=False, soft_wrap=True)
if not results.is_terminal:
    results.width = 200  # a file or a pipe has no edge: no table is broken for it


def configured(file: Path | None) -> "Config":
    """Return the configuration in force, with logs set up as it says."""
    from consumer.config import load_config
    from consumer.telemetry.logs import set_up_logs

    config = load_config(file, os.environ)
    set_up_logs(config.logging.level, as_json=config.logging.json)
    return config


def catalogue_of(config: "Config") -> "Catalogue":
    """Return the catalogue that the configuration names, or the one that comes along."""
    from consumer.core.catalogue import Catalogue, CatalogueError
    from consumer.default_catalogue import default_catalogue

    file = config.catalogue
    if file is None:
        return default_catalogue()
    try:
        return Catalogue.from_mapping(tomllib.loads(file.read_text(encoding="utf-8")))
    except CatalogueError as error:
        raise CatalogueError(f"catalogue {file}: {str(error).removeprefix('catalogue: ')}") from None
    except FileNotFoundError:
        raise CommandError(f"catalogue file {file} does not exist: check `catalogue` in the configuration") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CommandError(f"catalogue file {file} can't be read: {error}") from None


def cluster_of(config: "Config") -> "Cluster":
    """Return the cluster that the configuration names; nothing is asked of it yet."""
    from consumer.kafka.cluster.cluster import Cluster

    return Cluster(config.kafka, config.topics)


def core_of(settings: "CoreSettings", catalogue: "Catalogue") -> "Core":
    """Return what tasks score with: a core of this build, with the time zones that come along."""
    from consumer.build import build_fingerprint
    from consumer.core.shared import Core
    from consumer.zones import load_zone

    return Core.new(settings, catalogue, load_zone, build=build_fingerprint())


@contextmanager
def progress_bar() -> Iterator["Progress"]:
    """Show a progress bar on standard error while the context lasts; nothing where that is no terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=to_people,
        disable=not to_people.is_terminal,
        transient=True,
    ) as bar:
        yield bar


@contextmanager
def stopped_by_signals() -> Iterator[StopEvent]:
    """Hand out an event that SIGINT and SIGTERM set; a second SIGINT interrupts at once."""
    stop = StopEvent()

    def on_signal(number: int, _frame: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
