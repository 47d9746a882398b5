"""The base rate that a prediction is compared with knows no more than the prediction did."""

from hypothesis import given
from hypothesis import strategies as st

from consumer.measure import base_rate
from consumer.measure.base_rate import BaseRate


@given(st.lists(st.tuples(st.integers(0, 100), st.sampled_from([0.0, 1.0])), max_size=40), st.integers(0, 100))
def test_it_is_the_share_of_the_labels_that_had_matured(labels: list[tuple[int, float]], moment: int) -> None:
    """Labels that mature later do not count, and one of each class is there in advance."""
    rate = BaseRate()
    for matured_at, label in sorted(labels):
        rate.add(matured_at, label)
    known = [label for matured_at, label in labels if matured_at <= moment]
    assert rate.at(moment) == (sum(known) + 1) / (len(known) + 2)


def test_what_is_remembered_is_bounded_and_nothing_is_lost_of_the_sum() -> None:
    """Beyond the bound old labels are known as a sum."""
    rate = BaseRate()
    n = base_rate.MAX_REMEMBERED + 10
    for moment in range(n):
        rate.add(moment, moment % 2)
    assert rate.at(n) == (n // 2 + 1) / (n + 2)
    assert len(rate._matured_at) <= base_rate.MAX_REMEMBERED
