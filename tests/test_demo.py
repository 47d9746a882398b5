"""The demo: it runs by itself, ends by itself, and leaves what it published."""

import json
from pathlib import Path

from tests.test_cli import nextbest


def test_the_demo_ends_well_and_leaves_distinct_decisions_with_their_reasons(tmp_path: Path) -> None:
    """Two workers decide on a simulated shop; each decision is in the file once."""
    out = tmp_path / "demo"
    answer = nextbest("demo", "--seconds", "8", "--no-live", "--out", str(out))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "for trying things out" in answer.stdout
    assert str(out) in answer.stdout
    decisions = [json.loads(line) for line in (out / "next-best-actions.jsonl").read_text().splitlines()]
    assert len({each["decision_id"] for each in decisions}) == len(decisions) > 0
    assert any(each["action"] != "nothing" and each["reasons"] for each in decisions)
    assert {path.name for path in out.iterdir()} == {"next-best-actions.jsonl", "worker-1.log", "worker-2.log"}
