"""The table that a backtest reads: columns of a CSV file by their names, or what a shop's own records become."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from consumer.commands.common import progress_bar, to_people
from consumer.commands.errors import CommandError

if TYPE_CHECKING:
    from consumer.commands.mapping import FileForm
    from producers.readers.tables import Table

_EPOCH = date(1970, 1, 1)
_LONGEST_SPAN_MS = 100 * 366 * 86_400_000  # a backtest lives through each day between the first row and the last


class TableOrigin(NamedTuple):
    """What a file may be read by: the mappings of a configuration, of which one may be named."""

    config: Path | None
    input_name: str | None

    def form_of(self, path: Path) -> "FileForm | None":
        """Return how a shop's own records are read; None for a table that is read by the names of its columns."""
        from consumer.commands.mapping import input_for, mapped_form
        from consumer.commands.produce import existing
        from consumer.config import load_config

        settings = load_config(self.config)
        name = self.input_name or input_for(existing(path), settings)
        return None if name is None else mapped_form(name, dict(settings.inputs), settings)


def read_columns(
    path: Path, ids: Sequence[str], numbers: Sequence[str], *, column: list[str] | None, origin: TableOrigin
) -> "Table":
    """Return the columns of a file, or of the events that its records become; what had to be skipped is said aloud."""
    from producers.readers.tables import UnusableTable

    form = None if column else origin.form_of(path)
    if column and origin.input_name is not None:
        raise CommandError("--column is for tables, --input for a shop's own records: give one of them")
    try:
        with progress_bar() as bar:
            task = bar.add_task("lines read", total=None)

            def progress(lines: int) -> None:
                bar.update(task, completed=lines)

            table = (
                _table(path, ids, numbers, column, progress=progress)
                if form is None
                else _event_table(path, ids, numbers, form, progress=progress)
            )
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


def _event_table(
    path: Path, ids: Sequence[str], numbers: Sequence[str], form: "FileForm", *, progress: Callable[[int], None]
) -> "Table":
    from producers.readers import read_rows
    from producers.readers.event_table import read_event_table

    with TemporaryDirectory(prefix="nextbest-") as spill:
        return read_event_table(path, read_rows(path, form.reader, spill=Path(spill)), ids, numbers, progress)


def _table(
    path: Path,
    ids: Sequence[str],
    numbers: Sequence[str],
    column: list[str] | None,
    *,
    progress: Callable[[int], None],
) -> "Table":
    from producers.readers.tables import TIME, read_table

    names: dict[str, str] = {}
    known = (*ids, TIME, *numbers)
    for each in column or ():
        name, equals, called = (part.strip() for part in each.partition("="))
        if not equals or not called or name not in known:
            raise CommandError(f"--column is {each!r}; give NAME=IN_FILE, where NAME is one of {', '.join(known)}")
        names[name] = called
    return read_table(path, ids, numbers, names, progress)


def _require_one_lifetime(path: Path, table: "Table") -> None:
    first_ms, last_ms = min(table.occurred_at), max(table.occurred_at)
    if last_ms - first_ms > _LONGEST_SPAN_MS:
        first, last = (_EPOCH + timedelta(days=at_ms // 86_400_000) for at_ms in (first_ms, last_ms))
        said = "placeholders of unknown dates are no times: leave such rows out"
        raise CommandError(f"{path}: rows are dated from {first} to {last}, over 100 years; {said}")
