"""Sections `[inputs.NAME]`: everything that is wrong with one is said at once, each with its key and what to write."""

import re
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.config import ConfigError, load_config
from consumer.inputs.configure import _INPUT_KEYS, _RULE_KEYS, BadMapping, mapping_of
from consumer.inputs.fields import _KEYS as FIELD_KEYS
from consumer.inputs.shipped import shipped_names
from tests.inputs.sections import HEAD, ORDER, VIEW, section


def problems(text: str) -> dict[str, str]:
    """Return what is wrong with a section, by key."""
    with pytest.raises(BadMapping) as refused:
        mapping_of("shop", section(text))
    return dict(refused.value.problems)


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        (VIEW, "topics", "neither topics nor files are named"),
        (HEAD, "events", "says what records become: write [[inputs.shop.events]]"),
        (f'topic = ["x"]\n{HEAD}{VIEW}', "topic", "no such key. Did you mean topics?"),
        (f'topics = "x"\n{VIEW}', "topics", "is no list of texts: put it in brackets"),
        (f'format = "xml"\n{HEAD}{VIEW}', "format", "is none of json, json-registry, avro, csv: 'xml'"),
        (f'columns = ["a"]\n{HEAD}{VIEW}', "columns", 'is for format = "csv" alone'),
        (f'topics = ["t"]\nformat = "csv"\n{VIEW}', "columns", "are needed for records on a topic"),
        (f'separator = "::"\nformat = "csv"\n{HEAD}{VIEW}', "separator", 'is one character, such as ";"'),
        (f'zone = "CET Berlin"\n{HEAD}{VIEW}', "zone", "is no IANA name of a time zone"),
        (f'topics = ["t"]\ngroup_by = "a"\n{VIEW}', "group_by", "is for files"),
        (f"distinct = true\n{HEAD}{VIEW}", "distinct", "goes with group_by"),
        (f'{HEAD}[fields]\ncustomer = "u"\n{VIEW}', "fields.customer", "Did you mean customer_id?"),
        (f"{HEAD}[fields]\nsession_id = 5\n{VIEW}", "fields.session_id", "is neither a path (text) nor a table"),
        (f"{HEAD}[[events]]\nevent_id = 'e'", "events[0].kind", "is missing: one of page_view, item_view"),
        (HEAD + VIEW.replace('"item_view"', '"view"'), "events[0].kind", "'view' is no kind."),
        (HEAD + VIEW.replace('"item_view"', '{ path = "k", table = { a = "views" } }'), "events[0].kind", "'views' is"),
        (HEAD + VIEW.replace('item_id = "item"', ""), "events[0]", "`item_id` is not mapped, and a record of"),
        (HEAD + VIEW.replace('event_id = "id"', ""), "events[0]", "derive it with hash_of = [ paths ]"),
        (HEAD + ORDER, "events[0]", "an order needs lines or an amount"),
        (HEAD + VIEW + 'order_id = "o"', "events[0].order_id", "events of kind item_view have no such field"),
        (HEAD + VIEW + 'when = "a =="', "events[0].when", "is no path"),
        (HEAD + VIEW + 'context = "c"', "events[0].context", "is a table: a field for each of channel, country"),
        (HEAD + VIEW + 'context = { devise = "c" }', "events[0].context.devise", "Did you mean device?"),
        (HEAD + ORDER + 'lines = { each = "l" }', "events[0].lines", "`item_id` is not mapped"),
        (HEAD + VIEW + "price = {}", "events[0].price", "says not where its value comes from: give one of path, paths"),
        (HEAD + VIEW + 'price = { path = "a", value = 1 }', "events[0].price", "names path and value: give one of"),
        (HEAD + VIEW + 'price = { path = "a", unit = 1 }', "events[0].price", "unit: no such key."),
        (HEAD + VIEW + "price = { path = 5 }", "events[0].price", "path is a number; it takes text"),
        (HEAD + VIEW + 'price = { value = "dear" }', "events[0].price", "value is text that is no number"),
        (HEAD + VIEW + 'price = { path = "p", decimal = ";" }', "events[0].price", "decimal is the character"),
        (HEAD + VIEW + 'brand = { path = "p", divide_by = 5 }', "events[0].brand", "this one holds text"),
        (HEAD + VIEW + 'brand = { paths = ["a", "b"] }', "events[0].brand", "paths needs join"),
        (HEAD + VIEW + 'brand = { path = "a", otherwise = "b" }', "events[0].brand", "otherwise goes with table"),
        (HEAD + VIEW + 'brand = { path = "a", case = "title" }', "events[0].brand", 'case is "upper" or "lower"'),
        (HEAD + VIEW.replace('"at"', '{ path = "at", time = "sec" }'), "events[0].occurred_at", "is none of s, ms, us"),
        (HEAD + VIEW.replace('"at"', '{ path = "at", time = "%Q" }'), "events[0].occurred_at", "is no format that"),
        (HEAD + VIEW.replace('"at"', '{ path = "at", zone = "X" }'), "events[0].occurred_at", "is no IANA name"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_by_key_with_what_to_write(text: str, key: str, words: str) -> None:
    """Before any record is read."""
    assert words in problems(text)[key]


def test_a_field_that_only_other_kinds_have_may_be_common_to_all_rules() -> None:
    """`[fields]` is for whatever has the field; rules say no more than what is theirs."""
    common = (
        '[fields]\nevent_id = "id"\ncustomer_id = "user"\noccurred_at = "at"\norder_id = "order"\nitem_id = "item"\n'
    )
    rules = '[[events]]\nkind = "item_view"\n[[events]]\nkind = "order"\namount = "sum"\n'
    mapping = mapping_of("shop", section(HEAD + common + rules))
    plans = [plan for rule in mapping.rules for plan in rule.plans.values()]
    assert [[name for name, _, _ in plan.fields] for plan in plans] == [
        ["event_id", "customer_id", "occurred_at", "item_id"],
        ["event_id", "customer_id", "occurred_at", "order_id", "amount"],
    ]


def test_the_configuration_names_all_problems_of_all_inputs_with_their_file(tmp_path: Path) -> None:
    """Together with those of other sections."""
    file = tmp_path / "nextbest.toml"
    file.write_text(
        '[churn]\nhorizon_days = "x"\n[inputs.a]\nfiles = ["a"]\nformat = "xml"\n[inputs.b]\ntopics = 5\n'
        "[[inputs.b.events]]\n"
    )
    with pytest.raises(ConfigError) as refused:
        load_config(file, {})
    said = str(refused.value)
    for words in (
        "churn.horizon_days",
        "inputs.a.format (",
        "inputs.a.events (",
        "inputs.b.topics (",
        "events[0].kind",
    ):
        assert words in said
    assert len(re.findall(re.escape(str(file)), said)) == said.count("\n")


def test_inputs_may_come_from_the_environment_as_json() -> None:
    """For containers, whose files are hard to change."""
    inputs = '{"shop": {"files": ["x"], "events": [{"kind": "product", "item_id": "id"}]}}'
    assert load_config(None, {"NEXTBEST_INPUTS": inputs}).inputs["shop"]["files"] == ["x"]
    with pytest.raises(ConfigError, match="is a section, not a single value"):
        load_config(None, {"NEXTBEST_INPUTS": "shop"})


DOCS = (Path(__file__).parents[2] / "docs" / "inputs.md").read_text(encoding="utf-8")


def test_the_reference_names_every_key() -> None:
    """And those that come along."""
    for key in (*_INPUT_KEYS, *_RULE_KEYS, *FIELD_KEYS):
        assert f"`{key}`" in DOCS, key
    for name in shipped_names():
        assert f"`{name}`" in DOCS, name


def test_the_examples_of_the_reference_are_mappings() -> None:
    """But for the one that leaves out what is beside its point."""
    examples = [
        tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", DOCS, re.DOTALL) if "# …" not in block
    ]
    assert examples
    for example in examples:
        for name, each in example["inputs"].items():
            mapping_of(name, each)


WORDS = st.sampled_from(["a", "a.b", "item_view", "order", "", "%Y", "s", ",", "csv", "Europe/Berlin", "a ==", "*"])
KEYS = st.sampled_from([*_INPUT_KEYS, *_RULE_KEYS, *FIELD_KEYS, "item_id", "occurred_at", "price", "lines", "context"])
VALUES = st.recursive(
    WORDS | st.integers() | st.booleans() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(written=st.dictionaries(KEYS, VALUES, max_size=6) | VALUES)
@settings(max_examples=200)
def test_a_section_is_a_mapping_or_all_that_is_wrong_with_it(written: Any) -> None:
    """Whatever stands in the file, nobody sees a stack trace."""
    with suppress(BadMapping):
        assert mapping_of("shop", written).rules
