"""One field of an event: where its value comes from in a record, and what is done with it on the way."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from difflib import get_close_matches
from hashlib import blake2b
from typing import Any, Literal

import orjson

from consumer.inputs.paths import BadPath, Getter, Path
from consumer.inputs.times import BadTime, time_reader, times_reader, zone_of
from consumer.inputs.values import Convert, Unusable, number_reader, to_flag, to_text, to_whole_text

Wanted = Literal["text", "number", "whole", "time", "flag"]

_ORIGINS = ("path", "paths", "hash_of", "value")
_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "path": str,
    "paths": list,
    "join": str,
    "hash_of": list,
    "value": (str, int, float, bool),
    "table": dict,
    "otherwise": (str, int, float, bool),
    "default": (str, int, float, bool),
    "time": (str, list),
    "zone": str,
    "decimal": str,
    "divide_by": (str, int, float, dict),
    "whole": bool,
    "case": str,
}
_DIGEST_BYTES = 12  # of a derived id: among a billion, two are the same with a probability of 6e-12


class BadField(Exception):
    """A field is written wrongly in the configuration; the message says what is wrong and what to write."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What holds for all fields of an input: texts that stand for nothing, and the zone of times that name none."""

    none: frozenset[str]
    zone: tzinfo


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `read` returns its value in a record, None where there is none; it raises Unusable and CannotEvaluate.

    `raw` returns what is found before anything is done with it. `source` says in words where that is; `names` are the
    names that its paths go by.
    """

    read: Getter
    raw: Getter
    source: str
    names: frozenset[str]


def field_of(spec: Any, wanted: Wanted, habits: Habits, empty: str | None = None) -> Field:
    """Return the field that a mapping describes, by a path alone or by a table. Raises BadField.

    `empty` is what "" in its table or `otherwise` stands for; for all fields but the kind that is: nothing is there.
    """
    if isinstance(spec, str):
        spec = {"path": spec}
    _check_keys(spec, wanted)
    raw, source, names = _origin(spec)
    if "value" in spec:
        constant = _constant(spec["value"], "value", _converter({}, wanted, habits))
        return Field(lambda _record: constant, lambda _record: constant, source, names)
    convert = _converter(spec, wanted, habits)
    if "divide_by" in spec:
        divisor = field_of(_divisor(spec["divide_by"]), "number", habits)
        read = _divided(_reader(raw, convert, spec, habits.none, empty=empty), divisor)
        return Field(read, raw, source, names | divisor.names)
    return Field(_reader(raw, convert, spec, habits.none, empty=empty), raw, source, names)


def _check_keys(spec: Any, wanted: Wanted) -> None:
    if not isinstance(spec, dict):
        raise BadField('is neither a path (text) nor a table, as { path = "a.b" } or { value = "EUR" }')
    for key, value in spec.items():
        expected = _KEYS.get(key)
        if expected is None:
            raise BadField(f"{key}: no such key.{did_you_mean(key, _KEYS)}")
        if not isinstance(value, expected) or (isinstance(value, bool) and bool not in _types(expected)):
            raise BadField(f"{key} is {_toml_type(value)}; it takes {_expected_words(expected)}")
    given = [key for key in _ORIGINS if key in spec]
    if len(given) != 1:
        said = "says not where its value comes from" if not given else f"names {' and '.join(given)}"
        raise BadField(f"{said}: give one of {', '.join(_ORIGINS)}")
    for key, needs in (("join", "paths"), ("otherwise", "table")):
        if key in spec and needs not in spec:
            raise BadField(f"{key} goes with {needs}, which is not given")
    holds = "number" if wanted == "whole" else wanted
    for key, only in _ONLY_FOR.items():
        if key in spec and holds != only:
            raise BadField(f"{key} is for fields that hold {_IN_WORDS[only]}; this one holds {_IN_WORDS[holds]}")


_ONLY_FOR = {
    "time": "time",
    "zone": "time",
    "decimal": "number",
    "divide_by": "number",
    "whole": "text",
    "case": "text",
}
_IN_WORDS = {"text": "text", "number": "a number", "time": "a time", "flag": "true or false"}


def _types(expected: type | tuple[type, ...]) -> tuple[type, ...]:
    return expected if isinstance(expected, tuple) else (expected,)


def _expected_words(expected: type | tuple[type, ...]) -> str:
    words = {str: "text", list: "a list of texts", dict: "a table", bool: "true or false", int: "a number"}
    return " or ".join(words[each] for each in _types(expected) if each in words)


def _toml_type(value: Any) -> str:
    words = {str: "text", list: "a list", dict: "a table", bool: "true or false", int: "a number", float: "a number"}
    return words.get(type(value), f"a {type(value).__name__}")


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Return a hint at the nearest name, or at all there are."""
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return f" Did you mean {close[0]}?" if close else f" There are {', '.join(known)}."


def path_of(text: Any) -> Path:
    """Return a compiled path. Raises BadField."""
    if not isinstance(text, str):
        raise BadField(f'is {_toml_type(text)}; a path is text, such as "user.id"')
    try:
        return Path(text)
    except BadPath as error:
        raise BadField(f"{text!r} {error}") from None


def _origin(spec: Mapping[str, Any]) -> tuple[Getter, str, frozenset[str]]:
    """Return what gets the value, where it comes from in words, and the names that occur in its paths."""
    if "path" in spec:
        path = path_of(spec["path"])
        return path.get, f"`{path.text}`", path.names
    if "value" in spec:
        return lambda _record: spec["value"], "the constant in the mapping", frozenset()
    key = "paths" if "paths" in spec else "hash_of"
    paths = [path_of(text) for text in spec[key]]
    if not paths:
        raise BadField(f"{key} is empty: name at least one path")
    source = " and ".join(f"`{path.text}`" for path in paths)
    names = frozenset().union(*(path.names for path in paths))
    getters = [path.get for path in paths]
    if key == "hash_of":
        return _digest(getters), source, names
    if "join" not in spec:
        raise BadField('paths needs join: what stands between the parts, as join = "-"')
    return _joined(getters, spec["join"]), source, names


def _joined(getters: Sequence[Getter], between: str) -> Getter:
    """All parts are needed: half an id is another id."""

    def get(record: Any) -> Any:
        parts = []
        for getter in getters:
            part = getter(record)
            if part is None or part == "":
                return None
            parts.append(part if part.__class__ is str else to_text(part))
        return between.join(parts)

    return get


def _digest(getters: Sequence[Getter]) -> Getter:
    """An id that is the same wherever the named fields are. Where all of them are absent there is none."""

    def get(record: Any) -> Any:
        parts = [getter(record) for getter in getters]
        if all(part is None for part in parts):
            return None
        data = orjson.dumps(parts, default=str, option=orjson.OPT_SORT_KEYS)
        return blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()

    return get


def _converter(spec: Mapping[str, Any], wanted: Wanted, habits: Habits) -> Convert:
    if wanted == "text":
        return _text_converter(spec)
    if wanted == "flag":
        return to_flag
    if wanted == "time":
        zone = named_zone(spec["zone"]) if "zone" in spec else habits.zone
        ways = spec.get("time")
        try:
            return times_reader(ways, zone) if isinstance(ways, list) else time_reader(ways, zone)
        except BadTime as error:
            raise BadField(f"time {error}") from None
    decimal = spec.get("decimal")
    if decimal not in {None, ".", ","}:
        raise BadField('decimal is the character before the decimals: "." or ","')
    return number_reader(decimal, whole=wanted == "whole")


def _text_converter(spec: Mapping[str, Any]) -> Convert:
    convert: Convert = to_whole_text if spec.get("whole") else to_text
    case = spec.get("case")
    if case is None:
        return convert
    change = {"upper": str.upper, "lower": str.lower}.get(case)
    if change is None:
        raise BadField(f'case is "upper" or "lower", not {case!r}')
    return lambda value: change(convert(value))


def named_zone(name: Any) -> tzinfo:
    """Return a time zone by its name. Raises BadField."""
    try:
        return zone_of(name if isinstance(name, str) else repr(name))
    except BadTime as error:
        raise BadField(f"zone {error}") from None


def _constant(value: Any, key: str, convert: Convert) -> Any:
    try:
        return convert(value)
    except Unusable as error:
        raise BadField(f"{key} {error}") from None


def _reader(
    raw: Getter, convert: Convert, spec: Mapping[str, Any], none: frozenset[str], *, empty: str | None
) -> Getter:
    """Return what gets, renames and converts; a text that stands for nothing is nothing."""

    def constant(key: str, value: Any) -> Any:
        return empty if value == "" else _constant(value, key, convert)

    default = constant("default", spec["default"]) if "default" in spec else None
    if "table" not in spec:
        return _plain_reader(raw, convert, none, default)
    table = {written: constant(f"table.{written}", value) for written, value in spec["table"].items()}
    otherwise: Callable[[Any], Any] = convert
    if "otherwise" in spec:
        other = constant("otherwise", spec["otherwise"])
        otherwise = lambda _value: other  # noqa: E731 - one of two functions

    def renamed(record: Any) -> Any:
        value = raw(record)
        if value is None or (value.__class__ is str and value in none):
            return default
        key = value if value.__class__ is str else _written(value)
        return table[key] if key in table else otherwise(value)

    return renamed


def _plain_reader(raw: Getter, convert: Convert, none: frozenset[str], default: Any) -> Getter:
    """Return what gets and converts. What is already what it has to be, as nearly everything is, is not converted."""
    if convert is to_text:

        def read_text(record: Any) -> Any:
            value = raw(record)
            if value.__class__ is str:
                return default if value in none else value
            if value.__class__ is int:
                return str(value)
            return default if value is None else convert(value)

        return read_text

    def read(record: Any) -> Any:
        value = raw(record)
        if value is None or (value.__class__ is str and value in none):
            return default
        return convert(value)

    return read


def _written(value: Any) -> str:
    """Return how a value is written as the key of a table: true and numbers as in TOML."""
    return ("true" if value else "false") if isinstance(value, bool) else to_text(value)


def _divisor(spec: Any) -> Any:
    return {"value": spec} if isinstance(spec, int | float) else spec


def _divided(read: Getter, divisor: Field) -> Getter:
    def get(record: Any) -> Any:
        value = read(record)
        if value is None:
            return None
        by = divisor.read(record)
        if not by:
            raise Unusable(
                "out_of_range", f"is to be divided by {divisor.source}, which is {'nothing' if by is None else 0}"
            )
        return value / by

    return get
