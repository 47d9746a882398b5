"""What only a store on disk has to get right: reopening, crashes, growth and whom it belongs to."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from consumer.core.customer.customer import Customer, Orders, encode_customer
from consumer.store import lmdb_state
from consumer.store import marker as marker_file
from consumer.store.folder_lock import FolderLock, StoreInUse
from consumer.store.lmdb_state import LmdbState
from schemas.units import DAY_MS, Ms

ROOT = Path(__file__).parents[2]

# Commit n holds the customers 0..n with a spend of n, so a torn commit would show.
WRITER = """
import sys
from consumer.core.customer.customer import Customer, Orders, encode_customer
from consumer.store.lmdb_state import LmdbState
state = LmdbState(sys.argv[1], "g/t/0")
n = state.changelog_offset()
while True:
    n += 1
    ids = [f"c{i}" for i in range(n)]
    made = [Customer(c, scheduled_ms=n, orders=Orders(spend=n)) for c in ids]
    state.apply({c.customer_id: encode_customer(c) for c in made}, b"task %d" % n, n)
    print(n, flush=True)
"""


def record(customer_id: str, scheduled_ms: int = 0, spend: float = 0.0) -> bytes:
    """Return the record of a customer."""
    return encode_customer(Customer(customer_id, scheduled_ms=scheduled_ms, orders=Orders(spend=spend)))


def fill(path: Path, identity: str = "g/t/0", close: bool = True) -> LmdbState:
    """Return a store with one customer in it."""
    state = LmdbState(path, identity)
    state.apply({"a": record("a", 5)}, b"task", 7)
    if close:
        state.close()
    return state


def marker(path: Path) -> dict[str, object]:
    """Return the marker file of a store."""
    read: dict[str, object] = json.loads((path / "marker.json").read_bytes())
    return read


def test_a_closed_store_is_there_when_opened_again(tmp_path: Path) -> None:
    """Everything a commit wrote is read after closing and opening."""
    fill(tmp_path)
    state = LmdbState(tmp_path, "g/t/0")
    assert state.discarded is None
    assert (state.get("a"), state.task_record(), state.changelog_offset()) == (record("a", 5), b"task", 7)
    assert list(state.due(0, 10)) == [(5, "a")]
    state.close()


@pytest.mark.parametrize("commits", [1, 7, 23])
def test_a_killed_process_leaves_whole_commits(tmp_path: Path, commits: int) -> None:
    """After SIGKILL the store holds some commit, whole, and none older than the last one reported."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert writer.stdout is not None
    for _ in range(commits):
        reported = int(writer.stdout.readline())
    os.kill(writer.pid, signal.SIGKILL)
    reported = max([reported, *(int(line) for line in writer.stdout.read().splitlines() if line)])
    writer.wait()

    state = LmdbState(tmp_path, "g/t/0")
    n = state.changelog_offset()
    assert state.discarded is None
    assert n in (reported, reported + 1)
    assert state.task_record() == b"task %d" % n
    assert [state.get(f"c{i}") for i in range(n)] == [record(f"c{i}", n, n) for i in range(n)]
    assert list(state.due(0, 1 << 40)) == sorted((n, f"c{i}") for i in range(n))
    assert len(state) == n
    state.close()


def test_a_store_of_another_identity_is_discarded(tmp_path: Path) -> None:
    """State of another topic or partition is never read as this one's."""
    fill(tmp_path, "g/t/0")
    state = LmdbState(tmp_path, "g/t/1")
    assert state.discarded == "it belongs to 'g/t/0', not to 'g/t/1'"
    assert (len(state), state.task_record(), state.changelog_offset()) == (0, None, 0)
    state.close()
    again = LmdbState(tmp_path, "g/t/1")
    assert again.discarded is None
    again.close()


def test_a_store_of_an_unknown_format_is_discarded(tmp_path: Path) -> None:
    """A store that another build wrote in another way is not guessed at."""
    fill(tmp_path)
    (tmp_path / "marker.json").write_text(json.dumps(marker(tmp_path) | {"format": 99}))
    state = LmdbState(tmp_path, "g/t/0")
    assert state.discarded == "it has format 99; this build writes format 1"
    assert len(state) == 0
    state.close()


@pytest.mark.parametrize("content", [None, "", "[]", "{"])
def test_a_store_without_a_readable_marker_is_discarded(tmp_path: Path, content: str | None) -> None:
    """Without its marker nothing is known about a store."""
    fill(tmp_path)
    if content is None:
        (tmp_path / "marker.json").unlink()
    else:
        (tmp_path / "marker.json").write_text(content)
    state = LmdbState(tmp_path, "g/t/0")
    assert state.discarded is not None
    assert "marker" in state.discarded
    assert len(state) == 0
    state.close()


def test_a_store_open_when_the_machine_went_down_is_discarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a sync the disk may hold pages of several moments; only a clean closing makes another boot trust it."""
    fill(tmp_path, close=False).__dict__["_env"].close()
    assert marker(tmp_path)["closed"] is False
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)  # as if the holder were dead
    monkeypatch.setattr(marker_file, "_boot_id", lambda: "another boot")
    state = LmdbState(tmp_path, "g/t/0")
    assert state.discarded == "the machine went down while it was open"
    assert len(state) == 0
    state.close()


def test_a_store_closed_cleanly_survives_a_reboot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing syncs; what was closed is whole in every later boot."""
    fill(tmp_path)
    monkeypatch.setattr(marker_file, "_boot_id", lambda: "another boot")
    state = LmdbState(tmp_path, "g/t/0")
    assert (state.discarded, len(state)) == (None, 1)
    state.close()


def test_an_interrupted_restore_is_discarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that was left between the transactions of a restore starts from nothing."""
    monkeypatch.setattr(lmdb_state, "_BULK_RECORDS", 10)
    state = fill(tmp_path, close=False)

    def records() -> object:
        for n in range(25):
            yield f"c{n}", record(f"c{n}")
        raise ConnectionError

    with pytest.raises(ConnectionError):
        state.restore(records(), 99)  # type: ignore[arg-type]
    state.close()
    again = LmdbState(tmp_path, "g/t/0")
    assert again.discarded == "the process ended in the middle of a restore"
    assert (len(again), again.changelog_offset()) == (0, 0)
    again.apply({"a": record("a")}, b"", 1)
    again.close()
    third = LmdbState(tmp_path, "g/t/0")
    assert (third.discarded, len(third)) == (None, 1)
    third.close()


def test_a_store_older_than_allowed_is_discarded(tmp_path: Path) -> None:
    """Age is counted from the last commit, and opening alone makes nothing younger."""
    for days, discarded in [
        (1, None),
        (7, None),
        (8, "it was last written 8.0 days ago; 7.0 are allowed"),
        (99, None),  # nothing was written since
    ]:
        now_ms = Ms(days * DAY_MS)
        state = LmdbState(tmp_path, max_age_ms=Ms(7 * DAY_MS), clock_ms=lambda now_ms=now_ms: now_ms)  # type: ignore[misc]
        assert state.discarded == discarded
        if days == 1:
            state.close()
            state = LmdbState(tmp_path, clock_ms=lambda: Ms(0))
            state.apply({"a": record("a")}, b"", 1)
        assert len(state) == (1 if days < 8 else 0)
        state.close()


def test_a_full_map_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of the map is where the store starts, not where it ends."""
    monkeypatch.setattr(lmdb_state, "_FIRST_MAP_BYTES", 64 << 10)
    state = LmdbState(tmp_path, "g/t/0")
    spend = 0.0
    for n in range(20):
        spend += 1.0
        state.apply({f"c{i}": record(f"c{i}", 9, spend) for i in range(n * 200, n * 200 + 200)}, b"", n)
    assert (len(state), state.changelog_offset()) == (4_000, 19)
    state.close()
    again = LmdbState(tmp_path, "g/t/0")
    assert (len(again), len(list(again.due(0, 10)))) == (4_000, 4_000)
    again.close()


def test_a_full_disk_is_an_error_that_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file can't grow the commit fails as a whole, and works once there is room again."""
    monkeypatch.setattr(lmdb_state, "_FIRST_MAP_BYTES", 64 << 10)
    state = LmdbState(tmp_path)
    state.apply({"a": record("a", 5)}, b"task", 7)

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    many = {f"c{i}": record(f"c{i}") for i in range(2_000)}
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(OSError, match="No space left"):
            state.apply(many, b"", 8)
        assert (len(state), state.get("a"), state.changelog_offset()) == (1, record("a", 5), 7)
    state.apply(many, b"", 8)
    assert (len(state), state.changelog_offset()) == (2_001, 8)
    state.close()


def test_a_store_is_opened_once(tmp_path: Path) -> None:
    """Two owners of one store would write over each other: the second is refused until the first has closed."""
    state = LmdbState(tmp_path)
    with pytest.raises(StoreInUse, match="is another worker running on it"):
        LmdbState(tmp_path)
    state.close()
    state.close()
    LmdbState(tmp_path).close()


def test_a_folder_of_stores_belongs_to_one_worker(tmp_path: Path) -> None:
    """Another one is told so before it takes any task; afterwards the folder is free."""
    lock = FolderLock(tmp_path / "state")
    with pytest.raises(StoreInUse, match=r"another worker running on it\? Each needs a worker\.state_dir of its own"):
        FolderLock(tmp_path / "state")
    LmdbState(tmp_path / "state" / "task-0").close()
    lock.close()
    FolderLock(tmp_path / "state").close()
