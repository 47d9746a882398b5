"""Online logistic regression: River learns it, plain data carries it, a frozen scorer predicts with it.

`LinearLearner` holds the River model (`StandardScaler | LogisticRegression`) and is only ever touched by the one
trainer of a family. `LinearScorer` is what tasks predict with: immutable, in the fixed order of the features, with
the contribution of each feature at hand. Both compute the same probability; a test says so.
"""

from collections.abc import Mapping, Sequence
from math import exp, inf
from typing import Any

import msgspec
from river import linear_model, optim, preprocessing

# A feature that hardly varied so far is many deviations away as soon as it does: without a bound, that one value
# outweighs all the others.
SCALED_BOUND = 4.0
INTERCEPT_MEMORY = 2_000.0  # examples; more where so many more lie within `memory_ms`
INTERCEPT_BOUND = 0.02  # the curvature is taken at a rate no closer to 0 or 1 than this
# Of averaged weights: polynomial-decay averaging with η = 3 (Shamir and Zhang 2013) remembers the latest quarter of all
# examples or so, for the first steps are far off; and no more than so many, so that it goes on following the shop.
AVERAGE_DECAY = 3.0
AVERAGE_MEMORY = 10_000.0


class LinearState(msgspec.Struct, frozen=True):
    """A model as plain data: no pickle. Lists are in the order of `names`."""

    names: tuple[str, ...]
    weights: tuple[float, ...]
    intercept: float
    counts: tuple[int, ...]  # empty where features are not scaled
    means: tuple[float, ...]
    variances: tuple[float, ...]
    gradient_squares: tuple[float, ...]  # AdaGrad's g2
    n_iterations: int
    learning_rate: float
    l2: float
    with_intercept: bool
    # Of the intercept: how long it remembers, how many examples that is by now, and when the latest one was.
    memory_ms: int = 0
    n_remembered: float = 0.0
    latest_ms: int = 0
    averages: tuple[float, ...] = ()  # of the weights over the latest steps; empty where the weights themselves predict


def untaught(
    names: Sequence[str],
    *,
    learning_rate: float,
    l2: float,
    accumulator: float = 0.0,
    memory_ms: int = 0,
    averaged: bool = False,
) -> LinearState:
    """Return the state of a model that has seen nothing; it has an intercept, and its features are standardised.

    `accumulator` is where AdaGrad's sums of squares start: the larger, the less the first examples move. `memory_ms` is
    the half-life of what the intercept remembers, in the time that examples come with. `averaged` predicts with the
    average of the weights over the latest steps (Polyak and Juditsky 1992): steps can then be long, for the noise that
    they bring averages out.
    """
    zeros = (0.0,) * len(names)
    return LinearState(
        names=tuple(names),
        weights=zeros,
        intercept=0.0,
        counts=(0,) * len(names),
        means=zeros,
        variances=zeros,
        gradient_squares=(accumulator,) * len(names),
        n_iterations=0,
        learning_rate=learning_rate,
        l2=l2,
        with_intercept=True,
        memory_ms=memory_ms,
        averages=zeros if averaged else (),
    )


def from_weights(
    weights: Mapping[str, float], *, learning_rate: float, l2: float, accumulator: float = 1.0
) -> LinearState:
    """Return the state of a model that begins with `weights`; it has no intercept, and takes features as they are.

    With an accumulator the first examples nudge the weights rather than throw them.
    """
    return msgspec.structs.replace(
        untaught(tuple(weights), learning_rate=learning_rate, l2=l2, accumulator=accumulator),
        weights=tuple(weights.values()),
        counts=(),
        means=(),
        variances=(),
        n_iterations=int(any(weights.values())),  # 0 says that there are no weights yet
        with_intercept=False,
    )


def require_names(state: LinearState, names: Sequence[str], model: str) -> LinearState:
    """Return `state`; raise ValueError where the features of `model` are others in this build."""
    if state.names != tuple(names):
        raise ValueError(f"the state of the {model} has other features than this build; rebuild it")
    return state


class LinearLearner:
    """A River pipeline over a fixed list of features, with AdaGrad steps (Duchi et al. 2011)."""

    def __init__(self, state: LinearState) -> None:
        """Go on exactly where `state` was taken."""
        self.names = state.names
        self._learning_rate = state.learning_rate
        self._l2 = state.l2
        self._with_intercept = state.with_intercept
        self._memory_ms = state.memory_ms
        self._n_remembered = state.n_remembered
        self._latest_ms = state.latest_ms
        self._averages = list(state.averages)
        # Any: River's methods carry no types.
        self._optimizer: Any = optim.AdaGrad(lr=state.learning_rate)
        self._optimizer.g2.update(zip(state.names, state.gradient_squares, strict=True))
        self._optimizer.n_iterations = state.n_iterations
        # River's own steps for the intercept are as long for rare labels as for common ones; ours are below.
        self._regression: Any = linear_model.LogisticRegression(
            optimizer=self._optimizer, l2=state.l2, intercept_lr=0.0, intercept_init=state.intercept
        )
        if state.n_iterations:
            # River has no public way to set weights; its own names for them are stamped with its version in snapshots.
            self._regression._weights.update(dict(zip(state.names, state.weights, strict=True)))  # noqa: SLF001 - see above
        self._scaler: Any = None
        if state.counts:
            self._scaler = preprocessing.StandardScaler()
            self._scaler.counts.update(dict(zip(state.names, state.counts, strict=True)))
            self._scaler.means.update(zip(state.names, state.means, strict=True))
            self._scaler.vars.update(zip(state.names, state.variances, strict=True))

    def learn(
        self, features: Sequence[float], label: float, weight: float = 1.0, *, offset: float = 0.0, at_ms: int = 0
    ) -> None:
        """Fold one example in: scale with what is known including it, then one gradient step.

        `at_ms` is when its label was known, which only an intercept with a memory in time asks. `offset` is a part of
        the logit that is known and not learned. It takes the intercept's place, so it needs a model without one;
        ValueError otherwise.
        """
        if offset and self._with_intercept:
            raise ValueError("an offset needs a model without an intercept")
        x = dict(zip(self.names, features, strict=True))
        if self._scaler is not None:
            self._scaler.learn_one(x)
            x = self._scaled(x)
        regression = self._regression
        if self._with_intercept:
            self._remember(at_ms)
            intercept = self._next_intercept(regression.predict_proba_one(x)[True] - label, weight)
        else:
            regression.intercept, intercept = offset, 0.0
        regression.learn_one(x, bool(label), w=weight)
        regression.intercept = intercept
        if self._averages:
            self._average(regression.weights)

    def _average(self, weights: dict[str, float]) -> None:
        share = (AVERAGE_DECAY + 1.0) / (self._optimizer.n_iterations + AVERAGE_DECAY)
        share = max(share, 1.0 / AVERAGE_MEMORY)
        averages = zip(self._averages, self.names, strict=True)
        self._averages = [average + share * (weights[name] - average) for average, name in averages]

    def _next_intercept(self, error: float, weight: float) -> float:
        """Return the intercept after a stochastic Newton step: it finds a base rate of 1 % as fast as one of 50 %,
        and goes on following it with a memory of INTERCEPT_MEMORY examples, or of a time.
        """
        intercept: float = self._regression.intercept
        rate = min(max(sigmoid(intercept), INTERCEPT_BOUND), 1.0 - INTERCEPT_BOUND)
        share = max(1.0 / (self._optimizer.n_iterations + 2.0), 1.0 / max(INTERCEPT_MEMORY, self._n_remembered))
        step: float = min(1.0, weight * share) / (rate * (1.0 - rate))
        return intercept - step * error

    def _remember(self, at_ms: int) -> None:
        if not self._memory_ms:
            return
        if at_ms > self._latest_ms:
            self._n_remembered *= 2.0 ** ((self._latest_ms - at_ms) / self._memory_ms)
            self._latest_ms = at_ms
        self._n_remembered += 1.0

    def loosen(self, factor: float) -> None:
        """Take longer steps from here on, as if AdaGrad had seen `factor` times less; it must be over 0."""
        squares = self._optimizer.g2
        for name in self.names:
            if name in squares:
                squares[name] /= factor

    @property
    def intercept(self) -> float:
        """The log-odds of an example whose every feature has its mean."""
        return float(self._regression.intercept)

    def _scaled(self, x: dict[str, float]) -> dict[str, float]:
        scaled: dict[str, float] = self._scaler.transform_one(x)
        return {
            name: value if -SCALED_BOUND <= value <= SCALED_BOUND else (SCALED_BOUND if value > 0.0 else -SCALED_BOUND)
            for name, value in scaled.items()
        }

    def probability(self, features: Sequence[float]) -> float:
        """River's own prediction, but for averaged weights: P(label = 1)."""
        x = dict(zip(self.names, features, strict=True))
        if self._scaler is not None:
            x = self._scaled(x)
        if self._averages:
            terms = zip(self._averages, x.values(), strict=True)
            return sigmoid(self.intercept + sum(weight * value for weight, value in terms))
        return float(self._regression.predict_proba_one(x)[True])

    def state(self) -> LinearState:
        """Return everything that the next `learn` depends on."""
        weights = self._regression.weights
        scaler = self._scaler
        scaled = self.names if scaler is not None else ()
        return LinearState(
            names=self.names,
            weights=tuple(float(weights.get(n, 0.0)) for n in self.names),
            intercept=float(self._regression.intercept),
            counts=tuple(int(scaler.counts[n]) for n in scaled) if scaler else (),
            means=tuple(float(scaler.means[n]) for n in scaled) if scaler else (),
            variances=tuple(float(scaler.vars[n]) for n in scaled) if scaler else (),
            gradient_squares=tuple(float(self._optimizer.g2.get(n, 0.0)) for n in self.names),
            n_iterations=int(self._optimizer.n_iterations),
            learning_rate=self._learning_rate,
            l2=self._l2,
            with_intercept=self._with_intercept,
            memory_ms=self._memory_ms,
            n_remembered=self._n_remembered,
            latest_ms=self._latest_ms,
            averages=tuple(self._averages),
        )


class LinearScorer:
    """A frozen `LinearState` that predicts. `bias + sum(contributions)` equals the logit."""

    __slots__ = ("_telling", "bias")

    def __init__(self, state: LinearState) -> None:
        self.bias = state.intercept
        weights = state.averages or state.weights
        if state.counts:
            moments = zip(weights, state.means, state.variances, strict=True)
            terms = [_scaled_term(weight, mean, variance) for weight, mean, variance in moments]
        else:
            terms = [(weight, 0.0, -inf, inf) for weight in weights]
        # Those of no weight are left out of the sum: a shop that sends no clicks has many.
        self._telling = tuple((at, *term) for at, term in enumerate(terms) if term[0])

    def logit(self, features: Sequence[float]) -> float:
        """Return the log-odds of label 1."""
        total = self.bias
        for at, slope, mean, low, high in self._telling:
            value = features[at]
            if value > high:
                total += slope * (high - mean)
            elif value < low:
                total += slope * (low - mean)
            else:
                total += slope * (value - mean)
        return total

    def contributions(self, features: Sequence[float]) -> tuple[float, ...]:
        """Return what each feature adds to the logit."""
        found = [0.0] * len(features)
        for at, slope, mean, low, high in self._telling:
            value = features[at]
            found[at] = slope * ((high if value > high else max(value, low)) - mean)
        return tuple(found)


def _scaled_term(weight: float, mean: float, variance: float) -> tuple[float, float, float, float]:
    """Return slope, mean and bounds of one scaled feature, in the feature's own unit."""
    if not variance:
        return 0.0, mean, -inf, inf  # a feature that never varied says nothing: River scales it to 0
    deviation = variance**0.5
    return weight / deviation, mean, mean - SCALED_BOUND * deviation, mean + SCALED_BOUND * deviation


def sigmoid(logit: float) -> float:
    """Return the probability of `logit`, without overflow."""
    if logit >= 0.0:
        return 1.0 / (1.0 + exp(-logit))
    odds = exp(logit)
    return odds / (1.0 + odds)
