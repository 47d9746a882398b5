"""Paths: names, elements and conditions, with the same values as the library that they are written for."""

import re
from typing import Any

import jmespath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.inputs.paths import BadPath, CannotEvaluate, Path

NAMES = st.sampled_from(["a", "b", "key"])
SCALARS = st.none() | st.booleans() | st.sampled_from([0, 1, 2.5]) | st.sampled_from(["", "x", "y"])
DOCUMENTS = st.dictionaries(
    NAMES,
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
    ),
    max_size=3,
)
EXPRESSIONS = [
    "a",
    "a.b",
    "a.b.key",
    "a[0]",
    "a[-1].b",
    "a[1][0]",
    "a || b",
    "a.b || 'x'",
    "a && b",
    "!a",
    "!(a && b) || key",
    "a == 'x'",
    "a != 'x'",
    "a.b == 'x' && key != 'y'",
    "a[?key == 'x'].b",
    "a[?key == 'x'].b | [0]",
    "a[?b].key || b",
    "a | b",
    "@",
    "'x'",
    '"a".b',
    "a[*].b",
    "a[].b",
    "a == b",
    "a == `1`",
    "a.*",
    "[a, b]",
    "{x: a, y: b}",
    "not_null(a, b)",
]


@given(document=DOCUMENTS)
@settings(max_examples=200)
def test_every_path_leads_where_the_library_says(document: dict[str, Any]) -> None:
    """What is evaluated without the library gives what the library gives, truth and nothing included."""
    for expression in EXPRESSIONS:
        found, expected = Path(expression).get(document), jmespath.search(expression, document)
        assert (type(found), found) == (type(expected), expected), expression


@pytest.mark.parametrize("name", ["Customer ID", "price-eur", "2nd item", "Größe", "net/gross", "item #"])
def test_a_name_that_is_no_path_is_the_name_of_a_field(name: str) -> None:
    """Headers of tables have blanks in them; nobody should have to learn about quotes for that."""
    assert Path(name).get({name: "found"}) == "found"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("a[?b ==", "is no path"),
        ("lower(a)", "there is no function lower (there are abs,"),
        ("Amount (EUR)", "goes into double quotes"),
        ("a..b", "goes into double quotes"),
    ],
)
def test_what_is_no_path_is_refused_with_what_to_write(text: str, words: str) -> None:
    """When the mapping is made, not at the first record."""
    with pytest.raises(BadPath, match=re.escape(words)):
        Path(text)


def test_a_function_that_cannot_take_a_value_says_so_without_the_value() -> None:
    """The message may go into logs, so the value may not go into it."""
    with pytest.raises(CannotEvaluate, match="starts_with got a value of a type that it doesn't take") as refused:
        Path("starts_with(a, 'C')").get({"a": 4711})
    assert "4711" not in str(refused.value)
