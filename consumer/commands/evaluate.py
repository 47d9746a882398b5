"""`nextbest evaluate`: backtests of the models on a file of one's own, without a broker."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from consumer.commands.common import progress_bar, results
from consumer.commands.errors import CommandError
from consumer.commands.tables import TableOptions, kinds_among_orders, read, with_table_options

if TYPE_CHECKING:
    from rich.table import Table as Printed

    from consumer.core.settings import CoreSettings
    from consumer.evaluate.churn import ChurnFigures
    from consumer.evaluate.sessions import SessionEvents
    from producers.readers.tables import Table

evaluate_app = typer.Typer(
    help="Judge the models on a file: what they said of each row before they could know.", no_args_is_help=True
)

TopOption = Annotated[int, typer.Option("--top", min=1, max=1000, help="Length of the lists.")]

_DAYS = {"d": 1, "w": 7}


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(evaluate_app, name="evaluate")


@evaluate_app.command()
@with_table_options
def churn(
    orders: Annotated[Path, typer.Argument(help="CSV with customer_id, occurred_at and amount.")],
    *,
    horizon: Annotated[
        str | None, typer.Option(help="Churn is no order within so many days: 90d, 12w.", show_default=False)
    ] = None,
    every: Annotated[
        str | None, typer.Option(help="How often a customer is looked at: 7d.", show_default=False)
    ] = None,
    signal: Annotated[
        str | None, typer.Option(help="What staying is: purchase, or activity; in a file of orders they coincide.")
    ] = None,
    report_from: Annotated[
        str | None, typer.Option(help="Report rows from this date on (2010-12-01); all are learned from.")
    ] = None,
    baselines: Annotated[bool, typer.Option("--baselines", help="Judge other models on the same rows too.")] = False,
    options: TableOptions,
) -> None:
    """Churn: every customer's probability of no order within the horizon, from models that learned as time went by.

    The horizon and the rhythm are those of the configuration where they are not given. The file may be compressed (gz,
    zst, bz2, xz), or Parquet; how times are written is seen from the file, where it can be.
    """
    from msgspec.structs import asdict

    from consumer.evaluate.churn import Orders, TooShort, figures_of, run_churn
    from consumer.evaluate.doubts import labels_hardly_vary
    from consumer.evaluate.tables import churn_table

    core = _with_signal(_core_settings(options.config), signal)
    horizon_days = _days(horizon, "--horizon") or _whole_days(core.churn.horizon_days, "churn.horizon_days")
    every_days = _days(every, "--every") or _whole_days(core.churn.tick_days, "churn.tick_days")
    first = _date(report_from)
    core = _with_days(core, horizon_days, every_days)
    if baselines:
        _require_baselines()
    table = read(orders, ["customer_id"], ["amount"], options)
    ids = table.ids["customer_id"]
    _doubt_orders(table, options)
    try:
        with _progress("days") as progress:
            run = run_churn(
                Orders(ids.names, ids.rows, table.occurred_at, table.numbers["amount"]),
                core,
                horizon_days,
                every_days,
                keep_features=baselines,
                progress=progress,
            )
    except TooShort as error:
        raise CommandError(f"{orders}: {error}") from None
    figures = figures_of(run, run.rows.probability, first)
    if not figures.all.n:
        since = "" if first is None else f" on {first} or later"
        said = f"the last day whose labels have matured is {run.last_predicted_on}"
        raise CommandError(f"{orders}: no row counts{since}: {said}")
    options.doubt(labels_hardly_vary(figures.all, horizon_days))
    beside: dict[str, ChurnFigures] = {}
    if baselines:
        from consumer.evaluate.baselines.churn import churn_baselines

        with _progress("baselines") as progress:
            beside = churn_baselines(run, first, progress)
    if options.as_json:
        _print_json(
            {
                **asdict(figures),
                "events_per_s": run.n_input / run.seconds,
                **({"baselines": beside} if baselines else {}),
                "from_base_rate": run.n_from_base_rate(first),
                "rows_skipped": table.n_rows - len(table),
                "warnings": options.doubts,
            }
        )
    else:
        _print(churn_table(run, figures, _in_words(beside), first))


@evaluate_app.command()
@with_table_options
def next_item(
    train: Annotated[Path, typer.Argument(help="CSV with session_id, item_id and occurred_at.")],
    test: Annotated[
        Path | None, typer.Argument(help="The sessions to predict; those of the first file where it is not given.")
    ] = None,
    *,
    top: TopOption = 20,
    options: TableOptions,
) -> None:
    """Next item: every item of a session from the second on, predicted from those before it.

    With a second file, static figures (learned from the first file alone) and prequential ones (also from each session
    of the second that has ended). With one file, all of it is prequential.
    """
    from consumer.evaluate.doubts import hardly_a_second_event
    from consumer.evaluate.next_item import figures_of, run_next_item
    from consumer.evaluate.tables import next_item_table

    core = _core_settings(options.config)
    trained = read(train, ["session_id", "item_id"], (), options)
    tested = None if test is None else read(test, ["session_id", "item_id"], (), options)
    with _progress("events") as progress:
        test_events = None if tested is None else _session_events(tested)
        run = run_next_item(_session_events(trained), test_events, core, top, progress=progress)
    if not len(run.prequential):
        said = "no session has two events, so there is no next item to predict"
        raise CommandError(f"{test or train}: {said}: is session_id the id of a session?")
    options.doubt(hardly_a_second_event(trained.ids["session_id"].rows, options.called("session_id")))
    figures = figures_of(run)
    if options.as_json:
        skipped = sum(table.n_rows - len(table) for table in (trained, tested) if table is not None)
        _print_json({**_fields(figures), "rows_skipped": skipped, "warnings": options.doubts})
    else:
        _print(next_item_table(run, figures))


@evaluate_app.command()
@with_table_options
def basket(
    lines: Annotated[Path, typer.Argument(help="CSV with customer_id, occurred_at and item_id.")],
    *,
    top: TopOption = 20,
    options: TableOptions,
) -> None:
    """Next basket: what a customer who orders again orders. A basket is a customer's lines of one UTC day."""
    from consumer.evaluate.basket import OrderLines, run_basket
    from consumer.evaluate.tables import basket_table

    core = _core_settings(options.config)
    table = read(lines, ["customer_id", "item_id"], (), options)
    customers, items = table.ids["customer_id"], table.ids["item_id"]
    with _progress("baskets") as progress:
        run = run_basket(
            OrderLines(customers.names, items.names, customers.rows, items.rows, table.occurred_at),
            core,
            top,
            progress,
        )
    report = run.report()
    if not report.n:
        said = "no customer has ordered on two days, so there is no next basket to predict"
        raise CommandError(f"{lines}: {said}: is customer_id the id of a customer?")
    _doubt_orders(table, options)
    if options.as_json:
        _print_json({**_fields(report), "rows_skipped": table.n_rows - len(table), "warnings": options.doubts})
    else:
        _print(basket_table(run, report))


@evaluate_app.command()
@with_table_options
def audience(
    lines: Annotated[Path, typer.Argument(help="CSV with customer_id, occurred_at and category.")],
    *,
    within: Annotated[
        str | None, typer.Option(help="An order in the category within so many days: 30d, 4w.", show_default=False)
    ] = None,
    top: Annotated[str, typer.Option(help="The share of customers that an audience holds: 10%.")] = "10%",
    categories: Annotated[int, typer.Option(min=1, max=1000, help="Report so many, the most bought first.")] = 20,
    options: TableOptions,
) -> None:
    """Audiences: who orders in a category soon, and how many more buyers the most likely customers hold than chance.

    Every line needs a category; --column category=NAME says what it is called in the file.
    """
    from consumer.evaluate.audience import Lines, TooShort, run_audience
    from consumer.evaluate.audience_report import audience_report, audience_tables

    core, share = _core_settings(options.config), _share(top, "--top")
    within_days = _days(within, "--within") or _whole_days(core.audience.within_days, "audience.within_days")
    table = read(lines, ["customer_id", "category"], (), options)
    customers, names = table.ids["customer_id"], table.ids["category"]
    _doubt_orders(table, options)
    try:
        with _progress("days") as progress:
            run = run_audience(
                Lines(customers.names, names.names, customers.rows, names.rows, table.occurred_at),
                core,
                within_days,
                categories,
                progress=progress,
            )
    except TooShort as error:
        raise CommandError(f"{lines}: {error}") from None
    if options.as_json:
        skipped = table.n_rows - len(table)
        _print_json({**audience_report(run, share), "rows_skipped": skipped, "warnings": options.doubts})
    else:
        _print(audience_tables(run, share))


def _core_settings(config: Path | None) -> "CoreSettings":
    from consumer.config import load_config

    return load_config(config, os.environ).core_settings()


def _with_signal(core: "CoreSettings", signal: str | None) -> "CoreSettings":
    from dataclasses import replace

    if signal is None:
        return core
    if signal not in {"purchase", "activity"}:
        raise CommandError(f"--signal is {signal!r}; it is purchase or activity")
    return replace(core, churn=replace(core.churn, signal=signal))  # type: ignore[arg-type]  # one of the two words


def _in_words(baselines: "dict[str, ChurnFigures]") -> "dict[str, ChurnFigures]":
    if not baselines:
        return {}
    from consumer.evaluate.baselines.churn import BASELINES

    return {BASELINES[name][0]: figures for name, figures in baselines.items()}


def _with_days(core: "CoreSettings", horizon_days: int, every_days: int) -> "CoreSettings":
    from dataclasses import replace

    try:
        return replace(core, churn=replace(core.churn, horizon_days=float(horizon_days), tick_days=float(every_days)))
    except ValueError as error:
        raise CommandError(f"a horizon of {horizon_days} days doesn't go with the configuration: {error}") from None


def _require_baselines() -> None:
    """Say that something is missing before the long part, not after it."""
    from consumer.evaluate.baselines.trees import require_lightgbm

    require_lightgbm()


def _days(text: str | None, option: str) -> int | None:
    """Return the days in a duration such as 90d or 12w, None where none is given."""
    if text is None:
        return None
    number, unit = (text[:-1], text[-1:]) if text[-1:] in _DAYS else (text, "d")
    if not (number.isascii() and number.isdigit() and 0 < int(number) * _DAYS[unit] <= 36_500):
        raise CommandError(f"{option} is {text!r}; give whole days or weeks, as 90d or 12w")
    return int(number) * _DAYS[unit]


def _share(text: str, option: str) -> float:
    """Return the share in a text such as 10%."""
    try:
        share = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    except ValueError:
        share = 0.0
    if not 0.0 < share < 1.0:
        raise CommandError(f"{option} is {text!r}; give a share of the customers, as 10%")
    return share


def _whole_days(days: float, setting: str) -> int:
    if days != int(days):
        raise CommandError(f"{setting} is {days}; a backtest turns day by day: give whole days")
    return int(days)


def _date(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        raise CommandError(f"--report-from is {text!r}; give a date, as 2010-12-01") from None


def _doubt_orders(table: "Table", options: TableOptions) -> None:
    """Say what makes it doubtful that the rows are orders of customers."""
    from consumer.evaluate.doubts import hardly_anybody_again

    ids, name = table.ids["customer_id"], options.called("customer_id")
    again = hardly_anybody_again(ids.rows, table.occurred_at, name, table.columns)
    options.doubt(kinds_among_orders(table), again)


def _session_events(table: "Table") -> "SessionEvents":
    from consumer.evaluate.sessions import SessionEvents

    sessions, items = table.ids["session_id"], table.ids["item_id"]
    return SessionEvents(sessions.names, items.names, sessions.rows, items.rows, table.occurred_at)


@contextmanager
def _progress(of_what: str) -> Iterator[Callable[[int, int], None]]:
    """Hand out what moves a progress bar; it is drawn a few hundred times at most."""
    with progress_bar() as bar:
        task = bar.add_task(of_what, total=None)

        def move(done: int, total: int) -> None:
            if done == total or done % max(1, total // 400) == 0:
                bar.update(task, completed=done, total=total)

        yield move


def _fields(struct: Any) -> dict[str, Any]:
    from msgspec.structs import asdict

    return asdict(struct)


def _print_json(value: dict[str, Any]) -> None:
    import json

    import msgspec

    typer.echo(json.dumps(msgspec.to_builtins(value), allow_nan=False))


def _print(tables: "list[Printed | str]") -> None:
    for each in tables:
        results.print(each, markup=False) if isinstance(each, str) else results.print(each)
