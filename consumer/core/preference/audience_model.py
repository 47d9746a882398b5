"""The model behind audiences: how many buy in each category, and one regression for all pairs of customer and category.

Rates of categories are kept in bounded slots, so that no name grows the model: where all are taken, the category that
was met least gives way. They fade, and are shrunk to the rate of all categories.
"""

from collections.abc import Iterable
from math import log

import msgspec

from consumer.core.customer.customer import Customer
from consumer.core.learning.linear import LinearLearner, LinearScorer, LinearState, sigmoid, untaught
from consumer.core.preference.audience import (
    AGAIN,
    AUDIENCE_FEATURES,
    FIRST,
    HEAD,
    LONGEST_NAME,
    UNSURE,
    Estimate,
    category_part,
    customer_part,
    drawn_category,
    feature_set,
    kind_of,
    pack,
    remember_prediction,
    unpack,
)
from consumer.core.settings import AudienceSettings, CoreSettings, LearnerSettings
from schemas.records import TrainingExample
from schemas.units import DAY_MS

HALF_LIFE_DAYS = 30.0  # of an example in a rate: what sells has its season
PRIOR_STRENGTH = 10.0  # where AdaGrad's sums of squares start
SHRINKAGE = 10.0  # examples of the rate of all categories that each category starts with
_PRIOR_RATE, _PRIOR_EXAMPLES = 0.1, 2.0  # before anything was learned
_BOUGHT, _UNSURE = AUDIENCE_FEATURES.index("bought"), AUDIENCE_FEATURES.index("unsure")


class Rate(msgspec.Struct, frozen=True, array_like=True):
    """How many bought, of how many examples, for each kind of `kind_of`. They fade, and are as of `at_ms`."""

    at_ms: int = 0
    bought: tuple[float, float, float] = (0.0, 0.0, 0.0)
    n: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def kept(self, at_ms: int) -> float:
        """Return the share of the counts that is left at `at_ms`."""
        share: float = 0.5 ** (max(0, at_ms - self.at_ms) / (HALF_LIFE_DAYS * DAY_MS))
        return share

    def plus(self, matured_ms: int, kind: int, label: float, weight: float) -> "Rate":
        """Return the rate with one more example in it. One that matured earlier than the latest is taken as of it."""
        at_ms = max(self.at_ms, matured_ms)
        keep = self.kept(at_ms)
        bought, n = [each * keep for each in self.bought], [each * keep for each in self.n]
        bought[kind] += weight * label
        n[kind] += weight
        return Rate(at_ms, (bought[AGAIN], bought[FIRST], bought[UNSURE]), (n[AGAIN], n[FIRST], n[UNSURE]))


class AudienceState(msgspec.Struct, frozen=True):
    """The model as plain data."""

    model: LinearState
    overall: Rate
    categories: dict[str, Rate]


class AudienceScorer:
    """Predicts; never learns, and never grows."""

    def __init__(self, settings: AudienceSettings, state: AudienceState | None = None) -> None:
        self._settings = settings
        self._scorer = LinearScorer(state.model) if state is not None and state.model.n_iterations else None
        overall = state.overall if state is not None else Rate()
        rates = state.categories if state is not None else {}
        self._unknown = _logits(Rate(), overall)
        self._logits = {name: _logits(rate, overall) for name, rate in rates.items()}
        self.categories: tuple[str, ...] = tuple(sorted(rates))

    def estimate(self, customer: Customer, category: str, at_ms: int) -> Estimate:
        """Return the probability that `customer` buys in `category` within the window after `at_ms`."""
        return self.estimate_with(customer_part(customer, at_ms), customer, category, at_ms)

    def probabilities(self, customer: Customer, categories: Iterable[str], at_ms: int) -> dict[str, float]:
        """Return the probability of each of `categories`; nothing before anything was learned."""
        if self._scorer is None:
            return {}
        estimates = {category: self.estimate(customer, category, at_ms).probability for category in categories}
        return {category: probability for category, probability in estimates.items() if probability is not None}

    def estimate_with(self, of_customer: tuple[float, ...], customer: Customer, category: str, at_ms: int) -> Estimate:
        """Return what `estimate` does, from what `customer_part` returned for the same customer and time."""
        kind = kind_of(customer, category, self._settings)
        of_category = category_part(customer, category, kind, at_ms=at_ms, window_days=self._settings.within_days)
        packed = pack(self._logits.get(category, self._unknown)[kind], of_category, of_customer)
        if self._scorer is None:
            return Estimate(None, packed)
        return Estimate(sigmoid(self._scorer.logit(unpack(packed))), packed)


def predict_pair(customer: Customer, scorer: AudienceScorer, at_ms: int, settings: CoreSettings) -> None:
    """At some ticks of `customer`, predict a category; the customer remembers it until the window is over."""
    category = drawn_category(customer, scorer.categories, at_ms, settings.audience.sample_share)
    if category is not None:
        estimate = scorer.estimate(customer, category, at_ms)
        remember_prediction(customer, category, estimate, at_ms, limit=settings.state.pending_audience)


class AudienceLearner:
    """The trainer's side: folds matured examples of pairs into the regression and the rates."""

    def __init__(
        self, settings: AudienceSettings, learning: LearnerSettings, state: AudienceState | None = None
    ) -> None:
        self._feature_set = feature_set(settings)
        self._slots = settings.category_slots
        if state is None:
            rate, l2 = learning.learning_rate, learning.l2
            model = untaught(AUDIENCE_FEATURES, learning_rate=rate, l2=l2, accumulator=PRIOR_STRENGTH)
            state = AudienceState(model, Rate(), {})
        self._model = LinearLearner(state.model)
        self._overall = state.overall
        self._categories = dict(state.categories)

    def learn(self, example: TrainingExample) -> None:
        """Fold one example in. One of another head or feature set, or without weight, teaches nothing."""
        if example.head != HEAD or example.feature_set != self._feature_set or example.weight <= 0.0:
            return
        category = example.arm
        if not category or len(category) > LONGEST_NAME:
            return
        self._model.learn(example.features, example.label, example.weight)
        kind = AGAIN if example.features[_BOUGHT] else UNSURE if example.features[_UNSURE] else FIRST
        added = (example.matured_at, kind, example.label, example.weight)
        self._overall = self._overall.plus(*added)
        known = self._categories.get(category)
        if known is None and len(self._categories) >= self._slots:
            del self._categories[min(self._categories, key=self._met)]
        self._categories[category] = (known or Rate()).plus(*added)

    def _met(self, category: str) -> tuple[float, str]:
        rate = self._categories[category]
        return sum(rate.n) * rate.kept(self._overall.at_ms), category

    def state(self) -> AudienceState:
        """Return everything that the next `learn` depends on."""
        categories = {name: self._categories[name] for name in sorted(self._categories)}
        return AudienceState(self._model.state(), self._overall, categories)


def _logits(rate: Rate, overall: Rate) -> tuple[float, ...]:
    """Return the log-odds of buying, for each kind, as of the latest example of all."""
    keep, logits = rate.kept(overall.at_ms), []
    for kind in (AGAIN, FIRST, UNSURE):
        of_all = (overall.bought[kind] + _PRIOR_EXAMPLES * _PRIOR_RATE) / (overall.n[kind] + _PRIOR_EXAMPLES)
        share = (keep * rate.bought[kind] + SHRINKAGE * of_all) / (keep * rate.n[kind] + SHRINKAGE)
        logits.append(log(share / (1.0 - share)))
    return tuple(logits)
