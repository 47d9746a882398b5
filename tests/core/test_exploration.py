"""The slot that explores: what it may show, and with what probability."""

from collections import Counter

import pytest

from consumer.core.decision.exploration import explore
from schemas.records import Recommendation

RANKED = [Recommendation(item_id, 1.0 / place, "next") for place, item_id in enumerate("abcdefg", start=1)]
DRAWS = 4_000


def test_only_the_last_slot_is_drawn() -> None:
    """The others are the best items in their order and carry no propensity."""
    for n in range(100):
        listed = explore(RANKED, 3, 0.5, ("seed", f"{n}"))
        assert listed[:2] == RANKED[:2]
        assert listed[2].item_id in "cdefg"
        assert listed[2].propensity is not None


def test_the_propensity_is_how_often_the_item_is_drawn() -> None:
    """Each item's share of many draws is the probability that is logged with it, and these sum to 1."""
    drawn = [explore(RANKED, 3, 0.5, ("seed", f"{n}"))[2] for n in range(DRAWS)]
    logged = {each.item_id: each.propensity or 0.0 for each in drawn}
    counts = Counter(each.item_id for each in drawn)
    assert sum(logged.values()) == pytest.approx(1.0)
    assert logged["c"] == pytest.approx(0.6)
    for item_id, propensity in logged.items():
        assert counts[item_id] / DRAWS == pytest.approx(propensity, abs=0.03)


def test_the_same_decision_draws_the_same_item() -> None:
    """The words decide, and other words decide otherwise."""
    assert explore(RANKED, 3, 1.0, ("seed", "d1")) == explore(RANKED, 3, 1.0, ("seed", "d1"))
    assert len({explore(RANKED, 3, 1.0, ("seed", f"{n}"))[2].item_id for n in range(50)}) > 1


@pytest.mark.parametrize(("limit", "share", "n"), [(3, 0.0, 7), (1, 0.5, 7), (3, 0.5, 3), (3, 0.5, 2), (0, 0.5, 7)])
def test_without_choice_the_list_stays_as_it_is(limit: int, share: float, n: int) -> None:
    """No share, a single slot, or nothing that follows: nothing is drawn, nothing is logged."""
    assert explore(RANKED[:n], limit, share, ("seed", "d1")) == RANKED[:n][:limit]
