"""`nextbest bridge`: what is read, what is refused, and what it tells."""

from pathlib import Path
from typing import Any

import pytest

from consumer.bridge.observer import Tally
from consumer.commands.bridge import bridge_job
from consumer.commands.errors import CommandError
from consumer.commands.mapping import bridge_mappers
from consumer.config import Config
from consumer.core.settings import TimeSettings
from consumer.kafka.cluster.cluster_settings import TopicSettings
from consumer.observing_bridge import BridgeMetricsObserver
from consumer.telemetry.bridge_metrics import BridgeMetrics
from tests.bridge.test_becoming import SECTION
from tests.test_cli import nextbest

DOCS = Path(__file__).parents[2] / "docs" / "bridge.md"


def config(**topics: list[str]) -> Config:
    """Return a configuration with an input for each list of topics."""
    inputs: dict[str, Any] = {name: SECTION | {"topics": each} for name, each in topics.items()}
    return Config(inputs=inputs, topics=TopicSettings(prefix="p-"))


def test_the_bridge_reads_all_topics_of_inputs_but_those_that_workers_read() -> None:
    """Whose names have the prefix before them."""
    assert set(bridge_mappers(config(a=["shop", "p-clickstream"], b=["clickstream"]))) == {"shop", "clickstream"}


@pytest.mark.parametrize(
    ("topics", "said"),
    [
        ({}, "there is nothing to bridge"),
        ({"a": ["p-purchases"]}, r"there is nothing to bridge.*p-purchases"),
        ({"a": ["p-products"]}, "p-products is a topic of nextbest's own"),
        ({"a": ["p-dead-letters", "shop"]}, "p-dead-letters is a topic of nextbest's own"),
        ({"a": ["shop"], "b": ["shop"]}, "shop is a topic of the inputs a and b"),
    ],
)
def test_what_cannot_be_bridged_is_refused_with_a_reason(topics: dict[str, list[str]], said: str) -> None:
    """Before the cluster is asked."""
    with pytest.raises(CommandError, match=said):
        bridge_mappers(config(**topics))


def test_a_lead_that_would_make_events_late_is_refused() -> None:
    """Workers would turn down what waits behind a slow partition."""
    settings = Config(inputs={"a": SECTION}, time=TimeSettings(late_by_ms=60_000))
    with pytest.raises(CommandError, match=r"bridge.max_lead_ms is 3600000: it must be less than time.late_by_ms"):
        bridge_job(settings)


def test_a_mistake_is_one_message_without_a_stack_trace() -> None:
    """And exit code 2."""
    nothing = nextbest("bridge", NEXTBEST_KAFKA__INSTANCE_ID="bridge-0")
    assert (nothing.returncode, nothing.stderr.count("\n")) == (2, 1)
    assert "nextbest: there is nothing to bridge" in nothing.stderr


def test_every_metric_is_documented_and_nothing_else() -> None:
    """docs/bridge.md lists the names and types that are registered."""
    listed = {
        tuple(cell.strip() for cell in line.strip("|").split("|"))[:2]
        for line in DOCS.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `nextbest_")
    }
    registered = {
        (f"`{family.name}{'_total' if family.type == 'counter' else ''}`", family.type)
        for family in BridgeMetrics().registry.collect()
    }
    assert listed == registered


def test_what_the_bridge_tells_is_counted() -> None:
    """By source topic, canonical topic and reason; the lag of a partition that has gone is shown no more."""
    metrics = BridgeMetrics()
    observer = BridgeMetricsObserver(metrics)
    tally = Tally()
    tally.read["shop"], tally.written["clickstream"], tally.skipped["shop"] = 5, 3, 1
    tally.rejected["shop", "invalid"] = 1
    observer.committed(tally, 0.01)
    observer.committed(tally, 0.01)
    observer.aborted("made up")
    observer.rebalanced("assigned", 2)
    observer.lag("shop", 3, 17)

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"nextbest_bridge_{name}", labels)

    assert (value("read_total", topic="shop"), value("written_total", topic="clickstream")) == (10, 6)
    assert (value("skipped_total", topic="shop"), value("rejected_total", topic="shop", reason="invalid")) == (2, 2)
    assert (value("commits_total"), value("aborts_total"), value("commit_seconds_count")) == (2, 1, 2)
    assert value("rebalances_total", kind="assigned") == 1
    assert value("lag", topic="shop", partition="3") == 17
    observer.gave_up("shop", 3)
    assert value("lag", topic="shop", partition="3") is None
