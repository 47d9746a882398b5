"""One slot of a recommended list explores, and says with what probability.

A ranker that is taught by what people saw learns little of what it never shows. So the last slot is drawn: with
probability 1 − share it is the item ranked there, else each item of a pool is as likely, the one ranked there included.
The pool is what follows the list in the ranking, so it passes the same filters. The propensity is published with the
item; estimates of what another ranking would have brought divide by it. All other slots are certain and carry none.
"""

from collections.abc import Sequence

import msgspec

from consumer.core.hashing import uniform
from schemas.records import Recommendation


def explore(
    ranked: Sequence[Recommendation], limit: int, share: float, seed_words: Sequence[str]
) -> list[Recommendation]:
    """Return the first `limit` of `ranked` with the last slot drawn from itself and all that follow.

    `seed_words` decide the draw: the seed and the id of the decision. Nothing is drawn where `share` is 0, nothing
    follows, or there is a single slot, which is better spent on the best item.
    """
    listed, pool = list(ranked[:limit]), ranked[max(0, limit - 1) :]
    if share <= 0.0 or limit < 2 or len(pool) < 2:
        return listed
    drawn = uniform("slot", *seed_words)
    at = min(int(drawn / share * len(pool)), len(pool) - 1) if drawn < share else 0
    propensity = share / len(pool) + (1.0 - share if at == 0 else 0.0)
    listed[-1] = msgspec.structs.replace(pool[at], propensity=propensity)
    return listed
