"""The summary of a replay: every row accounted for, and how good the models were."""

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from consumer.core.customer.segments import SEGMENTS, Thresholds
from consumer.core.settings import CoreSettings
from consumer.replay.quality import ChurnQuality, Outcomes, PreferenceQuality
from consumer.replay.training import NotedDrift
from schemas.units import DAY_MS

MAX_DRIFTS_SHOWN = 10


class Unaccounted(Exception):
    """The rows do not add up. That is a fault of this program, never of the input."""


class EffectiveSettings(msgspec.Struct, frozen=True):
    """The settings without which the figures cannot be read."""

    default_consent: bool
    churn_signal: str
    churn_horizon_days: float
    churn_hazard_days: float
    churn_tick_days: float
    preference_sample_share: float
    outcome_days: float
    partitions: int
    commit_records: int

    @classmethod
    def of(cls, settings: CoreSettings, partitions: int, commit_records: int) -> "EffectiveSettings":
        """Return those of `settings`."""
        churn = settings.churn
        return cls(
            default_consent=settings.privacy.default_consent,
            churn_signal=churn.signal,
            churn_horizon_days=churn.horizon_days,
            churn_hazard_days=churn.hazard_days,
            churn_tick_days=churn.tick_days,
            preference_sample_share=settings.preference.sample_share,
            outcome_days=settings.policy.outcome_days,
            partitions=partitions,
            commit_records=commit_records,
        )


class DecisionCounts(msgspec.Struct, frozen=True):
    """Decisions by action (*nothing* among them), by trigger, and how many were other than *nothing*."""

    total: int
    other_than_nothing: int
    by_action: dict[str, int]
    by_trigger: dict[str, int]


class Segments(msgspec.Struct, frozen=True):
    """Moves of customers between segments, by the one before and the one after, and where segments begin at the end."""

    moves: dict[str, dict[str, int]]
    thresholds: Thresholds

    @classmethod
    def of(cls, moves: Mapping[tuple[str, str], int], thresholds: Thresholds) -> "Segments":
        """Return them in the order in which segments are named."""
        named: tuple[str, ...] = SEGMENTS
        table = {one: {other: moves[one, other] for other in named if (one, other) in moves} for one in named}
        return cls({before: after for before, after in table.items() if after}, thresholds)


class Summary(msgspec.Struct, frozen=True):
    """What a replay read and what came of it. `seconds` is the only figure that differs between two runs.

    Every row is one of: event, late, duplicate, merged, product, skipped (no event by its mapping), bad.
    `stream_from_ms` and `stream_to_ms` are event times.
    """

    rows: int
    accounted: bool
    events: int
    events_by_kind: dict[str, int]
    late: int
    duplicate: int
    merged: int  # went into an event together with another row, as the rows of one order do
    products: int
    skipped: int
    bad: int
    bad_by_reason: dict[str, int]
    examples: dict[str, str]  # by reason, of bad and late rows: the first of them, in words
    unreadable_after: str | None  # what was wrong where the file could not be read on
    customers: int  # remembered at the end
    sessions: int
    commits: int
    decisions: DecisionCounts
    segments: Segments
    churn: ChurnQuality
    preference: PreferenceQuality
    outcomes: Outcomes
    drifts: tuple[NotedDrift, ...]  # in the order of the examples
    settings: EffectiveSettings
    stream_from_ms: int | None
    stream_to_ms: int | None
    format: str
    input: str
    seconds: float
    warnings: tuple[str, ...] = ()
    mended: dict[str, int] = {}  # in records that were taken, by topic, field and `schemas.mending.MendWord`

    def __post_init__(self) -> None:
        total = self.events + self.late + self.duplicate + self.merged + self.products + self.skipped + self.bad
        if total != self.rows or sum(self.bad_by_reason.values()) != self.bad:
            raise Unaccounted(
                f"{self.rows} rows were read, and {self.events} events, {self.late} late, {self.duplicate} duplicate, "
                f"{self.merged} merged, {self.products} products, {self.skipped} skipped and {self.bad} bad are "
                "accounted for"
            )


def nothing_usable(summary: Summary) -> str | None:
    """Return why a recording was of no use at all, or None where it was of some."""
    if summary.events or summary.products:
        return None
    if not summary.rows:
        return "there are no rows in it"
    reason, n = max(summary.bad_by_reason.items(), key=lambda entry: entry[1])
    return f"none of {summary.rows:,} rows could be used; {n:,} of them for {reason}; {summary.examples[reason]}"


def why_no_churn_figures(first_ms: int | None, last_ms: int | None, horizon_days: float) -> str | None:
    """Return why no churn label can have matured in a recording, or None where some can."""
    if first_ms is None or last_ms is None:
        return "the recording holds no event"
    days = (last_ms - first_ms) / DAY_MS
    if days < 2 * horizon_days:
        return f"the recording spans {days:.1f} days, less than twice the horizon of {horizon_days:g} days"
    return None


def summary_rows(summary: Summary) -> list[tuple[str, str, str]]:
    """Return the summary for people, as rows of (section, name, value)."""
    rows = [
        ("input", "rows", f"{summary.rows:,}, all accounted for"),
        ("input", "events", f"{summary.events:,}"),
        *(("input", f"  {kind}", f"{n:,}") for kind, n in summary.events_by_kind.items()),
        ("input", "late, duplicate", f"{summary.late:,}, {summary.duplicate:,}"),
        *([("input", "of an order with others", f"{summary.merged:,}")] if summary.merged else []),
        ("input", "bad", f"{summary.bad:,}"),
        *(("input", f"  {reason}", f"{n:,}") for reason, n in summary.bad_by_reason.items()),
        *(("input", f"mended: {what}", f"{n:,}") for what, n in summary.mended.items()),
        ("input", "customers, sessions", f"{summary.customers:,}, {summary.sessions:,}"),
    ]
    if summary.skipped:
        rows.append(("input", "no event by their mapping", f"{summary.skipped:,}"))
    if summary.products:
        rows.append(("input", "products", f"{summary.products:,}"))
    rows += [("input", "warning", warning) for warning in summary.warnings]
    counts = summary.decisions
    rows += [
        ("decisions", "all", f"{counts.total:,}, {counts.other_than_nothing:,} of them other than nothing"),
        *(("decisions", f"  {action}", f"{n:,}") for action, n in counts.by_action.items()),
        *(("decisions", f"  after {trigger}", f"{n:,}") for trigger, n in counts.by_trigger.items()),
    ]
    churn, preference, outcomes = summary.churn, summary.preference, summary.outcomes
    rows += [
        ("churn", "examples matured", ", ".join(f"{n:,} {head}" for head, n in churn.matured.items()) or "none"),
        ("churn", "log loss, base rate's", f"{_figure(churn.log_loss)}, {_figure(churn.base_rate_log_loss)}"),
        ("churn", "AUC", _figure(churn.auc)),
    ]
    rows += [("churn", "drift", _drift_in_words(drift)) for drift in summary.drifts[:MAX_DRIFTS_SHOWN]]
    if len(summary.drifts) > MAX_DRIFTS_SHOWN:
        rows.append(("churn", "drift", f"and {len(summary.drifts) - MAX_DRIFTS_SHOWN:,} more, in summary.json"))
    if churn.reason is not None:
        rows.append(("churn", "no figure, because", churn.reason))
    rows += [
        ("segments", f"moves from {before}", ", ".join(f"{to} {n:,}" for to, n in moves.items()))
        for before, moves in summary.segments.moves.items()
    ]
    rows.append(("next item", "items asked for", f"{preference.n:,}"))
    for name, quality in (
        ("ours", preference.ours),
        ("popularity", preference.popularity),
        ("own last 20", preference.own_last_20),
    ):
        figures = f"{_figure(quality.hit_rate_at_20)}, {_figure(quality.mrr_at_20)}"
        rows.append(("next item", f"hit rate and MRR at 20, {name}", figures))
    for name, share in (
        ("treated", outcomes.treated),
        ("hold-out", outcomes.hold_out),
        ("randomised nothing", outcomes.randomised_nothing),
    ):
        rows.append(("outcomes", name, f"{_figure(share.outcome_rate)} of {share.n:,}"))
    settings = summary.settings
    rows += [
        ("settings", "consent where none is recorded", "assumed" if settings.default_consent else "not assumed"),
        ("settings", "churn", f"no {settings.churn_signal} within {settings.churn_horizon_days:g} days"),
        ("settings", "share of items asked for", f"{settings.preference_sample_share:g}"),
        ("run", "seconds", f"{summary.seconds:.1f} ({summary.rows / max(summary.seconds, 1e-9):,.0f} rows/s)"),
    ]
    return rows


def _drift_in_words(drift: NotedDrift) -> str:
    day = datetime.fromtimestamp(drift.at_ms / 1000, UTC).date()
    return f"{day}: the mean of {drift.what} went from {drift.before:.4g} to {drift.after:.4g}"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
