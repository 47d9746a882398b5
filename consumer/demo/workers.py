"""The workers of the demo: `nextbest run` as it is in production, in processes of their own."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from schemas.units import DAY_MS, HOUR_MS

_HOST = "127.0.0.1"
_TEN_YEARS_MS = 10 * 365 * DAY_MS
_LAST_LINES = 12  # of a failed worker's log


# Settings that the demo makes by itself: those of a real cluster would lead its workers astray.
_OWN = (
    "NEXTBEST_CONFIG",
    "NEXTBEST_FORMAT",
    "NEXTBEST_KAFKA_",
    "NEXTBEST_TOPICS_",
    "NEXTBEST_WORKER_",
    "NEXTBEST_HTTP_",
)


class WorkerFailed(Exception):
    """A worker of the demo ended by itself; the message holds the end of its log."""


def worker_config(bootstrap: str, name: str, port: int, partitions: int) -> str:
    """Return the TOML of one worker: churn is a fortnight without a purchase, so that labels mature while one looks."""
    return f"""
[kafka]
bootstrap_servers = "{bootstrap}"
group_id = "nextbest-demo"
instance_id = "{name}"

[kafka.producer_properties]
"linger.ms" = 50  # this broker keeps few batches

[kafka.consumer_properties]
"check.crcs" = false  # this broker writes its transaction markers without a checksum

[topics]
partitions = {partitions}
replication_factor = 1
min_insync_replicas = 1

[worker]
state_dir = ""  # in memory
commit_interval_ms = 500
check_group_offsets = false  # this broker forgets offsets sent in a transaction
age_reference = "stream"
catch_up_after_ms = {_TEN_YEARS_MS}  # this broker stamps records with the simulated time, which is long past

[churn]
signal = "purchase"
horizon_days = 14.0
hazard_days = 3.0
tick_days = 2.0

[policy]
decide_every_ms = {12 * HOUR_MS}
outcome_days = 3.0

[learner]
snapshot_examples = 100

[preference]
sample_share = 0.3

[http]
port = {port}
"""


def environment_of_workers(environment: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the environment for the workers, and the names of the variables that are left out of it."""
    unused = sorted(name for name in environment if name.startswith(_OWN))
    return {name: value for name, value in environment.items() if name not in unused}, unused


class DemoWorker:
    """One worker process. Its log goes to `log_file`."""

    def __init__(
        self,
        name: str,
        bootstrap: str,
        partitions: int,
        *,
        folder: Path,
        log_file: Path,
        environment: Mapping[str, str],
    ) -> None:
        self.name = name
        self._port = _free_port()
        self._log_file = log_file
        config = folder / f"{name}.toml"
        config.write_text(worker_config(bootstrap, name, self._port, partitions))
        command = [sys.executable, "-c", "from consumer.cli import main; main()", "run", "--config", str(config)]
        with log_file.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise WorkerFailed where the process has ended."""
        code = self._process.poll()
        if code is not None:
            lines = self._log_file.read_text(errors="replace").splitlines()[-_LAST_LINES:]
            raise WorkerFailed("\n".join([f"{self.name} ended with exit code {code}; the end of its log:", *lines]))

    def is_ready(self) -> bool:
        """Return whether the worker says that it does its work."""
        return self._get("/readyz") is not None

    def metrics(self) -> dict[str, float]:
        """Return the sum of each metric over its labels; nothing while the worker does not answer."""
        text = self._get("/metrics")
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(text or ""):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
        return sums

    def _get(self, path: str) -> str | None:
        connection = HTTPConnection(_HOST, self._port, timeout=1.0)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read().decode()
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()
        return body if answer.status == 200 else None

    def ask_to_stop(self) -> None:
        """Send SIGTERM: the worker makes a last commit and ends."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, until_s: float) -> bool:
        """Wait until the monotonic clock says `until_s`, then kill; return whether the worker ended well by itself."""
        try:
            return self._process.wait(max(0.1, until_s - time.monotonic())) == 0
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])
