"""What the demo shows: figures, decisions by action and channel, and the latest of them in plain words."""

from collections import Counter
from datetime import UTC, datetime

from rich.console import ConsoleDimensions, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from consumer.demo.watch import Watch
from schemas.records import NextBestAction

BROKER_WARNING = "The broker in here is for trying things out: it keeps all in memory and isolates no transaction."

_REASONS = 3  # shown of a decision; the event has all of them
_WIDE_COLUMNS = 100  # two tables beside each other need as many
_MANY_LINES, _SOME_LINES = 40, 30


def view(
    watch: Watch, passed_s: float, seconds: float, *, event_time_ms: int, published: int, size: ConsoleDimensions
) -> RenderableType:
    """Return the whole screen, for a terminal of the given size: less of it where there is little room."""
    day = datetime.fromtimestamp(event_time_ms / 1000, UTC)
    title = f"nextbest demo · {passed_s:.0f} of {seconds:.0f} s · it is {day:%d %b %Y} in the simulated shop"
    n_decisions = 4 if size.height >= _MANY_LINES else 2 if size.height >= _SOME_LINES else 1
    if size.width >= _WIDE_COLUMNS:
        top = Table.grid(padding=(0, 4))
        top.add_row(figures(watch, published), actions(watch))
    else:
        top = in_short(watch, published)
    return Panel(Group(top, Text(), latest(watch, n_decisions), Text(BROKER_WARNING, style="dim")), title=title)


def in_short(watch: Watch, published: int) -> Table:
    """Return what `figures` and `actions` say in a few lines."""
    churn, preference, outcomes = watch.quality.churn(), watch.quality.preference(), watch.quality.outcomes()
    totals: Counter[str] = Counter()
    for (action, _), n in watch.actions.items():
        totals[action] += n
    table = Table.grid(padding=(0, 2))
    next_item = (
        f"hit rate at 20 {_figure(preference.ours.hit_rate_at_20)}, "
        f"popularity {_figure(preference.popularity.hit_rate_at_20)}"
    )
    bought = (
        f"treated {_figure(outcomes.treated.outcome_rate)}, hold-out {_figure(outcomes.hold_out.outcome_rate)}, "
        f"nothing by the draw {_figure(outcomes.randomised_nothing.outcome_rate)}"
    )
    decisions = [f"{watch.decisions:,}", *(f"{_said(name)} {n:,}" for name, n in _by_number(totals))]
    for name, value in (
        ("events", f"{published:,} published, {watch.events:,} processed ({watch.events_per_s:,.0f}/s)"),
        ("", f"lag {watch.lag:,}, {watch.rejected:,} dead letters, {watch.customers:,} customers"),
        ("churn", f"log loss {_figure(churn.log_loss)}, base rate {_figure(churn.base_rate_log_loss)}"),
        ("next item", next_item),
        ("bought after", bought),
        ("decisions", ", ".join(decisions)),
    ):
        table.add_row(Text(name, style="cyan"), value)
    return table


def figures(watch: Watch, published: int) -> Table:
    """Return throughput and quality."""
    churn, preference, outcomes = watch.quality.churn(), watch.quality.preference(), watch.quality.outcomes()
    table = Table.grid(padding=(0, 2))
    for name, value in (
        ("events published", f"{published:,}"),
        ("events processed", f"{watch.events:,} ({watch.events_per_s:,.0f}/s)"),
        ("lag", f"{watch.lag:,} records"),
        ("dead letters", f"{watch.rejected:,}"),
        ("customers", f"{watch.customers:,}"),
        ("decisions", f"{watch.decisions:,}"),
        ("", ""),
        ("churn labels matured", f"{sum(churn.matured.values()):,}"),
        ("churn log loss", f"{_figure(churn.log_loss)}   base rate {_figure(churn.base_rate_log_loss)}"),
        (
            "hit rate at 20",
            f"{_figure(preference.ours.hit_rate_at_20)}   popularity {_figure(preference.popularity.hit_rate_at_20)}",
        ),
        ("bought after: treated", f"{_figure(outcomes.treated.outcome_rate)} of {outcomes.treated.n:,}"),
        ("  hold-out", f"{_figure(outcomes.hold_out.outcome_rate)} of {outcomes.hold_out.n:,}"),
        (
            "  nothing by the draw",
            f"{_figure(outcomes.randomised_nothing.outcome_rate)} of {outcomes.randomised_nothing.n:,}",
        ),
    ):
        table.add_row(Text(name, style="cyan"), value)
    return table


def actions(watch: Watch) -> Table:
    """Return decisions by action and channel, the most frequent first."""
    channels = sorted({channel for _, channel in watch.actions})
    table = Table("action", *channels, box=None, header_style="cyan")
    totals: Counter[str] = Counter()
    for (action, _), n in watch.actions.items():
        totals[action] += n
    for action, _ in _by_number(totals):
        cells = (
            f"{watch.actions[action, channel]:,}" if watch.actions[action, channel] else "" for channel in channels
        )
        table.add_row(_said(action), *cells)
    return table


def latest(watch: Watch, n_decisions: int) -> Group:
    """Return some of the latest decisions with their reasons, each ended by an empty line."""
    lines: list[RenderableType] = [Text("latest decisions" if n_decisions > 1 else "latest decision", style="cyan")]
    for decision in list(watch.latest)[: -n_decisions - 1 : -1]:
        what, why = in_words(decision)
        lines += [Text(what, overflow="ellipsis", no_wrap=True), Padding(Text(why, "dim"), (0, 0, 1, 2))]
    return Group(*lines)


def in_words(decision: NextBestAction) -> tuple[str, str]:
    """Return one decision in a line, and the reasons for it in another."""
    at = datetime.fromtimestamp(decision.occurred_at / 1000, UTC)
    how = "" if decision.channel is None else f" ({_said(decision.channel)})"
    what = f"{_said(decision.trigger)} → {_said(decision.action)}{how}"
    told = [reason.words for reason in decision.reasons if _stands_out(reason.name)]
    reasons = " ".join(f"{words}." for words in told[:_REASONS]) or "No reason stands out."
    return f"{at:%d %b %H:%M}  {decision.customer_id}  {what}", reasons


def _stands_out(name: str) -> bool:
    """Return whether a reason is worth a line: the trigger is said already, and the base is the same for everybody."""
    return name != "churn.base" and not name.startswith("trigger.")


def _by_number(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _said(name: str) -> str:
    return name.replace("_", " ")


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
