"""`nextbest evaluate`: backtests of the models on a file of one's own, without a broker."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from consumer.commands.common import ConfigOption, progress_bar, results, to_people
from consumer.commands.errors import CommandError
from schemas.units import DAY_MS

if TYPE_CHECKING:
    from rich.table import Table as Printed

    from consumer.core.settings import CoreSettings
    from consumer.evaluate.churn import ChurnFigures
    from consumer.evaluate.sessions import SessionEvents
    from producers.readers.tables import Table

evaluate_app = typer.Typer(
    help="Judge the models on a file: what they said of each row before they could know.", no_args_is_help=True
)

ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="NAME=IN_FILE",
        help="What a column is called in the file, as in customer_id=CustomerID; may be repeated.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object alone on standard output.")]
TopOption = Annotated[int, typer.Option("--top", min=1, max=1000, help="Length of the lists.")]

_DAYS = {"d": 1, "w": 7}
_EPOCH = date(1970, 1, 1)
_LONGEST_SPAN_MS = 100 * 366 * DAY_MS  # a backtest lives through each day between the first row and the last


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(evaluate_app, name="evaluate")


@evaluate_app.command()
def churn(  # noqa: PLR0913 - one for each option
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
    column: ColumnOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Churn: every customer's probability of no order within the horizon, from models that learned as time went by.

    The horizon and the rhythm are those of the configuration where they are not given. The file may be compressed
    (.gz, .zst); times are ISO 8601, or seconds or milliseconds since 1970; UTC where no zone is given.
    """
    from msgspec.structs import asdict

    from consumer.evaluate.churn import Orders, TooShort, figures_of, run_churn
    from consumer.evaluate.tables import churn_table

    core = _with_signal(_core_settings(config), signal)
    horizon_days = _days(horizon, "--horizon") or _whole_days(core.churn.horizon_days, "churn.horizon_days")
    every_days = _days(every, "--every") or _whole_days(core.churn.tick_days, "churn.tick_days")
    first = _date(report_from)
    core = _with_days(core, horizon_days, every_days)
    if baselines:
        _require_baselines()
    table = _read(orders, ["customer_id"], ["amount"], column)
    ids = table.ids["customer_id"]
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
    beside: dict[str, ChurnFigures] = {}
    if baselines:
        from consumer.evaluate.baselines.churn import churn_baselines

        with _progress("baselines") as progress:
            beside = churn_baselines(run, first, progress)
    if as_json:
        _print_json(
            {
                **asdict(figures),
                "events_per_s": run.n_input / run.seconds,
                **({"baselines": beside} if baselines else {}),
                "from_base_rate": run.n_from_base_rate(first),
                "rows_skipped": table.n_rows - len(table),
            }
        )
    else:
        _print(churn_table(run, figures, _in_words(beside), first))


@evaluate_app.command()
def next_item(
    train: Annotated[Path, typer.Argument(help="CSV with session_id, item_id and occurred_at.")],
    test: Annotated[
        Path | None, typer.Argument(help="The sessions to predict; those of the first file where it is not given.")
    ] = None,
    *,
    top: TopOption = 20,
    column: ColumnOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Next item: every item of a session from the second on, predicted from those before it.

    With a second file, static figures (learned from the first file alone) and prequential ones (also from each session
    of the second that has ended). With one file, all of it is prequential.
    """
    from consumer.evaluate.next_item import figures_of, run_next_item
    from consumer.evaluate.tables import next_item_table

    core = _core_settings(config)
    trained = _read(train, ["session_id", "item_id"], (), column)
    tested = None if test is None else _read(test, ["session_id", "item_id"], (), column)
    with _progress("events") as progress:
        test_events = None if tested is None else _session_events(tested)
        run = run_next_item(_session_events(trained), test_events, core, top, progress=progress)
    if not len(run.prequential):
        raise CommandError(f"{test or train}: no session has two events, so there is no next item to predict")
    figures = figures_of(run)
    if as_json:
        skipped = sum(table.n_rows - len(table) for table in (trained, tested) if table is not None)
        _print_json({**_fields(figures), "rows_skipped": skipped})
    else:
        _print(next_item_table(run, figures))


@evaluate_app.command()
def basket(
    lines: Annotated[Path, typer.Argument(help="CSV with customer_id, occurred_at and item_id.")],
    *,
    top: TopOption = 20,
    column: ColumnOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Next basket: what a customer who orders again orders. A basket is a customer's lines of one UTC day."""
    from consumer.evaluate.basket import OrderLines, run_basket
    from consumer.evaluate.tables import basket_table

    core = _core_settings(config)
    table = _read(lines, ["customer_id", "item_id"], (), column)
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
        raise CommandError(f"{lines}: no customer has ordered on two days, so there is no next basket to predict")
    if as_json:
        _print_json({**_fields(report), "rows_skipped": table.n_rows - len(table)})
    else:
        _print(basket_table(run, report))


@evaluate_app.command()
def audience(
    lines: Annotated[Path, typer.Argument(help="CSV with customer_id, occurred_at and category.")],
    *,
    within: Annotated[
        str | None, typer.Option(help="An order in the category within so many days: 30d, 4w.", show_default=False)
    ] = None,
    top: Annotated[str, typer.Option(help="The share of customers that an audience holds: 10%.")] = "10%",
    categories: Annotated[int, typer.Option(min=1, max=1000, help="Report so many, the most bought first.")] = 20,
    column: ColumnOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Audiences: who orders in a category soon, and how many more buyers the most likely customers hold than chance.

    Every line needs a category; --column category=NAME says what it is called in the file.
    """
    from consumer.evaluate.audience import Lines, TooShort, run_audience
    from consumer.evaluate.audience_report import audience_report, audience_tables

    core, share = _core_settings(config), _share(top, "--top")
    within_days = _days(within, "--within") or _whole_days(core.audience.within_days, "audience.within_days")
    table = _read(lines, ["customer_id", "category"], (), column)
    customers, names = table.ids["customer_id"], table.ids["category"]
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
    if as_json:
        _print_json({**audience_report(run, share), "rows_skipped": table.n_rows - len(table)})
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


def _read(path: Path, ids: Sequence[str], numbers: Sequence[str], column: list[str] | None) -> "Table":
    """Return the columns of a file; what had to be skipped is said on standard error."""
    from producers.readers.tables import TIME, UnusableTable, read_table

    names: dict[str, str] = {}
    known = (*ids, TIME, *numbers)
    for each in column or ():
        name, equals, called = (part.strip() for part in each.partition("="))
        if not equals or not called or name not in known:
            raise CommandError(f"--column is {each!r}; give NAME=IN_FILE, where NAME is one of {', '.join(known)}")
        names[name] = called
    try:
        with progress_bar() as bar:
            task = bar.add_task("lines read", total=None)
            table = read_table(path, ids, numbers, names, lambda lines: bar.update(task, completed=lines))
    except UnusableTable as error:
        raise CommandError(str(error)) from None
    for reason, n in table.n_bad.most_common():
        lines = ", ".join(f"line {bad.line}" for bad in table.examples[reason])
        shown = next((bad.message for bad in table.examples[reason]), reason)
        more = ", …" if n > len(table.examples[reason]) else ""
        said = f"{path}: skipped {n:,} of {table.n_rows:,} rows: {shown} ({lines}{more})"
        to_people.print(said, markup=False, soft_wrap=True)
    _require_one_lifetime(path, table)
    return table


def _require_one_lifetime(path: Path, table: "Table") -> None:
    first_ms, last_ms = min(table.occurred_at), max(table.occurred_at)
    if last_ms - first_ms > _LONGEST_SPAN_MS:
        first, last = (_EPOCH + timedelta(days=at_ms // DAY_MS) for at_ms in (first_ms, last_ms))
        said = "placeholders of unknown dates are no times: leave such rows out"
        raise CommandError(f"{path}: rows are dated from {first} to {last}, over 100 years; {said}")


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
