"""One replay of the small shop for all tests that only read it."""

import shutil
from pathlib import Path

import pytest

from tests.replay.recordings import run_replay, write_recording


@pytest.fixture(scope="session")
def replayed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``shop.jsonl`` and its replay in ``out``; not to be changed."""
    folder = tmp_path_factory.mktemp("replayed")
    run_replay(write_recording(folder / "shop.jsonl"), folder / "out")
    return folder


@pytest.fixture
def replayed(replayed_once: Path, tmp_path: Path) -> Path:
    """A copy of that folder, to be changed at will. Its manifest still names the original's input."""
    shutil.copytree(replayed_once, tmp_path / "copy")
    return tmp_path / "copy"
