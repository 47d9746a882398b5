"""`nextbest`: the composition root. The commands are in consumer/commands; errors for people end here, in one place."""

import sys
from typing import Annotated

import typer

from consumer.commands import (
    bridge,
    broker,
    config,
    dead_letters,
    demo,
    evaluate,
    inputs,
    models,
    produce,
    replay,
)
from consumer.commands.errors import explained

app = typer.Typer(
    name="nextbest",
    help="Reads clickstream and purchase events from Kafka, learns from them, and publishes next-best-action events.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
broker.add_to(app)
dead_letters.add_to(app)
bridge.add_to(app)
produce.add_to(app)
replay.add_to(app)
evaluate.add_to(app)
inputs.add_to(app)
models.add_to(app)
demo.add_to(app)
config.add_to(app)


def _version(asked: bool) -> None:
    if asked:
        from consumer.build import build_fingerprint

        typer.echo(build_fingerprint())
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which build this is.")
    ] = False,
) -> None:
    """Nothing to do before a command."""


def main() -> None:
    """Run the command line; end the process with its exit code."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the output has gone, as `| head` does; nothing is left to say
        sys.exit(0)
    except Exception as error:
        explanation = explained(error)
        if explanation is None:
            raise
        message, exit_code = explanation
        print(f"nextbest: {message}", file=sys.stderr)  # noqa: T201 - the one message of a failed command
        sys.exit(exit_code)
