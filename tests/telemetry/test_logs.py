"""Log lines: readable, one format for all loggers, and no customers in them."""

import json
import logging
from collections.abc import Callable, Iterator

import pytest
import structlog

from consumer.telemetry.logs import set_up_logs

Lines = Callable[[], list[str]]


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    """Return what tells the lines logged since the last look."""

    def since_the_last_look() -> list[str]:
        return capsys.readouterr().err.splitlines()

    return since_the_last_look


def test_a_line_has_time_level_message_and_fields(lines: Lines) -> None:
    """Key=value lines of the standard library's loggers carry their extra fields."""
    set_up_logs("info", as_json=False)
    logging.getLogger("nextbest.test").info("restored %d", 3, extra={"task": 7})
    (line,) = lines()
    assert line.startswith("timestamp=")
    assert 'level=info event="restored 3"' in line
    assert "task=7" in line


def test_json_lines_are_one_object_each(lines: Lines) -> None:
    """An exception does not break the line."""
    set_up_logs("info", as_json=True)
    try:
        int("two\nlines")
    except ValueError:
        structlog.get_logger("nextbest.test").exception("failed", task=1)
    (line,) = lines()
    record = json.loads(line)
    assert (record["event"], record["level"], record["task"]) == ("failed", "error", 1)
    assert "Traceback" in record["exception"]


@pytest.mark.parametrize("name", ["customer_id", "customer", "key", "value", "record", "query"])
def test_what_identifies_a_customer_is_dropped(name: str, lines: Lines) -> None:
    """Neither kind of logger lets such a field through."""
    set_up_logs("info", as_json=False)
    structlog.get_logger("nextbest.test").warning("rejected", **{name: "c-4711", "reason": "late"})
    if name != "record":
        logging.getLogger("nextbest.test").warning("rejected", extra={name: "c-4711", "reason": "late"})
    logged = lines()
    assert logged
    assert all("reason=late" in line and "c-4711" not in line for line in logged)


def test_levels_below_the_configured_one_are_silent(lines: Lines) -> None:
    """The level holds for both kinds of logger."""
    set_up_logs("warning", as_json=False)
    logging.getLogger("nextbest.test").info("not this")
    structlog.get_logger("nextbest.test").info("nor this")
    structlog.get_logger("nextbest.test").warning("but this")
    assert len(lines()) == 1


def test_setting_up_twice_does_not_double_the_lines(lines: Lines) -> None:
    """A command may set up logs after its tests did."""
    set_up_logs("info", as_json=False)
    set_up_logs("info", as_json=False)
    logging.getLogger("nextbest.test").error("once")
    assert len(lines()) == 1
