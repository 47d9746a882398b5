"""What the commands share that read a table of one's own: its options, its columns, and doubts about what was read."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, timedelta
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from consumer.commands.common import ConfigOption, progress_bar, to_people
from consumer.commands.errors import CommandError
from consumer.commands.mapping import InputOption, existing, input_for, mapped_form
from schemas.units import DAY_MS

if TYPE_CHECKING:
    from consumer.commands.mapping import FileForm
    from producers.readers.tables import Table

ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="NAME=IN_FILE",
        help="What a column is called in the file, as in customer_id=CustomerID; may be repeated.",
    ),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="COLUMN=VALUE",
        help="Take rows with this value alone, as in event_type=purchase; more values of a column, separated by commas "
        "or by repeating it, are all taken, and several columns must all hold.",
    ),
]
TimeFormatOption = Annotated[
    str | None,
    typer.Option(
        "--time-format",
        help="How times are written, where the file doesn't show it: iso, seconds, milliseconds, microseconds, "
        "nanoseconds, day-first, month-first, or a pattern such as '%d/%m/%y %H:%M'.",
        show_default=False,
    ),
]
TimeZoneOption = Annotated[
    str | None,
    typer.Option(
        "--time-zone", help="The zone of times that name none, as Europe/Berlin; UTC otherwise.", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object alone on standard output.")]

WARN_BAD_SHARE = 0.01
_EPOCH = date(1970, 1, 1)
_LONGEST_SPAN_MS = 100 * 366 * DAY_MS  # a backtest lives through each day between the first row and the last


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """The options of a table as they were given, and what is doubtful about what was read with them."""

    input_name: InputOption = None
    column: ColumnOption = None
    where: WhereOption = None
    time_format: TimeFormatOption = None
    time_zone: TimeZoneOption = None
    as_json: JsonOption = False
    config: ConfigOption = None
    doubts: list[str] = field(default_factory=list, init=False)

    def doubt(self, *more: str | None) -> None:
        """Note what is doubtful, and say it on standard error, where it is not going to be part of the JSON."""
        for said in more:
            if said is not None:
                self.doubts.append(said)
                if not self.as_json:
                    to_people.print(f"warning: {said}", markup=False, soft_wrap=True)

    def form_of(self, path: Path) -> "FileForm | None":
        """Return how a shop's own records are read; None for a table that is read by the names of its columns."""
        from consumer.config import load_config

        of_tables = [self.column, self.where, self.time_format, self.time_zone]
        if any(of_tables):
            if self.input_name is not None:
                raise CommandError("--column, --where and --time-… are for tables, --input is for a shop's own records")
            return None
        settings = load_config(self.config, os.environ)
        name = self.input_name or input_for(existing(path), settings)
        return None if name is None else mapped_form(name, dict(settings.inputs), settings)

    def called(self, name: str) -> str:
        """Return what a column is called in the file."""
        return _names(self.column, None).get(name, name)


def with_table_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command have the options of a table: it is handed all of them as one argument, `options`.

    Typer makes an option of each parameter in the signature of a command, so the signature that it sees names each.
    """
    shared = [
        Parameter(each.name, Parameter.KEYWORD_ONLY, default=each.default, annotation=each.type)
        for each in fields(TableOptions)
        if each.init
    ]
    own = [each for each in signature(command).parameters.values() if each.name != "options"]

    @wraps(command)
    def with_options_collected(**given: Any) -> None:
        options = TableOptions(**{each.name: given.pop(each.name) for each in shared})
        command(**given, options=options)

    with_options_collected.__signature__ = Signature([*own, *shared])  # type: ignore[attr-defined]  # what inspect reads
    with_options_collected.__annotations__ = {each.name: each.annotation for each in (*own, *shared)}
    return with_options_collected


def read(path: Path, ids: Sequence[str], numbers: Sequence[str], options: TableOptions) -> "Table":
    """Return the columns of a file, or of the events that its records become.

    What had to be skipped is said on standard error, what is doubtful is noted.
    """
    from producers.readers.tables import UnusableTable

    form = options.form_of(path)
    try:
        with progress_bar() as bar:
            task = bar.add_task("lines read", total=None)

            def progress(lines: int) -> None:
                bar.update(task, completed=lines)

            if form is None:
                table = _columns(path, ids, numbers, options, progress=progress)
            else:
                table = _event_columns(path, ids, numbers, form, progress=progress)
    except UnusableTable as error:
        raise CommandError(str(error)) from None
    _say_skipped(path, table, options)
    _require_one_lifetime(path, table)
    return table


def _event_columns(
    path: Path, ids: Sequence[str], numbers: Sequence[str], form: "FileForm", *, progress: Callable[[int], None]
) -> "Table":
    from producers.readers import read_rows
    from producers.readers.event_table import read_event_table

    with TemporaryDirectory(prefix="nextbest-") as spill:
        return read_event_table(path, read_rows(path, form.reader, spill=Path(spill)), ids, numbers, progress=progress)


def _columns(
    path: Path, ids: Sequence[str], numbers: Sequence[str], options: TableOptions, *, progress: Callable[[int], None]
) -> "Table":
    from producers.readers.tables import TIME, read_table
    from producers.readers.times import time_format

    names = _names(options.column, (*ids, TIME, *numbers))
    where = _where(options.where)
    try:
        form = time_format(options.time_format, options.time_zone)
    except ValueError as error:
        raise CommandError(str(error)) from None
    return read_table(path, ids, numbers, names, where=where, times=form, progress=progress)


def kinds_among_orders(table: "Table") -> str | None:
    """Say it where rows of other kinds may have been read as orders."""
    if table.kinds is None:
        return None
    column = table.kinds.partition(" (")[0]
    return (
        f"every row was read as an order, and column {table.kinds} looks as if rows were of several kinds: take the "
        f"orders alone with --where {column}=VALUE"
    )


def _names(column: list[str] | None, known: Sequence[str] | None) -> dict[str, str]:
    names: dict[str, str] = {}
    for each in column or ():
        name, equals, in_file = (part.strip() for part in each.partition("="))
        if known is not None and (not equals or not in_file or name not in known):
            raise CommandError(f"--column is {each!r}; give NAME=IN_FILE, where NAME is one of {', '.join(known)}")
        names[name] = in_file
    return names


def _where(where: list[str] | None) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for each in where or ():
        column, equals, value = (part.strip() for part in each.partition("="))
        if not equals or not column:
            raise CommandError(f"--where is {each!r}; give COLUMN=VALUE, as event_type=purchase")
        # A value may hold a comma itself.
        values.setdefault(column, []).extend({value, *(part.strip() for part in value.split(","))})
    return values


def _say_skipped(path: Path, table: "Table", options: TableOptions) -> None:
    from producers.rows import FAR_OFF

    for reason, n in table.n_bad.most_common():
        examples = table.examples[reason]
        lines = ", ".join(f"line {bad.line}" for bad in examples)
        more = ", …" if n > len(examples) else ""
        said = f"{path}: skipped {n:,} of {table.n_rows:,} rows: {examples[0].message} ({lines}{more})"
        if examples[0].reason == FAR_OFF:
            options.doubt(said)
        else:
            to_people.print(said, markup=False, soft_wrap=True)
    n_bad = table.n_bad.total()
    if n_bad > WARN_BAD_SHARE * table.n_rows:
        reason, n = table.n_bad.most_common(1)[0]
        skipped = f"{n_bad:,} of {table.n_rows:,} rows ({n_bad / table.n_rows:.1%}) could not be used"
        options.doubt(f"{path}: {skipped}; {n:,} of them: {table.examples[reason][0].message}")


def _require_one_lifetime(path: Path, table: "Table") -> None:
    first_ms, last_ms = min(table.occurred_at), max(table.occurred_at)
    if last_ms - first_ms > _LONGEST_SPAN_MS:
        first, last = (_EPOCH + timedelta(days=at_ms // DAY_MS) for at_ms in (first_ms, last_ms))
        said = "placeholders of unknown dates are no times: leave such rows out"
        raise CommandError(f"{path}: rows are dated from {first} to {last}, over 100 years; {said}")
