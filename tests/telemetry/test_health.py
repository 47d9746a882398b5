"""The health server: alive, ready, metrics, and nothing else."""

from collections.abc import Iterator

import httpx
import pytest

from consumer.telemetry.health import HealthServer
from consumer.telemetry.metrics import Metrics


class Worker:
    """Something whose health is asked for."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.heartbeat_age_s = 0.0
        self.not_ready_because: str | None = "restoring"


@pytest.fixture
def worker() -> Worker:
    """Return a worker that is alive and not ready yet."""
    return Worker()


@pytest.fixture
def client(worker: Worker) -> Iterator[httpx.Client]:
    """Yield a client of a running server."""
    server = HealthServer(
        worker.metrics.registry,
        heartbeat_age_s=lambda: worker.heartbeat_age_s,
        not_ready_because=lambda: worker.not_ready_because,
        lately=lambda: "0.0% rejected",
        max_heartbeat_age_s=10.0,
    )
    with server, httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
        yield client


def test_a_worker_that_restores_is_alive_and_not_ready(client: httpx.Client) -> None:
    """A supervisor must not restart it, and traffic must not count on it."""
    assert client.get("/livez").status_code == 200
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.text == "not ready: restoring\n"


def test_a_worker_that_does_its_work_is_ready(client: httpx.Client, worker: Worker) -> None:
    """Readiness is asked anew each time."""
    worker.not_ready_because = None
    assert (client.get("/readyz").status_code, client.get("/readyz").text) == (200, "ready; 0.0% rejected\n")


def test_a_loop_that_does_not_come_round_is_stuck(client: httpx.Client, worker: Worker) -> None:
    """The limit is on the age of the latest heartbeat."""
    worker.heartbeat_age_s = 10.5
    answer = client.get("/livez")
    assert answer.status_code == 503
    assert "10.5 s ago (limit 10 s)" in answer.text


def test_metrics_are_served_as_prometheus_reads_them(client: httpx.Client, worker: Worker) -> None:
    """What was counted before the request is in the answer."""
    worker.metrics.commits.add(amount=2)
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "nextbest_commits_total 2.0" in answer.text


def test_any_other_path_says_what_there_is(client: httpx.Client) -> None:
    """A wrong path is a 404 that helps."""
    answer = client.get("/")
    assert answer.status_code == 404
    assert "/livez, /readyz and /metrics" in answer.text


def test_a_port_that_is_taken_is_an_error_at_start() -> None:
    """Two workers on one port must not go unnoticed."""
    metrics = Metrics()
    with HealthServer(metrics.registry, float, lambda: None, str) as first, pytest.raises(OSError, match="in use"):
        HealthServer(metrics.registry, float, lambda: None, str, port=first.port)


def test_closing_frees_the_port_and_may_be_repeated() -> None:
    """The port can be used again at once; a server that never started can be closed too."""
    metrics = Metrics()
    server = HealthServer(metrics.registry, lambda: 0.0, lambda: None, str)
    server.start()
    port = server.port
    server.close()
    server.close()
    again = HealthServer(metrics.registry, lambda: 0.0, lambda: None, str, port=port)
    assert again.port == port
    again.close()
