"""The real broker for tests, started once a session; and plain words where there is none.

A test that asks for `kafka_bootstrap` is marked `kafka`. Without Java and Maven (and without an address in
NEXTBEST_TEST_BOOTSTRAP) such tests are skipped, and the summary says so; NEXTBEST_REQUIRE_KAFKA=1 makes that a failure.
"""

import os
import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient

from tests.kafka.broker import reach, running_broker, why_not

BOOTSTRAP = "NEXTBEST_TEST_BOOTSTRAP"
REQUIRE = "NEXTBEST_REQUIRE_KAFKA"

_not_run = pytest.StashKey[tuple[int, str]]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that need the broker, and skip them where there can be none."""
    for item in items:
        if "kafka_bootstrap" in getattr(item, "fixturenames", ()):
            item.add_marker("kafka")
    reason = None if os.environ.get(BOOTSTRAP) else why_not()
    if reason is None:
        return
    with_broker = [item for item in items if item.get_closest_marker("kafka")]
    for item in with_broker:
        item.add_marker(pytest.mark.skip(reason=f"no real broker: {reason}"))
    if with_broker:
        config.stash[_not_run] = (len(with_broker), reason)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that had to reach a real broker and could not."""
    if _not_run in session.config.stash and os.environ.get(REQUIRE) == "1" and session.exitstatus in (0, 5):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say plainly how many tests did not meet a real broker, and why."""
    if _not_run not in config.stash:
        return
    count, reason = config.stash[_not_run]
    required = os.environ.get(REQUIRE) == "1"
    terminalreporter.section("real Apache Kafka broker", red=required, yellow=not required)
    terminalreporter.line(
        f"NOT RUN: {count} tests that need a real broker: {reason}", red=required, yellow=not required
    )
    if required:
        terminalreporter.line(f"{REQUIRE}=1: this run fails for that.", red=True)


@pytest.fixture(scope="session")
def kafka_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a real broker: the one of NEXTBEST_TEST_BOOTSTRAP, or one of our own."""
    if given := os.environ.get(BOOTSTRAP):
        reach(given, 20)
        yield given
        return
    with running_broker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker.bootstrap


@pytest.fixture
def unique_prefix(kafka_bootstrap: str) -> Iterator[str]:
    """Return a topic prefix of this test's own; on a broker that is not ours its topics are deleted afterwards."""
    prefix = f"test-{uuid.uuid4().hex[:8]}-"
    yield prefix
    if os.environ.get(BOOTSTRAP):
        admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
        names = [name for name in admin.list_topics(timeout=10).topics if name.startswith(prefix)]
        for future in admin.delete_topics(names).values() if names else ():
            future.result(20)
