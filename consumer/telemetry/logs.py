"""Log lines as `key=value` or JSON on standard error, of structlog's loggers and the standard library's alike.

What identifies a customer never reaches a log line: fields of these names are dropped wherever they appear.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

Level = Literal["debug", "info", "warning", "error"]

PERSONAL_FIELDS = frozenset({"customer_id", "customer", "key", "value", "event", "record", "headers", "query"})
_MESSAGE = "event"  # structlog's name for the message itself; only its text is kept

Fields = MutableMapping[str, Any]


def drop_personal_fields(_logger: object, _method: str, fields: Fields) -> Fields:
    """Remove the fields that could identify a customer; the message is kept where it is text."""
    for name in PERSONAL_FIELDS & fields.keys():
        if name != _MESSAGE:
            del fields[name]
        elif not isinstance(fields[name], str):
            fields[name] = f"({type(fields[name]).__name__} left out)"
    return fields


def set_up_logs(level: Level, *, as_json: bool) -> None:
    """Send all log lines of this process to standard error, from `level` on; repeatable."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        drop_personal_fields,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    last: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.processors.LogfmtRenderer(key_order=("timestamp", "level", "event"), drop_missing=True)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
