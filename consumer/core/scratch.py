"""Sums and distinct values over slots, in arrays as long as there are slots rather than by sorting.

The arrays are kept from one question to the next and left as they were found, so they say nothing and are no state.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Scratch:
    """Work arrays. Slots lie within the `size` last reserved; negative ones count from the end, as indices do."""

    __slots__ = ("_numbers", "_places", "_sums", "_values")

    def __init__(self) -> None:
        self._sums: Ints = np.zeros(0, dtype=np.int64)
        self._values: Floats = np.zeros(0)
        self._places: Ints = np.zeros(0, dtype=np.int64)
        self._numbers: Ints = np.arange(1024)

    def reserve(self, size: int) -> None:
        """Make room for slots below `size`."""
        if size > len(self._sums):
            self._sums = np.zeros(2 * size, dtype=np.int64)
            self._values = np.zeros(2 * size)
            self._places = np.zeros(2 * size, dtype=np.int64)

    def sum(self, slots: Ints, amounts: Ints, left_out: Sequence[int] = ()) -> tuple[Ints, Ints]:
        """Return the distinct `slots` but those of `left_out`, and the sum of `amounts` over each."""
        sums, places, numbers = self._sums, self._places, self._upto(len(slots))
        np.add.at(sums, slots, amounts)
        places[slots] = numbers
        if left_out:
            nobody = list(left_out)
            sums[nobody], places[nobody] = 0, -1
        distinct = slots[places[slots] == numbers]
        totals = sums[distinct]
        sums[distinct] = 0
        return distinct, totals

    def look_up(self, slots: Ints, values: Floats, wanted: Ints) -> Floats:
        """Return what `values` has for each of `wanted`, 0 for those that are not among `slots` (distinct)."""
        table = self._values
        table[slots] = values
        found: Floats = table[wanted]
        table[slots] = 0.0
        return found

    def columns(self, slots: Ints) -> tuple[Ints, Ints]:
        """Return the distinct `slots` in the order in which they come first, and where among them each stands."""
        places, numbers = self._places, self._upto(len(slots))
        places[slots[::-1]] = numbers[::-1]  # of several values for one slot the last assigned remains
        first = places[slots]
        is_new = first == numbers
        return slots[is_new], (is_new.cumsum() - 1)[first]

    def _upto(self, n: int) -> Ints:
        if n > len(self._numbers):
            self._numbers = np.arange(2 * n)
        return self._numbers[:n]
