"""`nextbest config`: what is in force, and what there is to set."""

import os
from pathlib import Path
from typing import Annotated

import typer

from consumer.commands.common import ConfigOption
from consumer.commands.errors import CommandError

config_app = typer.Typer(help="Show the configuration.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(config_app, name="config")


@config_app.command()
def show(config: ConfigOption = None) -> None:
    """Print the configuration in force as TOML, without what may hold passwords."""
    from consumer.config import load_config
    from consumer.config.toml import shown

    typer.echo(shown(load_config(config, os.environ)), nl=False)


@config_app.command()
def reference(
    into: Annotated[Path | None, typer.Option(help="Replace what stands below '## Reference' in this file.")] = None,
) -> None:
    """Print all keys with their defaults, in Markdown."""
    from consumer.config.reference import reference as text

    if into is None:
        typer.echo(text(), nl=False)
        return
    before, heading, _ = into.read_text(encoding="utf-8").partition("## Reference\n")
    if not heading:
        raise CommandError(f"{into} has no heading '## Reference'")
    into.write_text(f"{before}{heading}\n{text()}", encoding="utf-8")
