"""The HTTP port of a process that runs until it is stopped: /livez, /readyz and /metrics."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from consumer.commands.errors import CommandError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from consumer.config import Config
    from consumer.kafka.worker import WorkerStatus
    from consumer.telemetry.health import HealthServer


def health_server(
    settings: "Config", registry: "CollectorRegistry", status: "WorkerStatus", lately: Callable[[], str]
) -> "HealthServer":
    """Return a server that tells how the process of `status` is, and how it went `lately`.

    Raises CommandError where its port is taken.
    """
    from consumer.telemetry.health import HealthServer

    status.looped_at_s = time.monotonic()
    try:
        return HealthServer(
            registry,
            heartbeat_age_s=lambda: time.monotonic() - status.looped_at_s,
            not_ready_because=lambda: None if status.ready else status.state,
            lately=lately,
            host=settings.http.host,
            port=settings.http.port,
            max_heartbeat_age_s=settings.http.stuck_after_ms / 1000,
        )
    except OSError as error:
        where = f"{settings.http.host}:{settings.http.port}"
        raise CommandError(
            f"http.port: can't listen on {where}: {error.strerror}. Each worker on one machine needs an http.port "
            "(NEXTBEST_HTTP__PORT) of its own; 0 takes any free one"
        ) from None
