"""Replaying a recording to Kafka."""

from collections.abc import Callable
from pathlib import Path
from threading import Event as StopEvent

from producers.clients import Properties
from producers.pacing import DAY_MS
from producers.publish import Progress, PublishReport, publish_to_kafka
from producers.readers import read_rows
from producers.readers.reader import Reader


def replay_to_kafka(
    path: Path,
    *,
    form: str | Reader,
    bootstrap: str,
    prefix: str = "",
    properties: Properties | None = None,
    speed: float | None = None,
    longest_gap_ms: int = DAY_MS,
    keep_partitions: bool = False,
    stop: StopEvent | None = None,
    progress: Callable[[Progress], None] | None = None,
    spill: Path | None = None,
) -> PublishReport:
    """Publish a recorded stream at recorded pace × `speed`, or (None) as fast as it goes.

    Formats that are not in time order are sorted first, with temporary files in `spill` where there are many rows.
    `keep_partitions` is for containers replayed into topics of as many partitions as the recorded ones had; otherwise
    the key decides. Raises `KeyError` for an unknown format and `PublishFailed` where the producer can't go on.
    """
    return publish_to_kafka(
        read_rows(path, form, spill=spill),
        bootstrap=bootstrap,
        prefix=prefix,
        properties=properties,
        speed=speed,
        longest_gap_ms=longest_gap_ms,
        keep_partitions=keep_partitions,
        stop=stop,
        progress=progress,
    )
