"""What went through a replay, counted: rows by what became of them, decisions, and how good the models were."""

from collections import Counter
from collections.abc import Mapping, Sequence

from consumer.core.catalogue import NOTHING
from consumer.core.currency import OTHER, kept_apart
from consumer.core.customer.segments import transitions
from consumer.core.journal import ClosedCommit
from consumer.core.shared import Core
from consumer.replay.files import Source
from consumer.replay.losses import Losses
from consumer.replay.options import ReplayOptions
from consumer.replay.quality import Quality
from consumer.replay.summary import (
    DecisionCounts,
    EffectiveSettings,
    Segments,
    Summary,
    why_no_churn_figures,
)
from consumer.replay.training import NotedDrift
from schemas.events import Event


class Tally:
    """The counts of one replay so far."""

    def __init__(self, late_by_ms: int) -> None:
        """`late_by_ms` is how late a row may be."""
        self.n_rows = self.n_products = self.n_duplicates = self.n_merged = self.n_skipped = 0
        self.losses = Losses(late_by_ms)
        self._n_commits = 0
        self.mended: Counter[str] = Counter()  # what was read as it was plainly meant
        self._kinds: Counter[str] = Counter()
        self._actions: Counter[str] = Counter()
        self._triggers: Counter[str] = Counter()
        self._counters: Counter[str] = Counter()  # the core's own
        self._quality = Quality()
        self._first_ms: int | None = None

    def processed(self, event: Event) -> None:
        """Count an event that was neither rejected nor a duplicate."""
        self._kinds[event.kind] += 1
        self._first_ms = event.occurred_at if self._first_ms is None else min(self._first_ms, event.occurred_at)

    def committed(self, closed: ClosedCommit) -> None:
        """Count a commit and what is in it."""
        self._n_commits += 1
        self._counters.update(closed.counters)
        for decision in closed.outputs.decisions:
            self._actions[decision.action] += 1
            self._triggers[decision.trigger] += 1
        for example in closed.outputs.examples:
            self._quality.add(example)

    def summary(
        self,
        core: Core,
        options: ReplayOptions,
        source: Source,
        *,
        customers: int,
        last_ms: int | None,
        drifts: Sequence[NotedDrift],
        unreadable_after: str | None,
        seconds: float,
    ) -> Summary:
        """Return what has come of everything so far; raise Unaccounted where the rows do not add up."""
        settings, knowledge, n_decisions = core.settings, core.knowledge, self._actions.total()
        losses, n_rows = self.losses, self.n_rows + self.n_merged
        null_because = why_no_churn_figures(self._first_ms, last_ms, settings.churn.horizon_days)
        return Summary(
            rows=n_rows,
            accounted=True,  # checked when the summary is made
            events=self._kinds.total(),
            events_by_kind=_largest_first(self._kinds),
            late=losses.late,
            duplicate=self.n_duplicates,
            merged=self.n_merged,
            skipped=self.n_skipped,
            products=self.n_products,
            bad=losses.bad.total(),
            bad_by_reason=_largest_first(losses.bad),
            examples=losses.examples,
            unreadable_after=unreadable_after,
            customers=customers,
            sessions=knowledge.sessions_offset,
            commits=self._n_commits,
            decisions=DecisionCounts(
                total=n_decisions,
                other_than_nothing=n_decisions - self._actions[NOTHING],
                by_action=_largest_first(self._actions),
                by_trigger=_largest_first(self._triggers),
            ),
            segments=Segments.of(transitions(self._counters), knowledge.thresholds),
            churn=self._quality.churn(null_because),
            preference=self._quality.preference(),
            outcomes=self._quality.outcomes(),
            drifts=tuple(drifts),
            settings=EffectiveSettings.of(settings, options.partitions, options.commit_records),
            stream_from_ms=self._first_ms,
            stream_to_ms=last_ms,
            format=source.format,
            input=source.path,
            seconds=seconds,
            warnings=losses.warnings(n_rows, unreadable_after)
            + _money_warnings(self._counters, core.catalogue.currency),
            mended=_largest_first(self.mended),
        )


def _money_warnings(counters: Mapping[str, int], own: str) -> tuple[str, ...]:
    """Return what to do about money in currencies without a rate."""
    return tuple(
        f"{n:,} events name money in {code}, which has no rate to the shop's {own}: it is in no sum and no price. "
        f"Set [currencies] rates = {{ {code} = … }} to have it converted"
        if code != OTHER
        else f"{n:,} events name a currency that is no code of three letters: their money is in no sum and no price"
        for code, n in kept_apart(counters).items()
    )


def _largest_first(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(((name, n) for name, n in counts.items() if n), key=lambda entry: (-entry[1], entry[0])))
