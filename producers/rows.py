"""What a reader or the simulator hands on: one row of a recording, or the reason why a row could not be used."""

from pathlib import Path
from typing import Final

import msgspec

CLICKSTREAM: Final = "clickstream"
PURCHASES: Final = "purchases"
PRIVACY: Final = "privacy"
PRODUCTS: Final = "products"


class Row(msgspec.Struct, frozen=True, gc=False):
    """One record to be published or replayed. `topic` is the logical name, without a prefix.

    `line` is the row's number in its file, counted from 1 with a header line included, and stable for ever: event
    ids are made from it. `partition`, `offset`, `timestamp_ms` and `headers` are known where the row comes from a
    recorded topic. `timestamp_ms` is when the record reaches the log: it differs from `occurred_at` where an event
    comes late. `order_ms` is when the row's turn comes in a replay, where that is not its event time. `kind` is for
    counting alone.
    """

    topic: str
    occurred_at: int
    key: bytes | None
    value: bytes | None
    line: int
    kind: str = "unknown"
    partition: int | None = None
    offset: int | None = None
    timestamp_ms: int | None = None
    order_ms: int | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()

    @property
    def arrival_ms(self) -> int:
        """When the record reaches the log: its timestamp, or the event time where none was recorded."""
        return self.occurred_at if self.timestamp_ms is None else self.timestamp_ms


class BadRow(msgspec.Struct, frozen=True, gc=False):
    """One row of a file that is no event. `reason` is a short fixed word; `message` says what is wrong with the row."""

    line: int
    reason: str
    message: str


# The fixed words, in one place.
MALFORMED_ROW = "malformed_row"
BLANK_LINE = "blank_line"
BAD_ENCODING = "bad_encoding"
BAD_NUMBER = "bad_number"
UNKNOWN_KIND = "unknown_kind"
MISSING_FIELD = "missing_field"
OUT_OF_WINDOW = "out_of_window"
OUT_OF_RANGE = "out_of_range"
AHEAD_OF_TIME = "ahead_of_time"
FAR_OFF = "far_off"
LINE_TOO_LONG = "line_too_long"
NO_EVENT = "no_event"  # a record of a shop that becomes no event because its mapping wants it so: counted, and not bad


class UnreadableFile(Exception):
    """A file can't be read on. What could be read before `position` has been handed out already."""

    def __init__(self, path: Path, position: str | None, message: str) -> None:
        """`position` is in words, such as ``byte 1024 of the compressed file``; None for the file as a whole."""
        super().__init__(f"{path}: {message}" + ("" if position is None else f" (at {position})"))
        self.path = path
        self.position = position
