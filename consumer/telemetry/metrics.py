"""Every metric of the consumer, by name, in this one place. docs/metrics.md lists them; a test holds the two together.

A bound child (`family.labels(...)`) costs a quarter of looking it up anew, so `Metrics` keeps the children it has
bound; label values are topics, kinds, reasons, actions and the like, all from small closed sets. No customer id is ever
a label.
"""

from collections.abc import Sequence
from math import log

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

PREFIX = "nextbest"

COMMIT_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
STEP_BUCKETS_S = (5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 2.5e-2)
RESTORE_BUCKETS_S = (0.1, 0.5, 1.0, 3.0, 10.0, 30.0, 60.0, 300.0)

_PROBABILITY_FLOOR = 1e-6  # a log loss is capped here: one sure and wrong prediction should not drown the rest


class CounterFamily:
    """A counter with its labels, each child bound once."""

    def __init__(self, registry: CollectorRegistry, name: str, words: str, labels: Sequence[str] = ()) -> None:
        self._family = Counter(f"{PREFIX}_{name}", words, labels, registry=registry)
        self._children: dict[tuple[str, ...], Counter] = {}

    def add(self, *labels: str, amount: float = 1.0) -> None:
        """Count `amount` more under these label values."""
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._family.labels(*labels) if labels else self._family
        child.inc(amount)


class GaugeFamily:
    """A gauge with its labels, each child bound once."""

    def __init__(self, registry: CollectorRegistry, name: str, words: str, labels: Sequence[str]) -> None:
        self._family = Gauge(f"{PREFIX}_{name}", words, labels, registry=registry)
        self._children: dict[tuple[str, ...], Gauge] = {}

    def set(self, value: float, *labels: str) -> None:
        """Show `value` under these label values."""
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._family.labels(*labels)
        child.set(value)

    def forget(self, *labels: str) -> None:
        """Show nothing any more under these label values, as of a task that has gone to another worker."""
        if self._children.pop(labels, None) is not None:
            self._family.remove(*labels)


class Metrics:
    """The metrics of one process. Times are in seconds, as Prometheus wants them.

    The quality of the models is counted as sums, once for each example by the trainer that folds it in, so that a
    dashboard can divide them over any window and over all processes.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        # what comes in
        self.events = CounterFamily(registry, "events", "Events processed", ("topic", "kind"))
        self.rejected = CounterFamily(registry, "rejected", "Records sent to dead letters", ("topic", "reason"))
        self.mended = CounterFamily(
            registry, "mended", "Things mended in input records that were read", ("topic", "what")
        )
        self.duplicates = CounterFamily(registry, "duplicates", "Events seen before, ignored")
        self.late = CounterFamily(
            registry, "late", "Events too far behind stream time; they are among the rejected, too"
        )
        self.aged = CounterFamily(registry, "aged", "Events older than catch-up allows: they teach and decide nothing")
        self.money_apart = CounterFamily(
            registry, "money_apart", "Events whose money is in a currency without a rate", ("currency",)
        )

        # what goes out
        self.decisions = CounterFamily(registry, "decisions", "Decisions committed", ("action", "channel", "trigger"))
        self.examples = CounterFamily(registry, "examples", "Training examples committed", ("family",))
        self.sessions = CounterFamily(registry, "sessions", "Finished sessions committed")

        self.segment_moves = CounterFamily(
            registry, "segment_moves", "Customers who moved from one segment to another", ("before", "after")
        )

        # how the loop does
        self.commits = CounterFamily(registry, "commits", "Transactions committed")
        self.aborts = CounterFamily(registry, "aborts", "Transactions aborted")
        self.passed_over = CounterFamily(registry, "passed_over", "Records of the models topic that nobody can read")
        self.commit_seconds = Histogram(
            f"{PREFIX}_commit_seconds", "Duration of a commit", buckets=COMMIT_BUCKETS_S, registry=registry
        )
        self.step_seconds = Histogram(
            f"{PREFIX}_step_seconds",
            "Duration of one event in the core, mean of a batch",
            buckets=STEP_BUCKETS_S,
            registry=registry,
        )
        self.lag = GaugeFamily(
            registry, "consumergroup_lag", "Records on the broker not processed yet", ("topic", "partition")
        )
        self.stream_time_delay = GaugeFamily(
            registry, "stream_time_delay_seconds", "How far stream time is behind the clock", ("task",)
        )
        self.mode = GaugeFamily(registry, "mode", "1 for the mode a task is in", ("task", "mode"))
        self.rebalances = CounterFamily(registry, "rebalances", "Assignments, revocations and losses", ("kind",))
        self.restore_seconds = Histogram(
            f"{PREFIX}_restore_seconds", "Duration of restoring a task", buckets=RESTORE_BUCKETS_S, registry=registry
        )
        self.restored_records = CounterFamily(registry, "restored_records", "Changelog records read to restore tasks")
        self.customers = GaugeFamily(registry, "customers", "Customers remembered", ("task",))

        # what is known
        self.model_offset = GaugeFamily(
            registry, "model_offset", "Offset of the last example in the model in force", ("model",)
        )
        self.snapshots = CounterFamily(registry, "snapshots", "Model snapshots published", ("model",))
        self.folded = CounterFamily(registry, "folded_examples", "Examples folded in by this trainer", ("family",))

        # how good it is
        self.churn_matured = CounterFamily(registry, "churn_matured", "Churn predictions with a known label", ("head",))
        self.churn_log_loss = CounterFamily(registry, "churn_log_loss", "Sum of their log loss, in nats", ("head",))
        self.churn_base_log_loss = CounterFamily(
            registry, "churn_base_rate_log_loss", "The same for the base rate known at the prediction", ("head",)
        )
        self.drifts = CounterFamily(
            registry, "drift", "Times that losses or the mean of a feature were found to have moved", ("family", "what")
        )
        self.challenger_rows = CounterFamily(
            registry, "challenger_matured", "Churn predictions that a challenger is judged by", ("model", "head")
        )
        self.challenger_log_loss = CounterFamily(
            registry, "challenger_log_loss", "Sum of the challenger's log loss on them, in nats", ("model", "head")
        )
        self.challenged_log_loss = CounterFamily(
            registry, "challenged_log_loss", "The same for the model in force at the prediction", ("model", "head")
        )
        self.recommendations_tried = CounterFamily(
            registry, "recommendations_tried", "Recommendations whose next item is known"
        )
        self.hits = CounterFamily(
            registry, "recommendation_hits", "Those that held the next item in their first 20", ("list",)
        )
        self.outcomes_matured = CounterFamily(
            registry, "outcomes_matured", "Decisions whose outcome window is over", ("group",)
        )
        self.outcomes = CounterFamily(registry, "outcomes", "Those followed by a purchase", ("group",))

        self.build = Gauge(f"{PREFIX}_build_info", "The build that runs, always 1", ("build",), registry=registry)

    def observe_churn(self, head: str, label: float, predicted: float, base_rate: float) -> None:
        """Count one matured churn prediction: its log loss, and that of the base rate as known when it was made."""
        self.churn_matured.add(head)
        self.churn_log_loss.add(head, amount=log_loss(label, predicted))
        self.churn_base_log_loss.add(head, amount=log_loss(label, base_rate))

    def observe_challenger(self, model: str, head: str, label: float, *, own: float, in_force: float) -> None:
        """Count one row that a challenger is judged by, beside the model in force."""
        self.challenger_rows.add(model, head)
        self.challenger_log_loss.add(model, head, amount=log_loss(label, own))
        self.challenged_log_loss.add(model, head, amount=log_loss(label, in_force))

    def observe_recommendation(self, rank: int | None, popularity_rank: int | None, history_rank: int | None) -> None:
        """Count one tried recommendation; a rank is 1 at the top, 0 or None where the next item is not in the list."""
        self.recommendations_tried.add()
        for name, place in (("ours", rank), ("popularity", popularity_rank), ("own_history", history_rank)):
            if place is not None and 0 < place <= 20:
                self.hits.add(name)

    def observe_outcome(self, *, treated: bool, hold_out: bool, happened: bool) -> None:
        """Count one decision whose outcome is known: treated, untreated by draw, or in the universal hold-out."""
        group = "hold_out" if hold_out else "treated" if treated else "untreated"
        self.outcomes_matured.add(group)
        if happened:
            self.outcomes.add(group)


def log_loss(label: float, probability: float) -> float:
    """Return the log loss in nats of one prediction; `label` is 0 or 1."""
    p = min(max(probability, _PROBABILITY_FLOOR), 1.0 - _PROBABILITY_FLOOR)
    return -(label * log(p) + (1.0 - label) * log(1.0 - p))
