"""`nextbest evaluate` as a user runs it: one JSON object alone, tables for people, one sentence for a mistake."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from consumer.cli import main

RANKING = {"n", "churn_rate", "auc", "auc_within_tick", "log_loss", "ece", "lift_at_10"}
LISTED = {"n", "hit_rate", "mrr"}
MEASURED = {"events_per_s", "recommend_us", "learn_us"}  # how long something took: never the same twice
CHURN = ("--horizon", "8d", "--every", "4d", "--json")


class Answer(NamedTuple):
    exit_code: int
    stdout: str
    stderr: str


NextBest = Callable[..., Answer]


@pytest.fixture
def nextbest(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> NextBest:
    """Return what runs the command line as a user does, but in this process: loading River takes seconds."""
    monkeypatch.setenv("NEXTBEST_CHURN__HAZARD_DAYS", "2.0")

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["nextbest", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Answer(int(ended.value.code or 0), said.out, said.err)

    return run


def figures(answer: Answer) -> dict[str, Any]:
    """Return the one JSON object on standard output, without what was measured."""
    assert answer.exit_code == 0, answer.stderr
    assert answer.stdout.count("\n") == 1
    found = json.loads(answer.stdout)
    return {name: value for name, value in found.items() if name not in MEASURED}


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chance = np.random.default_rng(3)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    lines = ["customer_id,order_id,occurred_at,amount,item_id"]
    for number in range(40):
        hours = float(chance.uniform(0, 300))
        while hours < 24 * 70:
            at = (start + timedelta(hours=hours)).isoformat()
            lines.append(f"c{number},o{len(lines)},{at},{chance.uniform(1, 50):.2f},i{int(chance.integers(9))}")
            hours += float(chance.exponential(24.0 * (2 + number % 9)))
    path = tmp_path_factory.mktemp("orders") / "orders.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sessions") / "sessions.csv"
    events = [(f"s{n // 3}", f"i{n % 3 + n // 3 % 4}", 1_700_000_000 + 60 * n) for n in range(90)]
    path.write_text("Sid,item_id,occurred_at\n" + "".join(f"{s},{i},{at}\n" for s, i, at in events), encoding="utf-8")
    return path


def test_churn_is_one_json_object_and_the_same_each_time(nextbest: NextBest, orders: Path) -> None:
    """All customers and the active ones, a figure each; how long it took is all that differs."""
    answer = nextbest("evaluate", "churn", orders, *CHURN)
    found = figures(answer)
    assert {"all", "active", "events_per_s"} <= json.loads(answer.stdout).keys()
    assert found["all"].keys() == found["active"].keys() == RANKING
    assert found["all"]["n"] > found["active"]["n"] > 0
    assert 0.0 < found["all"]["churn_rate"] < 1.0
    assert answer.stderr == ""
    assert found == figures(nextbest("evaluate", "churn", orders, *CHURN))
    later = figures(
        nextbest("evaluate", "churn", orders, *CHURN, "--report-from", "2024-02-25", "--signal", "activity")
    )
    assert 0 < later["all"]["n"] < found["all"]["n"]


def test_baselines_stand_beside_ours(nextbest: NextBest, orders: Path) -> None:
    """The same figures of each, over the same rows; in the table they have names in words."""
    pytest.importorskip("lightgbm")
    found = figures(nextbest("evaluate", "churn", orders, *CHURN, "--baselines"))
    assert {"recency", "bg_nbd", "lightgbm", "lightgbm_hindsight"} <= found["baselines"].keys()
    for each in found["baselines"].values():
        assert each["all"].keys() == RANKING
        assert (each["all"]["n"], each["active"]["n"]) == (found["all"]["n"], found["active"]["n"])
    table = nextbest("evaluate", "churn", orders, *CHURN[:-1], "--baselines").stdout
    assert table.count("recency only") == 2


def test_next_item_is_one_json_object(nextbest: NextBest, sessions: Path) -> None:
    """With a test file static and prequential; without one the stream is prequential and static is null."""
    column = ("--column", "session_id=Sid")
    found = figures(nextbest("evaluate", "next-item", sessions, sessions, "--top", 3, *column, "--json"))
    for name in ("static", "prequential", "popularity", "own_history"):
        assert found[name].keys() == LISTED
        assert found[name]["n"] == 60
    assert found["by_novelty"].keys() == {"repeat", "seen_before", "new"}
    assert all(each.keys() == LISTED for each in found["by_novelty"].values())
    answer = nextbest("evaluate", "next-item", sessions, *column, "--json")
    assert figures(answer)["static"] is None
    whole = json.loads(answer.stdout)
    assert whole["recommend_us"].keys() == whole["learn_us"].keys() == {"p50", "p99"}
    assert whole["recommend_us"]["p99"] >= whole["recommend_us"]["p50"] > 0


def test_basket_is_one_json_object(nextbest: NextBest, orders: Path) -> None:
    """Recall and hit rate, repeat and explore apart, beside the same figures of the baselines."""
    found = figures(nextbest("evaluate", "basket", orders, "--top", 4, "--json"))
    of_model = {"n", "recall", "hit_rate", "repeat", "explore"}
    assert of_model <= found.keys()
    assert found["popularity"].keys() == found["personal_frequency"].keys() == of_model
    assert found["repeat"]["n"] <= found["n"]
    assert 0.0 < found["recall"] <= found["hit_rate"] <= 1.0


def test_tables_are_for_people(nextbest: NextBest, orders: Path, sessions: Path) -> None:
    """Figures with their intervals, and what they are figures of."""
    churn = nextbest("evaluate", "churn", orders, *CHURN[:-1])
    assert "AUC within tick" in churn.stdout
    assert "active customers" in churn.stdout
    assert "Churn: no order within 8 days" in churn.stdout
    basket = nextbest("evaluate", "basket", orders)
    assert "recall at 20" in basket.stdout
    assert "never ordered before" in basket.stdout
    next_item = nextbest("evaluate", "next-item", sessions, "--column", "session_id=Sid")
    assert "hit rate at 20" in next_item.stdout
    assert "own history" in next_item.stdout
    assert all("Traceback" not in answer.stderr for answer in (churn, basket, next_item))


def test_skipped_rows_are_told_on_standard_error(nextbest: NextBest, tmp_path: Path, orders: Path) -> None:
    """How many, why, and where the first ones are; the figures are those of the good rows."""
    path = tmp_path / "orders.csv"
    path.write_text(orders.read_text() + ",o1,2024-01-01,1,i1\nc1,o2,someday,1,i1\n", encoding="utf-8")
    answer = nextbest("evaluate", "churn", path, *CHURN)
    n = len(path.read_text().splitlines())
    assert f"skipped 1 of {n - 1} rows: no customer_id (line {n - 1})" in answer.stderr
    assert f"skipped 1 of {n - 1} rows: occurred_at is no time that can be read" in answer.stderr
    assert f"'someday' (line {n})" in answer.stderr
    whole = figures(nextbest("evaluate", "churn", orders, *CHURN))
    assert figures(answer) == whole | {"rows_skipped": 2}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("churn", "ORDERS", "--horizon", "90d"), "a horizon of 90 days needs 299"),
        (("churn", "ORDERS", "--horizon", "soon"), "--horizon is 'soon'; give whole days or weeks, as 90d or 12w"),
        (("churn", "ORDERS", "--horizon", "0d"), "--horizon is '0d'"),
        (("churn", "ORDERS", "--horizon", "1d"), "doesn't go with the configuration: hazard_days"),
        (("churn", "ORDERS", "--signal", "love"), "--signal is 'love'; it is purchase or activity"),
        (("churn", "ORDERS", "--report-from", "May"), "--report-from is 'May'; give a date, as 2010-12-01"),
        ((*("churn", "ORDERS"), *CHURN, "--report-from", "2030-01-01"), "no row counts on 2030-01-01 or later"),
        (("churn", "ORDERS", "--column", "who=me"), "--column is 'who=me'; give NAME=IN_FILE, where NAME is one of"),
        (("churn", "/none.csv"), "/none.csv"),
        (("churn", "ORDERS", "--where", "item_id"), "--where is 'item_id'; give COLUMN=VALUE, as event_type=purchase"),
        (("churn", "ORDERS", "--where", "kind=order"), "no column kind to pick rows by; found customer_id"),
        (("churn", "ORDERS", "--where", "item_id=z"), "no row has item_id=z; found item_id=i"),
        (("churn", "ORDERS", "--time-format", "when"), "'when' is no time format; give iso, seconds"),
        (("churn", "ORDERS", "--time-zone", "home"), "'home' is no time zone; give one such as Europe/Berlin"),
        (("churn", "/tmp"), "/tmp: this is a directory"),
        (("next-item", "ORDERS"), "no column session_id; found customer_id, order_id"),
        (("next-item", "ORDERS", "--column", "session_id=order_id"), "no session has two events"),
        (("basket", "ORDERS", "--column", "customer_id=order_id"), "no customer has ordered on two days"),
    ],
)
def test_a_mistake_is_one_sentence_with_exit_code_2(
    nextbest: NextBest, orders: Path, arguments: tuple[str, ...], words: str
) -> None:
    """Which file or option, what is wrong with it, what to do; nothing on standard output."""
    answer = nextbest("evaluate", *(str(orders) if each == "ORDERS" else each for each in arguments))
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert words in answer.stderr
    assert answer.stderr.startswith("nextbest: ")
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("command", ["churn", "basket"])
def test_placeholders_for_unknown_dates_are_a_mistake(
    nextbest: NextBest, tmp_path: Path, orders: Path, command: str
) -> None:
    """Else a backtest would live through each day of eight thousand years. One alone is left out and named."""
    path = tmp_path / "orders.csv"
    path.write_text(orders.read_text() + "c1,o1,9999-12-31,1,i1\n" * 9, encoding="utf-8")
    answer = nextbest("evaluate", command, path)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "rows are dated from 2024-01-" in answer.stderr
    assert "to 9999-12-31, over 100 years" in answer.stderr
    path.write_text(orders.read_text() + "c1,o1,9999-12-31,1,i1\n", encoding="utf-8")
    (warning,) = figures(nextbest("evaluate", "basket", path, "--json"))["warnings"]
    assert "far from that of all other rows" in warning
    assert f"'9999-12-31' (line {len(path.read_text().splitlines())})" in warning


def test_what_makes_figures_doubtful_is_said(nextbest: NextBest, tmp_path: Path, orders: Path) -> None:
    """Views read as orders, ids that are new for each order, labels that hardly vary: as warnings, or in the JSON."""
    header, *rows = orders.read_text().splitlines()
    views = [row.replace(",o", ",v", 1) + ",view" for row in rows]
    path = tmp_path / "events.csv"
    lines = [f"{header},event_type", *(f"{row},purchase" for row in rows), *views]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (warning,) = figures(nextbest("evaluate", "basket", path, "--json"))["warnings"]
    assert f"column event_type (purchase {len(rows):,}, view {len(rows):,})" in warning
    assert "--where event_type=VALUE" in warning
    picked = nextbest("evaluate", "churn", path, *CHURN, "--where", "event_type=purchase")
    assert figures(picked) == figures(nextbest("evaluate", "churn", orders, *CHURN))
    column = ("--column", "customer_id=order_id")
    again, labels = figures(nextbest("evaluate", "churn", orders, *CHURN, *column))["warnings"]
    assert "customers have ordered once only: is order_id the id of a customer?" in again
    assert "The file also has customer_id" in again
    assert "churn rate 1.000: labels hardly vary" in labels
    answer = nextbest("evaluate", "churn", orders, *CHURN[:-1], *column)
    assert answer.exit_code == 0
    assert answer.stderr.count("warning: ") == 2


def test_more_than_one_bad_row_in_a_hundred_is_a_warning(nextbest: NextBest, tmp_path: Path, orders: Path) -> None:
    """With the commonest reason; fewer are told, but no warning."""
    path = tmp_path / "orders.csv"
    path.write_text(orders.read_text() + "c1,o1,2024-02-01,much,i1\n" * 20, encoding="utf-8")
    (warning,) = figures(nextbest("evaluate", "churn", path, *CHURN))["warnings"]
    assert "rows (3.2%) could not be used; 20 of them: amount is no number of 0 or more: 'much'" in warning


def test_times_are_read_as_was_said(nextbest: NextBest, tmp_path: Path, orders: Path) -> None:
    """In a format of one's own, and in the zone of the shop."""
    header, *rows = orders.read_text().splitlines()
    path = tmp_path / "orders.csv"
    lines = [header]
    for row in rows:
        customer, order, at, amount, item = row.split(",")
        lines.append(f"{customer},{order},{datetime.fromisoformat(at):%d/%m/%y %H:%M:%S},{amount},{item}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    refused = nextbest("evaluate", "churn", path, *CHURN)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "say how it is written with --time-format" in refused.stderr
    pattern = ("--time-format", "%d/%m/%y %H:%M:%S")
    assert figures(nextbest("evaluate", "churn", path, *CHURN, *pattern))["all"]["n"] > 0
    shifted = figures(nextbest("evaluate", "churn", path, *CHURN, *pattern, "--time-zone", "Asia/Tokyo"))
    assert shifted != figures(nextbest("evaluate", "churn", path, *CHURN, *pattern))


def test_a_file_without_a_row_that_counts_says_why(nextbest: NextBest, tmp_path: Path) -> None:
    """Long enough, but whoever ordered was not looked at again in time."""
    path = tmp_path / "orders.csv"
    path.write_text("customer_id,occurred_at,amount\nc0,2024-01-01,1\nc0,2024-02-22,1\n", encoding="utf-8")
    answer = nextbest("evaluate", "churn", path, "--horizon", "8d", "--every", "36500d")
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "no row counts: the last day whose labels have matured is 2024-02-14" in answer.stderr
