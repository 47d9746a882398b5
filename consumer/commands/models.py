"""`nextbest models`: what has been learned."""

import typer

from consumer.commands.common import ConfigOption, catalogue_of, configured, progress_bar, results, stopped_by_signals

models_app = typer.Typer(help="Look after what has been learned.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(models_app, name="models")


@models_app.command()
def rebuild(config: ConfigOption = None) -> None:
    """Learn all models anew from the training examples, under the settings and the catalogue now in force.

    For a change of catalogue or horizon, after which a worker refuses the models there are. Stop the workers first.
    """
    from consumer.commands.broker import codec_of
    from consumer.kafka.rebuild import rebuild_models

    settings = configured(config)
    with progress_bar() as bar, stopped_by_signals() as stop:
        task = bar.add_task("examples", total=None)
        folded = rebuild_models(
            settings.kafka,
            settings.topics,
            settings.core_settings(),
            catalogue_of(settings),
            codec_of(settings)[0],
            stop=stop.is_set,
            progress=lambda n: bar.update(task, completed=n),
        )
    for family, n in folded.items():
        results.print(f"{family}: learned anew from {n:,} examples")
