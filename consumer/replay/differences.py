"""Differences between what a run left behind and what was derived again, in words."""

import msgspec

from consumer.core.journal import ClosedCommit
from schemas.records import JournalRecord, NextBestAction

_DERIVED = ("outputs_digest", "examples_digest", "state_digest")
_MAX_FIELDS_SHOWN = 8
_MAX_VALUE_LENGTH = 200


class Different(Exception):
    """A first difference, in words. `derived`: it is in what a commit made of its inputs and of knowledge."""

    def __init__(
        self,
        message: str,
        journal: JournalRecord | None = None,
        decision_id: str | None = None,
        *,
        derived: bool = False,
    ) -> None:
        super().__init__(message if journal is None else f"{place(journal)}: {message}")
        self.task = journal.task if journal is not None else None
        self.sequence = journal.sequence if journal is not None else None
        self.decision_id = decision_id
        self.derived = derived


def compare_commits(journal: JournalRecord, closed: ClosedCommit) -> None:
    """Compare all that a journal record says with what was derived, inputs before what follows from them."""
    derived = closed.journal
    checks = (
        ("first_offsets", "it began at other offsets"),
        ("next_offsets", "it ended at other offsets"),
        ("runs", "its inputs were taken in another order"),
        ("inputs_digest", "its inputs are not those that were processed"),
        ("rejected", "it rejected other records"),
        ("stream_time", "its stream time differs"),
        ("outputs_digest", "its decisions differ"),
        ("examples_digest", "its training examples or sessions differ"),
        ("state_digest", "the customer state it left differs"),
        ("model_versions", "it used other models"),
    )
    for name, words in checks:
        recorded_value, derived_value = getattr(journal, name), getattr(derived, name)
        if recorded_value != derived_value:
            said = f"{name}: recorded {_short(recorded_value)}, derived {_short(derived_value)}"
            raise Different(f"{words} ({said}; inputs {_inputs_of(journal)})", journal, derived=name in _DERIVED)
    if derived.checksum != journal.checksum:
        raise Different("its journal record differs from the one derived", journal)


def place(journal: JournalRecord) -> str:
    """Say which commit it is."""
    return f"task {journal.task}, commit {journal.sequence}"


def _inputs_of(journal: JournalRecord) -> str:
    spans = (
        f"{topic}[{journal.task}] {first} to {journal.next_offsets.get(topic, first) - 1}"
        for topic, first in sorted(journal.first_offsets.items())
    )
    return ", ".join(spans) or "none"


def describe(published: NextBestAction, derived: NextBestAction) -> str:
    """Say field by field how a published decision differs from the derived one."""
    theirs, ours = msgspec.to_builtins(published), msgspec.to_builtins(derived)
    fields = [
        f"{name}: published {_short(theirs.get(name))}, derived {_short(ours.get(name))}"
        for name in derived.__struct_fields__
        if theirs.get(name) != ours.get(name)
    ]
    more = f"; and {len(fields) - _MAX_FIELDS_SHOWN} more fields" if len(fields) > _MAX_FIELDS_SHOWN else ""
    origin = derived.origin
    return (
        f"the decision after {origin.topic}[{origin.partition}] {origin.offset} differs. "
        + "; ".join(fields[:_MAX_FIELDS_SHOWN])
        + more
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_VALUE_LENGTH else text[:_MAX_VALUE_LENGTH] + "…"
