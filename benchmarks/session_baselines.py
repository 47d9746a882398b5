"""The published next-item methods that ours is measured against, written after their papers.

- V-SKNN and SR: Ludewig & Jannach, "Evaluation of session-based recommendation algorithms" (UMUAI 2018).
- STAN: Garg et al., "Sequence and time aware neighborhood for session-based recommendations" (SIGIR 2019).
- VSTAN: Ludewig et al., "Empirical analysis of session-based recommendation algorithms" (UMUAI 2020).

All learn from finished sessions at once and don't change afterwards. `NEIGHBOURS` and `RULES` hold the settings that
the authors of the last paper published with their framework session-rec for each data set; where they give one setting
for the hit rate and another for the reciprocal rank, both are here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, log10
from typing import Protocol

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
DAY_S = 86_400.0

# A weight for something `steps` ago (1 is the latest) in a session of `length` events.
Weighting = Callable[[int, int], float]
_BY_POSITION: dict[str, Weighting] = {
    "same": lambda _steps, _length: 1.0,
    "div": lambda steps, length: (length - steps + 1) / length,
    "log": lambda steps, _length: 1.0 / log10(steps - 1 + 1.7),
    "quadratic": lambda steps, length: ((length - steps + 1) / length) ** 2,
}
_BY_STEPS: dict[str, Callable[[int], float]] = {
    "linear": lambda steps: 1.0 - 0.1 * steps if steps <= 100 else 0.0,
    "div": lambda steps: 1.0 / steps,
    "quadratic": lambda steps: 1.0 / steps**2,
}


@dataclass(frozen=True, slots=True)
class TrainSession:
    """One finished session: item ids in order, and when it ended (seconds)."""

    items: tuple[str, ...]
    ended_at_s: float


class Method(Protocol):
    """What predicts the next item of a session."""

    def recommend(self, items: Sequence[str], now_s: float, limit: int) -> list[str]:
        """Return up to `limit` items for a session that consists of `items` so far, best first."""


class _Sessions:
    """Sessions by the time they ended, the sessions of each item, and how rare each item is."""

    def __init__(self, sessions: Sequence[TrainSession]) -> None:
        ordered = sorted(sessions, key=lambda session: session.ended_at_s)
        self.ids: list[str] = sorted({item for session in ordered for item in session.items})
        self.number = {item_id: number for number, item_id in enumerate(self.ids)}
        self.ended_at_s: Floats = np.array([session.ended_at_s for session in ordered])
        self.items: list[Ints] = []  # of each session: distinct items …
        self.last_positions: list[Ints] = []  # … and where each occurred last, 1 for the first event
        sessions_of: list[list[int]] = [[] for _ in self.ids]
        n_events = np.zeros(len(self.ids))
        for at, session in enumerate(ordered):
            last = {self.number[item]: position for position, item in enumerate(session.items, start=1)}
            self.items.append(np.fromiter(last.keys(), dtype=np.int64, count=len(last)))
            self.last_positions.append(np.fromiter(last.values(), dtype=np.int64, count=len(last)))
            for item in last:
                sessions_of[item].append(at)
            for item_id in session.items:
                n_events[self.number[item_id]] += 1.0
        self.sessions_of: list[Ints] = [np.array(each, dtype=np.int64) for each in sessions_of]
        self.lengths: Floats = np.array([len(items) for items in self.items], dtype=np.float64)
        self.idf: Floats = np.log(max(1, len(ordered)) / np.maximum(n_events, 1.0))

    def best(self, sums: Floats, scored: Ints, limit: int) -> list[str]:
        """Return the ids of the highest sums among `scored`, ties by number (that is, by id)."""
        order = np.lexsort((scored, -sums[scored]))[:limit]
        return [self.ids[item] for item in scored[order].tolist() if sums[item] > 0.0]


@dataclass(frozen=True, slots=True)
class NeighbourSettings:
    """Settings of V-SKNN, STAN and VSTAN in session-rec's terms; None leaves a factor out. Days and events."""

    k: int
    sample_size: int
    similarity: str = "cosine"  # or "vec": without the length of the neighbour
    weighting: str | None = None  # V-SKNN: weight of a position in the current session
    weighting_score: str | None = None  # V-SKNN: weight by how long ago the shared item was
    lambda_spw: float | None = None  # STAN: events; decay over the current session
    lambda_snh: float | None = None  # STAN: days; decay with the age of a neighbour
    lambda_inh: float | None = None  # STAN: events; decay with the distance from the shared item in the neighbour
    lambda_ipw: float | None = None  # VSTAN: events; decay by how long ago the shared item was
    idf: float | None = None  # factor of the items' rarity


class SessionNeighbours:
    """V-SKNN, STAN and VSTAN: they score the items of similar sessions and differ in what they weigh."""

    def __init__(self, sessions: Sequence[TrainSession], settings: NeighbourSettings) -> None:
        self._data = _Sessions(sessions)
        self._settings = settings
        self._sums: Floats = np.zeros(len(self._data.ids))

    def recommend(self, items: Sequence[str], now_s: float, limit: int) -> list[str]:
        """Return up to `limit` items, best first; repeats may be among them."""
        data = self._data
        steps = _steps_ago(items, data.number)
        if not steps:
            return []
        nearest, similarity = self._nearest(steps, len(items), now_s)
        sums = self._sums
        touched: list[Ints] = []
        for session, value in zip(nearest.tolist(), similarity.tolist(), strict=True):
            in_session = data.items[session]
            gains = self._gains(session, value, steps)
            sums[in_session] += gains
            touched.append(in_session)
        scored: Ints = np.unique(np.concatenate(touched))
        best = data.best(sums, scored, limit)
        sums[scored] = 0.0
        return best

    def _nearest(self, steps: dict[int, int], length: int, now_s: float) -> tuple[Ints, Floats]:
        """Return the k most similar of the `sample_size` most recent sessions that share an item."""
        data, settings = self._data, self._settings
        postings = [data.sessions_of[item] for item in steps]
        weights = np.array([self._position_weight(ago, length) for ago in steps.values()])
        sessions, places = np.unique(np.concatenate(postings), return_inverse=True)
        similarity: Floats = np.bincount(places, weights.repeat([len(each) for each in postings])).astype(np.float64)
        sessions, similarity = sessions[-settings.sample_size :], similarity[-settings.sample_size :]
        if settings.similarity == "cosine":
            similarity = similarity / np.sqrt(data.lengths[sessions])
        if settings.lambda_snh is not None:
            similarity = similarity * np.exp((data.ended_at_s[sessions] - now_s) / (settings.lambda_snh * DAY_S))
        order = np.lexsort((-sessions, -similarity))[: settings.k]
        return sessions[order], similarity[order]

    def _position_weight(self, ago: int, length: int) -> float:
        settings = self._settings
        if settings.weighting is not None:
            return _BY_POSITION[settings.weighting](ago, length)
        return 1.0 if settings.lambda_spw is None else exp((1 - ago) / settings.lambda_spw)

    def _gains(self, session: int, similarity: float, steps: dict[int, int]) -> Floats:
        """Return what one neighbour adds to the score of each of its items."""
        data, settings = self._data, self._settings
        items, positions = data.items[session], data.last_positions[session]
        shared = [(place, steps[item]) for place, item in enumerate(items.tolist()) if item in steps]
        latest = min(ago for _, ago in shared)
        gains: Floats = np.full(len(items), similarity)
        if settings.lambda_inh is not None:
            origin = max(int(positions[place]) for place, _ in shared)
            gains *= np.exp(-np.abs(positions - origin) / settings.lambda_inh)
        if settings.idf is not None:
            gains *= 1.0 + settings.idf * data.idf[items]
        if settings.weighting_score is not None:
            gains *= _BY_STEPS[settings.weighting_score](latest)
        if settings.lambda_ipw is not None:
            gains *= exp((1 - latest) / settings.lambda_ipw)
        return gains


class SequentialRules:
    """SR: an item scores by how often, and how soon, it followed the last one."""

    def __init__(
        self, sessions: Sequence[TrainSession], *, steps: int = 10, weighting: str = "div", pruning: int = 20
    ) -> None:
        weight = _BY_STEPS[weighting]
        rules: dict[str, dict[str, float]] = {}
        for session in sessions:
            for at, item in enumerate(session.items):
                for gap in range(1, min(steps, at) + 1):
                    after = rules.setdefault(session.items[at - gap], {})
                    after[item] = after.get(item, 0.0) + weight(gap)
        self._best = {
            item: sorted(after, key=lambda each, after=after: (-after[each], each))[:pruning]  # type: ignore[misc]
            for item, after in rules.items()
        }

    def recommend(self, items: Sequence[str], now_s: float, limit: int) -> list[str]:
        """Return up to `limit` items, best first."""
        del now_s  # rules know no time
        return self._best.get(items[-1], [])[:limit]


def _steps_ago(items: Sequence[str], number: dict[str, int]) -> dict[int, int]:
    """Return how many events ago each known item of a session occurred last, 1 for the latest event."""
    steps: dict[int, int] = {}
    for ago, item_id in enumerate(reversed(items), start=1):
        item = number.get(item_id)
        if item is not None:
            steps.setdefault(item, ago)
    return steps


def _vsknn(
    k: int, sample_size: int, weighting: str, weighting_score: str, *, idf: float | None = None
) -> NeighbourSettings:
    return NeighbourSettings(
        k, sample_size, similarity="vec", weighting=weighting, weighting_score=weighting_score, idf=idf
    )


def _stan(k: int, sample_size: int, *, spw: float, snh: float, inh: float) -> NeighbourSettings:
    return NeighbourSettings(k, sample_size, lambda_spw=spw, lambda_snh=snh, lambda_inh=inh)


def _vstan(
    k: int,
    sample_size: int,
    similarity: str = "cosine",
    *,
    spw: float,
    snh: float,
    inh: float,
    ipw: float,
    idf: float,
) -> NeighbourSettings:
    return NeighbourSettings(
        k, sample_size, similarity, lambda_spw=spw, lambda_snh=snh, lambda_inh=inh, lambda_ipw=ipw, idf=idf
    )


# Data set → method → settings, from the files conf/save/<data set>/…/window_*.yml of session-rec.
NEIGHBOURS: dict[str, dict[str, NeighbourSettings]] = {
    "retailrocket": {
        "vsknn": _vsknn(1500, 2500, "same", "linear"),
        "stan-mrr": _stan(500, 1000, spw=1.81, snh=100, inh=0.4525),
        "stan-hr": _stan(200, 5000, spw=3.62, snh=40, inh=7.24),
        "vstan-mrr": _vstan(1000, 2500, "vec", spw=3.62, snh=100, inh=0.4525, ipw=3.62, idf=1),
        "vstan-hr": _vstan(500, 1000, spw=7.24, snh=100, inh=3.62, ipw=3.62, idf=1),
    },
    "yoochoose": {
        "vsknn": _vsknn(100, 1000, "quadratic", "quadratic"),
        "stan-mrr": _stan(1000, 10_000, spw=0.00001, snh=10, inh=2),
        "stan-hr": _stan(1000, 10_000, spw=0.5, snh=20, inh=0.5),
        "vstan-mrr": _vstan(1500, 10_000, spw=0.5, snh=5, inh=2, ipw=2, idf=2),
        "vstan-hr": _vstan(2000, 10_000, spw=4, snh=20, inh=0.5, ipw=1, idf=2),
    },
    "diginetica": {
        "vsknn": _vsknn(500, 5000, "quadratic", "div", idf=5),
        "stan-mrr": _stan(500, 10_000, spw=1.225, snh=20, inh=4.9),
        "stan-hr": _stan(100, 5000, spw=2.45, snh=20, inh=9.8),
        "vstan-mrr": _vstan(1500, 5000, spw=4.9, snh=40, inh=4.9, ipw=1.225, idf=10),
        "vstan-hr": _vstan(100, 1000, "vec", spw=4.9, snh=80, inh=9.8, ipw=4.9, idf=5),
    },
}
RULES: dict[str, tuple[int, str]] = {  # steps, weighting
    "retailrocket": (7, "div"),
    "yoochoose": (8, "div"),
    "diginetica": (20, "quadratic"),
}


def published(data_set: str, sessions: Sequence[TrainSession]) -> dict[str, Method]:
    """Return all methods, learned from `sessions`, with the settings published for `data_set` (as in `NEIGHBOURS`)."""
    methods: dict[str, Method] = {
        name: SessionNeighbours(sessions, settings) for name, settings in NEIGHBOURS[data_set].items()
    }
    steps, weighting = RULES[data_set]
    methods["sr"] = SequentialRules(sessions, steps=steps, weighting=weighting)
    return methods
