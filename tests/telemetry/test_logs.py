"""Log lines: readable, one format for all loggers, and no customers in them."""

import json
import logging
from collections.abc import Iterator
from io import StringIO

import pytest
import structlog

from consumer.telemetry.logs import set_up_logs


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: StringIO) -> list[str]:
    """Return what was logged."""
    return stream.getvalue().splitlines()


def test_a_line_has_time_level_message_and_fields() -> None:
    """Key=value lines of the standard library's loggers carry their extra fields."""
    stream = StringIO()
    set_up_logs(stream=stream)
    logging.getLogger("nextbest.test").info("restored %d", 3, extra={"task": 7})
    (line,) = lines(stream)
    assert line.startswith("timestamp=")
    assert 'level=info event="restored 3"' in line
    assert "task=7" in line


def test_json_lines_are_one_object_each() -> None:
    """An exception does not break the line."""
    stream = StringIO()
    set_up_logs(as_json=True, stream=stream)
    try:
        int("two\nlines")
    except ValueError:
        structlog.get_logger("nextbest.test").exception("failed", task=1)
    (line,) = lines(stream)
    record = json.loads(line)
    assert (record["event"], record["level"], record["task"]) == ("failed", "error", 1)
    assert "Traceback" in record["exception"]


@pytest.mark.parametrize("name", ["customer_id", "customer", "key", "value", "record", "query"])
def test_what_identifies_a_customer_is_dropped(name: str) -> None:
    """Neither kind of logger lets such a field through."""
    stream = StringIO()
    set_up_logs(stream=stream)
    structlog.get_logger("nextbest.test").warning("rejected", **{name: "c-4711", "reason": "late"})
    if name != "record":
        logging.getLogger("nextbest.test").warning("rejected", extra={name: "c-4711", "reason": "late"})
    assert "c-4711" not in stream.getvalue()
    assert all("reason=late" in line for line in lines(stream))


def test_levels_below_the_configured_one_are_silent() -> None:
    """The level holds for both kinds of logger."""
    stream = StringIO()
    set_up_logs("warning", stream=stream)
    logging.getLogger("nextbest.test").info("not this")
    structlog.get_logger("nextbest.test").info("nor this")
    structlog.get_logger("nextbest.test").warning("but this")
    assert len(lines(stream)) == 1


def test_setting_up_twice_does_not_double_the_lines() -> None:
    """A command may set up logs after its tests did."""
    stream = StringIO()
    set_up_logs(stream=StringIO())
    set_up_logs(stream=stream)
    logging.getLogger("nextbest.test").error("once")
    assert len(lines(stream)) == 1
