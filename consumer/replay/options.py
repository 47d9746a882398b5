"""What a replay can be told, and the settings that follow from the recording itself."""

from collections.abc import Collection, Iterable
from dataclasses import replace

import msgspec

from consumer.core.merge import INPUT_TOPICS
from consumer.core.settings import DAY_MS, CoreSettings, TimeSettings
from consumer.replay.inlet import AnyRow, usable

SHORT_RECORDING_DAYS = 14
SHORT_SIGNAL = "activity"
SHORT_HORIZON_DAYS = 2.0
SHORT_HAZARD_DAYS = 1.0
SHORT_TICK_DAYS = 1.0
REPLAY_SAMPLE_SHARE = 1.0
LIMITS = TimeSettings()


class ReplayOptions(msgspec.Struct, frozen=True):
    """How a replay is run. None of it is a matter of taste for verify: it is part of the manifest."""

    partitions: int = 1
    commit_records: int = 500  # rows read between two commits, over all tasks

    def __post_init__(self) -> None:
        if self.partitions < 1 or self.commit_records < 1:
            raise ValueError("`partitions` and `commit_records` must be at least 1")


def time_span_ms(rows: Iterable[AnyRow]) -> tuple[int, int] | None:
    """Return the first and last event time in a recording, or None where it holds no record at all.

    Times that no replay would accept (long before or after those around them in the log) don't count: one wrong clock
    would make a week look like years.
    """
    first_ms: int | None = None
    last_ms = 0
    for row in rows:
        record = usable(row)
        if record is None:
            continue
        at_ms = record.occurred_at
        if at_ms - record.arrival_ms > LIMITS.max_ahead_ms or at_ms < last_ms - LIMITS.late_by_ms:
            continue
        if first_ms is None:
            first_ms = last_ms = at_ms
        elif at_ms > last_ms:
            last_ms = at_ms
        elif at_ms < first_ms:
            first_ms = at_ms
    return None if first_ms is None else (first_ms, last_ms)


def recorded_partitions(row: AnyRow) -> int:
    """Return how many partitions there must have been where this row was recorded; 0 where it says nothing of them."""
    record = usable(row)
    partition: int | None = getattr(row, "partition", None)
    return 0 if record is None or partition is None or record.topic not in INPUT_TOPICS else partition + 1


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
        churn = {
            "signal": SHORT_SIGNAL,
            "horizon_days": SHORT_HORIZON_DAYS,
            "hazard_days": SHORT_HAZARD_DAYS,
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
