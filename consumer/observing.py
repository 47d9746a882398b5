"""What the worker tells, as metrics and log lines: the join between consumer/kafka and consumer/telemetry."""

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from typing import get_args

from consumer.core.currency import OTHER, kept_apart
from consumer.core.customer.segment_learner import SEGMENT
from consumer.core.customer.segments import transitions
from consumer.core.learning.drift import Drift
from consumer.core.preference.preference import NEXT_ITEM
from consumer.kafka.observer import CommittedTask, Observer
from consumer.measure.base_rate import BaseRate
from consumer.telemetry.metrics import Metrics
from consumer.telling import Telling
from schemas.mending import MendWord
from schemas.records import Family, TrainingExample
from schemas.topics import EVENT_TOPICS, INPUT_TOPICS

log = logging.getLogger("nextbest.worker")

MAX_CURRENCIES = 20  # told apart; those met after them are "other"
MODES = ("live", "catch-up", "history", "frozen")


class MetricsObserver(Observer):
    """Turns everything that the worker tells into metrics, and what is rare into a log line as well."""

    def __init__(self, metrics: Metrics, telling: Telling) -> None:
        self._metrics = metrics
        self._telling = telling
        self._shown_models: set[str] = set()
        self._currencies_apart: set[str] = set()
        self._base_rates: dict[str, BaseRate] = {}
        for topic in INPUT_TOPICS:
            for what in get_args(MendWord):
                metrics.mended.add(topic, what, amount=0)  # or a first one would be no increase of anything

    def committed(self, tasks: Sequence[CommittedTask], seconds: float) -> None:
        """Count a transaction and all that is in it."""
        metrics = self._metrics
        metrics.commits.add()
        metrics.commit_seconds.observe(seconds)
        now_s = time.time()
        for task in tasks:
            self._count(task)
            self._telling.committed(task)
            journal = task.commit.journal
            name = str(journal.task)
            metrics.customers.set(task.customers, name)
            metrics.stream_time_delay.set(now_s - journal.stream_time / 1000, name)
            for mode in MODES:
                metrics.mode.set(float(mode == journal.mode), name, mode)

    def _count(self, task: CommittedTask) -> None:
        metrics, outputs, counters = self._metrics, task.commit.outputs, task.commit.counters
        for (topic, kind), n in task.processed.items():
            metrics.events.add(topic, kind, amount=n)
        for record in task.rejected:
            metrics.rejected.add(record.topic, record.rejection.reason)
        metrics.duplicates.add(amount=counters.get("duplicates", 0))
        metrics.late.add(amount=counters.get("late", 0))
        metrics.aged.add(amount=counters.get("aged", 0))
        for currency, n in kept_apart(counters).items():
            self._count_apart(currency, n)
        for move, n in transitions(counters).items():
            metrics.segment_moves.add(*move, amount=n)
        for decision in outputs.decisions:
            metrics.decisions.add(decision.action, decision.channel or "none", decision.trigger)
        for example in outputs.examples:
            metrics.examples.add(example.family)
        metrics.sessions.add(amount=len(outputs.sessions))

    def _count_apart(self, currency: str, n: int) -> None:
        """Count events whose money has no rate, and say so of each currency once."""
        shown = self._currencies_apart
        if currency not in shown and len(shown) >= MAX_CURRENCIES:
            currency = OTHER
        if currency not in shown:
            shown.add(currency)
            log.warning(
                "money in %s has no rate to the shop's currency and is in no sum or price: set [currencies] rates",
                currency if currency != OTHER else "currencies that are no code of three letters, or many",
            )
        self._metrics.money_apart.add(currency, amount=n)

    def mended(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Count what was mended."""
        for labels, n in counts.items():
            self._metrics.mended.add(*labels, amount=n)

    def aborted(self, reason: str) -> None:
        """Count and log an aborted transaction."""
        self._metrics.aborts.add()
        log.warning("a transaction was aborted, its records come again: %s", reason)

    def passed_over(self, offset: int, why: str) -> None:
        """Count and log a record of the models topic that can't be read."""
        self._metrics.passed_over.add()
        log.warning("passed over record %d of the models topic: %s", offset, why)

    def processed(self, records: int, seconds: float) -> None:
        """Note what the core took for each record of a batch."""
        if records:
            self._metrics.step_seconds.observe(seconds / records)

    def rebalanced(self, kind: str, tasks: Collection[int]) -> None:
        """Count and log a change of assignment."""
        self._metrics.rebalances.add(kind)
        log.info("tasks %s: %s", kind, ", ".join(map(str, sorted(tasks))) or "none")

    def restored(self, task: int, records: int, customers: int, seconds: float) -> None:
        """Note how long a task took to get its state back."""
        self._metrics.restored_records.add(amount=records)
        self._metrics.restore_seconds.observe(seconds)
        self._metrics.customers.set(customers, str(task))
        log.info("task %d restored: %d customers, %d changelog records, %.2f s", task, customers, records, seconds)

    def stopped(self, task: int) -> None:
        """Show nothing any more of a task that another worker has now."""
        self._telling.stopped(task)
        name = str(task)
        self._metrics.customers.forget(name)
        self._metrics.stream_time_delay.forget(name)
        for mode in MODES:
            self._metrics.mode.forget(name, mode)
        for topic in EVENT_TOPICS:
            self._metrics.lag.forget(topic, name)

    def lag(self, topic: str, task: int, records: int) -> None:
        """Show how many records are waiting on the broker."""
        self._metrics.lag.set(records, topic, str(task))
        self._telling.lag(topic, task, records)

    def came_round(self) -> None:
        """Say what was done, where that is due."""
        self._telling.came_round()

    def adopted(self, versions: Mapping[str, int]) -> None:
        """Show which knowledge is in force."""
        for name in self._shown_models - versions.keys():
            self._metrics.model_offset.forget(name)
        self._shown_models = set(versions)
        for name, offset in versions.items():
            self._metrics.model_offset.set(offset, name)

    def learned(self, family: Family, example: TrainingExample) -> None:
        """Count how good the prediction was that an example tells the truth about."""
        metrics = self._metrics
        metrics.folded.add(family)
        if family == "churn" and example.head != SEGMENT:
            base_rate = self._base_rates.setdefault(example.head, BaseRate())
            if example.predicted is not None:
                known = base_rate.at(example.predicted_at)
                metrics.observe_churn(example.head, example.label, example.predicted, known)
            base_rate.add(example.matured_at, example.label)
        elif family == "preference" and example.head == NEXT_ITEM:
            metrics.observe_recommendation(example.rank, example.popularity_rank, example.history_rank)
        elif family == "policy":
            metrics.observe_outcome(treated=example.treated, hold_out=example.hold_out, happened=example.label > 0)

    def drifted(self, family: Family, move: Drift) -> None:
        """Count what has moved, and say from where to where."""
        self._metrics.drifts.add(family, move.what)
        log.warning("%s drift: the mean of %s went from %.4g to %.4g", family, move.what, move.before, move.after)

    def compared(self, model: str, head: str, label: float, *, own: float, in_force: float) -> None:
        """Count how good a challenger was beside the model in force, on the same row."""
        self._metrics.observe_challenger(model, head, label, own=own, in_force=in_force)

    def published(self, model: str, offset: int) -> None:
        """Count a snapshot."""
        self._metrics.snapshots.add(model)
        log.info("published a %s model, examples up to offset %d", model, offset)
