"""From a section `[inputs.NAME]` of the configuration to a compiled mapping, or to all that is wrong with it."""

from collections.abc import Collection, Iterable
from collections.abc import Mapping as MappingOf
from datetime import UTC, tzinfo
from functools import cache
from typing import Any, get_args

import msgspec

from consumer.inputs.fields import BadField, Field, Habits, Wanted, did_you_mean, field_of, named_zone, path_of
from consumer.inputs.mapping import EACH, Fields, Form, Lines, Mapping, Plan, Rule
from consumer.inputs.paths import Path
from schemas.events import (
    ACTION_KINDS,
    ITEM_KINDS,
    ClickEvent,
    ClickKind,
    Context,
    OrderLine,
    PrivacyEvent,
    PrivacyKind,
    Product,
    PurchaseEvent,
    PurchaseKind,
)

FORMATS = ("json", "json-registry", "avro", "csv")
PRODUCT = "product"
TOPIC_OF_KIND = {
    **dict.fromkeys(get_args(ClickKind), "clickstream"),
    **dict.fromkeys(get_args(PurchaseKind), "purchases"),
    **dict.fromkeys(get_args(PrivacyKind), "privacy"),
    PRODUCT: "products",
}
STRUCT_OF_TOPIC: dict[str, type[msgspec.Struct]] = {
    "clickstream": ClickEvent,
    "purchases": PurchaseEvent,
    "privacy": PrivacyEvent,
    "products": Product,
}
_INPUT_KEYS = (
    *("topics", "files", "format", "columns", "separator", "zone", "none", "unpack"),
    *("group_by", "distinct", "fields", "events"),
)
_RULE_KEYS = ("kind", "when", EACH)
_NESTED = ("context", "lines")
_OF_CSV = ("columns", "separator")
_EVERY_FIELD = frozenset(
    name for struct in STRUCT_OF_TOPIC.values() for name in struct.__struct_fields__ if name != "kind"
)


class BadMapping(Exception):
    """A section can't be used. `problems` holds (key within the section, what is wrong with it)."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{key}: {said}" for key, said in problems))
        self.problems = problems


def mapping_of(name: str, section: Any) -> Mapping:
    """Return the compiled mapping of the section `[inputs.NAME]`. Raises BadMapping with everything that is wrong."""
    if not isinstance(section, dict):
        raise BadMapping([("", f"is a section: write [inputs.{name}] and its keys below")])
    return _Reading(name, section).mapping()


class _Reading:
    """One section while it is read. Problems are collected, so that all of them are said at once."""

    def __init__(self, name: str, section: dict[str, Any]) -> None:
        self._name = name
        self._section = section
        self._problems: list[tuple[str, str]] = []

    def mapping(self) -> Mapping:
        section = self._section
        for key in section:
            if key not in _INPUT_KEYS:
                self._say(key, f"no such key.{did_you_mean(key, _INPUT_KEYS)}")
        topics, files = self._texts("topics"), self._texts("files")
        if not section.get("topics") and not section.get("files"):
            self._say("topics", 'neither topics nor files are named: say what it is for, as files = ["orders-*.csv"]')
        habits = Habits(frozenset(("", *self._texts("none"))), self._zone())
        common = self._table("fields")
        self._check_names(common, _EVERY_FIELD, "fields", "no kind of event has such a field")
        rules = self._rules(common, habits)
        form = self._form()
        if self._problems:
            raise BadMapping(list(dict.fromkeys(self._problems)))
        return Mapping(self._name, topics=topics, files=files, form=form, rules=tuple(rules))

    def _say(self, key: str, said: str) -> None:
        self._problems.append((key, said))

    def _texts(self, key: str) -> tuple[str, ...]:
        value = self._section.get(key, [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            self._say(key, "is no list of texts: put it in brackets, each text in quotes")
            return ()
        return tuple(value)

    def _table(self, key: str) -> dict[str, Any]:
        value = self._section.get(key, {})
        if isinstance(value, dict):
            return value
        self._say(key, f"is a table: write [inputs.{self._name}.{key}] and its keys below")
        return {}

    def _zone(self) -> tzinfo:
        try:
            return named_zone(self._section.get("zone", "UTC"))
        except BadField as error:
            self._say("zone", str(error).removeprefix("zone "))
            return UTC

    def _form(self) -> Form:
        section = self._section
        form, separator = section.get("format", "json"), section.get("separator")
        if form not in FORMATS:
            self._say("format", f"is none of {', '.join(FORMATS)}: {form!r}")
        for key in _OF_CSV:
            if key in section and form != "csv":
                self._say(key, 'is for format = "csv" alone')
        if separator is not None and (not isinstance(separator, str) or len(separator) != 1):
            self._say("separator", 'is one character, such as ";"')
        columns = self._texts("columns")
        if form == "csv" and section.get("topics") and not columns:
            self._say("columns", "are needed for records on a topic: they have no header")
        asked = section.get("group_by", [])
        grouping = [self._path("group_by", text) for text in (asked if isinstance(asked, list) else [asked])]
        distinct = section.get("distinct", False)
        if not isinstance(distinct, bool) or (distinct and not grouping):
            self._say("distinct", "is true or false, and goes with group_by")
        if grouping and not section.get("files"):
            self._say("group_by", "is for files: records of a topic are mapped one by one")
        return Form(
            format=form,
            columns=columns,
            separator=separator,
            unpack=self._texts("unpack"),
            group_by=tuple(path.get for path in grouping if path is not None),
            distinct=distinct is True,
        )

    def _path(self, key: str, text: Any) -> Path | None:
        try:
            return path_of(text)
        except BadField as error:
            self._say(key, str(error))
            return None

    def _rules(self, common: dict[str, Any], habits: Habits) -> Iterable[Rule]:
        events = self._section.get("events", [])
        if not isinstance(events, list) or not events or not all(isinstance(each, dict) for each in events):
            said = f"says what records become: write [[inputs.{self._name}.events]] and its keys below"
            self._say("events", said)
            return ()
        rules = [self._rule(f"events[{number}]", event, common, habits) for number, event in enumerate(events)]
        return [rule for rule in rules if rule is not None]

    def _rule(self, at: str, event: dict[str, Any], common: dict[str, Any], habits: Habits) -> Rule | None:
        kind, kinds = self._kind(at, event.get("kind"), habits)
        when = self._path(f"{at}.when", event["when"]) if "when" in event else None
        each = self._path(f"{at}.{EACH}", event[EACH]) if EACH in event else None
        specs = {name: spec for name, spec in event.items() if name not in _RULE_KEYS}
        known = {name for one in kinds for name in _names_of(one)}
        described = f"events of kind {', '.join(kinds)} have no such field" if len(kinds) < 4 else "has no such field"
        if kinds:
            self._check_names(specs, known | {*_RULE_KEYS}, at, described)
        every = {**common, **specs}
        if kinds == tuple(TOPIC_OF_KIND):  # the record may tell any: those whose fields are mapped
            kinds = tuple(one for one in kinds if not list(_needed(one, every))) or kinds
        plans_of = _Plans(self._name, habits, at, specs, common=common)
        plans = {one: plans_of.plan(one) for one in kinds}
        self._problems += plans_of.problems
        return None if kind is None else Rule(when, each, kind, plans)

    def _check_names(self, specs: Iterable[str], known: Collection[str], at: str, said: str) -> None:
        for name in specs:
            if name not in known:
                self._say(f"{at}.{name}", f"{said}.{did_you_mean(name, sorted(known))}")

    def _kind(self, at: str, spec: Any, habits: Habits) -> tuple[Field | None, tuple[str, ...]]:
        """Return what tells the kind of a record, and the kinds that it may tell."""
        key = f"{at}.kind"
        if spec is None:
            self._say(key, f"is missing: one of {', '.join(TOPIC_OF_KIND)}, or a table with path and table")
            return None, ()
        if isinstance(spec, str):
            if spec not in TOPIC_OF_KIND:
                hint = did_you_mean(spec, TOPIC_OF_KIND)
                self._say(key, f"{spec!r} is no kind.{hint} A kind that stands in a field is {{ path = {spec!r} }}")
                return None, ()
            spec = {"value": spec}
        elif isinstance(spec, dict) and "otherwise" in spec:
            spec = {"default": spec["otherwise"], **spec}
        try:
            field = field_of(spec, "text", habits, empty="")
        except BadField as error:
            self._say(key, str(error))
            return None, ()
        told = [spec[one] for one in ("value", "otherwise", "default") if one in spec]
        told += list(spec.get("table", {}).values())
        for each in told:
            if each not in TOPIC_OF_KIND and each != "":
                self._say(key, f"{each!r} is no kind.{did_you_mean(str(each), TOPIC_OF_KIND)}")
        closed = "value" in spec or "otherwise" in spec
        kinds = {each for each in told if each in TOPIC_OF_KIND}
        # What isn't in the table stays as it is, and may be a kind.
        return field, tuple(kind for kind in TOPIC_OF_KIND if kind in kinds or not (closed or "table" in spec))


class _Plans:
    """What a rule does for each kind of event. Fields that several kinds have are compiled once."""

    def __init__(self, mapping: str, habits: Habits, at: str, specs: dict[str, Any], *, common: dict[str, Any]) -> None:
        self._mapping = mapping
        self._habits = habits
        self._at = at
        self._own = specs
        self._specs = {**common, **specs}
        self._compiled: dict[str, Field | None] = {}
        self.problems: list[tuple[str, str]] = []

    def plan(self, kind: str) -> Plan:
        """Return the plan for events of one kind; what is wrong with it goes to `problems`."""
        topic = TOPIC_OF_KIND[kind]
        struct = STRUCT_OF_TOPIC[topic]
        for name, why in _needed(kind, self._specs):
            self.problems.append((self._at, f"`{name}` is not mapped, and {why}"))
        has_context = "context" in struct.__struct_fields__
        return Plan(
            mapping=self._mapping,
            kind=kind,
            topic=topic,
            fields=self._fields(self._specs, struct, ""),
            context=self._fields(self._part("context", set(Context.__struct_fields__)), Context, "context.")
            if has_context
            else (),
            lines=self._lines() if "lines" in struct.__struct_fields__ else None,
        )

    def _key(self, name: str) -> str:
        """Return where a field is written: with the rule, or with those that all rules share."""
        return f"{self._at if name.partition('.')[0] in self._own else 'fields'}.{name}"

    def _lines(self) -> Lines | None:
        if "lines" not in self._specs:
            return None
        part = self._part("lines", {EACH, *OrderLine.__struct_fields__})
        if "item_id" not in part:
            self.problems.append((self._key("lines"), "`item_id` is not mapped, and every line of an order needs it"))
        each = None
        try:
            each = path_of(part[EACH]) if EACH in part else None
        except BadField as error:
            self.problems.append((self._key(f"lines.{EACH}"), str(error)))
        return Lines(each=each, fields=self._fields(part, OrderLine, "lines."))

    def _part(self, name: str, known: set[str]) -> dict[str, Any]:
        """Return the table of a field that has fields of its own."""
        part = self._specs.get(name, {})
        if not isinstance(part, dict):
            said = f"is a table: a field for each of {', '.join(sorted(known))} that is there"
            self.problems.append((self._key(name), said))
            return {}
        for key in part:
            if key not in known:
                self.problems.append((self._key(f"{name}.{key}"), f"no such field.{did_you_mean(key, sorted(known))}"))
        return part

    def _fields(self, part: dict[str, Any], struct: type[msgspec.Struct], within: str) -> Fields:
        """Return the fields of `part` that records of `struct` have, in the order of the record."""
        found = []
        for name, wanted in wanted_of(struct).items():
            if name not in part:
                continue
            key = self._key(within + name)
            if key not in self._compiled:
                self._compiled[key] = None
                try:
                    self._compiled[key] = field_of(part[name], wanted, self._habits)
                except BadField as error:
                    self.problems.append((key, str(error)))
            if (field := self._compiled[key]) is not None:
                found.append((name, field.read, field))
        return tuple(found)


def _names_of(kind: str) -> set[str]:
    names = set(STRUCT_OF_TOPIC[TOPIC_OF_KIND[kind]].__struct_fields__) - {"kind"}
    return names | {"occurred_at"} if kind == PRODUCT else names


def _needed(kind: str, specs: MappingOf[str, Any]) -> Iterable[tuple[str, str]]:
    """Return the fields that `kind` can't be without and that are not mapped, each with why it is needed."""
    struct = STRUCT_OF_TOPIC[TOPIC_OF_KIND[kind]]
    always = [each.name for each in msgspec.structs.fields(struct) if each.required and each.name != "kind"]
    of_kind = {
        **dict.fromkeys(ITEM_KINDS, ("item_id",)),
        **dict.fromkeys(ACTION_KINDS, ("decision_id",)),
        "consent": ("granted",),
    }
    for name in (*always, *of_kind.get(kind, ())):
        if name not in specs:
            hint = ": where there is none, derive it with hash_of = [ paths ]" if name == "event_id" else ""
            yield name, f"a record of kind {kind} needs it{hint}"
    if kind == "order" and "lines" not in specs and "amount" not in specs:
        yield "lines", "an order needs lines or an amount"


@cache
def wanted_of(struct: type[msgspec.Struct]) -> dict[str, Wanted]:
    """Return what the plain fields of a record hold: name → what. The time of a product is its own, for its place."""
    found: dict[str, Wanted] = {"occurred_at": "time"} if struct is Product else {}
    for each in msgspec.inspect.type_info(struct).fields:  # type: ignore[attr-defined]  # it is that of a struct
        types = each.type.types if isinstance(each.type, msgspec.inspect.UnionType) else (each.type,)
        if each.name in _NESTED or each.name == "kind":
            continue
        if each.name == "occurred_at":
            found[each.name] = "time"
        elif any(isinstance(one, msgspec.inspect.FloatType) for one in types):
            found[each.name] = "number"
        elif any(isinstance(one, msgspec.inspect.IntType) for one in types):
            found[each.name] = "whole"
        elif any(isinstance(one, msgspec.inspect.BoolType) for one in types):
            found[each.name] = "flag"
        else:
            found[each.name] = "text"
    return found
