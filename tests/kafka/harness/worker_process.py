"""A worker in a process of its own, for tests that kill one: ``python -m tests.kafka.harness.worker_process JSON``."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self

import msgspec

from consumer.core.settings import CoreSettings
from consumer.default_catalogue import default_catalogue
from consumer.kafka.cluster.cluster import Cluster as Reached
from consumer.kafka.cluster.cluster_settings import KafkaSettings, TopicSettings
from consumer.kafka.dead_letters import TooManyRejected
from consumer.kafka.failures import CannotGoOn
from consumer.kafka.observer import Observer
from consumer.kafka.run import Job, run
from consumer.kafka.worker_settings import WorkerSettings
from consumer.zones import load_zone
from schemas.codec import Decoder, JsonEncoder
from tests.kafka.harness.cluster import Cluster

BUILD = "test"
STOPPED_BY_LIMIT = 3
CANNOT_GO_ON = 4


class WorkerProcess:
    """One worker on `cluster`, started when made. Its log is `log_file`."""

    def __init__(self, cluster: Cluster, instance_id: str = "worker-0") -> None:
        arguments = {
            "worker": msgspec.to_builtins(cluster.worker_settings(instance_id)),
            "kafka": msgspec.to_builtins(cluster.kafka(instance_id)),
            "topics": msgspec.to_builtins(cluster.topics),
            "core": msgspec.to_builtins(cluster.core),
        }
        self.log_file = cluster.folder / f"{instance_id}.log"
        command = [sys.executable, "-m", "tests.kafka.harness.worker_process", json.dumps(arguments)]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=Path(__file__).parents[3], stdout=log, stderr=subprocess.STDOUT, env=dict(os.environ)
            )

    def kill(self) -> None:
        """End it as a crash would: nothing is committed, closed or said goodbye to."""
        self.process.kill()
        self.process.wait()

    def stop(self, timeout_s: float = 10.0) -> int:
        """Ask it to stop, and return its exit code; subprocess.TimeoutExpired where it takes longer."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def log(self) -> str:
        """Return what it has logged so far."""
        return self.log_file.read_text(encoding="utf-8")

    def fail_if_ended(self) -> None:
        """Fail, with its log, where it has ended."""
        assert self.process.poll() is None, f"the worker ended with {self.process.returncode}:\n{self.log()[-3000:]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()


class LoggedRestores(Observer):
    """Logs each restored task, for tests that wait for it."""

    def restored(self, task: int, records: int, customers: int, seconds: float) -> None:  # noqa: ARG002
        """Log it."""
        logging.getLogger("test").info("task %d: restored with %d customers", task, customers)


def main(arguments: dict[str, Any]) -> int:
    """Run the worker until SIGTERM; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        kafka = msgspec.convert(arguments["kafka"], KafkaSettings)
        topics = msgspec.convert(arguments["topics"], TopicSettings)
        worker = msgspec.convert(arguments["worker"], WorkerSettings)
        core = msgspec.convert(arguments["core"], CoreSettings)
        job = Job(worker, core, default_catalogue(), Decoder(), JsonEncoder(), build=BUILD, load_zone=load_zone)
        run(Reached(kafka, topics), job, stop=stop.is_set, observer=LoggedRestores())
    except TooManyRejected:
        logging.getLogger("test").exception("too many rejected")
        return STOPPED_BY_LIMIT
    except CannotGoOn:
        logging.getLogger("test").exception("cannot go on")
        return CANNOT_GO_ON
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
