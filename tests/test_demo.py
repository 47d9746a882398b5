"""The demo: it runs by itself, ends by itself, and leaves what it published."""

import json
import signal
import subprocess
import sys
from collections import Counter
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from rich.console import Console, ConsoleDimensions

from consumer.core.catalogue import NOTHING
from consumer.demo.view import in_words, view
from consumer.demo.watch import Showcase, Watch
from consumer.demo.workers import environment_of_workers
from consumer.replay.quality import Quality
from schemas.codec import Decoder
from schemas.records import NextBestAction, Reason
from tests.test_cli import nextbest

ACTIONS = ("recommend_items", "cart_reminder", "welcome_guide", "cross_sell", "apology", "win_back_offer")


def a_decision(decision_id: str = "d", action: str = "cart_reminder", words: str = "A reason") -> NextBestAction:
    """Return the example of a decision, with other reasons."""
    example = files("schemas").joinpath("examples", "next-best-actions.v1.action.json").read_bytes()
    decision: NextBestAction = Decoder().decode("next-best-actions", example)
    names = ("trigger.abandonment", "value", "exploration", "churn", "churn.base", "churn.money")
    reasons = tuple(Reason(name, f"{words} ({name})", 0.1) for name in names)
    return msgspec.structs.replace(decision, decision_id=decision_id, action=action, reasons=reasons)


def rendered(width: int, height: int) -> list[str]:
    """Return the lines of the live view on a terminal of this size."""
    watch: Any = SimpleNamespace(
        quality=Quality(),
        actions=Counter({(action, "email"): 1_000 for action in ACTIONS}),
        latest=[a_decision(str(n), action, "Some words about it " * 5) for n, action in enumerate(ACTIONS[:4])],
        events=100_000,
        events_per_s=1_000.0,
        lag=10,
        rejected=3,
        customers=400,
        decisions=6_000,
    )
    console = Console(width=width, height=height)
    screen = view(
        cast("Watch", watch), 5.0, 60.0, event_time_ms=0, published=100_000, size=ConsoleDimensions(width, height)
    )
    with console.capture() as captured:
        console.print(screen)
    return captured.get().splitlines()


@pytest.mark.parametrize(("width", "height", "n"), [(80, 24, 1), (120, 24, 1), (90, 34, 2), (120, 45, 4)])
def test_the_view_fits_the_terminal_with_whole_reasons(width: int, height: int, n: int) -> None:
    """Fewer decisions where there is little room, and none of them cut."""
    lines = rendered(width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)
    assert " ".join(line.strip("│ ") for line in lines).count("(churn).") == n


def test_a_decision_is_told_without_what_is_said_already_and_what_is_so_for_all() -> None:
    """The trigger stands in the first line; the base of the risk is the same for everybody."""
    what, why = in_words(a_decision())
    assert "abandonment → cart reminder (email)" in what
    assert why == "A reason (value). A reason (exploration). A reason (churn)."


def test_decisions_of_different_actions_are_shown_in_turn() -> None:
    """Each action has its turn, *nothing* as well, and a decision stays long enough to be read."""
    showcase = Showcase()
    for action in (NOTHING, *ACTIONS):
        showcase.add(a_decision(action, action))
    for _ in range(10):
        showcase.look(1.0)
    assert len({decision.action for decision in showcase.shown}) == len(showcase.shown) == 4
    before = list(showcase.shown)
    showcase.look(2.0)
    assert list(showcase.shown) == before
    seen = set()
    for n in range(10):
        showcase.look(10.0 + 10 * n)
        seen.add(showcase.shown[-1].action)
    assert seen == {NOTHING, *ACTIONS}


def test_settings_are_checked_before_anything_starts(tmp_path: Path) -> None:
    """One message names the variable; no log of a worker has to be searched for it."""
    answer = nextbest("demo", "--out", str(tmp_path / "demo"), NEXTBEST_CHURN__HORIZON_DAY="5")
    assert answer.returncode == 2
    assert "NEXTBEST_CHURN__HORIZON_DAY): no such key" in answer.stderr
    assert not (tmp_path / "demo").exists()


def test_settings_of_a_real_cluster_do_not_reach_the_workers() -> None:
    """The demo has a broker of its own; what is computed may still be set."""
    settings = {
        "NEXTBEST_KAFKA__BOOTSTRAP_SERVERS": "broker:9092",
        "NEXTBEST_FORMAT": "avro",
        "NEXTBEST_POLICY__SEED": "x",
    }
    kept, unused = environment_of_workers(settings)
    assert kept == {"NEXTBEST_POLICY__SEED": "x"}
    assert unused == ["NEXTBEST_FORMAT", "NEXTBEST_KAFKA__BOOTSTRAP_SERVERS"]


def test_an_interrupted_demo_says_what_there_is(tmp_path: Path) -> None:
    """Ctrl-C ends with 130 and the place of the decisions."""
    command = [
        sys.executable,
        "-c",
        "from consumer.cli import main; main()",
        "demo",
        "--no-live",
        "--out",
        str(tmp_path),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while "starting two workers" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert said.splitlines()[-1] == f"stopped; 0 decisions so far in {tmp_path}/next-best-actions.jsonl"
    assert "Traceback" not in errors


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
