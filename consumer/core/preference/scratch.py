"""Sums and distinct values over slots, in arrays as long as there are slots rather than by sorting.

The arrays are kept from one question to the next and left as they were found, so they say nothing and are no state.
"""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Scratch:
    """Work arrays. Slots lie within the `size` last reserved; negative ones count from the end, as indices do."""

    __slots__ = ("_numbers", "_places")

    def __init__(self) -> None:
        self._places: Ints = np.zeros(0, dtype=np.int64)
        self._numbers: Ints = np.arange(1024)

    def reserve(self, size: int) -> None:
        """Make room for slots below `size`."""
        if size > len(self._places):
            self._places = np.zeros(2 * size, dtype=np.int64)

    def look_up(self, slots: Ints, values: Floats, wanted: Ints) -> Floats:
        """Return the columns that `values` has for each of `wanted`, 0 for those not among `slots`.

        `slots` are the distinct ones that `columns` returned last.
        """
        if not len(slots):
            return np.zeros((len(values), len(wanted)))
        at = self._places.take(wanted)
        found: Floats = values.take(at, axis=1, mode="clip")
        found *= slots.take(at, mode="clip") == wanted
        return found

    def columns(self, slots: Ints) -> tuple[Ints, Ints]:
        """Return the distinct `slots` in the order in which they come first, and where among them each stands."""
        places, numbers = self._places, self._upto(len(slots))
        places[slots[::-1]] = numbers[::-1]  # of several values for one slot the last assigned remains
        distinct = slots.take((places.take(slots) == numbers).nonzero()[0])
        places[distinct] = numbers[: len(distinct)]
        return distinct, places.take(slots)

    def _upto(self, n: int) -> Ints:
        if n > len(self._numbers):
            self._numbers = np.arange(2 * n)
        return self._numbers[:n]
