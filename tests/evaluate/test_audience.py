"""The backtest of audiences: figures mean what they say, and nothing is known before its time."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from consumer.cli import main
from consumer.core.settings import AudienceSettings, CoreSettings
from consumer.evaluate.audience import NEVER_DAYS, AudienceRun, Lines, TooShort, figures_of, run_audience
from consumer.evaluate.audience_report import audience_report, audience_tables
from schemas.units import DAY_MS

SETTINGS = replace(CoreSettings(), audience=AudienceSettings(sample_share=1.0))
START_DAY = 18_262  # 1 January 2020
CATEGORIES = ("coffee", "soap", "tea")
WITHIN_DAYS = 14


def shop(n_customers: int = 60, n_days: int = 150, until_day: int | None = None) -> Lines:
    """Return a shop in which a third of the customers each buys one category every week or two, and others at times."""
    chance = np.random.default_rng(4)
    rows: list[tuple[int, int, int]] = []
    for customer in range(n_customers):
        day = int(chance.integers(0, 20))
        while day < n_days:
            other = chance.random() < 0.15
            category = int(chance.integers(3)) if other else customer % 3
            rows.append((day, customer, category))
            day += int(chance.integers(5, 16)) if customer % 2 else int(chance.integers(30, 60))
    rows = sorted(row for row in rows if until_day is None or row[0] < until_day)
    return Lines(
        customer_ids=[f"c{customer}" for customer in range(n_customers)],
        categories=CATEGORIES,
        customer=[customer for _, customer, _ in rows],
        category=[category for _, _, category in rows],
        occurred_at=[(START_DAY + day) * DAY_MS + 3_600_000 for day, _, _ in rows],
    )


RUN = run_audience(shop(), SETTINGS, WITHIN_DAYS, 20)


def hand_made(probability: list[float], bought: list[float]) -> AudienceRun:
    n = len(bought)
    return replace(
        RUN,
        month=np.zeros(n, dtype=np.int64),
        category=np.zeros(n, dtype=np.int64),
        probability=np.array(probability),
        base_rate=np.full(n, 0.5),
        since_bought=np.full(n, NEVER_DAYS),
        times_bought=np.zeros(n),
        bought=np.array(bought),
    )


def test_lift_is_how_many_times_more_buyers_the_top_holds() -> None:
    """One buyer among ten, ranked first: ten times more in the top tenth. Where all are tied there is no lift."""
    figures = figures_of(hand_made([0.9, *[0.1] * 9], [1.0, *[0.0] * 9]), 0.1)
    assert figures.lift == pytest.approx(10.0)
    assert figures.lift_by_recency == pytest.approx(1.0)
    assert figures.auc_by_recency == 0.5
    assert (figures.n, figures.buyers, figures.rate, figures.auc) == (10, 1, 0.1, 1.0)


def test_without_buyers_there_is_no_lift_and_no_auc() -> None:
    """Such figures are None, not 0."""
    figures = figures_of(hand_made([0.9, 0.1], [0.0, 0.0]), 0.5)
    assert (figures.lift, figures.auc, figures.rate) == (None, None, 0.0)


def test_every_known_customer_is_scored_for_every_category_on_the_first_of_a_month() -> None:
    """Also for those never bought in. Months without enough days before or after are left out."""
    assert [f"{month:%Y-%m-%d}" for month in RUN.months] == ["2020-02-01", "2020-03-01", "2020-04-01", "2020-05-01"]
    assert sorted(RUN.categories) == sorted(CATEGORIES)
    assert len(RUN.bought) == 60 * 3 * 4
    assert (RUN.since_bought == NEVER_DAYS).any()


def test_the_label_is_an_order_in_the_category_within_the_window() -> None:
    """Counted from the lines themselves."""
    lines = shop()
    bought = {
        (at_ms // DAY_MS, lines.customer_ids[customer], lines.categories[category])
        for customer, category, at_ms in zip(lines.customer, lines.category, lines.occurred_at, strict=True)
    }
    for at, month in enumerate(RUN.months):
        first = START_DAY + (month - RUN.months[0]).days + 31
        for place, name in enumerate(RUN.categories):
            rows = (RUN.month == at) & (RUN.category == place)
            buyers = {
                customer for day, customer, category in bought if category == name and 0 <= day - first < WITHIN_DAYS
            }
            assert RUN.bought[rows].sum() == len(buyers)


def test_nothing_after_a_day_changes_what_was_predicted_on_it() -> None:
    """Without all lines from 1 April on, everything said on 1 March and 1 February is the same."""
    cut = run_audience(shop(until_day=31 + 29 + 31), SETTINGS, WITHIN_DAYS, 20)
    assert len(cut.months) == 2
    for name in ("probability", "base_rate", "since_bought", "times_bought"):
        for at in range(2):
            for category in CATEGORIES:
                whole, early = (
                    getattr(run, name)[(run.month == at) & (run.category == run.categories.index(category))]
                    for run in (RUN, cut)
                )
                assert np.array_equal(whole, early)


def test_it_ranks_better_than_chance_and_says_more_than_the_base_rate() -> None:
    """In a shop where each customer has a category and a rhythm."""
    figures = figures_of(RUN, 0.1)
    assert figures.auc is not None
    assert figures.log_loss is not None
    assert figures.log_loss_base_rate is not None
    assert figures.auc > 0.75
    assert figures.log_loss < figures.log_loss_base_rate


def test_the_same_lines_give_the_same_run() -> None:
    """Bit for bit."""
    again = run_audience(shop(), SETTINGS, WITHIN_DAYS, 20)
    assert np.array_equal(again.probability, RUN.probability)


def test_too_few_days_are_said_with_what_is_needed() -> None:
    """The message names the days there are and what to do."""
    with pytest.raises(TooShort, match=r"30 days from 2020-01-01 on; .* shorter --within"):
        run_audience(shop(n_days=30), SETTINGS, WITHIN_DAYS, 20)


def test_the_report_has_each_category_in_each_month() -> None:
    """And all of it together, as plain data and as tables."""
    report = audience_report(RUN, 0.1)
    assert len(report["by_category_and_month"]) == 3 * 4
    assert sum(each["buyers"] for each in report["by_category_and_month"]) == report["all"]["buyers"]
    assert list(report["by_month"]) == ["2020-02", "2020-03", "2020-04", "2020-05"]
    assert len(audience_tables(RUN, 0.1)) == 6


def answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    """Run the command line as a user does, in this process."""
    monkeypatch.setattr(sys, "argv", ["nextbest", "evaluate", "audience", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_the_command_prints_one_json_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --json alone on standard output; the figures are those of the run."""
    lines, file = shop(), tmp_path / "lines.csv"
    rows = zip(lines.customer, lines.occurred_at, lines.category, strict=True)
    text = "".join(f"{lines.customer_ids[c]},{at_ms},{lines.categories[k]}\n" for c, at_ms, k in rows)
    file.write_text("customer_id,occurred_at,group\n" + text)
    monkeypatch.setenv("NEXTBEST_AUDIENCE__SAMPLE_SHARE", "1.0")
    code, out, _ = answer(
        monkeypatch, capsys, file, "--within", "14d", "--top", "10%", "--column", "category=group", "--json"
    )
    report = json.loads(out)
    assert (code, out.count("\n")) == (0, 1)
    assert report["all"] == json.loads(json.dumps(audience_report(RUN, 0.1)["all"]))
    assert (report["within_days"], report["top_share"], report["rows_skipped"]) == (14, 0.1, 0)


def test_a_file_without_categories_says_that_it_needs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence with what was found and how to name the column; a share that is none is refused likewise."""
    file = tmp_path / "lines.csv"
    file.write_text("customer_id,occurred_at,item_id\nann,2024-01-01,i1\n")
    code, _, said = answer(monkeypatch, capsys, file)
    assert code == 2
    assert "no column category" in said
    assert "--column category=NAME" in said.replace("\n", " ")
    code, _, said = answer(monkeypatch, capsys, file, "--top", "110%")
    assert (code, "give a share" in said) == (2, True)
