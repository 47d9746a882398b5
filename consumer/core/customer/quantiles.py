"""Quantiles of a stream: counts of values in buckets whose width grows with the value, so relative error is bounded.

The idea of DDSketch (Masson et al., VLDB 2019) with an offset of one, so that values from 0 on have a bucket. Counts
are integers and buckets fixed, so the result is a function of which values came, whatever their order.
"""

from collections.abc import Sequence
from math import log2

BUCKETS_PER_DOUBLING = 16  # of 1 + value: a bucket spans 4.4 %
MAX_BUCKET = 40 * BUCKETS_PER_DOUBLING  # 1e12 and everything beyond

Histogram = dict[int, int]  # bucket → values in it; at most MAX_BUCKET + 1 entries


def add_value(histogram: Histogram, value: float) -> None:
    """Count `value`; one below 0 counts as 0."""
    bucket = min(int(log2(1.0 + max(value, 0.0)) * BUCKETS_PER_DOUBLING), MAX_BUCKET)
    histogram[bucket] = histogram.get(bucket, 0) + 1


def n_values(histogram: Histogram) -> int:
    """Return how many values are counted."""
    return sum(histogram.values())


def quantile(histogram: Histogram, share: float) -> float:
    """Return the value that `share` of those counted lie below, interpolated within its bucket; 0 of none."""
    wanted = share * n_values(histogram)
    below = 0
    for bucket in sorted(histogram):
        n = histogram[bucket]
        if below + n >= wanted:
            return float(2.0 ** ((bucket + (wanted - below) / n) / BUCKETS_PER_DOUBLING)) - 1.0
        below += n
    return 0.0


def flat(histogram: Histogram) -> list[int]:
    """Return bucket and count in turn, the lowest bucket first: equal histograms give equal lists."""
    return [number for bucket in sorted(histogram) for number in (bucket, histogram[bucket])]


def from_flat(numbers: Sequence[int]) -> Histogram:
    """Return the histogram that `flat` was given."""
    return dict(zip(numbers[::2], numbers[1::2], strict=True))


def halve(histogram: Histogram) -> Histogram:
    """Return the histogram with half the counts: what is counted from here on weighs twice. Single values go."""
    return {bucket: n // 2 for bucket, n in histogram.items() if n > 1}
