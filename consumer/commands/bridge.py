"""`nextbest bridge`: a shop's own topics become the canonical ones."""

import logging
from typing import TYPE_CHECKING

import typer

from consumer.commands.broker import INSTANCE_ID_ADVICE
from consumer.commands.codecs import codec_of
from consumer.commands.common import ConfigOption, cluster_of, configured, stopped_by_signals
from consumer.commands.errors import CommandError
from consumer.commands.mapping import bridge_mappers
from consumer.commands.serving import health_server

if TYPE_CHECKING:
    from consumer.bridge.run import BridgeJob
    from consumer.config import Config

log = logging.getLogger("nextbest")


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(bridge)


def bridge(config: ConfigOption = None) -> None:
    """Map topics of your own to those that workers read, until SIGTERM or SIGINT: keyed and partitioned right."""
    from prometheus_client import disable_created_metrics

    from consumer.bridge.run import run_bridge
    from consumer.build import build_fingerprint
    from consumer.kafka.worker import WorkerStatus
    from consumer.observing_bridge import BridgeMetricsObserver
    from consumer.telemetry.bridge_metrics import BridgeMetrics

    settings = configured(config)
    if not settings.kafka.instance_id:
        raise CommandError(f"kafka.instance_id is not set: {INSTANCE_ID_ADVICE}")
    job = bridge_job(settings)
    disable_created_metrics()  # type: ignore[no-untyped-call]  # as in `run`
    metrics, status = BridgeMetrics(), WorkerStatus()
    metrics.build.labels(build_fingerprint()).set(1)
    with (
        stopped_by_signals() as stop,
        health_server(settings, metrics.registry, status, lambda: status.state) as health,
    ):
        log.info(
            "bridge %s of %s, build %s, http port %d",
            settings.kafka.instance_id,
            ", ".join(sorted(job.mappers)),
            build_fingerprint(),
            health.port,
        )
        run_bridge(cluster_of(settings), job, stop=stop.is_set, observer=BridgeMetricsObserver(metrics), status=status)


def bridge_job(settings: "Config") -> "BridgeJob":
    """Return what a process of the bridge is to do by the configuration. Raises CommandError where it can't be done."""
    from consumer.bridge.run import BridgeJob

    if settings.bridge.max_lead_ms >= settings.time.late_by_ms:
        raise CommandError(
            f"bridge.max_lead_ms is {settings.bridge.max_lead_ms}: it must be less than time.late_by_ms "
            f"({settings.time.late_by_ms}), or what waits behind a slow partition would come too late"
        )
    return BridgeJob(
        settings.bridge,
        settings.worker.dead_letters,
        settings.time.max_ahead_ms,
        bridge_mappers(settings),
        codec_of(settings)[1],
    )
