"""Paths into a record: JMESPath, parsed once.

The library parses, and evaluates whatever holds a function or a projection. What nearly every mapping is made of
(names, dots, numbered elements, `||`, `&&`, `!`, comparisons with a text, `[?name == 'text']`) is turned into closures
instead: the library walks its tree anew for each record, 2 to 20 µs a path, and a closure takes 0.1 to 1. Both give the
same values; a test holds them together.
"""

import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions

Getter = Callable[[Any], Any]

# Never a JMESPath expression, so it is taken for a name as it stands: `Customer ID`, `price-eur`, `2nd item`.
_ODD_NAME = re.compile(r"[\w][\w \-/%#&+:]*")


class Names(str):
    """Names of fields, in words."""

    __slots__ = ()


def names_near(record: Any, path: str) -> Names | None:
    """Return which names there are where a path of names leads to nothing; None for any other path."""
    for name in path.split("."):
        if not isinstance(record, dict):
            return None
        if record.get(name) is None:
            close = get_close_matches(name, [each for each in record if each != name], n=1)
            return Names(f"did you mean {close[0]}?" if close else f"there are {', '.join(map(str, record)) or 'none'}")
        record = record[name]
    return None


class BadPath(Exception):
    """The text is no path; the message says what is wrong with it and what to write."""


class CannotEvaluate(Exception):
    """A function of the path got a value that it doesn't take. The message repeats no value."""


class Path:
    """One path. `get` returns what it leads to in a record, None where that is nothing.

    `get` raises CannotEvaluate. `names` are the names that occur in the path.
    """

    __slots__ = ("get", "names", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        tree = _parsed(text)
        self.names = frozenset(node["value"] for node in _nodes(tree) if node["type"] == "field")
        self.get: Getter = _closure(tree) or _by_library(text, tree)


def _parsed(text: str) -> dict[str, Any]:
    if not text.strip():
        raise BadPath("is empty: name a field")
    try:
        tree: dict[str, Any] = dict(jmespath.compile(text).parsed)
    except JMESPathError as error:
        if _ODD_NAME.fullmatch(text):
            return {"type": "field", "children": [], "value": text}
        said = str(error).splitlines()[0].rstrip(":")
        raise BadPath(
            f"is no path ({said}); a name with other characters goes into double quotes, as '\"a.b\"'"
        ) from None
    for node in _nodes(tree):
        if node["type"] == "function_expression" and node["value"] not in Functions.FUNCTION_TABLE:
            known = ", ".join(sorted(Functions.FUNCTION_TABLE))
            said = f"there is no function {node['value']} (there are {known})"
            raise BadPath(f"{said}; the name of a field with brackets in it goes into double quotes, as '\"{text}\"'")
    return tree


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node["children"]:
        if isinstance(child, dict):
            yield from _nodes(child)


def _by_library(text: str, tree: dict[str, Any]) -> Getter:
    search = jmespath.compile(text).search
    functions = sorted({node["value"] for node in _nodes(tree) if node["type"] == "function_expression"})
    named = ", ".join(functions) or "an operator"

    def get(record: Any) -> Any:
        try:
            return search(record)
        except JMESPathError as error:
            said = f"can't be worked out: {named} got a value of a type that it doesn't take, or nothing"
            raise CannotEvaluate(said) from error

    return get


def _closure(node: dict[str, Any]) -> Getter | None:
    """Return what evaluates a node as the library does, or None where that is left to the library."""
    make = _CLOSURES.get(node["type"])
    return None if make is None else make(node)


def _children(node: dict[str, Any]) -> list[Getter] | None:
    found = [_closure(child) for child in node["children"]]
    return None if None in found else found  # type: ignore[return-value]  # there is no None in it


def _field(node: dict[str, Any]) -> Getter:
    return _chain([node["value"]])


def _chain(names: list[str]) -> Getter:
    """Return what follows names from object to object. Objects alone have names: of anything else it is nothing."""
    if len(names) == 1:
        name = names[0]
        return lambda record: record.get(name) if isinstance(record, dict) else None
    if len(names) == 2:
        first, second = names

        def get_two(record: Any) -> Any:
            inner = record.get(first) if isinstance(record, dict) else None
            return inner.get(second) if isinstance(inner, dict) else None

        return get_two

    def get(record: Any) -> Any:
        for name in names:
            if not isinstance(record, dict):
                return None
            record = record.get(name)
        return record

    return get


def _one_after_the_other(node: dict[str, Any]) -> Getter | None:
    """A subexpression (a.b), an element of a list (a[0]) or a pipe: each part is evaluated on what came before."""
    if all(child["type"] == "field" for child in node["children"]):
        return _chain([child["value"] for child in node["children"]])
    parts = _children(node)
    if parts is None:
        return None

    def get(record: Any) -> Any:
        for part in parts:
            record = part(record)
        return record

    return get


def _index(node: dict[str, Any]) -> Getter:
    place: int = node["value"]

    def get(record: Any) -> Any:
        try:
            return record[place] if isinstance(record, list) else None
        except IndexError:
            return None

    return get


def is_false(value: Any) -> bool:
    """Return whether a value counts as false, as in JMESPath: nothing, false and what is empty; 0 does not."""
    return value is None or value is False or (not value and isinstance(value, str | list | dict))


def _or(node: dict[str, Any]) -> Getter | None:
    parts = _children(node)
    if parts is None:
        return None
    left, right = parts

    def get(record: Any) -> Any:
        value = left(record)
        return right(record) if is_false(value) else value

    return get


def _and(node: dict[str, Any]) -> Getter | None:
    parts = _children(node)
    if parts is None:
        return None
    left, right = parts

    def get(record: Any) -> Any:
        value = left(record)
        return value if is_false(value) else right(record)

    return get


def _not(node: dict[str, Any]) -> Getter | None:
    parts = _children(node)
    if parts is None:
        return None
    (inner,) = parts
    return lambda record: is_false(inner(record))


def _comparator(node: dict[str, Any]) -> Getter | None:
    """Only equality with a text: numbers, and true and false, compare by rules of their own."""
    left, right = node["children"]
    if node["value"] not in {"eq", "ne"} or right["type"] != "literal" or not isinstance(right["value"], str):
        return None
    inner, text = _closure(left), right["value"]
    if inner is None:
        return None
    if node["value"] == "eq":
        return lambda record: inner(record) == text
    return lambda record: inner(record) != text


def _filter(node: dict[str, Any]) -> Getter | None:
    """The elements of a list for which a condition holds, and of each what follows the bracket."""
    parts = _children(node)
    if parts is None:
        return None
    base, inner, condition = parts
    if (named := _name_and_text(node["children"][2])) is not None:
        name, text = named

        def get_named(record: Any) -> Any:
            elements = base(record)
            if not isinstance(elements, list):
                return None
            found = [inner(each) for each in elements if isinstance(each, dict) and each.get(name) == text]
            return [value for value in found if value is not None]

        return get_named

    def get(record: Any) -> Any:
        elements = base(record)
        if not isinstance(elements, list):
            return None
        found = [inner(element) for element in elements if not is_false(condition(element))]
        return [value for value in found if value is not None]

    return get


def _name_and_text(condition: dict[str, Any]) -> tuple[str, str] | None:
    """Return the two sides of ``name == 'text'``, as named values are looked for; None of another condition."""
    if condition["type"] != "comparator" or condition["value"] != "eq":
        return None
    left, right = condition["children"]
    if left["type"] != "field" or right["type"] != "literal" or not isinstance(right["value"], str):
        return None
    return left["value"], right["value"]


_CLOSURES: dict[str, Callable[[dict[str, Any]], Getter | None]] = {
    "identity": lambda _node: lambda record: record,
    "literal": lambda node: lambda _record: node["value"],
    "field": _field,
    "subexpression": _one_after_the_other,
    "index_expression": _one_after_the_other,
    "pipe": _one_after_the_other,
    "index": _index,
    "or_expression": _or,
    "and_expression": _and,
    "not_expression": _not,
    "comparator": _comparator,
    "filter_projection": _filter,
}
