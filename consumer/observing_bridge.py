"""What the bridge tells, as metrics and log lines: the join between consumer/bridge and consumer/telemetry."""

import logging

from consumer.bridge.observer import BridgeObserver, Tally
from consumer.telemetry.bridge_metrics import BridgeMetrics

log = logging.getLogger("nextbest.bridge")


class BridgeMetricsObserver(BridgeObserver):
    """Turns everything that the bridge tells into metrics, and what is rare into a log line as well."""

    def __init__(self, metrics: BridgeMetrics) -> None:
        self._metrics = metrics

    def committed(self, tally: Tally, seconds: float) -> None:
        """Count a transaction and all that is in it."""
        metrics = self._metrics
        metrics.commits.add()
        metrics.commit_seconds.observe(seconds)
        for family, counts in ((metrics.read, tally.read), (metrics.written, tally.written)):
            for topic, n in counts.items():
                family.add(topic, amount=n)
        for topic, n in tally.skipped.items():
            metrics.skipped.add(topic, amount=n)
        for (topic, reason), n in tally.rejected.items():
            metrics.rejected.add(topic, reason, amount=n)

    def aborted(self, reason: str) -> None:
        """Count and log an aborted transaction."""
        self._metrics.aborts.add()
        log.warning("a transaction was aborted, its records come again: %s", reason)

    def rebalanced(self, kind: str, partitions: int) -> None:
        """Count and log a change of assignment."""
        self._metrics.rebalances.add(kind)
        log.info("source partitions %s: %d", kind, partitions)

    def lag(self, topic: str, partition: int, records: int) -> None:
        """Show how many records are waiting on the broker."""
        self._metrics.lag.set(records, topic, str(partition))

    def gave_up(self, topic: str, partition: int) -> None:
        """Show nothing any more of a partition that another process has now."""
        self._metrics.lag.forget(topic, str(partition))
