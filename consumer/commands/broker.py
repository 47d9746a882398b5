"""`nextbest run`, `nextbest check` and `nextbest topics`: the consumer and its cluster."""

import logging
import time
from typing import Annotated

import typer

from consumer.commands.codecs import codec_of, decoder_of
from consumer.commands.common import ConfigOption, catalogue_of, cluster_of, configured, results, stopped_by_signals
from consumer.commands.errors import CommandError
from consumer.commands.mapping import live_decoder
from consumer.commands.serving import health_server

log = logging.getLogger("nextbest")

INSTANCE_ID_ADVICE = "set kafka.instance_id (NEXTBEST_KAFKA__INSTANCE_ID): a stable name for each worker's slot"

topics_app = typer.Typer(help="Make the topics.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(run)
    app.command()(check)
    app.add_typer(topics_app, name="topics")


def run(config: ConfigOption = None) -> None:
    """Run one worker until SIGTERM or SIGINT: read, learn, decide, publish, exactly once."""
    from prometheus_client import disable_created_metrics

    from consumer.build import build_fingerprint
    from consumer.kafka.run import Job
    from consumer.kafka.run import run as work
    from consumer.kafka.worker import WorkerStatus
    from consumer.observing import MetricsObserver
    from consumer.telemetry.metrics import Metrics
    from consumer.telling import Telling
    from consumer.zones import load_zone

    settings = configured(config)
    if not settings.kafka.instance_id:
        raise CommandError(f"kafka.instance_id is not set: {INSTANCE_ID_ADVICE}")
    catalogue = catalogue_of(settings)
    decoder, encoder = codec_of(settings)
    decoder = live_decoder(decoder, settings)
    # A time of creation for each counter would be as many series again, of use to nobody.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    metrics, status = Metrics(), WorkerStatus()
    telling = Telling(settings.logging.summary_every_ms / 1000, time.monotonic)
    metrics.build.labels(build_fingerprint()).set(1)
    with (
        stopped_by_signals() as stop,
        health_server(settings, metrics.registry, status, lambda: telling.lately) as health,
    ):
        log.info("worker %s, build %s, http port %d", settings.kafka.instance_id, build_fingerprint(), health.port)
        job = Job(
            settings.worker,
            settings.core_settings(),
            catalogue,
            decoder,
            encoder,
            build=build_fingerprint(),
            load_zone=load_zone,
            challengers=settings.challengers,
        )
        work(cluster_of(settings), job, stop=stop.is_set, observer=MetricsObserver(metrics, telling), status=status)


def check(
    config: ConfigOption = None,
    transactions: Annotated[bool, typer.Option(help="Also start and abort an empty transaction.")] = True,
) -> None:
    """Try connection, topics, configuration and a sample of each input, and say what to do. Changes nothing."""
    from clients.errors import ClusterAway
    from consumer.commands.check_inputs import input_findings
    from consumer.core.knowledge.challenger import new_challenger
    from consumer.core.knowledge.river_classifier import UnknownModel
    from consumer.kafka.cluster.check import Finding
    from consumer.kafka.cluster.check import check as look
    from consumer.kafka.failures import RegistryUnavailable

    settings = configured(config)
    catalogue = catalogue_of(settings)
    findings = [Finding("ok", "configuration", f"valid; {len(catalogue.actions)} actions in the catalogue")]
    for challenger in settings.challengers:
        try:
            new_challenger(challenger, settings.core_settings(), catalogue)
        except UnknownModel as error:
            findings.append(Finding("error", "challengers", str(error), "correct or remove its [[challengers]]"))
    if settings.kafka.instance_id is None:
        findings.append(Finding("warn", "instance id", "not set, and `nextbest run` needs it", INSTANCE_ID_ADVICE))
    findings += look(cluster_of(settings), transactions=transactions)
    if not findings[-1].what.startswith("connection to"):
        try:
            findings += input_findings(settings, decoder_of(settings))
        except (ClusterAway, RegistryUnavailable) as away:
            findings.append(Finding("error", "records of the inputs", str(away), "see above, and try again"))
    for finding in findings:
        results.print(f"{finding.status:<5} {finding.what}: {finding.found}", markup=False)
        if finding.advice:
            results.print(f"      → {finding.advice}", markup=False)
    if any(finding.status == "error" for finding in findings):
        raise typer.Exit(1)


@topics_app.command()
def create(
    config: ConfigOption = None,
    partitions: Annotated[int | None, typer.Option(min=1, help="Of the input topics and those like them.")] = None,
) -> None:
    """Create the topics that are missing, with everything set explicitly. What exists is never altered."""
    from dataclasses import replace

    from consumer.kafka.cluster.cluster import Cluster
    from consumer.kafka.cluster.topics import create_topics

    settings = configured(config)
    topics = replace(settings.topics, partitions=partitions) if partitions else settings.topics
    report = create_topics(Cluster(settings.kafka, topics))
    for name in report.created:
        results.print(f"created {name}")
    for name in report.existed:
        results.print(f"exists  {name}")
    for difference in report.differs:
        results.print(f"differs {difference}", markup=False)
    if partitions and partitions != settings.topics.partitions:
        results.print(
            f"set topics.partitions = {partitions} for the workers, too: in the configuration it is "
            f"{settings.topics.partitions}, and they would not start"
        )
    if report.differs:
        raise typer.Exit(1)
