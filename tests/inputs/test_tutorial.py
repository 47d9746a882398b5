"""docs/tutorial.md: its commands do what it says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent


def commands() -> list[str]:
    """Return the commands of the page that need no broker, but for those that install."""
    blocks: list[str] = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    assert "make setup" in blocks[0]
    return blocks[1:]


def test_a_newcomer_gets_from_records_of_their_own_to_decisions(tmp_path: Path) -> None:
    """Every command of the part with files, in its order; what is shown on the page is what comes."""
    environment = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    said = ""
    for block in commands():
        answer = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            cwd=tmp_path,
            env=environment,
        )
        assert answer.returncode == 0, f"{block}\n{answer.stdout}\n{answer.stderr}"
        said += answer.stdout + answer.stderr
    words = " ".join(said.split())
    for shown in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL):
        for part in shown.split("…"):
            assert " ".join(part.split()) in words
    assert "same: " in said
    decisions = [json.loads(line) for line in (tmp_path / "out" / "next-best-actions.jsonl").open()]
    assert len(decisions) > 500
    assert all(decision["reasons"] for decision in decisions if decision["action"] != "nothing")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["bad"], summary["late"]) == (0, 0)
    assert summary["events"] + summary["skipped"] == summary["rows"] == 4_000
