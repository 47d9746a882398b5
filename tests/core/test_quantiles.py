"""Quantiles of a stream: near the true ones, bounded, and blind to order."""

from hypothesis import given
from hypothesis import strategies as st

from consumer.core.customer.quantiles import (
    MAX_BUCKET,
    Histogram,
    add_value,
    flat,
    from_flat,
    halve,
    n_values,
    quantile,
)

values = st.lists(st.floats(0, 1e9), min_size=1, max_size=200)


def counted(numbers: list[float]) -> Histogram:
    """Return the histogram of `numbers`."""
    histogram: Histogram = {}
    for number in numbers:
        add_value(histogram, number)
    return histogram


@given(values, st.floats(0.01, 0.99))
def test_a_quantile_is_within_a_bucket_of_the_true_one(numbers: list[float], share: float) -> None:
    """1 + value is off by less than 4.5 %: the quantile lies in the bucket of the value of that rank."""
    found, ordered = 1.0 + quantile(counted(numbers), share), sorted(numbers)
    place = share * len(ordered)
    low, high = ordered[max(int(place - 1e-9), 0)], ordered[min(int(place + 1e-9), len(ordered) - 1)]
    assert (1.0 + low) / 1.045 <= found <= (1.0 + high) * 1.045


@given(values, st.randoms())
def test_the_order_of_values_makes_no_difference(numbers: list[float], chance: object) -> None:
    """Equal values in any order give equal plain data, and back."""
    shuffled = list(numbers)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random, drawn by hypothesis
    assert flat(counted(numbers)) == flat(counted(shuffled))
    assert from_flat(flat(counted(numbers))) == counted(numbers)


@given(st.lists(st.floats(-1e300, 1e300, allow_nan=False)))
def test_no_value_leaves_the_buckets(numbers: list[float]) -> None:
    """Whatever is counted, buckets are bounded."""
    assert all(0 <= bucket <= MAX_BUCKET for bucket in counted(numbers))


def test_halved_counts_let_what_comes_next_weigh_twice() -> None:
    """A quantile moves to the new values sooner after halving; single values are forgotten."""
    histogram = halve(counted([1.0] * 100 + [7.0]))
    assert n_values(histogram) == 50
    for _ in range(60):
        add_value(histogram, 50.0)
    assert 48.0 < quantile(histogram, 0.5) < 53.0
    assert quantile({}, 0.5) == 0.0
