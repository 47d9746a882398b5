"""What a replay can be told, and the settings that follow from the recording itself."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import msgspec

from consumer.core.settings import CoreSettings, TimeSettings
from consumer.replay.inlet import AnyRow, usable
from schemas.units import DAY_MS

SHORT_RECORDING_DAYS = 14
SHORT_SIGNAL = "activity"
SHORT_HORIZON_DAYS = 2.0
SHORT_HAZARD_DAYS = 1.0
SHORT_TICK_DAYS = 1.0
REPLAY_SAMPLE_SHARE = 1.0
LIMITS = TimeSettings()
# A few rows far from the rest, at either end, are taken for rows of wrong clocks. (A row in the middle of a file that
# is ahead of the next is found by the reader.)
STRAY_SHARE = 0.001  # of all rows, at most; or
STRAY_ROWS = 3
STRAY_GAP_DAYS = 10  # from the rest, at least; and
STRAY_GAP_TIMES = 10  # as long as the longest gap in the rest
ENOUGH_ROWS = 100  # for that. In a smaller rest, gaps say little:
SHORT_STRAY_GAP_DAYS = 30  # somebody may well have come back last after weeks
PLAUSIBLE_MS = (946_684_800_000, 4_102_444_800_000)  # the years 2000 to 2099: what is outside is no time


class ReplayOptions(msgspec.Struct, frozen=True):
    """How a replay is run. None of it is a matter of taste for verify: it is part of the manifest."""

    partitions: int = 1
    commit_records: int = 500  # rows read between two commits, over all tasks
    last_ms: int | None = None  # the end of the recording, where its rows have no time of arrival to be judged by

    def __post_init__(self) -> None:
        if self.partitions < 1 or self.commit_records < 1:
            raise ValueError("`partitions` and `commit_records` must be at least 1")


def time_span_ms(rows: Iterable[AnyRow]) -> tuple[int, int] | None:
    """Return the first and last event time in a recording, or None where it holds no record at all.

    Wrong clocks don't count: a row or two years away from all the others would make a week look like years, and one in
    the future would make everything after it late.
    """
    on_day: dict[int, tuple[int, int, int]] = {}  # day → rows, first and last event time
    for row in rows:
        record = usable(row)
        if record is None or record.occurred_at - record.arrival_ms > LIMITS.max_ahead_ms:
            continue
        at_ms = record.occurred_at
        if not PLAUSIBLE_MS[0] <= at_ms < PLAUSIBLE_MS[1]:
            continue
        n, first_ms, last_ms = on_day.get(at_ms // DAY_MS, (0, at_ms, at_ms))
        on_day[at_ms // DAY_MS] = (n + 1, min(first_ms, at_ms), max(last_ms, at_ms))
    if not on_day:
        return None
    days = sorted(on_day)
    rows_on = {day: n for day, (n, _, _) in on_day.items()}
    return on_day[_first_of_the_rest(days, rows_on)][1], on_day[_first_of_the_rest(days[::-1], rows_on)][2]


def _first_of_the_rest(days: Sequence[int], rows_on: Mapping[int, int]) -> int:
    """Return the first of `days` that is not one of a few rows far away from the rest."""
    total = sum(rows_on.values())
    gaps = [abs(following - day) for day, following in pairwise(days)]
    found, n = days[0], 0
    for place, gap in enumerate(gaps):
        n += rows_on[days[place]]
        if n > max(int(STRAY_SHARE * total), STRAY_ROWS):
            break
        longest = max(gaps[place + 1 :], default=0)
        far = max(STRAY_GAP_DAYS, STRAY_GAP_TIMES * longest) if total - n >= ENOUGH_ROWS else SHORT_STRAY_GAP_DAYS
        if gap > far:
            found = days[place + 1]
    return found


def settings_for_recording(
    settings: CoreSettings, first_ms: int, last_ms: int, explicit: Collection[str] = (), *, assume_consent: bool = True
) -> CoreSettings:
    """Return `settings` with the defaults that suit a recording from `first_ms` to `last_ms`.

    `explicit` names the settings that the user gave (``churn.horizon_days``): those stay as they are. A recording
    under 14 days cannot show whether somebody bought within 90 days, so churn is then about activity within 2 days.
    A recording carries no consent; `assume_consent` says what is assumed of customers who were never asked.
    """

    def keep(section: str, changes: dict[str, object]) -> dict[str, object]:
        return {name: value for name, value in changes.items() if f"{section}.{name}" not in explicit}

    churn: dict[str, object] = {}
    if last_ms - first_ms < SHORT_RECORDING_DAYS * DAY_MS:
        given = {name: getattr(settings.churn, name) for name in ("horizon_days", "hazard_days")}
        given = {name: days for name, days in given.items() if f"churn.{name}" in explicit}
        churn = {
            "signal": SHORT_SIGNAL,
            "horizon_days": max(SHORT_HORIZON_DAYS, given.get("hazard_days", 0.0)),  # never under the hazard
            "hazard_days": min(SHORT_HAZARD_DAYS, given.get("horizon_days", SHORT_HAZARD_DAYS)),
            "tick_days": SHORT_TICK_DAYS,
        }
    return replace(
        settings,
        churn=replace(settings.churn, **keep("churn", churn)),  # type: ignore[arg-type]  # names and types as above
        preference=replace(
            settings.preference,
            **keep("preference", {"sample_share": REPLAY_SAMPLE_SHARE}),  # type: ignore[arg-type]
        ),
        privacy=replace(
            settings.privacy,
            **keep("privacy", {"default_consent": assume_consent}),  # type: ignore[arg-type]
        ),
    )
