"""How sessions score the items in them: what went with the items of the current session, and what followed its last.

Two groups of sessions speak. *Similar* ones share items with the current session; they weigh by similarity, and their
items by how near they are to the latest shared one (V-SKNN of Ludewig & Jannach 2018, STAN of Garg et al. 2019). The
*most recent* ones of the last item speak as rules (SR of Ludewig & Jannach 2018).

All gains are integers below 2^53, so their sums in floats are exact and do not depend on the order of the sessions.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from consumer.core.preference.session_log import MAX_STEPS, UNIT, Steps

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Rows of what `gains` returns. Similar sessions: broadly, near the latest item shared, and after it. Sessions of the
# last item: around it, directly after it, and directly after the last two items.
TOGETHER, NEAR, AHEAD, AROUND, NEXT, PAIR = range(6)
N_SOURCES = 6
WEIGHT_BITS = 12  # of 1, the weight of the current session's latest item

_FULL = 1023.0
ONE_NEXT = float(UNIT)  # what one session of weight 1 adds to NEXT and PAIR
_DISTANCES = range(-MAX_STEPS, MAX_STEPS + 1)


def _by_distance(*weights: list[float]) -> Floats:
    """Return tables by (position of the item − position of the shared item); negative ones count from the end."""
    return np.roll(np.rint(_FULL * np.array(weights)), -MAX_STEPS, axis=1)


_SIMILAR = _by_distance(
    [1 / (1 + 0.25 * abs(d)) for d in _DISTANCES],
    [2.0 ** (-0.72 * abs(d)) for d in _DISTANCES],  # e^(-|d| / 2)
    [1 / d if d > 0 else 0.0 for d in _DISTANCES],
)
_AROUND: Floats = _by_distance([1 / abs(d) if d else 0.0 for d in _DISTANCES])[0]
_INVERSE_ROOT: Ints = np.array([0] + [round(256 / n**0.5) for n in range(1, MAX_STEPS + 1)], dtype=np.int64)


class Neighbours(NamedTuple):
    """Similar sessions: the match of the latest item shared, a value each."""

    matches: Ints
    similarity: Ints  # sum of the weights of the items shared
    nearest: Ints  # the weight of the latest item shared


def gains(
    steps: Steps, places: Ints, n_places: int, neighbours: Neighbours, *, of_rules: slice, previous: int
) -> Floats:
    """Return the gain of each item from each source, shape (N_SOURCES, n_places).

    `steps` are those of the neighbours first, and in `of_rules` those of the last item's most recent sessions; `places`
    says for each step which column its item has. `previous` is the slot of the item before the last, -1 where there is
    none.
    """
    found: Floats = np.empty((N_SOURCES, n_places))
    units = steps.units.astype(np.float64)
    lengths = steps.lengths[: len(neighbours.matches)]
    similarity, nearest = neighbours.similarity, neighbours.nearest
    near = (similarity * nearest >> WEIGHT_BITS) * nearest * _INVERSE_ROOT.take(lengths) >> WEIGHT_BITS
    ahead = similarity * similarity >> WEIGHT_BITS
    weights = np.array((similarity, near, ahead), dtype=np.float64).repeat(lengths, axis=1)
    cut = weights.shape[1]
    weights *= _SIMILAR.take(steps.distances[:cut], axis=1)
    weights *= units[:cut]
    columns = places[:cut]
    found[TOGETHER] = np.bincount(columns, weights[0], n_places)
    found[NEAR] = np.bincount(columns, weights[1], n_places)
    found[AHEAD] = np.bincount(columns, weights[2], n_places)
    columns, distances, units = places[of_rules], steps.distances[of_rules], units[of_rules]
    found[AROUND] = np.bincount(columns, _AROUND.take(distances) * units, n_places)
    is_next = (distances == 1).nonzero()[0]
    found[NEXT] = np.bincount(columns.take(is_next), units.take(is_next), n_places)
    if previous >= 0:  # two steps on from the previous item, where that stood directly before the last one
        slots = steps.slots[of_rules]
        before = is_next - 2
        is_next = is_next[(slots.take(before) == previous) & (distances.take(before) == -1)]
        found[PAIR] = np.bincount(columns.take(is_next), units.take(is_next), n_places)
    else:
        found[PAIR] = 0.0
    return found
