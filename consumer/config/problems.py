"""What is said of a value that can't be used: key, value, where it came from, what is wrong, and what to do."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from difflib import get_close_matches
from typing import Any, get_args

from pydantic_core import ErrorDetails

from consumer.config.config import Config
from consumer.config.keys import KEYS, KeyPath, key_around
from consumer.config.toml import toml
from consumer.core.settings import range_in_words
from consumer.zones import load_zone

_ADVICE = {
    "int_parsing": "is not a whole number",
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "float_parsing": "is not a number",
    "float_type": "is not a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "is neither true nor false",
    "bool_type": "is neither true nor false",
    "string_type": "is not text: put it in quotes",
    "path_type": "is not a path: put it in quotes",
}
_OUT_OF_RANGE = frozenset({"greater_than", "greater_than_equal", "less_than", "less_than_equal"})


def explain(details: ErrorDetails, origins: Mapping[KeyPath, str]) -> str:
    """Return what pydantic found wrong with one value, in words."""
    path = tuple(str(part) for part in details["loc"] if part not in {"str", "int", "float", "bool", "path"})
    name, kind, key = ".".join(path) or "configuration", details["type"], KEYS.get(path)
    where = f"{name} ({_origin(path, origins)})"
    if kind in {"unexpected_keyword_argument", "extra_forbidden"}:
        return f"{where}: no such key.{_did_you_mean(path)}"
    if kind in {"dataclass_type", "mapping_type", "dict_type"}:
        return f"{where}: is a section, not a single value: write [{name}] and its keys below"
    around = key_around(path)
    if around is not None and around.is_mapping:
        if get_args(around.kind)[-1] is float:
            return f"{where}: is not a number more than 0, such as 0.92"
        return f"{where}: is neither text, a number, true nor false"
    if kind == "missing":
        return f"{where}: is missing, and has no default"
    if kind == "value_error":
        return f"{where}: {details['ctx']['error']}"
    advice = _ADVICE.get(kind, details["msg"].removeprefix("Input "))
    if kind in _OUT_OF_RANGE and key is not None and key.allowed is not None:
        advice = f"must be {range_in_words(key.allowed)}"
    is_number = kind in _OUT_OF_RANGE or kind == "finite_number"  # whether or not it came in the quotes of a variable
    value = str(details["input"]) if is_number else json.dumps(details["input"], default=str)
    return _said(path, value, advice, origins)


def unknown_zone(values: Mapping[str, Any], origins: Mapping[KeyPath, str]) -> list[str]:
    """Return what is wrong with the default time zone: the core takes one that it does not know for UTC."""
    path = ("policy", "default_time_zone")
    section = values.get(path[0])
    name = section.get(path[1]) if isinstance(section, Mapping) else None
    if not isinstance(name, str) or load_zone(name) is not None:
        return []
    advice = 'is not the IANA name of a time zone, such as "Europe/Berlin"'
    return [_said(path, json.dumps(name), advice, origins)]


def bad_inputs(values: Mapping[str, Any], origins: Mapping[KeyPath, str]) -> list[str]:
    """Return what is wrong with the mappings of a shop's own records."""
    inputs = values.get("inputs")
    if not inputs or not isinstance(inputs, Mapping):
        return []  # what is no section is refused by the validation
    from consumer.inputs.configure import BadMapping, mapping_of  # noqa: PLC0415 - most configurations have none

    problems = []
    for name, section in inputs.items():
        try:
            mapping_of(name, section)
        except BadMapping as bad:
            where = _origin(("inputs", name), origins)
            for key, said in bad.problems:
                problems.append(f"{'.'.join(filter(None, ('inputs', name, key)))} ({where}): {said}")
    return problems


def listed(problems: list[str]) -> str:
    """Return all problems as one message, each of them once."""
    different = list(dict.fromkeys(problems))
    head = "one problem" if len(different) == 1 else f"{len(different)} problems"
    return "\n".join([f"the configuration has {head}:", *(f"  - {problem}" for problem in different)])


def _said(path: KeyPath, value: str, advice: str, origins: Mapping[KeyPath, str]) -> str:
    key = KEYS.get(path)
    hidden = key is not None and not key.field.repr  # it may be a password
    default = "" if key is None or hidden or key.default in (None, MISSING, "") else f" (default: {toml(key.default)})"
    shown = "" if hidden else f" = {value}"
    return f"{'.'.join(path)}{shown} ({_origin(path, origins)}): {advice}{default}"


def _origin(path: KeyPath, origins: Mapping[KeyPath, str]) -> str:
    """Return where a value came from; of a section, where its values came from."""
    for n in range(len(path), 1, -1):
        if path[:n] in origins:
            return origins[path[:n]]
    inner = sorted({origin for known, origin in origins.items() if known[: len(path)] == path})
    return " and ".join(inner) or origins.get(path[:1], "defaults")


def _did_you_mean(path: KeyPath) -> str:
    array = KEYS.get(path[:1])
    if array is not None and array.entries:
        return f" Keys of [[{path[0]}]]: {', '.join(each.name for each in fields(array.entries))}."
    by_name = {known[-1]: ".".join(known) for known in reversed(list(KEYS)) if known[:-1] == path[:-1]}
    if len(path) == 1:
        by_name |= {each.name: each.name for each in fields(Config)}
    close = get_close_matches(path[-1], by_name, n=1, cutoff=0.6)
    if close:
        return f" Did you mean {by_name[close[0]]}?"
    elsewhere = next((known for known in KEYS if known[-1] == path[-1]), None)
    if elsewhere:
        return f" Did you mean {'.'.join(elsewhere)}?"
    if len(path) == 1:
        return f" Keys and sections: {', '.join(each.name for each in fields(Config))}."
    return f" Keys of [{'.'.join(path[:-1])}]: {', '.join(by_name)}."
