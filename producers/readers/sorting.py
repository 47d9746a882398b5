"""Bringing rows into the order of replay, in bounded memory.

Rows are collected up to a limit and sorted; where there are more, each sorted run goes to a temporary file and the
runs are merged. So the hundred million rows of the whole Taobao data set pass through in a few gigabytes of disk.
"""

import heapq
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from producers.rows import BadRow, Row, UnreadableFile

MEMORY_ROWS = 500_000
MERGE_RUNS = 128  # files open at once; more runs than this are first merged into one

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Row)
_LENGTH_BYTES = 4


def _place(row: Row) -> tuple[int, str, int, int, int]:
    """Return where a row stands: recorded rows with equal times in the order of their coordinates, others by line."""
    if row.order_ms is None:
        return row.occurred_at, "", 0, 0, row.line
    return row.order_ms, row.topic, row.partition or 0, row.offset or 0, row.line


def sorted_rows(
    rows: Iterable[Row | BadRow], spill: Path | None = None, memory_rows: int = MEMORY_ROWS
) -> Iterator[Row | BadRow]:
    """Yield the rows ordered by their times, then by topic, partition and offset where those are known, then by line.

    The time is `order_ms`, or the event time of rows without one. Bad rows have no place in time and come first, as
    they are found.

    `spill` is the folder for temporary files (the system's, where it is not given). Where the file can't be read to
    its end, what was read comes out in order, and then `UnreadableFile` is raised.
    """
    with _temporary_folder(spill) as folder:
        runs: list[Path] = []
        held: list[Row] = []
        unreadable: UnreadableFile | None = None
        source = iter(rows)
        while True:
            try:
                row = next(source)
            except StopIteration:
                break
            except UnreadableFile as error:
                unreadable = error
                break
            if isinstance(row, BadRow):
                yield row
                continue
            held.append(row)
            if len(held) >= memory_rows:
                _spill(folder, runs, held)
                held = []
        held.sort(key=_place)
        yield from heapq.merge(*(_read_run(run) for run in runs), held, key=_place)
        if unreadable is not None:
            raise unreadable


@contextmanager
def _temporary_folder(within: Path | None) -> Iterator[Path]:
    """Make a folder for a while. Readers may be dropped half-way, which `TemporaryDirectory` would warn of."""
    folder = Path(tempfile.mkdtemp(prefix="nextbest-sort-", dir=within))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _spill(folder: Path, runs: list[Path], held: list[Row]) -> None:
    """Write one more sorted run; merge all into one where there are too many to hold open."""
    held.sort(key=_place)
    runs.append(_write_run(folder / f"run-{len(runs)}", held))
    if len(runs) >= MERGE_RUNS:
        merged = _write_run(folder / "merged", heapq.merge(*(_read_run(run) for run in runs), key=_place))
        for run in runs:
            run.unlink()
        runs[:] = [merged.rename(folder / "run-0")]


def _write_run(path: Path, rows: Iterable[Row]) -> Path:
    with path.open("wb") as file:
        for row in rows:
            data = _ENCODER.encode(row)
            file.write(len(data).to_bytes(_LENGTH_BYTES, "big"))
            file.write(data)
    return path


def _read_run(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        while length := file.read(_LENGTH_BYTES):
            yield _DECODER.decode(_exactly(file, int.from_bytes(length, "big")))


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise OSError("a temporary file of the sort was cut short")
    return data
