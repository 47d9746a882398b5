"""A real Apache Kafka broker for tests: one process on loopback, broker and KRaft controller in one.

Its jars come from Maven Central (version in `pom.xml`) and are kept in the user's cache. Needs Java 17 and Maven.
"""

import base64
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

POM = Path(__file__).parent / "pom.xml"
JAVA_AT_LEAST = 17
START_SECONDS = 60
# A short-lived JVM of a small broker: quick to start, little memory.
JVM = ["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
LOG_LEVELS = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"]

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=BROKER://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=BROKER://127.0.0.1:{port}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
log.dirs={log_dir}
auto.create.topics.enable=false
delete.topic.enable=true
num.partitions=1
num.network.threads=2
num.io.threads=4
background.threads=2
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
log.cleaner.backoff.ms=500
log.cleaner.dedupe.buffer.size=2097152
log.segment.delete.delay.ms=1000
log.initial.task.delay.ms=1000
controlled.shutdown.enable=false
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=4000
"""


class BrokerFailed(Exception):
    """The broker did not start, or its jars could not be fetched; the message names the log."""


def why_not() -> str | None:
    """Return why no broker can be started here, or None where one can."""
    needed = ("java",) if _jar_folder().exists() else ("java", "mvn")
    missing = [name for name in needed if shutil.which(name) is None]
    if missing:
        return f"{' and '.join(missing)} not found (needs Java {JAVA_AT_LEAST} and Maven, or NEXTBEST_TEST_BOOTSTRAP)"
    version = _java_version()
    if version < JAVA_AT_LEAST:
        return f"Java {version} found, {JAVA_AT_LEAST} or newer needed (or NEXTBEST_TEST_BOOTSTRAP)"
    return None


def _java_version() -> int:
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    return int(found.group(1)) if found else 0


def jars() -> Path:
    """Return the folder of the broker's jars, fetched with Maven where they are not there yet."""
    folder = _jar_folder()
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    fetched = Path(tempfile.mkdtemp(prefix=folder.name + ".", dir=folder.parent))
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={fetched}"]
    said = subprocess.run(["mvn", "-q", "-B", "-f", str(POM), *goal], capture_output=True, text=True, check=False)
    if said.returncode != 0:
        shutil.rmtree(fetched, ignore_errors=True)
        raise BrokerFailed(f"Maven could not fetch Apache Kafka:\n{said.stdout[-2000:]}{said.stderr[-2000:]}")
    with contextlib.suppress(OSError):  # another run was quicker
        fetched.rename(folder)
    shutil.rmtree(fetched, ignore_errors=True)
    return folder


def _jar_folder() -> Path:
    """Return where the jars are kept: another version, or another word in the pom, is another folder."""
    pom = POM.read_bytes()
    version = re.search(rb"<kafka.version>([^<]+)<", pom)
    assert version is not None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nextbest"
    return cache / f"kafka-{version.group(1).decode()}-{sha256(pom).hexdigest()[:8]}"


class Broker:
    """A broker in `folder`, which is kept: `stop` or `kill` it and `start` it again on the same data and ports."""

    def __init__(self, folder: Path, extra_properties: str = "") -> None:
        self.log_file = folder / "broker.log"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        port, controller_port = _free_ports(2)
        self.bootstrap = f"127.0.0.1:{port}"
        self._properties = folder / "server.properties"
        folder.mkdir(parents=True, exist_ok=True)
        text = PROPERTIES.format(port=port, controller_port=controller_port, log_dir=folder / "data")
        self._properties.write_text(text + extra_properties, encoding="utf-8")
        self._formatted = False

    def start(self) -> None:
        """Start the broker and return when it answers; raise BrokerFailed where it does not."""
        if not self._formatted:
            cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "a")
            format_storage = ["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._properties)]
            if self._java(*format_storage).wait(START_SECONDS) != 0:
                raise BrokerFailed(f"the storage of the broker could not be formatted: {self._last_lines()}")
            self._formatted = True
        self._process = self._java("kafka.Kafka", str(self._properties))
        self._wait_until_it_answers()

    @property
    def running(self) -> bool:
        """Return whether the broker was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End the broker cleanly, or by force where that takes long."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        self._process = None

    def kill(self) -> None:
        """End the broker as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _java(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = ["java", *JVM, *LOG_LEVELS, "-cp", f"{jars()}/*", *arguments]
        if setpriv := shutil.which("setpriv"):  # where the tests are killed, the broker goes with them
            command = [setpriv, "--pdeathsig", "KILL", *command]
        with self.log_file.open("ab") as log:
            # A session of its own: Ctrl-C ends the tests, and they end the broker.
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        host, port = self.bootstrap.split(":")
        while True:
            if self._process is None or self._process.poll() is not None:
                raise BrokerFailed(f"the broker ended while it started: {self._last_lines()}")
            if time.monotonic() > deadline:
                self.kill()
                raise BrokerFailed(f"the broker gave no answer in {START_SECONDS} s: {self._last_lines()}")
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 0.1):
                break
            time.sleep(0.05)
        reach(self.bootstrap, max(deadline - time.monotonic(), 1.0))

    def _last_lines(self) -> str:
        lines = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
        return f"see {self.log_file}, which ends:\n" + "\n".join(lines)


def reach(bootstrap: str, seconds: float) -> None:
    """Return when a broker at `bootstrap` answers; raise BrokerFailed when it does not in time."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    deadline = time.monotonic() + seconds
    while True:
        try:
            if admin.list_topics(timeout=1).brokers:
                return
        except KafkaException as error:
            if time.monotonic() > deadline:
                raise BrokerFailed(f"no broker answers at {bootstrap}: {error}") from error


@contextlib.contextmanager
def running_broker(folder: Path, extra_properties: str = "") -> Iterator[Broker]:
    """Yield a started broker, and stop it however the block ends."""
    broker = Broker(folder, extra_properties)
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


def _free_ports(n: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports: list[int] = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
