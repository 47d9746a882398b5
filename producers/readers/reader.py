"""What a reader is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from producers.rows import BadRow, Row


@dataclass(frozen=True, slots=True)
class Reader:
    """One format of recordings.

    `read` turns a file into rows. Every row of the file comes out as a `Row` or a `BadRow`; it raises
    `UnreadableFile` where the file itself can't be read on. `time_ordered` says that the rows stand in the order in
    which they are to be replayed; other formats are sorted first, by `order_ms` or event time. `detect` looks at the
    first bytes of the unpacked file.
    """

    name: str
    time_ordered: bool
    read: Callable[[Path], Iterator[Row | BadRow]]
    detect: Callable[[bytes], bool]
