"""Mappings: what a record becomes, and what is said where it can't."""

import json
from decimal import Decimal
from typing import Any, get_args
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.inputs.mapping import WrongValue
from schemas.errors import InvalidRecord, RejectionReason
from schemas.events import ClickEvent, PrivacyEvent, Product, PurchaseEvent
from tests.inputs.sections import HEAD, ORDER, RECORD, VIEW, events, fault, mapper

T = 1_714_636_800_000  # 2024-05-02 08:00 UTC


def one(text: str, **more: Any) -> Any:
    (event,) = events(HEAD + text, {**RECORD, **more})
    return event


def view_with(field: str, value: Any, **more: Any) -> Any:
    """Return the event of a mapping with one more field, from `value` in the record."""
    return getattr(one(VIEW + field, value=value, **more), field.partition(" ")[0])


@pytest.mark.parametrize(
    ("written", "value", "expected_ms"),
    [
        ("at", T, T),
        ("at", str(T), T),
        ("at", "2024-05-02T08:00:00Z", T),
        ("at", "2024-05-02 08:00:00 UTC", T),
        ("at", "2024-05-02T10:00:00+02:00", T),
        ("at", "2024-05-02T08:00:00.250", T + 250),
        ('{ path = "at", time = "s" }', 1_714_636_800, T),
        ('{ path = "at", time = "s" }', "1714636800.25", T + 250),
        ('{ path = "at", time = "us" }', "1714636800000000", T),
        ('{ path = "at", time = "ns" }', 1_714_636_800_000_000_000, T),
        ('{ path = "at", time = "iso", zone = "Europe/Berlin" }', "2024-05-02T10:00:00", T),
        ('{ path = "at", time = "%d.%m.%Y %H:%M", zone = "Europe/Berlin" }', "02.05.2024 10:00", T),
        ('{ path = "at", time = "%m/%d/%Y %I:%M %p" }', "5/2/2024 8:00 AM", T),
        ('{ path = "at", time = "%Y-%m-%dT%H:%M:%S%z" }', "2024-05-02T10:00:00+0200", T),
        ('{ path = "at", time = ["iso", "%d.%m.%Y %H:%M"] }', "02.05.2024 08:00", T),
        ('{ path = "at", time = ["%d.%m.%Y %H:%M", "iso"] }', "2024-05-02 08:00", T),
        ('{ paths = ["day", "hour"], join = " ", time = "%Y%m%d %H" }', None, T),
    ],
)
def test_times_are_read_as_the_mapping_says(written: str, value: Any, expected_ms: int) -> None:
    """Seconds, milliseconds, microseconds, ISO 8601 or a format, in a zone where the text names none."""
    text = HEAD + VIEW.replace('occurred_at = "at"', f"occurred_at = {written}".replace("= at", '= "at"'))
    (event,) = events(text, {**RECORD, "at": value, "day": 20240502, "hour": "08"})
    assert event.occurred_at == expected_ms


def test_the_zone_of_an_input_holds_for_times_that_name_none() -> None:
    """A time with a zone of its own keeps it."""
    text = HEAD + 'zone = "America/New_York"\n' + VIEW
    times = ["2024-05-02T04:00:00", "2024-05-02T08:00:00Z"]
    assert [events(text, {**RECORD, "at": at})[0].occurred_at for at in times] == [T, T]


@pytest.mark.parametrize(
    ("written", "value", "words"),
    [
        ("at", 1_714_636_800, 'looks like seconds: set time = "s"'),
        ("at", "1714636800000000", 'looks like microseconds: set time = "us"'),
        ('{ path = "at", time = "s" }', T, 'looks like milliseconds: set time = "ms"'),
        ("at", "02.05.2024", 'is text that is no ISO 8601 time: set its format, as time = "%d.%m.%Y'),
        ('{ path = "at", time = "iso" }', T, 'is a number: set time = "s", "ms", "us" or "ns"'),
        ('{ path = "at", time = "s" }', "2024-05-02", 'is text that is no number: set time = "iso"'),
        ('{ path = "at", time = "%d.%m.%Y" }', "2024-05-02", "is text that is not written as %d.%m.%Y"),
        ("at", {"seconds": 1}, "is an object, expected a number of milliseconds"),
        ("at", -5, "is a time before 1970"),
    ],
)
def test_a_time_in_another_unit_is_refused_with_what_to_set(written: str, value: Any, words: str) -> None:
    """Nothing is guessed from event to event, and the message has the key to change."""
    text = HEAD + VIEW.replace('occurred_at = "at"', f"occurred_at = {written}".replace("= at", '= "at"'))
    found = fault(text, {**RECORD, "at": value})
    assert found.field == "occurred_at"
    assert "[inputs.shop] item_view: `occurred_at`, from `at`, " in found.message
    assert words in found.message
    assert str(value) not in found.message


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ('price = "value"', 2, 2.0),
        ('price = "value"', "2.50", 2.5),
        ('price = "value"', Decimal("2.50"), 2.5),
        ('price = { path = "value", decimal = "," }', "1.234,50 €", 1234.5),
        ('price = { path = "value", decimal = "," }', 12.5, 12.5),
        ('price = { path = "value", decimal = "." }', "$1,234.50", 1234.5),
        ('price = { path = "value", divide_by = 100 }', 5990, 59.9),
        ('price = { path = "value", divide_by = "per" }', "9", 3.0),
        ('price = { path = "value", divide_by = { path = "c", table = { JPY = 1 }, otherwise = 100 } }', 500, 500.0),
        ('price = { path = "value", default = 1 }', None, 1.0),
        ('price = "value"', "", None),
        ('n_results = "value"', "3.0", 3),
    ],
)
def test_numbers_are_read_however_they_are_written(field: str, value: Any, expected: object) -> None:
    """As numbers, as text, with decimal commas, in minor units; an empty text is nothing."""
    assert view_with(field, value, per=3, c="JPY") == expected


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        (
            'price = "value"',
            "12,50",
            "is text that is no number: say which character stands before the decimals",
        ),
        ('price = "value"', "n/a", "is text that is no number: if it stands for nothing, name it in `none`"),
        ('price = "value"', "inf", "is no finite number"),
        ('price = "value"', [1], "is a list, expected a number: put [0] behind the path for its first element"),
        ('price = "value"', True, "is true or false, expected a number"),
        ('brand = "value"', {"name": "x"}, "is an object, expected text or a number: the path has to go on"),
        ('price = { path = "value", divide_by = "zero" }', 1, "is to be divided by `zero`, which is 0"),
        ("brand = \"starts_with(value, 'a')\"", 1, "starts_with got a value of a type that it doesn't take"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_field_path_type_and_remedy(
    field: str, value: Any, words: str
) -> None:
    """The message can be logged: it has no value in it."""
    found = fault(HEAD + VIEW + field, {**RECORD, "value": value, "zero": 0})
    name = field.partition(" ")[0]
    assert (found.field, found.reason in REASONS) == (name, True)
    assert found.message.startswith(f"[inputs.shop] item_view: `{name}`, from `")
    assert words in found.message
    assert "12,50" not in found.message


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ('brand = "value"', 4711, "4711"),
        ('brand = "value"', 12.0, "12"),
        ('brand = "value"', UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        ('brand = { path = "value", whole = true }', "13085.0", "13085"),
        ('brand = { path = "value", whole = true }', "13085.5", "13085.5"),
        ('brand = { path = "value", case = "upper" }', "eur", "EUR"),
        ('brand = { value = "own" }', None, "own"),
        ('brand = { paths = ["value", "item"], join = "-" }', 7, "7-x"),
        ('brand = { paths = ["value", "item"], join = "-" }', None, None),
        ('brand = { path = "value", table = { A = "Acme", 7 = "Seven", true = "Yes", "" = "" } }', "A", "Acme"),
        ('brand = { path = "value", table = { A = "Acme", 7 = "Seven" } }', 7, "Seven"),
        ('brand = { path = "value", table = { A = "Acme" } }', "B", "B"),
        ('brand = { path = "value", table = { A = "Acme" }, otherwise = "other" }', "B", "other"),
        ('brand = { path = "value", table = { none = "" } }', "none", None),
        ('brand = "value.name || value.title"', {"title": "x"}, "x"),
        ("brand = \"value[?key == 'b'].text | [0]\"", [{"key": "a"}, {"key": "b", "text": "x"}], "x"),
        ('brand = "Name of Brand"', None, "as in a header"),
    ],
)
def test_texts_and_ids_are_joined_renamed_and_made_of_numbers(field: str, value: Any, expected: object) -> None:
    """A numeric id is its digits; half of a joined id is no id; what isn't in a table stays as it is."""
    assert view_with(field, value, **{"Name of Brand": "as in a header"}) == expected


def test_texts_that_stand_for_nothing_are_nothing() -> None:
    """The empty text always, others where the mapping names them."""
    text = HEAD + 'none = ["(not set)", "NULL"]\n' + VIEW + 'category = "c"\nbrand = "b"\nprice = "p"\n'
    (event,) = events(text, {**RECORD, "c": "(not set)", "b": "", "p": "NULL"})
    assert (event.category, event.brand, event.price) == (None, None, None)


def test_an_event_id_is_derived_from_the_named_fields_alone() -> None:
    """The same fields give the same id in every process; other fields don't matter, and none at all is an error."""
    text = HEAD + VIEW.replace('event_id = "id"', 'event_id = { hash_of = ["user", "item", "n"] }')

    def id_of(**fields: object) -> str:
        (event,) = events(text, {"at": T, **fields})
        return str(event.event_id)

    assert id_of(user="u", item="x", n=1) == id_of(user="u", item="x", n=1, other=2) == "1c90f445508921ca47f3ebc5"
    assert len({id_of(user="u", item="x", n=n) for n in (1, 2, "1", None)}) == 4
    assert id_of(user="ab", item="c") != id_of(user="a", item="bc")
    found = fault(text.replace('["user", "item", "n"]', '["q", "r"]'), dict(RECORD))
    assert (found.reason, found.field) == ("missing_field", "event_id")


def test_lines_are_made_of_a_list_or_of_the_record_itself() -> None:
    """The element is called `each`; what is around it can be reached as well."""
    lines = '[events.lines]\neach = "cart.rows"\nitem_id = "each.sku"\nquantity = "each.n"\nunit_price = "each.cents"\n'
    order = one(ORDER + lines, cart={"rows": [{"sku": 7, "n": "2", "cents": 5}, {"sku": "y"}]})
    assert [(line.item_id, line.quantity, line.unit_price) for line in order.lines] == [("7", 2, 5.0), ("y", 1, 0.0)]
    flat = one(ORDER + 'lines = { item_id = "item", unit_price = "price" }', price="2")
    assert [(line.item_id, line.unit_price) for line in flat.lines] == [("x", 2.0)]


def test_what_is_wrong_within_a_line_is_said_with_its_number() -> None:
    """An order of fifty lines is found out by its one bad line."""
    lines = '[events.lines]\neach = "rows"\nitem_id = "each.sku"\nunit_price = "each.price"\n'
    found = fault(HEAD + ORDER + lines, {**RECORD, "rows": [{"sku": "a"}, {"sku": "b", "price": {"eur": 1}}]})
    assert found.field == "lines[1].unit_price"
    assert "order: `lines[1].unit_price`, from `each.price`, is an object" in found.message
    no_list = fault(HEAD + ORDER + lines, {**RECORD, "rows": {"sku": "a"}})
    assert "from `rows`, is an object, expected a list: write `[rows]`" in no_list.message


def test_a_record_becomes_none_one_or_several_events() -> None:
    """By conditions, a table of kinds, and the elements of a list; several of one record have ids of their own."""
    text = (
        HEAD
        + """
        [fields]
        event_id = "id"
        customer_id = "user"
        occurred_at = "at"
        [[events]]
        each = "items"
        item_id = "each.sku"
        kind = { path = "type", table = { look = "item_view", put = "cart_add" }, otherwise = "" }
        [[events]]
        when = "type == 'look' && page"
        kind = "page_view"
        """
    )

    def becomes(**fields: object) -> list[tuple[str, str]]:
        return [(event.kind, event.event_id) for event in events(text, {**RECORD, **fields})]

    assert becomes(type="sneeze", items=[{"sku": 1}]) == []
    assert becomes(type="look", items=[]) == becomes(type="look") == []
    assert becomes(type="put", items=[{"sku": 1}]) == [("cart_add", "e")]
    assert becomes(type="look", page="/", items=[{"sku": 1}, {"sku": 2}]) == [
        ("item_view", "e"),
        ("item_view", "e-2"),
        ("page_view", "e-3"),
    ]


def test_a_kind_that_the_table_lacks_is_an_error_where_nothing_says_otherwise() -> None:
    """A misspelt or new kind must not vanish silently."""
    text = HEAD + VIEW.replace('kind = "item_view"', 'kind = { path = "type", table = { look = "item_view" } }')
    found = fault(text, {**RECORD, "type": "stare"})
    assert (found.reason, found.field) == ("unknown_value", "kind")
    assert 'name it in its table, or set otherwise = "" for no event' in found.message
    assert "leave such records out" in fault(text, dict(RECORD)).message


def test_a_kind_may_stand_in_the_record_as_it_is() -> None:
    """Then no table is needed, and each kind has the fields that it knows."""
    text = (
        HEAD + VIEW.replace('kind = "item_view"', 'kind = { path = "type" }') + 'order_id = "order"\namount = "sum"\n'
    )
    assert isinstance(one(text.removeprefix(HEAD), type="cart_add"), ClickEvent)
    assert isinstance(one(text.removeprefix(HEAD), type="order", sum=5), PurchaseEvent)


def test_a_search_without_a_number_of_results_found_something() -> None:
    """Only 0 means anything, and nobody said 0."""
    search = VIEW.replace('kind = "item_view"', 'kind = "search"') + 'query = "q"\nn_results = "n"\n'
    assert [one(search, q="tea", **n).n_results for n in ({}, {"n": None}, {"n": 0}, {"n": "7"})] == [1, 1, 0, 7]


def test_consent_products_and_context_are_mapped_as_well() -> None:
    """Every canonical record can be made; a product needs no time."""
    consent = (
        'kind = "consent"\nevent_id = "id"\ncustomer_id = "user"\noccurred_at = "at"\ngranted = "ok"\nchannel = "ch"'
    )
    given = events(f"{HEAD}[[events]]\n{consent}", {**RECORD, "ok": "yes", "ch": "email"})
    assert given == [PrivacyEvent("e", "u", T, "consent", channel="email", granted=True)]
    product = f'{HEAD}[[events]]\nkind = "product"\nitem_id = "item"\nprice = "p"\navailable = "stock"'
    assert events(product, {**RECORD, "p": "5", "stock": 0}) == [Product("x", price=5.0, available=False)]
    context = 'context = { device = "ua.kind", country = "land" }'
    assert one(VIEW + context, ua={"kind": "phone"}).context.device == "phone"
    assert one(VIEW + context).context is None


def test_fields_that_hold_json_as_text_can_be_unpacked() -> None:
    """As an outbox table writes them."""
    text = HEAD + 'unpack = ["payload"]\n' + VIEW.replace('"item"', '"payload.item"')
    assert one(text.removeprefix(HEAD), payload='{"item": 5}').item_id == "5"
    assert "unpack: `payload` is text that is not valid JSON" in fault(text, {**RECORD, "payload": "{"}).message


def test_a_record_that_is_a_list_is_reached_by_name() -> None:
    """Some clients post a batch as a bare list."""
    text = HEAD + VIEW.replace("[[events]]", '[[events]]\neach = "list"').replace(' = "', ' = "each.').replace(
        'kind = "each.', 'kind = "'
    ).replace('each = "each.', 'each = "')
    assert [event.item_id for event in events(text, [dict(RECORD), {**RECORD, "item": "y"}])] == ["x", "y"]


def test_a_missing_field_is_said_with_the_path_that_leads_nowhere() -> None:
    """And with what to do about records that don't have it."""
    found = fault(HEAD + VIEW, {**RECORD, "user": None})
    assert (found.reason, found.field) == ("missing_field", "customer_id")
    assert "`customer_id`, from `user`, is missing: nothing is there; correct the path, or leave" in found.message


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("usr", "did you mean user?"),
        ("owner.nro", "did you mean nr?"),
        ("owner.mail", "there are nr"),
        ("shopper", "there are id, user, at, item, order, owner"),
        ("id.no", "None"),
    ],
)
def test_a_path_that_leads_nowhere_is_answered_with_the_names_that_are_there(path: str, words: str) -> None:
    """For whoever tries the mapping, not in the message: names may be data."""
    found = fault(HEAD + VIEW.replace('"user"', f'"{path}"'), {**RECORD, "owner": {"nr": 5}})
    assert isinstance(found, WrongValue)
    assert str(found.found) == words
    assert words not in found.message


def test_key_and_time_of_the_record_itself_can_be_mapped() -> None:
    """Some topics have the customer in the key alone, or no time but the broker's."""
    text = 'topics = ["t"]\n' + VIEW.replace('"user"', '"_key"').replace('"at"', '"_timestamp"')
    (found,) = mapper(text).of_value(json.dumps({"id": 1, "item": "x"}).encode(), b"u-1", T)
    assert not isinstance(found, InvalidRecord)
    assert (found.key, found.occurred_at) == (b"u-1", T)


REASONS = frozenset(get_args(RejectionReason))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(record=st.dictionaries(st.sampled_from(["id", "user", "at", "item", "order", "rows", "price"]), JSON) | JSON)
@settings(max_examples=200)
def test_no_record_breaks_a_mapping(record: Any) -> None:
    """Whatever comes, the answer is events or reasons."""
    lines = '[events.lines]\neach = "rows"\nitem_id = "each.sku"\nquantity = "each.n"\n'
    found = mapper(HEAD + VIEW + 'price = { path = "price", decimal = "," }' + ORDER + lines).of_record(record)
    assert len(found) in {1, 2}
    assert all(each.reason in REASONS for each in found if isinstance(each, InvalidRecord))
