"""The command line: quick help, one message for a mistake, exit codes."""

import importlib
import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from consumer.commands.codecs import codec_of, decoder_of
from consumer.commands.errors import FOR_PEOPLE
from consumer.config import Config
from consumer.kafka.cluster.cluster_settings import TopicSettings
from schemas.codec import MAX_VALUE_BYTES
from schemas.container import Recorded
from schemas.errors import InvalidRecord
from schemas.partitioning import partition_of
from tests.containers import write_container

ADVICE = "Is the file in the order of event time? If events do come so late, raise time.late_by_ms"
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
    for command in ("run", "check", "topics", "produce", "record", "replay", "verify", "inputs", "demo", "config"):
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


def test_check_names_a_challenger_that_is_no_model(tmp_path: Path) -> None:
    """It says which challenger and why, before any worker is started with it."""
    config = tmp_path / "nextbest.toml"
    config.write_text('[[challengers]]\nname = "forest"\nfamily = "churn"\nmodel = "os.system"\n')
    answer = nextbest(
        "check",
        "--config",
        str(config),
        NEXTBEST_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1",
        NEXTBEST_KAFKA__CONNECT_TIMEOUT_MS="1000",
    )
    assert answer.returncode == 1
    assert "error challengers: challenger forest: " in answer.stdout
    assert "os.system" in answer.stdout


def test_run_needs_an_instance_id() -> None:
    """A worker without a stable name could not be fenced; the message names the key, before anything is opened."""
    answer = nextbest("run", NEXTBEST_HTTP__PORT="0", NEXTBEST_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert answer.returncode == 2
    assert answer.stderr.startswith("nextbest: kafka.instance_id is not set: set kafka.instance_id (NEXTBEST_KAFKA__")


@pytest.mark.parametrize("arguments", [("run",), ("verify", "--topics"), ("topics", "create")])
def test_without_a_broker_a_command_ends_within_the_connect_timeout(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """One message names the address that was tried, and what to look at; the exit code says that it is no mistake."""
    answer = nextbest(
        *arguments,
        NEXTBEST_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1",
        NEXTBEST_KAFKA__CONNECT_TIMEOUT_MS="500",
        NEXTBEST_KAFKA__INSTANCE_ID="w",
        NEXTBEST_HTTP__PORT="0",
        NEXTBEST_WORKER__STATE_DIR=str(tmp_path),
        NEXTBEST_LOGGING__LEVEL="warning",
    )
    assert answer.returncode == 1
    assert answer.stderr.startswith("nextbest: connection to 127.0.0.1:1: ")
    assert "is the broker running" in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_a_taken_http_port_is_a_mistake_that_says_which_setting() -> None:
    """The second worker on a machine meets this first."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        answer = nextbest("run", NEXTBEST_KAFKA__INSTANCE_ID="w", NEXTBEST_HTTP__PORT=port)
    assert answer.returncode == 2
    assert f"http.port: can't listen on 127.0.0.1:{port}" in answer.stderr
    assert "Each worker on one machine needs an http.port (NEXTBEST_HTTP__PORT) of its own" in answer.stderr


def test_a_missing_configuration_file_says_who_named_it() -> None:
    """A path in the environment is not looked for on the command line."""
    answer = nextbest("check", NEXTBEST_CONFIG="/nope.toml")
    assert answer.returncode == 2
    assert "/nope.toml does not exist: check the path in NEXTBEST_CONFIG" in answer.stderr


def test_a_mistake_in_a_catalogue_names_the_file(tmp_path: Path) -> None:
    """With the key that was meant."""
    file = tmp_path / "cat.toml"
    file.write_text("[nothing]\nprior_probability = 0.1\n[limits]\nmax_per_dya = 3\n", encoding="utf-8")
    answer = nextbest("check", NEXTBEST_CATALOGUE=str(file))
    assert answer.returncode == 2
    assert f"catalogue {file}: limits: " in answer.stderr
    assert "did you mean `max_per_day`?" in answer.stderr


def test_an_empty_recording_is_called_empty(tmp_path: Path) -> None:
    """Not of an unknown format."""
    file = tmp_path / "empty.jsonl"
    file.touch()
    answer = nextbest("replay", str(file), "--out", str(tmp_path / "out"))
    assert (answer.returncode, answer.stderr) == (2, f"nextbest: {file}: the file is empty\n")


def test_a_recording_of_which_nothing_is_usable_is_a_mistake(tmp_path: Path) -> None:
    """Exit code 2 and the commonest reason; what was rejected can be looked at."""
    file, out = tmp_path / "events.jsonl", tmp_path / "out"
    seconds = [event | {"occurred_at": 1_700_000_000 + n} for n, event in enumerate(EVENTS)]
    file.write_text("".join(json.dumps(event) + "\n" for event in seconds), encoding="utf-8")
    answer = nextbest("replay", str(file), "--out", str(out))
    assert answer.returncode == 2
    assert f"nextbest: {file}: none of 40 rows could be used; 40 of them for out_of_range; line 1: " in answer.stderr
    assert "looks like seconds since 1970: expected milliseconds" in answer.stderr
    assert len((out / "dead-letters.jsonl").read_text().splitlines()) == 40
    assert (out / "next-best-actions.jsonl").read_text() == ""


def test_a_format_that_is_not_recognised_is_shown(tmp_path: Path) -> None:
    """How the file begins says most."""
    file = tmp_path / "events.csv"
    file.write_text("id;when\n1;2\n", encoding="utf-8")
    answer = nextbest("replay", str(file), "--out", str(tmp_path / "out"))
    assert answer.returncode == 2
    assert (
        "the format is not recognised, the file begins with 'id;when'; name the format with --format" in answer.stderr
    )


def test_avro_without_a_registry_is_refused() -> None:
    """There is nowhere to register the schemas that would be written with."""
    answer = nextbest("run", NEXTBEST_FORMAT="avro", NEXTBEST_HTTP__PORT="0", NEXTBEST_KAFKA__INSTANCE_ID="w")
    assert answer.returncode == 2
    assert "kafka.schema_registry_url" in answer.stderr


def test_one_limit_on_size_holds_for_worker_and_replay_and_is_a_setting() -> None:
    """What the worker took must not be missing from the replay of a recording of it."""
    assert Config().topics.max_record_bytes == MAX_VALUE_BYTES
    for limit, taken in ((100, False), (200, True)):
        config = Config(topics=TopicSettings(max_record_bytes=limit))
        for decoder in (codec_of(config)[0], decoder_of(config)):
            with nullcontext() if taken else pytest.raises(InvalidRecord, match="too large"):
                decoder.decode("clickstream", json.dumps(EVENTS[0]).encode())


def test_a_recording_in_seconds_is_refused_in_words(tmp_path: Path) -> None:
    """Every event goes to the dead letters with the unit that its time seems to be in; nothing is decided for 1970."""
    recording, out = tmp_path / "events.jsonl", tmp_path / "out"
    seconds = [event | {"occurred_at": int(str(event["occurred_at"])) // 1000} for event in EVENTS]
    recording.write_text("".join(json.dumps(event) + "\n" for event in seconds), encoding="utf-8")
    nextbest("replay", str(recording), "--out", str(out))
    letters = [json.loads(line) for line in (out / "dead-letters.jsonl").read_text().splitlines()]
    assert [letter["reason"] for letter in letters] == ["out_of_range"] * 40
    assert "looks like seconds" in letters[0]["message"]
    assert not (out / "next-best-actions.jsonl").read_text()


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


def test_a_recording_of_several_partitions_is_replayed_by_as_many_tasks_and_late_rows_are_warned_of(
    tmp_path: Path,
) -> None:
    """The tasks follow from the container; the warning goes to standard error and into the summary."""
    late = EVENTS[0] | {"event_id": "late", "occurred_at": 1_600_000_000_000}
    records = [
        Recorded("clickstream", partition_of(str(event["customer_id"]).encode(), 3), n, 1_800_000_000_000, key, value)
        for n, event in enumerate([*EVENTS, late])
        for key, value in [(str(event["customer_id"]).encode(), json.dumps(event).encode())]
    ]
    write_container(tmp_path / "rec.avro", records)
    answer = nextbest("replay", str(tmp_path / "rec.avro"), "--out", str(tmp_path / "out"))
    assert answer.returncode == 0, answer.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["settings"]["partitions"] == 1 + max(record.partition for record in records)
    assert summary["warnings"] == ["1 of 41 rows (2.4%) came too late and count for nothing. " + ADVICE]
    assert answer.stderr == f"warning: {summary['warnings'][0]}\n"


def test_an_interrupted_replay_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C in the middle: exit code 130, one sentence, no directory."""
    recording, out = tmp_path / "events.jsonl", tmp_path / "out"
    with recording.open("w", encoding="utf-8") as file:
        for n in range(100_000):
            event = EVENTS[n % 40] | {"event_id": f"e{n}", "occurred_at": 1_700_000_000_000 + n * 60_000}
            file.write(json.dumps(event) + "\n")
    command = [sys.executable, "-c", "from consumer.cli import main; main()", "replay", str(recording), "-o", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not (out / ".unfinished-sessions.avro").exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.startswith("interrupted after ")
    assert "Traceback" not in errors
    assert not out.exists()


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, name, _ in FOR_PEOPLE])
def test_every_error_for_people_exists_under_its_name(module: str, name: str) -> None:
    """The table is by name, so a renamed class would bring the stack traces back."""
    kind = getattr(importlib.import_module(module), name)
    assert issubclass(kind, Exception)
