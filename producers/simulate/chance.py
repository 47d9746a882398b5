"""Chance as a function of the seed and of what it is for.

Each visit and each reaction draws from a stream of its own. So what one customer does never depends on what was done
to another, and two populations that differ in one treatment can be compared customer by customer.
"""

from bisect import bisect
from collections.abc import Sequence
from hashlib import blake2b
from random import Random


def number_of(*words: object) -> int:
    """Return an unsigned 64-bit number that stands for the words, the same on every machine and run."""
    text = "\x1f".join(str(word) for word in words)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


class Chance(Random):
    """A generator that is set anew for each purpose."""

    def __init__(self, seed: int | str) -> None:
        """`seed` stands for the whole population."""
        self._base = number_of("population", seed)
        super().__init__(self._base)

    def for_customer(self, index: int, purpose: int, count: int) -> "Chance":
        """Start the stream of the customer for `purpose` (0 to 7) and `count`, a number or an event time in ms."""
        self.seed(self._base + ((index * 8 + purpose) << 48) + count)
        return self

    def for_words(self, *words: object) -> "Chance":
        """Start the stream that the words stand for."""
        self.seed(self._base ^ number_of(*words))
        return self

    def among(self, cumulative: Sequence[float]) -> int:
        """Return an index with probability in proportion to its step in the cumulative weights."""
        return min(bisect(cumulative, self.random() * cumulative[-1]), len(cumulative) - 1)
