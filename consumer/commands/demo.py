"""`nextbest demo`: the whole of it on one machine, without a broker."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(demo)


def demo(
    seconds: Annotated[float, typer.Option(min=5, max=3_600, help="How long the stream runs.")] = 60.0,
    live: Annotated[bool, typer.Option(help="Show the live view; otherwise only what came of it.")] = True,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the published events.")] = Path("nextbest-demo"),
) -> None:
    """Start a broker for trying things out, a simulated shop and two workers, watch them, and stop."""
    from consumer.demo import run_demo

    _check_settings()
    raise typer.Exit(run_demo(seconds=seconds, live=live, out=out))


def _check_settings() -> None:
    """Refuse what the workers would refuse: NEXTBEST_* variables go over the settings of the demo as over others."""
    from consumer.commands.common import catalogue_of
    from consumer.config import load_config
    from consumer.demo.workers import worker_config

    with TemporaryDirectory(prefix="nextbest-demo-") as folder:
        file = Path(folder) / "demo.toml"
        file.write_text(worker_config("127.0.0.1:1", "worker", port=0, partitions=1))
        catalogue_of(load_config(file, os.environ))
