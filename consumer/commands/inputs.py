"""`nextbest inputs`: mappings of a shop's own records, to begin with and to try out."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from consumer.commands.common import ConfigOption, configured, results, to_people
from consumer.commands.errors import MISTAKE, CommandError
from consumer.commands.mapping import InputOption, existing, input_for, mapper_named
from schemas.errors import InvalidRecord

if TYPE_CHECKING:
    from consumer.config import Config
    from consumer.inputs.mapper import Mapper
    from producers.readers.mapped import Becomes, MappedRecord

inputs_app = typer.Typer(help="Map a shop's own records to events.", no_args_is_help=True)

_SHOWN_CHARACTERS = 60  # of a value
_SHOWN_LINES = 3  # of an order
_SHOWN_FIELDS = (
    "session_id",
    "item_id",
    "category",
    "brand",
    "price",
    "query",
    "n_results",
    "order_id",
    "amount",
    "currency",
)


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(inputs_app, name="inputs")


@inputs_app.command()
def init(
    like: Annotated[
        str | None, typer.Option("--like", help="A well-known format; a format of one's own when not given.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file to write; standard output if none.")] = None,
) -> None:
    """Write a commented mapping to begin with, for the [inputs.NAME] part of the configuration."""
    from consumer.inputs.shipped import OWN, shipped_names, shipped_text

    names = shipped_names()
    if like is not None and like not in names:
        raise CommandError(f"there is no mapping like {like!r}; there are {', '.join(names)}")
    text = shipped_text(like or OWN)
    if out is None:
        typer.echo(text, nl=False)
        return
    if out.exists():
        raise CommandError(f"{out} exists: name a new file, or append with `>> {out}`")
    out.write_text(text, encoding="utf-8")
    results.print(f"written: {out}. Change what differs, then: nextbest inputs try FILE --config {out}", markup=False)


@inputs_app.command(name="try")
def try_out(
    file: Annotated[Path | None, typer.Argument(help="A file of a shop's own records.")] = None,
    *,
    topic: Annotated[str | None, typer.Option("--topic", help="The full name of a topic, instead of a file.")] = None,
    input_name: InputOption = None,
    sample: Annotated[int, typer.Option(min=1, help="Records to look at: a file's first, a topic's latest.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object alone on standard output.")] = False,
    config: ConfigOption = None,
) -> None:
    """Show what each record becomes, what was wrong with it and what to change; then count.

    Ends with exit code 2 where nothing is usable. Changes and writes nothing.
    """
    if (file is None) == (topic is None):
        raise CommandError("give a file, or a topic with --topic")
    settings = configured(config)
    tally, shown = Tally(), list[dict[str, Any]]()
    if file is not None:
        name = input_name or _input_for_file(file, settings)
        found = _of_file(file, mapper_named(name, settings))
    else:
        name = input_name or _input_for_topic(topic or "", settings)
        found = _of_topic(topic or "", mapper_named(name, settings), settings, sample)
    for number, each in enumerate(found):
        if number == sample:
            tally.more = True
            break
        tally.add(each)
        if as_json:
            shown.append(_as_data(each))
        else:
            _show(each)
    if as_json:
        typer.echo(json.dumps({"input": name, **tally.report(), "each": shown}, allow_nan=False))
    else:
        _show_counts(name, tally)
    if not tally.events:
        raise typer.Exit(MISTAKE)


class Tried(NamedTuple):
    """One record that was tried: where it stands, and what it becomes."""

    place: str
    becomes: "Becomes"


@dataclass(slots=True)
class Tally:
    """What became of the records that were tried."""

    records: int = 0
    events: Counter[str] = field(default_factory=Counter)  # by kind
    nothing: int = 0  # records that become no event
    wrong: Counter[str] = field(default_factory=Counter)  # by message
    first: dict[str, str] = field(default_factory=dict)  # message → the place where it was first seen
    more: bool = False  # whether there are more records than were tried

    def add(self, tried: Tried) -> None:
        """Count one record."""
        self.records += 1
        self.nothing += not tried.becomes
        for each in tried.becomes:
            if isinstance(each, InvalidRecord):
                self.wrong[each.message] += 1
                self.first.setdefault(each.message, tried.place)
            else:
                self.events[each.kind] += 1

    def report(self) -> dict[str, Any]:
        """Return the counts as plain data."""
        wrong = [{"message": said, "n": n, "first": self.first[said]} for said, n in self.wrong.most_common()]
        return {
            "records": self.records,
            "more": self.more,
            "events": self.events.total(),
            "by_kind": dict(self.events.most_common()),
            "no_event": self.nothing,
            "wrong": wrong,
        }


def _input_for_file(file: Path, settings: "Config") -> str:
    name = input_for(existing(file), settings)
    if name is not None:
        return name
    if settings.inputs:
        said = f"no input in the configuration has `files` that match {file.name}: name one with --input"
        raise CommandError(f"{said} ({', '.join(settings.inputs)})")
    raise CommandError(f"there are no [inputs] in the configuration{_looks_like(file)}")


def _looks_like(file: Path) -> str:
    """Return which of the mappings that come along makes the most of a file, as advice."""
    import tomllib

    from consumer.inputs.configure import mapping_of
    from consumer.inputs.mapper import Mapper
    from consumer.inputs.shipped import shipped_names, shipped_text

    usable: Counter[str] = Counter()
    for name in shipped_names():
        for section_name, section in tomllib.loads(shipped_text(name))["inputs"].items():
            tally = Tally()
            try:
                for number, each in enumerate(_of_file(file, Mapper(mapping_of(section_name, section), strict=True))):
                    if number == 20:
                        break
                    tally.add(each)
            except Exception:  # noqa: BLE001, S112 - whatever a reader of another format stumbles over: it isn't that one
                continue
            if tally.events.total() > tally.wrong.total():
                usable[name] += tally.events.total()
    if not usable:
        return ": begin with `nextbest inputs init --out nextbest.toml`, change it, and give it with --config"
    name = max(usable, key=lambda each: (usable[each], each))
    return f". The file looks like {name}: `nextbest inputs init --like {name} --out nextbest.toml`, then --config"


def _input_for_topic(topic: str, settings: "Config") -> str:
    matching = [name for name, section in settings.inputs.items() if topic in section.get("topics", [])]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise CommandError(f"{topic} is a topic of the inputs {' and '.join(matching)}: say which with --input")
    raise CommandError(f"no input in the configuration has {topic} among its `topics`: name one with --input")


def _of_file(file: Path, mapper: "Mapper") -> Iterator[Tried]:
    from producers.readers.mapped import what_becomes
    from producers.rows import BadRow

    for found in what_becomes(file, mapper):
        if isinstance(found, BadRow):
            yield Tried(f"line {found.line}", [InvalidRecord("invalid", "value", found.message)])
        else:
            yield Tried(f"line {found[0]}", found[2])


def _of_topic(topic: str, mapper: "Mapper", settings: "Config", n: int) -> Iterator[Tried]:
    from consumer.commands.produce import connection_of
    from producers.latest import latest_records

    for record in latest_records(connection_of(settings), topic, n):
        becomes = mapper.of_value(record.value, record.key, record.timestamp_ms)
        yield Tried(f"partition {record.partition} offset {record.offset}", becomes)


def _as_data(tried: Tried) -> dict[str, Any]:
    becomes = [
        {"wrong": each.message, "reason": each.reason, "field": each.field}
        if isinstance(each, InvalidRecord)
        else {"topic": each.topic, "record": json.loads(each.value)}
        for each in tried.becomes
    ]
    return {"place": tried.place, "becomes": becomes}


def _show(tried: Tried) -> None:
    if not tried.becomes:
        results.print(f"{tried.place}: no event", markup=False)
    for each in tried.becomes:
        said = _fault_in_words(each) if isinstance(each, InvalidRecord) else _in_words(each)
        results.print(f"{tried.place}: {said}", markup=False)


def _in_words(mapped: "MappedRecord") -> str:
    from datetime import UTC, datetime

    record = json.loads(mapped.value)
    words = [mapped.kind]
    if mapped.occurred_at is not None:
        words.append(datetime.fromtimestamp(mapped.occurred_at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"))
    words += [f"{name} {record[name]}" for name in ("customer_id", *_SHOWN_FIELDS) if name in record]
    lines = record.get("lines", [])
    if lines:
        words.append(" + ".join(map(_line_in_words, lines[:_SHOWN_LINES])))
        if len(lines) > _SHOWN_LINES:
            words.append(f"and {len(lines) - _SHOWN_LINES} lines more")
    return ", ".join(words)


def _line_in_words(line: dict[str, Any]) -> str:
    return f"{line.get('quantity', 1)} × {line.get('item_id')} at {line.get('unit_price', 0)}"


def _fault_in_words(invalid: "InvalidRecord") -> str:
    from consumer.inputs.paths import Names

    found = getattr(invalid, "found", None)
    shown = f" ({found})" if isinstance(found, Names) else f" (found: {repr(found)[:_SHOWN_CHARACTERS]})"
    return f"WRONG, {invalid.reason}: {invalid.message}{'' if found is None else shown}"


def _show_counts(name: str, tally: Tally) -> None:
    results.print()
    kinds = ", ".join(f"{n:,} {kind}" for kind, n in tally.events.most_common()) or "none"
    looked_at = f"the first {tally.records:,} records" if tally.more else f"{tally.records:,} records"
    results.print(f"[inputs.{name}] {looked_at}: {tally.events.total():,} events ({kinds})", markup=False)
    results.print(f"  no event, as the mapping wants it: {tally.nothing:,}")
    results.print(f"  wrong: {tally.wrong.total():,}")
    for said, n in tally.wrong.most_common():
        results.print(f"    {n:,} × {said} (first: {tally.first[said]})", markup=False)
    if not tally.events:
        to_people.print(f"nothing is usable: correct [inputs.{name}] as said above", markup=False, soft_wrap=True)
