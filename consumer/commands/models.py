"""`nextbest models`: what has been learned, and which of it is in force."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands.common import (
    ConfigOption,
    catalogue_of,
    cluster_of,
    configured,
    progress_bar,
    results,
    stopped_by_signals,
)

if TYPE_CHECKING:
    from consumer.config import Config
    from consumer.kafka.models.promotion import ModelOverview, ModelRow
    from consumer.kafka.models.records import Promotion
    from consumer.measure.prequential import Figures

models_app = typer.Typer(help="Look after what has been learned.", no_args_is_help=True)

_SHOWN_HEADS = ("horizon", "hazard")
WhyOption = Annotated[str, typer.Option(help="What to record as the reason.", metavar="TEXT")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(models_app, name="models")


@models_app.command(name="list")
def list_models(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """List the models: which are in force, which challenge them, and how good each is on the same examples."""
    import msgspec

    settings = configured(config)
    rows = _read(settings).rows(_now_ms())
    if as_json:
        typer.echo(msgspec.json.encode({"models": rows}).decode())
        return
    if not rows:
        results.print("no model has been published yet")
        return
    _print_table(rows)


@models_app.command()
def promote(
    name: Annotated[str, typer.Argument(help="A challenger, or a family for its own model.", metavar="NAME")],
    config: ConfigOption = None,
    why: WhyOption = "promoted by command",
) -> None:
    """Put a challenger in force. The model it replaces goes on learning, so that a rollback is instant."""
    settings = configured(config)
    _record(settings, _read(settings).promotion_of(name, why, _now_ms()))


@models_app.command()
def rollback(
    config: ConfigOption = None,
    family: Annotated[str, typer.Option(help="churn, preference or policy.")] = "churn",
    why: WhyOption = "rolled back by command",
) -> None:
    """Put back in force what the latest promotion replaced."""
    from consumer.commands.errors import CommandError
    from schemas.records import FAMILIES

    settings = configured(config)
    known = next((each for each in FAMILIES if each == family), None)
    if known is None:
        raise CommandError(f"--family {family}: there are {', '.join(FAMILIES)}")
    _record(settings, _read(settings).rollback_of(known, why, _now_ms()))


@models_app.command()
def rebuild(config: ConfigOption = None) -> None:
    """Learn all models anew from the training examples, under the settings and the catalogue now in force.

    For a change of catalogue or horizon, or of River's version, after which a worker refuses the models there are.
    Stop the workers first.
    """
    from consumer.commands.codecs import codec_of
    from consumer.commands.errors import CommandError
    from consumer.core.knowledge.river_classifier import UnknownModel
    from consumer.kafka.failures import Stopping
    from consumer.kafka.models.rebuild import rebuild_models

    settings = configured(config)
    with progress_bar() as bar, stopped_by_signals() as stop:
        task = bar.add_task("examples", total=None)
        try:
            folded = rebuild_models(
                cluster_of(settings),
                settings.core_settings(),
                catalogue_of(settings),
                decoder=codec_of(settings)[0],
                stop=stop.is_set,
                progress=lambda n: bar.update(task, completed=n),
                challengers=settings.challengers,
            )
        except UnknownModel as error:
            raise CommandError(str(error)) from None
        except Stopping:
            raise KeyboardInterrupt from None
    for model, n in folded.items():
        results.print(f"{model}: learned anew from {n:,} examples")


def _read(settings: "Config") -> "ModelOverview":
    from consumer.kafka.failures import Stopping
    from consumer.kafka.models.promotion import ModelOverview

    core, catalogue = settings.core_settings(), catalogue_of(settings)
    with stopped_by_signals() as stop:
        try:
            return ModelOverview(cluster_of(settings), core, catalogue, stop=stop.is_set)
        except Stopping:
            raise KeyboardInterrupt from None


def _record(settings: "Config", promotion: "Promotion") -> None:
    from consumer.commands.errors import CommandError
    from consumer.kafka.models.promotion import record_promotion

    record_promotion(cluster_of(settings), promotion)
    held = _read(settings).index.promotion(promotion.family)
    if held != promotion and held is not None:
        raise CommandError(
            f"{promotion.model} is not in force: {held.model} was put in force at the same time, for this reason: "
            f"{held.why}. See `nextbest models list`, and promote again"
        )
    before = f"; before it: {promotion.behind[-1]}" if promotion.behind else ""
    results.print(
        f"{promotion.family}: {promotion.model} is in force from now on, with example {promotion.offset} in it{before}"
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _print_table(rows: "list[ModelRow]") -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("family", "model", "role", "kind"):
        table.add_column(heading)
    for heading in ("examples", "last offset", "age"):
        table.add_column(heading, justify="right")
    table.add_column("head")
    for heading in ("rows", "log loss", "of late", "AUC", "of late", "in force: log loss", "AUC"):
        table.add_column(heading, justify="right")
    for row in rows:
        examples = "–" if row.examples is None else f"{row.examples:,} from {row.from_offset}"
        cells = (row.family, row.model, row.role, row.kind or "–", examples, str(row.offset), _age(row.age_s))
        heads: list[str | None] = [head for head in _SHOWN_HEADS if head in row.heads]
        heads = heads or [None]
        for head in heads:
            table.add_row(*(cells if head == heads[0] else ("",) * len(cells)), *_figures(row, head))
    results.print(table)
    for row in rows:
        for said in (row.refused, row.failed):
            if said is not None:
                results.print(f"{row.model}: {said}", markup=False)


def _figures(row: "ModelRow", head: str | None) -> tuple[str, ...]:
    if head is None:
        return ("–",) * 8
    own, in_force = row.heads[head].own, row.heads[head].in_force
    return (
        head,
        f"{own.all.n:,}",
        *_pair(own.all, own.recent, "log_loss"),
        *_pair(own.all, own.recent, "auc"),
        *_pair(in_force.all, None, "log_loss"),
        *_pair(in_force.all, None, "auc"),
    )


def _pair(first: "Figures", second: "Figures | None", name: str) -> list[str]:
    values = [getattr(each, name) for each in (first, second) if each is not None]
    return ["–" if value is None else f"{value:.4f}" for value in values]


def _age(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
