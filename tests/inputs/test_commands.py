"""`nextbest inputs`, and the commands that read mapped files, as a user runs them."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Producer

from consumer.cli import main
from consumer.inputs.shipped import shipped_names
from tests.producers.conftest import mock_bootstrap as mock_bootstrap  # noqa: PLC0414 - a fixture

DAY_MS = 86_400_000
T = 19_850 * DAY_MS
CONFIG = """
[inputs.shop]
topics = ["shop-events"]
files = ["shop*"]
[inputs.shop.fields]
event_id = { hash_of = ["user", "at", "item"] }
customer_id = "user"
occurred_at = { path = "at", time = "s" }
session_id = "session"
[[inputs.shop.events]]
kind = { path = "what", table = { look = "item_view" }, otherwise = "" }
item_id = "item"
[[inputs.shop.events]]
when = "what == 'buy'"
kind = "order"
order_id = { paths = ["user", "at"], join = "-" }
lines = { item_id = "item", unit_price = "price", category = "category" }
"""


class Answer(NamedTuple):
    exit_code: int
    stdout: str
    stderr: str


NextBest = Callable[..., Answer]


@pytest.fixture
def nextbest(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> NextBest:
    """Return what runs the command line as a user does, but in this process."""

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["nextbest", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Answer(int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "nextbest.toml"
    file.write_text(CONFIG, encoding="utf-8")
    return file


def record(at_s: int, what: str, **more: object) -> dict[str, object]:
    who = {"user": at_s % 7, "session": f"s{at_s // 5000}"}
    return {"at": T // 1000 + at_s, "what": what, "item": at_s % 5, **who, **more}


def shop(file: Path) -> Path:
    """Write two months of a small shop, with two records that are no events and one that is wrong."""
    records = [record(n * 600, "look") for n in range(4_000)]
    records += [record(n * 17_000 + 3, "buy", price="2.50", category="tea") for n in range(300)]
    records += [record(1, "sneeze"), record(2, "cough"), record(3, "look", user=None)]
    file.write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")
    return file


def test_a_mapping_to_begin_with_is_printed_or_written(nextbest: NextBest, tmp_path: Path) -> None:
    """An existing file is not overwritten, and an unknown name is answered with those that there are."""
    printed = nextbest("inputs", "init", "--like", "segment")
    assert (printed.exit_code, "[inputs.segment]" in printed.stdout) == (0, True)
    out = tmp_path / "own.toml"
    assert nextbest("inputs", "init", "--out", out).exit_code == 0
    assert "[inputs.shop]" in out.read_text()
    again = nextbest("inputs", "init", "--out", out)
    assert (again.exit_code, "exists: name a new file" in again.stderr) == (2, True)
    unknown = nextbest("inputs", "init", "--like", "magento")
    assert (unknown.exit_code, ", ".join(shipped_names()) in unknown.stderr) == (2, True)


def test_try_shows_what_each_record_becomes_and_counts(nextbest: NextBest, config: Path, tmp_path: Path) -> None:
    """What is wrong comes with the value that was found, which is for the eyes of whoever tries it."""
    file = tmp_path / "shop.jsonl"
    lines = [record(60, "look"), record(1, "sneeze"), record(9, "buy", price="2,50"), record(13, "buy", price="3")]
    file.write_text("".join(json.dumps(each) + "\n" for each in lines))
    answer = nextbest("inputs", "try", file, "--config", config)
    assert answer.exit_code == 0
    shown = answer.stdout.splitlines()
    assert shown[0] == "line 1: item_view, 2024-05-07 00:01:00 UTC, customer_id 4, session_id s0, item_id 0"
    assert shown[1] == "line 2: no event"
    assert "line 3: WRONG, wrong_type: [inputs.shop] order: `lines[0].unit_price`, from `price`, is text" in shown[2]
    assert "as decimal = \",\" (found: '2,50')" in shown[2]
    assert shown[3].endswith("order_id 6-1715040013, 1 × 3 at 3.0")
    assert "[inputs.shop] 4 records: 2 events (1 item_view, 1 order)" in shown
    assert "  no event, as the mapping wants it: 1" in shown
    report = json.loads(nextbest("inputs", "try", file, "--config", config, "--json").stdout)
    assert (report["input"], report["records"], report["events"], report["no_event"]) == ("shop", 4, 2, 1)
    assert [(each["n"], each["first"]) for each in report["wrong"]] == [(1, "line 3")]
    assert [each["place"] for each in report["each"]] == ["line 1", "line 2", "line 3", "line 4"]
    assert report["each"][0]["becomes"][0]["record"]["kind"] == "item_view"
    assert [len(each["becomes"]) for each in report["each"]] == [1, 0, 1, 1]
    first = json.loads(nextbest("inputs", "try", file, "--config", config, "--json", "--sample", 1).stdout)
    assert (first["records"], first["more"]) == (1, True)


def test_try_fails_where_nothing_is_usable(nextbest: NextBest, config: Path, tmp_path: Path) -> None:
    """With the exit code of what the person at the keyboard can mend."""
    file = tmp_path / "shop.jsonl"
    file.write_text('{"what": "look"}\n{"what": "sneeze"}\n')
    answer = nextbest("inputs", "try", file, "--config", config)
    assert (answer.exit_code, "nothing is usable: correct [inputs.shop]" in answer.stderr) == (2, True)


def test_try_without_a_mapping_says_what_the_file_looks_like(nextbest: NextBest, tmp_path: Path) -> None:
    """Whoever has a well-known format needs no documentation to begin."""
    examples = Path(__file__).parent / "examples"
    for name, like in (("segment.jsonl", "segment"), ("rees46.csv", "rees46"), ("stripe.jsonl", "stripe")):
        answer = nextbest("inputs", "try", examples / name)
        assert (answer.exit_code, f"inputs init --like {like} --out" in answer.stderr) == (2, True)
    (tmp_path / "own.jsonl").write_text('{"a": 1}\n')
    assert "begin with `nextbest inputs init --out" in nextbest("inputs", "try", tmp_path / "own.jsonl").stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("inputs", "try"), "give a file, or a topic with --topic"),
        (("inputs", "try", "FILE", "--input", "x"), "there is no [inputs.x] in the configuration; there are shop"),
        (("inputs", "try", "--topic", "x"), "no input in the configuration has x among its `topics`"),
        (("replay", "FILE", "--out", "x", "--input", "shop", "--format", "jsonl"), "give one of them"),
        (("replay", "FILE", "--out", "x", "--input", "x"), "there is no [inputs.x]"),
        (("evaluate", "churn", "FILE", "--input", "shop", "--column", "a=b"), "--input is for a shop's own records"),
    ],
)
def test_a_mistake_is_one_message(
    nextbest: NextBest, config: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    """With exit code 2 and what to do."""
    file = tmp_path / "events.jsonl"
    file.write_text("{}\n")
    answer = nextbest(*(file if each == "FILE" else each for each in arguments), "--config", config)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert words in answer.stderr


def test_two_inputs_for_one_file_have_to_be_told_apart(nextbest: NextBest, config: Path, tmp_path: Path) -> None:
    """Guessing would read it wrongly."""
    config.write_text(CONFIG + CONFIG.replace("inputs.shop", "inputs.other"))
    file = shop(tmp_path / "shop.jsonl")
    answer = nextbest("replay", file, "--out", tmp_path / "out", "--config", config)
    assert "is a file of the inputs shop and other: say which with --input" in answer.stderr


def test_a_mapped_file_is_replayed_and_verified_with_the_mapping_of_then(
    nextbest: NextBest, config: Path, tmp_path: Path
) -> None:
    """Each record is accounted for, and a mapping that was changed since does not matter."""
    file, out = shop(tmp_path / "shop.jsonl"), tmp_path / "out"
    answer = nextbest("replay", file, "--out", out, "--config", config)
    assert answer.exit_code == 0, answer.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["rows"], summary["events"], summary["skipped"], summary["bad"]) == (4_303, 4_300, 2, 1)
    assert (summary["format"], summary["events_by_kind"]) == ("inputs.shop", {"item_view": 4_000, "order": 300})
    (letter,) = [json.loads(line) for line in (out / "dead-letters.jsonl").open()]
    assert (letter["line"], letter["reason"]) == (4_303, "missing_field")
    assert "`customer_id`, from `user`, is missing" in letter["message"]
    config.unlink()
    verified = nextbest("verify", out)
    assert (verified.exit_code, verified.stdout.startswith("same: ")) == (0, True)


def test_backtests_read_mapped_files(nextbest: NextBest, config: Path, tmp_path: Path) -> None:
    """Orders for churn, lines for baskets and audiences, clicks for next items."""
    file = shop(tmp_path / "shop.jsonl")

    def figures(*arguments: object) -> Any:
        answer = nextbest("evaluate", *arguments, "--json", "--config", config)
        assert answer.exit_code == 0, answer.stderr
        return json.loads(answer.stdout)

    churn = figures("churn", file, "--horizon", "7d", "--every", "7d")
    assert churn["rows_skipped"] == 1
    assert churn["all"]["n"] > 0
    assert figures("next-item", file)["prequential"]["n"] > 1_000
    assert figures("basket", file, "--input", "shop")["n"] > 50
    assert "tea" in json.dumps(figures("audience", file, "--within", "2d"))


def test_a_topic_is_tried_recorded_and_published_as_what_it_becomes(
    nextbest: NextBest, config: Path, tmp_path: Path, mock_bootstrap: str
) -> None:
    """Keyed by customer on the canonical topics, whatever the shop's own topic is keyed by."""
    producer = Producer({"bootstrap.servers": mock_bootstrap, "log_level": 0})
    for at_s in range(30):
        what = "buy" if at_s % 10 == 0 else "look" if at_s % 3 else "sneeze"
        producer.produce("shop-events", json.dumps(record(at_s, what, price=1)).encode(), timestamp=T + at_s * 1000)
    producer.flush(10)
    config.write_text(f'[kafka]\nbootstrap_servers = "{mock_bootstrap}"\n{CONFIG}')
    tried = json.loads(nextbest("inputs", "try", "--topic", "shop-events", "--json", "--config", config).stdout)
    assert (tried["records"], tried["events"], tried["no_event"], tried["wrong"]) == (30, 21, 9, [])
    recording = tmp_path / "recording.avro"
    assert nextbest("record", "--topic", "shop-events", "--out", recording, "--config", config).exit_code == 0
    published = nextbest("produce", "replay", recording, "--config", config)
    assert published.exit_code == 0, published.stderr
    counts = " ".join(published.stdout.split())
    assert "delivered to clickstream 18 delivered to purchases 3 no event by their mapping 9 all 30" in counts
    again = tmp_path / "again.avro"
    topics = ("--topic", "clickstream", "--topic", "purchases")
    assert nextbest("record", *topics, "--out", again, "--config", config).exit_code == 0
    replayed = nextbest("replay", again, "--out", tmp_path / "out", "--config", config)
    assert replayed.exit_code == 0, replayed.stderr
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["events"] == 21
