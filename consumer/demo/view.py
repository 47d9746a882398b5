"""What the demo shows: figures, decisions by action and channel, and the latest of them in plain words."""

from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from consumer.demo.watch import Watch
from schemas.records import NextBestAction

BROKER_WARNING = "The broker in here is for trying things out: it keeps all in memory and isolates no transaction."

_REASONS = 4  # up to this one are shown; the first repeats the trigger, and the event has all of them


def view(watch: Watch, passed_s: float, seconds: float, event_time_ms: int, published: int) -> RenderableType:
    """Return the whole screen."""
    day = datetime.fromtimestamp(event_time_ms / 1000, UTC)
    title = f"nextbest demo · {passed_s:.0f} of {seconds:.0f} s · it is {day:%d %b %Y} in the simulated shop"
    top = Table.grid(padding=(0, 4))
    top.add_row(figures(watch, published), actions(watch))
    return Panel(Group(top, Text(), latest(watch), Text(), Text(BROKER_WARNING, style="dim")), title=title)


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
    totals: dict[str, int] = {}
    for (action, _), n in watch.actions.items():
        totals[action] = totals.get(action, 0) + n
    for action in sorted(totals, key=lambda name: (-totals[name], name)):
        cells = (
            f"{watch.actions[action, channel]:,}" if watch.actions[action, channel] else "" for channel in channels
        )
        table.add_row(action.replace("_", " "), *cells)
    return table


def latest(watch: Watch) -> Group:
    """Return the latest decisions other than nothing, with their reasons, two lines each."""
    lines = [Text("latest decisions", style="cyan")]
    for decision in reversed(watch.latest):
        what, why = in_words(decision)
        lines += [
            Text(what, overflow="ellipsis", no_wrap=True),
            Text(f"  {why}", "dim", overflow="ellipsis", no_wrap=True),
        ]
    return Group(*lines)


def in_words(decision: NextBestAction) -> tuple[str, str]:
    """Return one decision in a line, and the reasons for it in another."""
    at = datetime.fromtimestamp(decision.occurred_at / 1000, UTC)
    how = "" if decision.channel is None else f" ({decision.channel.replace('_', ' ')})"
    what = f"{decision.trigger.replace('_', ' ')} → {decision.action.replace('_', ' ')}{how}"
    reasons = "; ".join(reason.words for reason in decision.reasons[1:_REASONS]) or "no reason stands out"
    return f"{at:%d %b %H:%M}  {decision.customer_id}  {what}", reasons


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
