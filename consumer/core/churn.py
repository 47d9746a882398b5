"""Churn: the probability of no signal (purchase or activity) within the horizon, from two heads and their labels.

One head learns the horizon itself; its labels come late. The other learns a short hazard, whose labels come soon, and
is rolled forward: P(no signal in H) = P(no signal in h) ^ (H / h). The estimate is the mean of their logits. Labels
are held until the horizon for both classes: learning early returns first would teach the model that everybody returns.
"""

from functools import lru_cache
from math import log

import msgspec

from consumer.core.customer import Customer, PendingChurn
from consumer.core.features import CHURN_FEATURES, churn_features, unpack_churn
from consumer.core.hashing import name_of
from consumer.core.linear import LinearLearner, LinearScorer, LinearState, sigmoid
from consumer.core.settings import DAY_MS, ChurnSettings, LearnerSettings
from schemas.records import TrainingExample

HORIZON, HAZARD = "horizon", "hazard"
UNKNOWN = -1.0  # the probability of a model that has learned nothing
MAX_WEIGHT = 5.0  # of an untreated example among treated ones: 1/P(untreated), clipped
_LOGIT_BOUND = 12.0


@lru_cache(maxsize=8)
def feature_set(settings: ChurnSettings) -> str:
    """Return what stands for features and labels: an example labelled by another horizon must teach nothing."""
    return name_of("churn", *CHURN_FEATURES, settings.signal, repr(settings.horizon_days), repr(settings.hazard_days))


class ChurnState(msgspec.Struct, frozen=True):
    """Both heads as plain data, with how many examples and churners each has seen."""

    horizon: LinearState
    hazard: LinearState
    n_horizon: int
    n_hazard: int


class ChurnEstimate(msgspec.Struct, frozen=True, gc=False):
    """What the model says of one customer at one moment. Probabilities are UNKNOWN where nothing was learned."""

    probability: float
    horizon_probability: float
    hazard_probability: float
    features: bytes


class ChurnScorer:
    """Predicts and explains; never learns."""

    def __init__(self, settings: ChurnSettings, state: ChurnState | None = None) -> None:
        self._roll = settings.horizon_days / settings.hazard_days
        self.horizon = LinearScorer(state.horizon) if state is not None and state.n_horizon else None
        self.hazard = LinearScorer(state.hazard) if state is not None and state.n_hazard else None

    def estimate(self, customer: Customer, at_ms: int) -> ChurnEstimate:
        """Return the probability that `customer` gives no signal within the horizon after `at_ms`."""
        packed = churn_features(customer, at_ms)
        values = unpack_churn(packed)
        horizon = self.horizon.logit(values) if self.horizon is not None else None
        hazard = self.hazard.logit(values) if self.hazard is not None else None
        rolled = _rolled_logit(hazard, self._roll) if hazard is not None else None
        if horizon is not None and rolled is not None:
            combined: float | None = (horizon + rolled) / 2.0
        else:
            combined = horizon if horizon is not None else rolled
        return ChurnEstimate(
            probability=UNKNOWN if combined is None else sigmoid(combined),
            horizon_probability=UNKNOWN if horizon is None else sigmoid(horizon),
            hazard_probability=UNKNOWN if hazard is None else sigmoid(hazard),
            features=packed,
        )

    def contributions(self, packed: bytes) -> tuple[float, tuple[float, ...]]:
        """Return bias and the contribution of each feature; their sum is the logit of the estimate's probability.

        Rolling the hazard forward bends its logit; the bend is shared out in proportion to the contributions (the
        secant from the bias to the logit), so that the parts still add up to the whole.
        """
        values = unpack_churn(packed)
        parts: list[tuple[float, tuple[float, ...]]] = []
        if self.horizon is not None:
            parts.append((self.horizon.bias, self.horizon.contributions(values)))
        if self.hazard is not None:
            bias, logit = self.hazard.bias, self.hazard.logit(values)
            start, end = _rolled_logit(bias, self._roll), _rolled_logit(logit, self._roll)
            slope = (end - start) / (logit - bias) if logit != bias else 0.0
            parts.append((start, tuple(slope * c for c in self.hazard.contributions(values))))
        if not parts:
            return 0.0, (0.0,) * len(CHURN_FEATURES)
        share = 1.0 / len(parts)
        return share * sum(bias for bias, _ in parts), tuple(
            share * sum(column) for column in zip(*(contributions for _, contributions in parts), strict=True)
        )


def _rolled_logit(hazard_logit: float, roll: float) -> float:
    """Return the logit of p ** roll for the p of `hazard_logit`, bounded."""
    silent = max(1e-12, sigmoid(hazard_logit)) ** roll
    if silent >= 1.0:
        return _LOGIT_BOUND
    return max(-_LOGIT_BOUND, min(_LOGIT_BOUND, log(silent / (1.0 - silent)))) if silent > 0.0 else -_LOGIT_BOUND


class ChurnLearner:
    """The trainer's side: folds matured examples into the head that they belong to."""

    def __init__(
        self, settings: LearnerSettings, churn_settings: ChurnSettings, state: ChurnState | None = None
    ) -> None:
        self._feature_set = feature_set(churn_settings)
        if state is None:
            self._horizon, self._hazard = _new_head(settings), _new_head(settings)
            self._n_horizon = self._n_hazard = 0
        else:
            self._horizon = LinearLearner.from_state(state.horizon)
            self._hazard = LinearLearner.from_state(state.hazard)
            self._n_horizon, self._n_hazard = state.n_horizon, state.n_hazard

    def learn(self, example: TrainingExample) -> None:
        """Fold one example in. One of another feature set, or without weight, teaches nothing."""
        if example.feature_set != self._feature_set or example.weight <= 0.0:
            return
        if example.head == HORIZON:
            self._horizon.learn(example.features, example.label, example.weight)
            self._n_horizon += 1
        elif example.head == HAZARD:
            self._hazard.learn(example.features, example.label, example.weight)
            self._n_hazard += 1

    def state(self) -> ChurnState:
        """Return the model as plain data."""
        return ChurnState(self._horizon.state(), self._hazard.state(), self._n_horizon, self._n_hazard)


def _new_head(settings: LearnerSettings) -> LinearLearner:
    return LinearLearner(
        CHURN_FEATURES, learning_rate=settings.learning_rate, l2=settings.l2, accumulator=settings.prior_strength
    )


def remember_prediction(
    customer: Customer, estimate: ChurnEstimate, at_ms: int, settings: ChurnSettings, limit: int
) -> None:
    """Keep what was predicted until its labels have matured, unless `limit` are kept already.

    To drop the oldest instead would drop each one before its label has matured, wherever ticks are many to a horizon.
    """
    if len(customer.pending_churn) >= limit:
        return
    last_signal_ms = customer.last_order_ms if settings.signal == "purchase" else customer.last_seen_ms
    pending = customer.pending_churn
    pending.append(
        PendingChurn(
            predicted_at=at_ms,
            features=estimate.features,
            probability=estimate.probability,
            hazard_probability=estimate.hazard_probability,
            active=bool(last_signal_ms) and at_ms - last_signal_ms < settings.horizon_days * DAY_MS,
            signal_at=0,
            hazard_revealed=False,
            untreated_propensity=1.0,
            treated=False,
        )
    )


def note_signal(customer: Customer, at_ms: int) -> None:
    """Note that `customer` gave the signal at `at_ms`, for the predictions made before it."""
    for pending in reversed(customer.pending_churn):
        if 0 < pending.signal_at <= at_ms:
            break  # the older ones know it already
        if pending.predicted_at < at_ms:
            pending.signal_at = at_ms


def next_maturity_ms(customer: Customer, settings: ChurnSettings) -> int | None:
    """Return when the next label of `customer` matures, or None."""
    pending = customer.pending_churn
    if not pending:
        return None
    earliest = pending[0].predicted_at + int(settings.horizon_days * DAY_MS)
    for example in pending:
        if not example.hazard_revealed:
            return min(earliest, example.predicted_at + int(settings.hazard_days * DAY_MS))
    return earliest


def reveal(customer: Customer, now_ms: int, settings: ChurnSettings) -> list[TrainingExample]:
    """Return the examples whose label has matured by `now_ms`, and stop remembering the finished ones."""
    horizon_ms, hazard_ms = int(settings.horizon_days * DAY_MS), int(settings.hazard_days * DAY_MS)
    examples: list[TrainingExample] = []
    finished = 0
    meaning = feature_set(settings) if customer.pending_churn else ""
    for pending in customer.pending_churn:
        if not pending.hazard_revealed and pending.predicted_at + hazard_ms <= now_ms:
            pending.hazard_revealed = True
            examples.append(_example(pending, HAZARD, hazard_ms, meaning))
        if pending.predicted_at + horizon_ms <= now_ms:
            examples.append(_example(pending, HORIZON, horizon_ms, meaning))
            finished += 1
    del customer.pending_churn[:finished]
    return examples


def _example(pending: PendingChurn, head: str, window_ms: int, meaning: str) -> TrainingExample:
    matured_at = pending.predicted_at + window_ms
    returned = 0 < pending.signal_at <= matured_at
    probability = pending.probability if head == HORIZON else pending.hazard_probability
    # The model is to say what happens without treatment: treated examples teach it nothing, and the untreated
    # speak for them in proportion.
    weight = 0.0 if pending.treated else min(MAX_WEIGHT, 1.0 / max(pending.untreated_propensity, 1e-6))
    return TrainingExample(
        family="churn",
        head=head,
        feature_set=meaning,
        features=unpack_churn(pending.features),
        rows=1,
        label=0.0 if returned else 1.0,
        weight=weight,
        predicted_at=pending.predicted_at,
        matured_at=matured_at,
        predicted=None if probability < 0.0 else probability,
        propensity=pending.untreated_propensity,
        treated=pending.treated,
        active=pending.active,
    )
