"""Recordings for tests, written whole."""

from collections.abc import Iterable
from pathlib import Path
from typing import IO

from schemas.container import Codec, ContainerWriter, Recorded


def write_container(target: Path | str | IO[bytes], records: Iterable[Recorded], codec: Codec = "deflate") -> None:
    """Write a recording of `records`."""
    with ContainerWriter(target, codec) as writer:
        for record in records:
            writer.append(record)
