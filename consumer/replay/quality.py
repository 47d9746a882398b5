"""How good the models were while they learned: each example is judged by what was predicted before it was learned."""

from array import array
from math import log

import msgspec

from consumer.core.customer.segment_learner import SEGMENT
from consumer.core.preference.preference import NEXT_ITEM
from consumer.evaluate.metrics import auc
from consumer.measure.base_rate import BaseRate
from schemas.records import TrainingExample

TOP = 20
HORIZON_HEAD = "horizon"  # as in the examples of the churn family
_SMALLEST_PROBABILITY = 1e-12


class ChurnQuality(msgspec.Struct, frozen=True):
    """Prequential quality of the churn model's horizon head. The figures are null where `reason` says why.

    `scored` of the matured examples carry a prediction (the first ones were made by a model that knew nothing);
    the figures are over those. `base_rate_log_loss` is that of the share of churners known at the prediction.
    """

    matured: dict[str, int]  # by head
    scored: int
    churned_share: float | None
    log_loss: float | None
    base_rate_log_loss: float | None
    auc: float | None
    reason: str | None


class ListQuality(msgspec.Struct, frozen=True):
    """How often the next item stood among the first 20 of a list, and the mean of 1/rank (0 where it did not)."""

    hit_rate_at_20: float | None
    mrr_at_20: float | None


class PreferenceQuality(msgspec.Struct, frozen=True):
    """Next-item quality, prequential, beside the two lists that need no model. `n` is the number of items asked for."""

    n: int
    ours: ListQuality
    popularity: ListQuality
    own_last_20: ListQuality


class OutcomeShare(msgspec.Struct, frozen=True):
    """Matured decisions of one group: how many were followed by the outcome, and what was spent on average."""

    n: int
    outcome_rate: float | None
    mean_value: float | None


class Outcomes(msgspec.Struct, frozen=True):
    """Outcomes of the treated, of the universal hold-out, and of those who got nothing by the draw."""

    treated: OutcomeShare
    hold_out: OutcomeShare
    randomised_nothing: OutcomeShare


class Quality:
    """Takes every matured example in log order and says how good the predictions were. 25 bytes a churn example."""

    def __init__(self) -> None:
        self._churn_matured: dict[str, int] = {}
        self._predicted = array("d")
        self._labels = array("b")
        self._log_loss = self._base_log_loss = 0.0
        self._horizon_n = 0
        self._base_rate = BaseRate()
        self._asked = 0
        self._hits = {"ours": 0, "popularity": 0, "own_last_20": 0}
        self._reciprocal = dict.fromkeys(self._hits, 0.0)
        self._outcomes = {name: [0, 0.0, 0.0] for name in ("treated", "hold_out", "randomised_nothing")}

    def add(self, example: TrainingExample) -> None:
        """Judge one example."""
        if example.family == "churn":
            self._add_churn(example)
        elif example.family == "preference":
            if example.head == NEXT_ITEM:
                self._add_preference(example)
        else:
            self._add_outcome(example)

    def _add_churn(self, example: TrainingExample) -> None:
        if example.head == SEGMENT:  # a sample, without a prediction
            return
        self._churn_matured[example.head] = self._churn_matured.get(example.head, 0) + 1
        if example.head != HORIZON_HEAD:
            return
        if example.predicted is not None:
            self._predicted.append(example.predicted)
            self._labels.append(1 if example.label else 0)
            self._log_loss += log_loss(example.predicted, example.label)
            self._base_log_loss += log_loss(self._base_rate.at(example.predicted_at), example.label)
        self._horizon_n += 1
        self._base_rate.add(example.matured_at, example.label)

    def _add_preference(self, example: TrainingExample) -> None:
        self._asked += 1
        ranks = {"ours": example.rank, "popularity": example.popularity_rank, "own_last_20": example.history_rank}
        for name, rank in ranks.items():
            if rank is not None and 1 <= rank <= TOP:
                self._hits[name] += 1
                self._reciprocal[name] += 1.0 / rank

    def _add_outcome(self, example: TrainingExample) -> None:
        group = "hold_out" if example.hold_out else "treated" if example.treated else "randomised_nothing"
        totals = self._outcomes[group]
        totals[0] += 1
        totals[1] += example.label
        totals[2] += example.value

    def churn(self, null_because: str | None = None) -> ChurnQuality:
        """Return the figures so far. `null_because` says why none can be given, where that is known beforehand."""
        scored, matured = len(self._predicted), dict(sorted(self._churn_matured.items()))
        if null_because is None and not self._horizon_n:
            null_because = "no label has matured"
        if null_because is None and not scored:
            null_because = "no label has matured of a prediction by a model that had learned something"
        if null_because is not None:
            return ChurnQuality(matured, scored, None, None, None, None, null_because)
        area = auc(self._predicted, self._labels)
        return ChurnQuality(
            matured=matured,
            scored=scored,
            churned_share=sum(self._labels) / scored,
            log_loss=self._log_loss / scored,
            base_rate_log_loss=self._base_log_loss / scored,
            auc=area,
            reason=None if area is not None else "all labels are of one class, so there is no AUC",
        )

    def preference(self) -> PreferenceQuality:
        """Return the figures so far."""
        n = self._asked
        lists = {
            name: ListQuality(hits / n if n else None, self._reciprocal[name] / n if n else None)
            for name, hits in self._hits.items()
        }
        return PreferenceQuality(n, **lists)

    def outcomes(self) -> Outcomes:
        """Return the figures so far."""
        shares = {
            name: OutcomeShare(int(n), outcome / n if n else None, value / n if n else None)
            for name, (n, outcome, value) in self._outcomes.items()
        }
        return Outcomes(**shares)


def log_loss(probability: float, label: float) -> float:
    """Return −log of the probability given to what happened, bounded."""
    happened = probability if label else 1.0 - probability
    return -log(max(_SMALLEST_PROBABILITY, happened))
