"""The catalogue: what is right comes in whole, what is wrong is refused with the place and the reason."""

from copy import deepcopy
from typing import Any

import pytest

from consumer.core.catalogue import TRIGGERS, Catalogue, CatalogueError
from consumer.default_catalogue import default_mapping


def test_the_shipped_catalogue_answers_to_every_trigger() -> None:
    """No trigger of the shipped catalogue is left without an action."""
    catalogue = Catalogue.from_mapping(default_mapping())
    assert [t for t in TRIGGERS if not catalogue.by_trigger[t]] == []
    assert catalogue.budgets() == {"phone": 40.0}


def test_the_digest_stands_for_the_meaning_not_for_the_writing() -> None:
    """Writing a default out, or the channels in another order, is the same catalogue; another margin is not."""
    mapping = default_mapping()
    digest = Catalogue.from_mapping(mapping).digest()
    same = deepcopy(mapping)
    same["actions"]["cart_reminder"]["consent"] = "opt_in"
    same["channels"] = dict(reversed(same["channels"].items()))
    assert Catalogue.from_mapping(same).digest() == digest
    other = deepcopy(mapping)
    other["actions"]["cart_reminder"]["margin"] += 1
    assert Catalogue.from_mapping(other).digest() != digest


def test_a_prior_can_differ_by_channel() -> None:
    """The arm of a channel with a prior of its own starts from that, the others from the action's."""
    arms = {arm.id: arm.prior_logit for arm in Catalogue.from_mapping(default_mapping()).arms}
    assert arms["recommend_items|on_site"] > arms["recommend_items|email"] == arms["recommend_items|push"]


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("actions", "cart_reminder", "margin"), "much", ("`cart_reminder`", "`margin`", "float")),
        (("actions", "cart_reminder", "margin"), None, ("`cart_reminder`", "margin", "missing")),
        (("actions", "cart_reminder", "colour"), "red", ("`cart_reminder`", "colour", "unknown")),
        (("actions", "cart_reminder", "triggers"), ["full_moon"], ("`cart_reminder`", "`triggers[0]`", "full_moon")),
        (("actions", "cart_reminder", "channels"), ["pigeon"], ("`cart_reminder`", "`channels`", "pigeon")),
        (("actions", "cart_reminder", "channels"), ["email", "email"], ("`cart_reminder`", "`channels`", "twice")),
        (("actions", "cart_reminder", "prior_probability"), 1.5, ("`cart_reminder`", "`prior_probability`")),
        (("actions", "cart_reminder", "prior_by_channel"), {"phone": 0.1}, ("`prior_by_channel`", "`phone`")),
        (("actions", "cart_reminder", "cost_per_outcome"), 99, ("`cart_reminder`", "`cost_per_outcome`")),
        (("actions", "cart_reminder", "eligibility"), {"min_orders": 3, "max_orders": 1}, ("min_orders", "max_orders")),
        (("actions", "win_back_offer", "eligibility"), {"segments": ["rich"]}, ("`win_back_offer`", "segments")),
        (("actions", "win_back_offer", "variants"), [{"id": "a", "words": "x"}] * 2, ("`variants`", "same id")),
        (("actions", "nothing"), {}, ("`nothing`", "always possible")),
        (("actions", "email"), "same", ("`email`", "channel")),
        (("actions", "Shout!"), {}, ("`Shout!`", "name")),
        (("channels", "email", "quiet_until"), None, ("`email`", "quiet_until")),
        (("channels", "email", "quiet_from"), "25:00", ("`email`", "`quiet_from`")),
        (("channels", "email", "quiet_from"), "07:00", ("`email`", "quiet_until")),
        (("nothing",), None, ("nothing", "missing")),
        (("actions",), {}, ("actions", "missing")),
        (("limit",), {}, ("`limit`", "limits")),
    ],
)
def test_a_fault_is_told_with_its_place(path: tuple[str, ...], value: Any, told: tuple[str, ...]) -> None:
    """The message names the action or channel and the field."""
    mapping = default_mapping()
    table = mapping
    for key in path[:-1]:
        table = table[key]
    if value is None:
        del table[path[-1]]
    else:
        table[path[-1]] = mapping["actions"]["apology"] if value == "same" else value
    with pytest.raises(CatalogueError) as refused:
        Catalogue.from_mapping(mapping)
    assert [word for word in told if word not in str(refused.value)] == []


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        (("limits", "max_per_dya"), "max_per_day"),
        (("channels", "email", "costs"), "cost"),
        (("actions", "cart_reminder", "cooldown_day"), "cooldown_days"),
        (("actions", "cart_reminder", "eligibility", "needs_carts"), "needs_cart"),
    ],
)
def test_an_unknown_key_is_told_with_the_one_that_was_meant(path: tuple[str, ...], hint: str) -> None:
    """Also inside of an action's parts."""
    mapping = default_mapping()
    table = mapping
    for name in path[:-1]:
        table = table.setdefault(name, {})
    table[path[-1]] = 1
    with pytest.raises(CatalogueError, match=f"did you mean `{hint}`"):
        Catalogue.from_mapping(mapping)
