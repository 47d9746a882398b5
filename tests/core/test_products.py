"""What is remembered of product records, and what may be offered."""

from hypothesis import given
from hypothesis import strategies as st

from consumer.core.preference.products import Products
from schemas.events import Product

records = st.builds(
    lambda item_id, available, restricted: (item_id, Product(item_id, available=available, restricted=restricted)),
    st.sampled_from("abcdefghij"),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(records, max_size=60), st.integers(1, 4), st.integers(1, 4))
def test_a_blocked_product_is_never_offerable(
    told: list[tuple[str, Product]], max_offered: int, max_blocked: int
) -> None:
    """However many are blocked, none of them may be offered, and no more records are kept than the limits allow."""
    products = Products(max_offered, max_blocked)
    latest: dict[str, Product] = {}
    for item_id, product in told:
        products.apply(item_id, product)
        latest[item_id] = product
        assert len(products) <= max_offered + max_blocked
        blocked = {i for i, one in latest.items() if one.restricted or not one.available}
        assert not any(products.is_offerable(i) for i in blocked)
        assert products.unofferable("abcdefghij") == {i for i in "abcdefghij" if not products.is_offerable(i)}
        if len(blocked) <= 1:
            assert products.is_offerable(item_id) == (item_id not in blocked)


def test_items_of_which_nothing_is_known_are_offered_until_a_blocked_one_is_forgotten() -> None:
    """From then on nobody can tell them from the forgotten one."""
    products = Products(max_offered=5, max_blocked=2)
    products.apply("told", Product("told"))
    for item_id in "ab":
        products.apply(item_id, Product(item_id, available=False))
    assert products.is_offerable("unknown")
    products.apply("c", Product("c", restricted=True))
    assert not products.is_offerable("unknown")
    assert not products.is_offerable("a")
    assert products.is_offerable("told")


def test_the_longest_untouched_record_goes_first() -> None:
    """A record that is told again counts as new."""
    products = Products(max_offered=2, max_blocked=2)
    for item_id in ("a", "b", "a"):
        products.apply(item_id, Product(item_id, category=f"of {item_id}", price=1.0))
    assert list(products.apply("c", Product("c"))) == ["c", "b"]
    assert [products.category_of(item_id) for item_id in "abc"] == ["of a", None, None]
    assert [products.price_of(item_id) for item_id in "abc"] == [1.0, None, None]
