"""A mapping, compiled: a record in, the canonical events that it becomes out.

A record becomes what its rules make of it: each rule whose condition holds gives an event, or one for each element of a
list. So it may become none, one or several.
"""

from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from consumer.inputs.fields import Field
from consumer.inputs.paths import CannotEvaluate, Getter, Path, is_false
from consumer.inputs.values import Unusable, type_of
from schemas.errors import InvalidRecord, RejectionReason

EACH = "each"  # what the element at hand is called, beside the fields of the record
LIST = "list"  # what a record that is a list is called
KEY, TIMESTAMP = "_key", "_timestamp"  # what the record's key and the broker's time are called
ENVELOPE = frozenset({KEY, TIMESTAMP})
ROWS = "rows"  # of a record that was made of several rows of a file
FOUND_SOMETHING = 1  # results of a search of which no count is known: only 0 means something


class WrongValue(InvalidRecord):
    """A value that its field can't take. `found` says what it is, for the eyes of whoever tries the mapping alone."""

    def __init__(self, reason: RejectionReason, field: str, message: str, found: Any) -> None:
        super().__init__(reason, field, message)
        self.found = found


class Canonical(NamedTuple):
    """One event as the tree of a canonical record, not validated yet, and the record that it is made of.

    `at_ms` is its time (None for a product that has none). `complaint` is what was wrong within an order line, should
    the event not be valid as it is.
    """

    plan: "Plan"
    record: dict[str, Any]
    tree: dict[str, Any]
    at_ms: int | None
    complaint: InvalidRecord | None


Fields = tuple[tuple[str, Getter, Field], ...]  # name, what reads it, all that is known of it


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of an order: one for each element of a list, or (without `each`) the record itself as the only one."""

    each: Path | None
    fields: Fields

    def read(self, record: dict[str, Any], plan: "Plan") -> tuple[list[dict[str, Any]] | None, InvalidRecord | None]:
        """Return the lines, None where there is no list, and the first thing that was wrong with one.

        A value that can't be converted stays as it is found: an order may be good though one of its lines is odd, and
        whether it is, is decided where canonical records are judged.
        """
        complaint: InvalidRecord | None = None
        lines: list[dict[str, Any]] = []
        try:
            elements = [None] if self.each is None else _elements(self.each, record)
        except (Unusable, CannotEvaluate) as error:
            source = "" if self.each is None else f"`{self.each.text}`"
            raise plan.wrong("lines", source, error, None) from None
        if elements is None:
            return None, None
        for number, element in enumerate(elements):
            if self.each is not None:
                record[EACH] = element
            line: dict[str, Any] = {}
            for name, read, field in self.fields:
                try:
                    value = read(record)
                except (Unusable, CannotEvaluate) as error:
                    found = field.raw(record) if isinstance(error, Unusable) else None
                    complaint = complaint or plan.wrong(f"lines[{number}].{name}", field.source, error, found)
                    value = found
                if value is not None:
                    line[name] = value
            lines.append(line)
        return lines, complaint


@dataclass(frozen=True, slots=True)
class Plan:
    """How an event of one kind is made of a record."""

    mapping: str
    kind: str
    topic: str
    fields: Fields  # without those of `context` and of the lines
    context: Fields
    lines: Lines | None

    def event(self, record: dict[str, Any]) -> Canonical:
        """Return the event. Raises InvalidRecord."""
        tree = self._read(self.fields, record)
        if self.context and (context := self._read(self.context, record)):
            tree["context"] = context
        complaint = None
        if self.lines is not None:
            lines, complaint = self.lines.read(record, self)
            if lines is not None:
                tree["lines"] = lines
        if self.topic == "products":
            return Canonical(self, record, tree, tree.pop("occurred_at", None), complaint)
        tree["kind"] = self.kind
        if self.kind == "search":
            tree.setdefault("n_results", FOUND_SOMETHING)
        return Canonical(self, record, tree, tree.get("occurred_at"), complaint)

    def _read(self, fields: Fields, record: dict[str, Any]) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for name, read, field in fields:
            try:
                value = read(record)
            except (Unusable, CannotEvaluate) as error:
                found = field.raw(record) if isinstance(error, Unusable) else None
                raise self.wrong(name, field.source, error, found) from None
            if value is not None:
                tree[name] = value
        return tree

    def wrong(self, name: str, source: str, error: Unusable | CannotEvaluate, found: Any) -> InvalidRecord:
        """Return the error that says which field of which mapping is meant."""
        reason: RejectionReason = error.reason if isinstance(error, Unusable) else "invalid"
        return WrongValue(reason, name, f"[inputs.{self.mapping}] {self.kind}: `{name}`, from {source}, {error}", found)

    def source_of(self, name: str) -> str | None:
        """Return where a field, such as ``lines[0].item_id``, is taken from; None where it isn't mapped."""
        first, _, rest = name.partition(".")
        if first.startswith("lines") and self.lines is not None:
            if not rest:
                return None if self.lines.each is None else f"`{self.lines.each.text}`"
            return next((field.source for each, _, field in self.lines.fields if each == rest), None)
        fields = self.context if first == "context" else self.fields
        return next((field.source for each, _, field in fields if each == (rest or first)), None)


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of event, or several of the same shape, and for which records it holds."""

    when: Path | None
    each: Path | None
    kind: Field
    plans: MappingOf[str, Plan]  # by kind

    def apply(self, mapping: str, record: dict[str, Any], found: "list[Canonical | InvalidRecord]") -> None:
        """Add what becomes of a record by this rule."""
        if self.each is None:
            self._apply_once(mapping, record, found)
            return
        try:
            elements = _elements(self.each, record) or ()
        except (Unusable, CannotEvaluate) as error:
            found.append(InvalidRecord("wrong_type", None, f"[inputs.{mapping}] each: `{self.each.text}` {error}"))
            return
        for element in elements:
            record[EACH] = element
            self._apply_once(mapping, record, found)

    def _apply_once(self, mapping: str, record: dict[str, Any], found: "list[Canonical | InvalidRecord]") -> None:
        asked = "when"
        try:
            if self.when is not None and is_false(self.when.get(record)):
                return
            asked = "kind"
            kind = self.kind.read(record)
            if kind == "":
                return
            plan = self.plans.get(kind)
            found.append(plan.event(record) if plan is not None else self._unknown_kind(mapping, record, kind))
        except InvalidRecord as invalid:
            found.append(invalid)
        except (Unusable, CannotEvaluate) as error:
            source = self.kind.source if self.when is None or asked == "kind" else f"`{self.when.text}`"
            found.append(InvalidRecord("invalid", None, f"[inputs.{mapping}] {asked}: {source} {error}"))

    def _unknown_kind(self, mapping: str, record: dict[str, Any], kind: Any) -> InvalidRecord:
        where = f"[inputs.{mapping}] `kind`, from {self.kind.source}"
        if kind is None:
            said = f'{where}, is missing: leave such records out with `when`, or with otherwise = "" in its table'
            return InvalidRecord("missing_field", "kind", said)
        said = f'{where}, is no kind that is mapped here: name it in its table, or set otherwise = "" for no event'
        return WrongValue("unknown_value", "kind", said, self.kind.raw(record))


def _elements(path: Path, record: dict[str, Any]) -> Sequence[Any] | None:
    """Return the elements of the list at `path`, None where nothing is. Raises Unusable and CannotEvaluate."""
    found = path.get(record)
    if found is None or isinstance(found, list | tuple):
        return found
    said = f"is {type_of(found)}, expected a list: write `[{path.text}]` where a single element stands without one"
    raise Unusable("wrong_type", said)


class Mapping:
    """One input of the configuration, compiled.

    `name` is that of its section; `topics` and `files` (patterns of file names) are what it is for, and `form` is how
    its records are written.
    """

    def __init__(
        self, name: str, *, topics: tuple[str, ...], files: tuple[str, ...], form: "Form", rules: tuple[Rule, ...]
    ) -> None:
        self.name = name
        self.topics = topics
        self.files = files
        self.form = form
        self.rules = rules

    @property
    def uses_envelope(self) -> bool:
        """Whether it maps the key of a record, or the broker's time."""
        return not ENVELOPE.isdisjoint(self._names())

    def _names(self) -> set[str]:
        """Return all names that its paths go by."""
        found: set[str] = set()
        for rule in self.rules:
            found.update(*(path.names for path in (rule.when, rule.each) if path is not None), rule.kind.names)
            for plan in rule.plans.values():
                of_lines = plan.lines.fields if plan.lines is not None else ()
                found.update(*(field.names for _, _, field in (*plan.fields, *plan.context, *of_lines)))
        return found

    def of_record(self, record: Any) -> list[Canonical | InvalidRecord]:
        """Return what a record becomes, nothing among it. The record is written to: hand in one of your own."""
        if isinstance(record, list):
            record = {LIST: record}
        elif not isinstance(record, dict):
            said = f"[inputs.{self.name}] the record is {type_of(record)}, expected an object"
            return [InvalidRecord("wrong_type", "value", said)]
        for name in self.form.unpack:
            packed = record.get(name)
            if isinstance(packed, str):
                try:
                    record[name] = orjson.loads(packed)
                except orjson.JSONDecodeError:
                    said = f"[inputs.{self.name}] unpack: `{name}` is text that is not valid JSON"
                    return [InvalidRecord("malformed_json", "value", said)]
        found: list[Canonical | InvalidRecord] = []
        for rule in self.rules:
            rule.apply(self.name, record, found)
        if len(found) > 1:
            _tell_apart(found)
        return found

    def group_of(self, record: dict[str, Any]) -> tuple[Any, ...] | None:
        """Return what rows of a file have in common that are one record; None where a row stands for itself.

        A part that is absent, empty or false makes a row stand for itself.
        """
        try:
            parts = tuple(getter(record) for getter in self.form.group_by)
        except CannotEvaluate:
            return None
        return None if any(map(is_false, parts)) else parts or None


@dataclass(frozen=True, slots=True)
class Form:
    """How records are written, and what is done before they are mapped."""

    format: str  # json, json-registry, avro or csv
    columns: tuple[str, ...] = ()  # of CSV without a header
    separator: str | None = None  # of CSV; told from its first line where it isn't given
    unpack: tuple[str, ...] = ()  # fields that hold JSON as text
    group_by: tuple[Getter, ...] = ()
    distinct: bool = False  # whether equal rows of a group count once


def _tell_apart(found: list[Canonical | InvalidRecord]) -> None:
    """Give events of one record ids of their own where they have the same: the second would count as a repetition."""
    seen: dict[str, int] = {}
    for event in found:
        if isinstance(event, Canonical) and isinstance(event_id := event.tree.get("event_id"), str):
            n = seen[event_id] = seen.get(event_id, 0) + 1
            if n > 1:
                event.tree["event_id"] = f"{event_id}-{n}"
