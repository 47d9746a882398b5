"""The figures of a backtest as tables for people, with intervals where a figure rests on few customers."""

from collections.abc import Mapping
from datetime import date

from rich.table import Table

from consumer.evaluate.basket import MODELS, PARTS, BasketReport, BasketRun
from consumer.evaluate.churn import ChurnFigures, ChurnRun, counted
from consumer.evaluate.metrics import (
    Exposure,
    Interval,
    ListFigures,
    RankingFigures,
    auc_interval,
    log_losses,
    mean_interval,
    reciprocals,
)
from consumer.evaluate.next_item import NOVELTY, NextItemFigures, NextItemRun, Predictions

_INTERVALS = "In brackets: 95 % intervals, resampled by {}."
_NAMES = {
    "ours": "ours",
    "popularity": "what everybody orders most",
    "personal_frequency": "what the customer has ordered most",
    "all": "whole baskets",
    "repeat": "of it: ordered before",
    "explore": "of it: never ordered before",
}


def churn_table(
    run: ChurnRun, figures: ChurnFigures, baselines: Mapping[str, ChurnFigures], report_from: date | None
) -> list[Table | str]:
    """Return a table of all customers and one of the active ones, ours first, and what is to be said of them.

    `baselines`: name in words → figures on the same rows.
    """
    counts = counted(run, report_from)
    shown: list[Table | str] = []
    for title, rows in (("all customers", counts), ("active customers", counts & run.rows.is_active)):
        active = rows is not counts
        predicted, churned = run.rows.probability[rows], run.rows.churned[rows]
        ticks, customers = run.rows.tick[rows], run.rows.customer[rows]
        intervals = {
            "auc": auc_interval(predicted, churned, None, customers),
            "auc_within_tick": auc_interval(predicted, churned, ticks, customers),
            "log_loss": mean_interval(log_losses(predicted, churned), customers),
        }
        table = Table(title, "n", "churn rate", "AUC", "AUC within tick", "log loss", "ECE", "lift at 10 %", box=None)
        table.add_row("ours", *_ranking_cells(figures.active if active else figures.all, intervals))
        for name, other in baselines.items():
            table.add_row(name, *_ranking_cells(other.active if active else other.all, {}))
        shown += [table, ""]
    first, last = run.date_of(int(run.rows.day[counts].min())), run.date_of(int(run.rows.day[counts].max()))
    shown.append(
        f"Churn: no order within {run.horizon_days} days. Rows of {first} to {last}, every {run.every_days} days, each "
        "predicted by models that knew only labels matured before it. Active: has ordered within the "
        f"{run.horizon_days} days before. AUC within tick: of each round of ticks, weighted by its rows. "
        + _INTERVALS.format("customer")
    )
    n_unknown = run.n_from_base_rate(report_from)
    if n_unknown:
        shown.append(
            f"{n_unknown:,} rows were met by a model that knew nothing: they count with the base rate known then."
        )
    shown.append(_cost(run.n_input, "rows", run.seconds))
    return shown


def _ranking_cells(figures: RankingFigures, intervals: Mapping[str, Interval | None]) -> list[str]:
    def cell(name: str, value: float | None) -> str:
        return _with_interval(value, intervals.get(name))

    return [
        f"{figures.n:,}",
        cell("churn_rate", figures.churn_rate),
        cell("auc", figures.auc),
        cell("auc_within_tick", figures.auc_within_tick),
        cell("log_loss", figures.log_loss),
        cell("ece", figures.ece),
        "–" if figures.lift_at_10 is None else f"{figures.lift_at_10:.2f}",
    ]


def next_item_table(run: NextItemRun, figures: NextItemFigures) -> list[Table | str]:
    """Return what each list hit, what ours hit by novelty, and how it was spread and how long it took."""
    table = Table("", "n", f"hit rate at {run.top}", f"MRR at {run.top}", box=None)
    first = run.prequential if run.static is None else run.static
    if run.static is not None and figures.static is not None:
        table.add_row("static", *_list_cells(figures.static, run.static, "ours"))
    table.add_row("prequential", *_list_cells(figures.prequential, run.prequential, "ours"))
    table.add_row("popularity", *_list_cells(figures.popularity, first, "popularity"))
    table.add_row("own history", *_list_cells(figures.own_history, first, "own_history"))
    kind = "prequential" if run.static is None else "static"
    for name in NOVELTY:
        table.add_row(f"{kind}: {name.replace('_', ' ')}", *_plain_list_cells(figures.by_novelty[name]))
    if run.static is not None:
        for name in NOVELTY:
            cells = _plain_list_cells(figures.prequential_by_novelty[name])
            table.add_row(f"prequential: {name.replace('_', ' ')}", *cells)
    recommend, learn = figures.recommend_us, figures.learn_us
    return [
        table,
        "",
        "Each item of a session from the second on, predicted from those before it. Repeat: it was in the session; "
        "seen before: in a session learned; new: in neither. " + _INTERVALS.format("session"),
        f"{kind.capitalize()} lists: {_spread(figures.exposure)}.",
        _learned("positions", run.learned_share, "preference.sample_share"),
        f"A recommendation takes {_us(recommend.p50)} (99 % within {_us(recommend.p99)}), learning a session "
        f"{_us(learn.p50)} ({_us(learn.p99)}). " + _cost(run.n_input, "rows", run.seconds),
    ]


def _list_cells(figures: ListFigures, predictions: Predictions, column: str) -> list[str]:
    ranks, sessions = predictions[column], predictions["session"]
    hits = mean_interval((ranks > 0).astype(float), sessions)
    return [
        f"{figures.n:,}",
        _with_interval(figures.hit_rate, hits),
        _with_interval(figures.mrr, mean_interval(reciprocals(ranks), sessions)),
    ]


def _plain_list_cells(figures: ListFigures) -> list[str]:
    return [f"{figures.n:,}", _with_interval(figures.hit_rate, None), _with_interval(figures.mrr, None)]


def _spread(spread: Exposure) -> str:
    if spread.coverage is None or spread.gini is None:
        return "none"
    return f"{spread.coverage:.1%} of {spread.n_items:,} items were in any; Gini coefficient {spread.gini:.3f}"


def basket_table(run: BasketRun, report: BasketReport) -> list[Table | str]:
    """Return recall and hit rate of each model, over whole baskets and over either part of them."""
    table = Table("", "", "baskets", f"recall at {run.top}", f"hit rate at {run.top}", box=None)
    for part in PARTS:
        for model in MODELS:
            figures = run.figures(model, part)
            recalls, customers = run.recalls(model, part)
            table.add_row(
                _NAMES[part] if model == MODELS[0] else "",
                _NAMES[model],
                f"{figures.n:,}",
                _with_interval(figures.recall, mean_interval(recalls, customers)),
                _with_interval(figures.hit_rate, mean_interval((recalls > 0.0).astype(float), customers)),
            )
    return [
        table,
        "",
        f"A basket is what a customer orders on one UTC day. {report.n:,} of {run.n_baskets:,} were predicted, all "
        "after a customer's first, before any basket of the day was learned. " + _INTERVALS.format("customer"),
        _learned("baskets", run.learned_share, "preference.basket_sample_share"),
        _cost(run.n_input, "rows", run.seconds),
    ]


def _with_interval(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if interval is None else f"{value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _us(microseconds: float | None) -> str:
    return "–" if microseconds is None else f"{microseconds:,.0f} µs"


def _cost(n: int, of_what: str, seconds: float) -> str:
    return f"{n:,} {of_what} in {seconds:.1f} s: {n / seconds:,.0f} a second."


def _learned(of_what: str, share: float, setting: str) -> str:
    return f"The ranker learned from {share:.0%} of the {of_what}: more than `{setting}` says only where there are few."
