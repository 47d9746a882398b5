"""The backtest of audiences for people and for machines: all of it, by category, by month, and each in each."""

from typing import Any

from msgspec.structs import asdict
from rich.table import Table

from consumer.evaluate.audience import AudienceFigures, AudienceRun, figures_of


def audience_report(run: AudienceRun, share: float) -> dict[str, Any]:
    """Return the figures as plain data, with one entry for each category in each month."""
    months = [f"{month:%Y-%m}" for month in run.months]
    return {
        "all": asdict(figures_of(run, share)),
        "by_category": {
            name: asdict(figures_of(run, share, run.category == at)) for at, name in enumerate(run.categories)
        },
        "by_month": {month: asdict(figures_of(run, share, run.month == at)) for at, month in enumerate(months)},
        "by_category_and_month": [
            {"category": name, "month": month}
            | asdict(figures_of(run, share, (run.category == category) & (run.month == at)))
            for category, name in enumerate(run.categories)
            for at, month in enumerate(months)
        ],
        "within_days": run.within_days,
        "top_share": share,
        "events_per_s": run.n_lines / run.seconds,
    }


def audience_tables(run: AudienceRun, share: float) -> list[Table | str]:
    """Return a table by category and one by month, and what is to be said of them."""
    shown: list[Table | str] = []
    whole = figures_of(run, share)
    by_category = _table("category", share)
    by_category.add_row("all", *_cells(whole))
    for at, name in enumerate(run.categories):
        by_category.add_row(name, *_cells(figures_of(run, share, run.category == at)))
    by_month = _table("month", share)
    for at, month in enumerate(run.months):
        by_month.add_row(f"{month:%Y-%m}", *_cells(figures_of(run, share, run.month == at)))
    shown += [by_category, "", by_month, ""]
    shown.append(
        f"Audiences: an order in the category within {run.within_days} days. Every customer known on the first day of "
        "a month is scored for every category, by models that knew only what had matured by then. Lift: how many "
        f"times more buyers there are among the {share:.0%} with the highest probability than among as many at random; "
        "a category in a month is a ranking of its own. By recency: days since the last order in the category; by "
        "frequency: days with one. Base rate: of the window just over."
    )
    shown.append(f"{run.n_lines:,} lines in {run.seconds:.1f} s: {run.n_lines / run.seconds:,.0f} a second.")
    return shown


def _table(first: str, share: float) -> Table:
    columns = ("rows", "buyers", "AUC", "by recency", "by frequency", "log loss", "of base rate")
    lifts = (f"lift at {share:.0%}", "by recency", "by frequency")
    return Table(first, *columns, *lifts, box=None)


def _cells(figures: AudienceFigures) -> list[str]:
    def cell(value: float | None, digits: int) -> str:
        return "–" if value is None else f"{value:.{digits}f}"

    return [
        f"{figures.n:,}",
        f"{figures.rate:.3f}",
        cell(figures.auc, 3),
        cell(figures.auc_by_recency, 3),
        cell(figures.auc_by_frequency, 3),
        cell(figures.log_loss, 3),
        cell(figures.log_loss_base_rate, 3),
        cell(figures.lift, 2),
        cell(figures.lift_by_recency, 2),
        cell(figures.lift_by_frequency, 2),
    ]
