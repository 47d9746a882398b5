"""The broker of the tests itself, and what a run without one says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.kafka.broker import running_broker, why_not

ROOT = Path(__file__).parents[2]
NEEDS_BROKER = "tests/kafka/test_topics.py::test_too_many_replicas_are_refused_with_advice"


def run_without_java(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a test that needs the broker where neither Java nor Maven is found."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NEXTBEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", NEEDS_BROKER],
        cwd=ROOT,
        env=kept | {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_run_without_a_broker_says_what_was_not_run(tmp_path: Path) -> None:
    """Tests are skipped, not failed, and the summary says how many and why."""
    run = run_without_java(tmp_path)
    assert run.returncode == 0, run.stdout
    assert "NOT RUN: 1 tests that need a real broker: java and mvn not found (needs Java 17 and Maven" in run.stdout


def test_a_run_that_needs_a_broker_fails_without_one(tmp_path: Path) -> None:
    """Where a broker is required, skipping is a failure."""
    run = run_without_java(tmp_path, NEXTBEST_REQUIRE_KAFKA="1")
    assert run.returncode == 1
    assert "NEXTBEST_REQUIRE_KAFKA=1: this run fails for that." in run.stdout


@pytest.mark.kafka
@pytest.mark.skipif(why_not() is not None, reason="a broker can't be started here")
def test_a_killed_broker_comes_back_with_its_data(tmp_path: Path) -> None:
    """A broker is started again on the same address and data, for tests of outages."""
    with running_broker(tmp_path) as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
        admin.create_topics([NewTopic("kept", 3, 1)])["kept"].result(20)
        broker.kill()
        broker.start()
        assert len(admin.list_topics(timeout=20).topics["kept"].partitions) == 3
    assert broker.log_file.exists()
