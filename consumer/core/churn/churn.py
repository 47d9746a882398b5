"""Churn: the probability of no signal (purchase or activity) within the horizon, from two heads and their labels.

One head learns the horizon itself; its labels come late. The other learns a short hazard, whose labels come soon, and
is rolled forward through the silence: P(no signal in H) = P(no signal in h, as the customer will look halfway) ^
(H / h). To take the customer as of now instead would keep a hazard that falls in silence where it is. The estimate is
the mean of their logits: one is right in the long run, the other about these weeks. Labels are held until the horizon
for both classes: learning early returns first would teach the model that everybody returns.

Where the signal is a purchase, who never bought cannot stop buying. They have heads of their own, which learn from
them alone whether the first purchase comes within the horizon.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import log
from typing import NamedTuple

import msgspec

from consumer.core.churn.churn_basis import CHURN_TERMS, Silence, by_feature, churn_terms
from consumer.core.churn.features import CHURN_FEATURES, N_ORDERS_FEATURE, PACKED_SIZE, churn_features, unpack_churn
from consumer.core.churn.season import Season, SeasonLearner, SeasonState
from consumer.core.customer.customer import NOT_KNOWN, Customer, PendingChurn
from consumer.core.hashing import name_of
from consumer.core.learning.drift import Drift, DriftMonitor, DriftState
from consumer.core.learning.linear import LinearLearner, LinearScorer, LinearState, sigmoid, untaught
from consumer.core.settings import ChurnSettings, LearnerSettings
from schemas.records import TrainingExample
from schemas.units import DAY_MS

HORIZON, HAZARD = "horizon", "hazard"
FIRST_HORIZON, FIRST_HAZARD = "first-horizon", "first-hazard"  # of who never bought, where the signal is a purchase
HEADS = (HORIZON, HAZARD, FIRST_HORIZON, FIRST_HAZARD)
MAX_WEIGHT = 5.0  # of an untreated example among treated ones: 1/P(untreated), clipped
STEP = 3.0  # × the learning rate; weights are averaged over the steps, which makes long ones safe
# Half-lives of what the intercepts remember, in horizons; never under 2,000 examples. Labels over a horizon overlap, so
# that the latest hardly differ and can be averaged over; the short head is there to follow the weeks.
HORIZON_MEMORY = 1.0 / 6.0
HAZARD_MEMORY = 1.0 / 45.0
# A change of level a year ago counts by so much. The hazard head follows the level of now, the horizon head lags
# behind it by its horizon, and one year is no rule.
SEASON_SHARE = 0.4
_LOGIT_BOUND = 12.0


@lru_cache(maxsize=8)
def feature_set(settings: ChurnSettings) -> str:
    """Return what stands for features and labels: an example labelled by another horizon must teach nothing."""
    days = (repr(float(settings.horizon_days)), repr(float(settings.hazard_days)))  # 90 means the same as 90.0
    return name_of("churn", *CHURN_FEATURES, settings.signal, *days)


@lru_cache(maxsize=8)
def model_meaning(settings: ChurnSettings) -> str:
    """Return what stands for the weights of a model: its terms, and the meaning of its examples."""
    return name_of(feature_set(settings), *CHURN_TERMS)


class ChurnState(msgspec.Struct, frozen=True):
    """The model as plain data."""

    heads: dict[str, LinearState]  # by HEADS
    season: SeasonState  # the level of the hazard over the last year
    drift: DriftState | None = None  # None: it is not looked for


class ChurnEstimate(msgspec.Struct, frozen=True, gc=False):
    """What the model says of one customer at one moment.

    Probabilities are None where nothing was learned. Of who never bought, where the signal is a purchase, `probability`
    is None, `hazard_probability` is that of no first purchase, and `first_purchase_probability` is known; of all others
    it is None.
    """

    probability: float | None
    hazard_probability: float | None
    features: bytes
    first_purchase_probability: float | None = None  # within the horizon, of who never bought


class _Heads(NamedTuple):
    """What speaks of one customer; None where nothing was learned."""

    horizon: LinearScorer | None
    hazard: LinearScorer | None


class ChurnScorer:
    """Predicts and explains; never learns."""

    def __init__(self, settings: ChurnSettings, state: ChurnState | None = None) -> None:
        days = settings.horizon_days
        self._horizon_days = days
        self._roll = days / settings.hazard_days
        self._halfway = Silence((days - settings.hazard_days) / 2.0, days)
        self._by_purchase = settings.signal == "purchase"
        heads = {} if state is None else state.heads
        known = {name: LinearScorer(head) for name, head in heads.items() if head.n_iterations}
        self._again = _Heads(known.get(HORIZON), known.get(HAZARD))
        self._first = _Heads(known.get(FIRST_HORIZON), known.get(FIRST_HAZARD))
        season = SeasonState() if state is None else state.season
        self._season = Season(days, settings.hazard_days, season)

    def estimate(self, customer: Customer, at_ms: int) -> ChurnEstimate:
        """Return the probability that `customer` gives no signal within the horizon after `at_ms`."""
        packed = churn_features(customer, at_ms, self._horizon_days)
        values = unpack_churn(packed)
        is_first = self._by_purchase and not customer.orders.n
        heads = self._first if is_first else self._again
        horizon = hazard = rolled = None
        if heads.horizon is not None or heads.hazard is not None:
            terms = churn_terms(values, self._horizon_days)
            if heads.horizon is not None:
                horizon = heads.horizon.logit(terms)
            if heads.hazard is not None:
                hazard = heads.hazard.logit(terms)
                rolled = _rolled_logit(heads.hazard.logit(self._terms_halfway(values)), self._roll)
        combined = _mean_logit(horizon, rolled)
        if combined is not None and not is_first:
            combined += SEASON_SHARE * self._season.change(at_ms)
        silent = None if combined is None else sigmoid(combined)
        return ChurnEstimate(
            probability=None if is_first else silent,
            hazard_probability=None if hazard is None else sigmoid(hazard),
            features=packed,
            first_purchase_probability=1.0 - silent if is_first and silent is not None else None,
        )

    def hazard_logit(self, values: tuple[float, ...]) -> float | None:
        """Return the log-odds of no signal in the short window, of who has given it before; None where not known."""
        hazard = self._again.hazard
        return None if hazard is None else hazard.logit(churn_terms(values, self._horizon_days))

    def _terms_halfway(self, values: tuple[float, ...]) -> tuple[float, ...]:
        return churn_terms(self._halfway.after(values), self._horizon_days)

    def contributions(self, packed: bytes, at_ms: int) -> tuple[float, tuple[float, ...]]:
        """Return bias and the contribution of each feature; their sum is the logit of the estimate's probability.

        The bias holds the season of `at_ms`. Rolling the hazard forward bends its logit; the bend is
        shared out in proportion to the contributions (the secant from the bias to the logit), so that the parts still
        add up to the whole.
        """
        values = unpack_churn(packed)
        is_first = self._by_purchase and not values[N_ORDERS_FEATURE]
        heads = self._first if is_first else self._again
        parts: list[tuple[float, tuple[float, ...]]] = []
        if heads.horizon is not None:
            own = heads.horizon.contributions(churn_terms(values, self._horizon_days))
            parts.append((heads.horizon.bias, own))
        if heads.hazard is not None:
            terms = self._terms_halfway(values)
            bias, logit = heads.hazard.bias, heads.hazard.logit(terms)
            start, end = _rolled_logit(bias, self._roll), _rolled_logit(logit, self._roll)
            slope = (end - start) / (logit - bias) if logit != bias else 0.0
            parts.append((start, tuple(slope * c for c in heads.hazard.contributions(terms))))
        if not parts:
            return 0.0, (0.0,) * len(CHURN_FEATURES)
        share = 1.0 / len(parts)
        bias = share * sum(start for start, _ in parts)
        if not is_first:
            bias += SEASON_SHARE * self._season.change(at_ms)
        of_terms = zip(*(contributions for _, contributions in parts), strict=True)
        return bias, by_feature(tuple(share * sum(column) for column in of_terms))


def _mean_logit(horizon: float | None, rolled: float | None) -> float | None:
    if horizon is not None and rolled is not None:
        return (horizon + rolled) / 2.0
    return horizon if horizon is not None else rolled


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
        self._horizon_days = churn_settings.horizon_days
        heads = {head: _untaught_head(head, settings, churn_settings.horizon_days) for head in HEADS}
        self._heads = {head: LinearLearner(each) for head, each in (heads if state is None else state.heads).items()}
        self._season = SeasonLearner(churn_settings.horizon_days, None if state is None else state.season)
        self._loosening = settings.drift_loosening
        self._drift: DriftMonitor | None = None
        if settings.drift_delta:
            self._drift = DriftMonitor(CHURN_FEATURES, settings.drift_delta, None if state is None else state.drift)

    def learn(self, example: TrainingExample) -> list[Drift]:
        """Fold one example in; return what it shows to have moved.

        One of another feature set, or without weight, teaches nothing.
        """
        head = self._heads.get(example.head)
        if head is None or example.feature_set != self._feature_set or example.weight <= 0.0:
            return []
        moves = self._watch(example) if example.head == HAZARD else []
        terms = churn_terms(example.features, self._horizon_days)
        head.learn(terms, example.label, example.weight, at_ms=example.matured_at)
        if example.head == HAZARD:
            self._season.note(example.matured_at, head.intercept)
        return moves

    def _watch(self, example: TrainingExample) -> list[Drift]:
        """Look for drift in what the short head is asked and how right it was: its labels come soonest.

        Where its losses have grown, it takes longer steps from here on.
        """
        if self._drift is None:
            return []
        moves = self._drift.see_features(example.features)
        move = None if example.predicted is None else self._drift.see_loss(example.label, example.predicted)
        if move is not None:
            moves.append(move)
            if self._drift.calls_for_longer_steps(move):
                self._heads[HAZARD].loosen(self._loosening)
        return moves

    def state(self) -> ChurnState:
        """Return the model as plain data."""
        heads = {head: learner.state() for head, learner in self._heads.items()}
        return ChurnState(heads, self._season.state(), None if self._drift is None else self._drift.state())


def _untaught_head(head: str, settings: LearnerSettings, horizon_days: float) -> LinearState:
    memory = HORIZON_MEMORY if head in (HORIZON, FIRST_HORIZON) else HAZARD_MEMORY
    return untaught(
        CHURN_TERMS,
        learning_rate=STEP * settings.learning_rate,
        l2=settings.l2,
        accumulator=settings.prior_strength,
        memory_ms=int(memory * horizon_days * DAY_MS),
        averaged=True,
    )


def remember_prediction(
    customer: Customer, estimate: ChurnEstimate, at_ms: int, settings: ChurnSettings, *, limit: int
) -> None:
    """Keep what was predicted until its labels have matured, unless `limit` are kept already.

    To drop the oldest instead would drop each one before its label has matured, wherever ticks are many to a horizon.
    """
    if len(customer.pending.churn) >= limit:
        return
    last_signal_ms = customer.orders.last_ms if settings.signal == "purchase" else customer.last_seen_ms
    first = estimate.first_purchase_probability
    probability = estimate.probability if first is None else 1.0 - first
    hazard = estimate.hazard_probability
    customer.pending.churn.append(
        PendingChurn(
            predicted_at=at_ms,
            features=estimate.features,
            probability=NOT_KNOWN if probability is None else probability,
            hazard_probability=NOT_KNOWN if hazard is None else hazard,
            active=bool(last_signal_ms) and at_ms - last_signal_ms < settings.horizon_days * DAY_MS,
            signal_at=0,
            hazard_revealed=False,
            untreated_propensity=1,
            treated=False,
        )
    )


def note_signal(customer: Customer, at_ms: int) -> None:
    """Note that `customer` gave the signal at `at_ms`, for the predictions made before it."""
    for pending in reversed(customer.pending.churn):
        if 0 < pending.signal_at <= at_ms:
            break  # the older ones know it already
        if pending.predicted_at < at_ms:
            pending.signal_at = at_ms


def note_signals_anew(customer: Customer, signals_ms: Sequence[int], settled_ms: int) -> None:
    """Note when `customer` gave the signal, where that is known otherwise than before: `signals_ms`, ascending.

    What is known of signals up to `settled_ms` stays.
    """
    for pending in customer.pending.churn:
        if not 0 < pending.signal_at <= settled_ms:
            pending.signal_at = next((at_ms for at_ms in signals_ms if at_ms > pending.predicted_at), 0)


def next_maturity_ms(customer: Customer, settings: ChurnSettings) -> int | None:
    """Return when the next label of `customer` matures, or None."""
    pending = customer.pending.churn
    if not pending:
        return None
    earliest = pending[0].predicted_at + int(settings.horizon_days * DAY_MS)
    for example in pending:
        if not example.hazard_revealed:
            return min(earliest, example.predicted_at + int(settings.hazard_days * DAY_MS))
    return earliest


def reveal(customer: Customer, now_ms: int, settings: ChurnSettings) -> list[TrainingExample]:
    """Return the examples whose label has matured by `now_ms`, and stop remembering the finished ones.

    One that was predicted from other features, by an older build, is forgotten without being learned from.
    """
    horizon_ms, hazard_ms = int(settings.horizon_days * DAY_MS), int(settings.hazard_days * DAY_MS)
    examples: list[TrainingExample] = []
    finished = 0
    for pending in customer.pending.churn:
        readable = len(pending.features) == PACKED_SIZE
        if not pending.hazard_revealed and pending.predicted_at + hazard_ms <= now_ms:
            pending.hazard_revealed = True
            if readable:
                examples.append(_example(pending, hazard_ms, settings, is_hazard=True))
        if pending.predicted_at + horizon_ms <= now_ms:
            if readable:
                examples.append(_example(pending, horizon_ms, settings, is_hazard=False))
            finished += 1
    del customer.pending.churn[:finished]
    return examples


def _example(pending: PendingChurn, window_ms: int, settings: ChurnSettings, *, is_hazard: bool) -> TrainingExample:
    matured_at = pending.predicted_at + window_ms
    returned = 0 < pending.signal_at <= matured_at
    features = unpack_churn(pending.features)
    if settings.signal == "purchase" and not features[N_ORDERS_FEATURE]:
        head = FIRST_HAZARD if is_hazard else FIRST_HORIZON
    else:
        head = HAZARD if is_hazard else HORIZON
    probability = pending.hazard_probability if is_hazard else pending.probability
    # The model is to say what happens without treatment: treated examples teach it nothing, and the untreated
    # speak for them in proportion.
    weight = 0.0 if pending.treated else min(MAX_WEIGHT, 1.0 / max(pending.untreated_propensity, 1e-6))
    return TrainingExample(
        family="churn",
        head=head,
        feature_set=feature_set(settings),
        features=features,
        rows=1,
        label=0.0 if returned else 1.0,
        weight=weight,
        predicted_at=pending.predicted_at,
        matured_at=matured_at,
        predicted=None if probability == NOT_KNOWN else probability,
        propensity=float(pending.untreated_propensity),
        treated=pending.treated,
        active=pending.active,
    )
