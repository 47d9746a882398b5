"""The command line: quick help, one message for a mistake, exit codes."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from consumer.commands.errors import FOR_PEOPLE

EVENTS = [
    {"event_id": f"e{n}", "customer_id": f"c{n % 3}", "occurred_at": 1_700_000_000_000 + n * 60_000}
    | {"kind": "item_view", "item_id": f"i{n % 5}"}
    for n in range(40)
]


def nextbest(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line as a user does."""
    return subprocess.run(
        [sys.executable, "-c", "from consumer.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[1]), **environment},
    )


def test_help_lists_the_commands() -> None:
    """Each with a line of what it does."""
    answer = nextbest("--help")
    assert answer.returncode == 0
    for command in ("run", "check", "topics", "produce", "record", "replay", "verify", "demo", "config"):
        assert f"  {command} " in answer.stdout


def test_help_loads_neither_kafka_nor_the_models() -> None:
    """The command line answers at once because commands import what they need when they run."""
    code = "import sys, consumer.cli; print([m for m in ('confluent_kafka', 'river', 'lmdb') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout == "[]\n"


def test_the_version_is_the_fingerprint_of_the_build() -> None:
    """What it prints is what journal records carry, and the same each time."""
    first, second = nextbest("--version"), nextbest("--version")
    assert first.stdout.startswith("nextbest-")
    assert first.stdout == second.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("replay", "/none.csv", "--out", "/tmp/x"), "/none.csv does not exist"),
        (("replay", __file__, "--out", "/tmp/x", "--format", "xls"), "there is no format 'xls'; there are"),
        (("config", "show", "--config", "/none.toml"), "/none.toml does not exist"),
        (("verify",), "give the directory of a replay, or --topics"),
        (("produce", "simulate", "--speed", "5"), "--speed over 1 needs --seconds"),
    ],
)
def test_a_mistake_is_one_message_on_standard_error_with_exit_code_2(arguments: tuple[str, ...], words: str) -> None:
    """No stack trace: it would hide the sentence that helps."""
    answer = nextbest(*arguments)
    assert answer.returncode == 2
    assert words in answer.stderr
    assert answer.stderr.startswith("nextbest: ")
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""


def test_a_wrong_setting_stops_every_command_that_reads_settings() -> None:
    """The message names the variable."""
    answer = nextbest("check", NEXTBEST_KAFKA__SESSION_TIMEOUT="5")
    assert answer.returncode == 2
    assert "(environment variable NEXTBEST_KAFKA__SESSION_TIMEOUT): no such key" in answer.stderr
    assert "Did you mean kafka.session_timeout_ms?" in answer.stderr


def test_check_without_a_broker_says_what_to_do() -> None:
    """It names the address it tried and fails."""
    answer = nextbest(
        "check", NEXTBEST_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1", NEXTBEST_KAFKA__CONNECT_TIMEOUT_MS="1000"
    )
    assert answer.returncode == 1
    assert "error connection to 127.0.0.1:1" in answer.stdout
    assert "→ is the broker running" in answer.stdout


def test_run_needs_an_instance_id() -> None:
    """A worker without a stable name could not be fenced; the message names the key."""
    answer = nextbest("run", NEXTBEST_HTTP__PORT="0", NEXTBEST_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert answer.returncode != 0
    assert "kafka.instance_id is not set" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_avro_without_a_registry_is_refused() -> None:
    """There is nowhere to register the schemas that would be written with."""
    answer = nextbest("run", NEXTBEST_FORMAT="avro", NEXTBEST_HTTP__PORT="0", NEXTBEST_KAFKA__INSTANCE_ID="w")
    assert answer.returncode == 2
    assert "kafka.schema_registry_url" in answer.stderr


def test_a_replay_is_summarised_and_can_be_verified(tmp_path: Path) -> None:
    """From a file of JSON lines to the verdict, and to another one once the input was changed."""
    recording, out = tmp_path / "events.jsonl", tmp_path / "out"
    recording.write_text("".join(json.dumps(event) + "\n" for event in EVENTS), encoding="utf-8")
    replayed = nextbest("replay", str(recording), "--out", str(out))
    assert replayed.returncode == 0, replayed.stderr
    assert "40, all accounted for" in replayed.stdout
    assert json.loads((out / "summary.json").read_text())["rows"] == 40
    same = nextbest("verify", str(out))
    assert (same.returncode, same.stdout.split(":")[0]) == (0, "same"), same.stdout + same.stderr
    recording.write_text(recording.read_text().replace("i4", "i3", 1), encoding="utf-8")
    different = nextbest("verify", str(out))
    assert (different.returncode, different.stdout.split(":")[0]) == (1, "different"), different.stdout


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, name, _ in FOR_PEOPLE])
def test_every_error_for_people_exists_under_its_name(module: str, name: str) -> None:
    """The table is by name, so a renamed class would bring the stack traces back."""
    kind = getattr(importlib.import_module(module), name)
    assert issubclass(kind, Exception)
