"""All baselines of churn, by name, with the figures that ours are compared with."""

from collections.abc import Callable, Mapping
from datetime import date

import msgspec

from consumer.evaluate.baselines.bg_nbd import bg_nbd
from consumer.evaluate.baselines.recency import churned_by_recency, rank_by_recency
from consumer.evaluate.baselines.trees import require_lightgbm, retrained_trees, trees_in_hindsight
from consumer.evaluate.churn import ChurnFigures, ChurnRun, figures_of
from consumer.evaluate.metrics import Floats, RankingFigures

# name → (what it is, in words for the table; whether a shop could have had it at the time)
BASELINES: Mapping[str, tuple[str, bool]] = {
    "recency": ("recency only", True),
    "bg_nbd": ("BG/NBD, refitted every 28 days", True),
    "lightgbm": ("LightGBM, retrained every 28 days", True),
    "lightgbm_hindsight": ("LightGBM in hindsight (not attainable)", False),
}


def churn_baselines(
    run: ChurnRun,
    report_from: date | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, ChurnFigures]:
    """Return the figures of each of BASELINES on the rows of `run`, which was made with `keep_features=True`.

    `progress` is told baselines done and baselines in all. Raises MissingExtra where LightGBM is not installed.
    """
    require_lightgbm()
    figures: dict[str, ChurnFigures] = {}
    for name in BASELINES:
        figures[name] = _figures(name, run, report_from)
        progress(len(figures), len(BASELINES))
    return figures


def _figures(name: str, run: ChurnRun, report_from: date | None) -> ChurnFigures:
    if name == "recency":
        return _of_both(run, rank_by_recency(run), churned_by_recency(run), report_from)
    if name == "bg_nbd":
        return _of_both(run, *bg_nbd(run), report_from)
    return figures_of(run, retrained_trees(run) if name == "lightgbm" else trees_in_hindsight(run), report_from)


def _of_both(run: ChurnRun, score: Floats, probability: Floats, report_from: date | None) -> ChurnFigures:
    """Return the figures of a baseline that ranks by one number (high: gone) and says a probability beside it."""
    ranked, judged = figures_of(run, score, report_from), figures_of(run, probability, report_from)
    return ChurnFigures(all=_merged(ranked.all, judged.all), active=_merged(ranked.active, judged.active))


def _merged(ranked: RankingFigures, judged: RankingFigures) -> RankingFigures:
    return msgspec.structs.replace(ranked, log_loss=judged.log_loss, ece=judged.ece)
