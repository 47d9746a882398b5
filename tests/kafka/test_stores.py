"""Which local stores are trusted."""

from pathlib import Path

from consumer.kafka.state.stores import Stores
from schemas.units import DAY_MS, Ms


def test_a_store_is_as_old_as_what_was_last_written_to_it(tmp_path: Path) -> None:
    """Not as what it was last opened at: the changelog's tombstones since the last write are what it must not miss."""
    now_ms = [1_700_000_000_000]
    stores = Stores(tmp_path, "group/topic", Ms(7 * DAY_MS), lambda: Ms(now_ms[0]))
    state = stores.open(0)
    state.apply({"c": None}, b"task", 5)
    state.close()
    for days, offset in ((6, 5), (2, 0)):
        now_ms[0] += days * DAY_MS
        state = stores.open(0)
        assert state.changelog_offset() == offset
        state.close()
