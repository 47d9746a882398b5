"""Every metric of the bridge; docs/bridge.md lists them, and a test holds the two together."""

from prometheus_client import CollectorRegistry, Gauge, Histogram

from consumer.telemetry.metrics import COMMIT_BUCKETS_S, PREFIX, CounterFamily, GaugeFamily


class BridgeMetrics:
    """The metrics of one process of the bridge. Labels are topics, partitions and reasons."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.read = CounterFamily(registry, "bridge_read", "Source records read and committed", ("topic",))
        self.written = CounterFamily(registry, "bridge_written", "Records written to canonical topics", ("topic",))
        self.skipped = CounterFamily(registry, "bridge_skipped", "Source records that become no event", ("topic",))
        self.rejected = CounterFamily(
            registry, "bridge_rejected", "Source records sent to dead letters", ("topic", "reason")
        )
        self.commits = CounterFamily(registry, "bridge_commits", "Transactions committed")
        self.aborts = CounterFamily(registry, "bridge_aborts", "Transactions aborted")
        self.commit_seconds = Histogram(
            f"{PREFIX}_bridge_commit_seconds", "Duration of a commit", buckets=COMMIT_BUCKETS_S, registry=registry
        )
        self.rebalances = CounterFamily(registry, "bridge_rebalances", "Assignments, revocations and losses", ("kind",))
        self.lag = GaugeFamily(
            registry, "bridge_lag", "Source records on the broker not bridged yet", ("topic", "partition")
        )
        self.build = Gauge(f"{PREFIX}_build_info", "The build that runs, always 1", ("build",), registry=registry)
