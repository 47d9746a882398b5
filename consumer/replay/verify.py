"""Verification: derive every decision of a recording again, bit for bit, and say what came of it.

Each commit is run again through the same task and the same `OpenCommit`, with the inputs, the merge order, the mode
and the knowledge that its journal record names. Then everything that the commit left behind must be equal.
The order of the checks matters: a record of the journal is trusted only once its checksum and its place in the chain
hold, for else a damaged record could pass for one of another build.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

import msgspec

from consumer.core.catalogue import Catalogue
from consumer.core.customer.working_set import CommittedState, WorkingSet
from consumer.core.decision.budget import Budget
from consumer.core.journal import (
    ClosedCommit,
    OpenCommit,
    TaskRecord,
    checksum_of,
    encode_task_record,
    settings_digest,
)
from consumer.core.knowledge.challenger import learner_of
from consumer.core.knowledge.knowledge import Knowledge
from consumer.core.knowledge.learner import Learner
from consumer.core.knowledge.snapshot import ChallengerSpec, RefusedSnapshot, decode_snapshot, family_of
from consumer.core.settings import CoreSettings
from consumer.core.step import ScoringTask
from consumer.replay.judged import Judged
from consumer.replay.logs import OrderFreeDigest
from consumer.replay.recording import Damaged, NotVerifiable, Recording
from consumer.replay.training import Trainers
from schemas.records import FAMILIES, Family, JournalRecord, NextBestAction, TrainingExample

if TYPE_CHECKING:
    from consumer.core.merge import MergeRecord

VerdictKind = Literal["same", "different", "not_verifiable"]
EXIT_CODES: dict[VerdictKind, int] = {"same": 0, "different": 1, "not_verifiable": 3}
_MAX_FIELDS_SHOWN = 8
_MAX_VALUE_LENGTH = 200

_encode = msgspec.json.Encoder(order="deterministic").encode


class Verdict(msgspec.Struct, frozen=True):
    """What a verification found. `task` and `sequence` are the commit of the first difference, or where it ended.

    `decision_id` is that of the first decision that differs, if one does. `details` go on where `message` ends.
    """

    kind: VerdictKind
    message: str
    task: int | None = None
    sequence: int | None = None
    decision_id: str | None = None
    details: tuple[str, ...] = ()
    commits: int = 0  # derived again and found the same
    decisions: int = 0
    examples: int = 0
    snapshots: int = 0

    @property
    def exit_code(self) -> int:
        """What a command that verifies ends with."""
        return EXIT_CODES[self.kind]


class _Different(Exception):
    """A first difference, in words."""

    def __init__(self, message: str, journal: JournalRecord | None = None, decision_id: str | None = None) -> None:
        super().__init__(message if journal is None else f"{_place(journal)}: {message}")
        self.task = journal.task if journal is not None else None
        self.sequence = journal.sequence if journal is not None else None
        self.decision_id = decision_id


def verify(
    recording: Recording,
    settings: CoreSettings,
    catalogue: Catalogue,
    build: str,
    new_state: Callable[[], CommittedState],
    progress: Callable[[int], None] | None = None,
) -> Verdict:
    """Derive everything in `recording` again from the beginning and compare.

    `build` is the fingerprint of the build that runs now. `new_state` makes an empty committed state for each task.
    `progress` is told the number of input records done after each commit. No exception says what was found; the
    verdict does.
    """
    problems = tuple(recording.problems())
    run = _Verification(recording, settings, catalogue, build, new_state, progress)
    kind: VerdictKind = "same"
    details: list[str] = list(problems[1:])
    task, sequence, decision_id = None, None, None
    try:
        run.derive()
        message = (
            f"{run.commits} commits of {len(run.tasks)} tasks with {run.decisions} decisions and {run.examples} "
            f"examples, and {run.snapshots} model snapshots, were derived again and are the same, bit for bit"
        )
        details += run.notes
    except _Different as error:
        kind, message = "different", str(error)
        task, sequence, decision_id = error.task, error.sequence, error.decision_id
        if decision_id is None and (found := run.find_decision()) is not None:
            decision_id = found.decision_id
            details.append(str(found))
    except Damaged as error:
        kind, message = "different", str(error)
        task, sequence = run.at
    except NotVerifiable as error:
        kind, message = "not_verifiable", str(error)
        task, sequence = run.at
    except Exception as error:
        if not problems:
            raise
        kind, message = "different", f"deriving ended with an error: {error!r}"  # as damaged data may make it
    if problems:
        if kind == "same":
            message = "all decisions can still be derived from what was kept"
        details.insert(0, message)
        kind, message = "different", problems[0]
    return Verdict(
        kind,
        message,
        task,
        sequence,
        decision_id,
        tuple(details),
        run.commits,
        run.decisions,
        run.examples,
        run.snapshots,
    )


class _Rerun:
    """One task, run again."""

    def __init__(
        self, number: int, settings: CoreSettings, catalogue: Catalogue, state: CommittedState, recording: Recording
    ) -> None:
        self.recording = recording
        self.settings = settings
        self.catalogue = catalogue
        self.state = WorkingSet(state)
        self.previous = TaskRecord()
        knowledge = Knowledge(settings, catalogue)
        self.task = ScoringTask(
            number, settings, catalogue, self.state, knowledge, settings_digest=settings_digest(settings)
        )
        self.inputs: dict[str, Iterator[MergeRecord]] = {}
        self.published = recording.decisions(number)
        self.changelog_offset = 0
        self.judged: Judged  # of the commit that was run last

    def close(self, journal: JournalRecord) -> ClosedCommit:
        """Run one commit again; nothing is committed yet."""
        self._learn_up_to(journal)
        self.task.mode = journal.mode
        if self.task.budget.grants != journal.grants:
            self.task.budget = Budget(journal.grants, self.task.budget.spending())
        commit = OpenCommit(self.task, self.previous, journal.build)
        self.judged = Judged(journal)
        for run in journal.runs:
            if run.advance_to is not None:
                commit.advance_to(run.advance_to)
            elif run.topic is not None:
                self._feed(commit, journal, run.topic, run.count)
        return commit.close()

    def commit(self, journal: JournalRecord, closed: ClosedCommit) -> None:
        """Keep the commit, and go on from what the journal says of it."""
        self.changelog_offset += len(closed.changes)
        self.state.commit(closed.changes, encode_task_record(closed.task_record), self.changelog_offset)
        self.previous = msgspec.structs.replace(
            closed.task_record,
            next_offsets=journal.next_offsets,
            sequence=journal.sequence,
            journal_checksum=journal.checksum,
        )

    def _feed(self, commit: OpenCommit, journal: JournalRecord, topic: str, count: int) -> None:
        if topic not in self.inputs:
            self.inputs[topic] = self.recording.inputs(journal.task, topic, journal.first_offsets.get(topic, 0))
        for _ in range(count):
            record = next(self.inputs[topic], None)
            if record is None:
                raise _Different(f"the inputs of {topic} end before those that were processed", journal)
            commit.process(self.judged.as_in_the_run(record))

    def _learn_up_to(self, journal: JournalRecord) -> None:
        """Bring knowledge to where it was in this commit: exactly there, also where that is back."""
        knowledge = self.task.knowledge
        if (
            journal.sessions_offset < knowledge.sessions_offset
            or journal.products_offset < knowledge.products_offset
            or set(map(family_of, knowledge.model_versions)) - set(map(family_of, journal.model_versions))
        ):
            knowledge = self.task.knowledge = Knowledge(self.settings, self.catalogue)
        for model, offset in journal.model_versions.items():
            if offset != knowledge.model_versions.get(model):
                self._adopt(knowledge, journal, model, offset)
        for offset, item_id, product in self.recording.products(knowledge.products_offset, journal.products_offset):
            knowledge.apply_product(offset, item_id, product)
        for offset, session in self.recording.sessions(knowledge.sessions_offset, journal.sessions_offset):
            knowledge.fold_session(offset, session)
        if (knowledge.sessions_offset, knowledge.products_offset) != (journal.sessions_offset, journal.products_offset):
            raise _Different(
                f"the journal names sessions up to {journal.sessions_offset} and products up to "
                f"{journal.products_offset}; recorded are {knowledge.sessions_offset} and {knowledge.products_offset}",
                journal,
            )

    def _adopt(self, knowledge: Knowledge, journal: JournalRecord, model: str, offset: int) -> None:
        snapshot = self.recording.snapshot(model, offset)
        if snapshot is None:
            raise NotVerifiable(
                f"{_place(journal)}: the {model} model in force had learned up to example {offset}; "
                "this snapshot is not among those kept"
            )
        try:
            knowledge.adopt(snapshot, force=True)
        except RefusedSnapshot as error:
            raise _Different(f"the snapshot {model}@{offset} cannot be read: {error}", journal) from error


class _Verification:
    """All tasks of a recording, run again side by side in the order of the journal."""

    def __init__(
        self,
        recording: Recording,
        settings: CoreSettings,
        catalogue: Catalogue,
        build: str,
        new_state: Callable[[], CommittedState],
        progress: Callable[[int], None] | None,
    ) -> None:
        self._recording = recording
        self._settings = settings
        self._catalogue = catalogue
        self._build = build
        self._settings_digest = settings_digest(settings)
        self._catalogue_digest = catalogue.digest()
        self._new_state = new_state
        self._progress = progress
        self._journal = recording.journal()
        self._trainers = Trainers(settings, catalogue)
        self._logs: dict[Family, Iterator[tuple[int, TrainingExample]] | None] = {
            family: recording.examples(family) for family in FAMILIES
        }
        self._derived_examples = {family: OrderFreeDigest() for family in FAMILIES}
        self._promoted: dict[str, int] = {}  # challenger in force → offset of one of its snapshots
        self._open: tuple[JournalRecord, ClosedCommit] | None = None  # derived, and not found equal yet
        self._n_inputs = 0
        self.tasks: dict[int, _Rerun] = {}
        self.at: tuple[int | None, int | None] = (None, None)
        self.commits = self.decisions = self.examples = self.snapshots = 0
        self.notes: list[str] = []

    def derive(self) -> None:
        """Derive and compare everything; raise at the first difference."""
        for journal in self._journal:
            self.at = (journal.task, journal.sequence)
            rerun = self._task(journal.task)
            self._trust(journal, rerun.previous)
            closed = rerun.close(journal)
            self._open = (journal, closed)
            self._compare(journal, closed, rerun.judged)
            self._compare_published(journal, rerun, closed)
            rerun.commit(journal, closed)
            self._open = None
            self._learn(journal, closed)
            self._count(closed)
        if not self.commits:
            raise NotVerifiable("the journal holds no commit: there is nothing to derive")
        for rerun in self.tasks.values():
            extra = next(rerun.published, None)
            if extra is not None:
                raise _Different(
                    f"task {rerun.task.partition} published decision {extra.decision_id}, which no commit made",
                    decision_id=extra.decision_id,
                )
        self._derive_from_logs()

    @staticmethod
    def _compare(journal: JournalRecord, closed: ClosedCommit, judged: Judged) -> None:
        try:
            _compare_commits(journal, closed)
        except _Different as error:
            if judged.unsure:
                raise NotVerifiable(
                    f"{error}; but it rejected more records than its journal record names, and whether it could read "
                    "the others depends on what the schema registry answered then"
                ) from error
            raise

    def find_decision(self) -> "_Different | None":
        """After a difference in something else: go on until a published decision differs too, and return that."""
        if self._open is None:
            return None  # this commit could not be run again, and what follows depends on it
        try:
            self._search_commit(*self._open)
            for journal in self._journal:
                if checksum_of(journal) != journal.checksum:
                    return None  # who knows what it would make the task do
                rerun = self._task(journal.task)
                self._search_commit(journal, rerun.close(journal))
        except _Different as error:
            return error if error.decision_id is not None else None
        except Exception:  # noqa: BLE001 - what is known to be damaged may fail in any way; the difference is known already
            return None
        return None

    def _search_commit(self, journal: JournalRecord, closed: ClosedCommit) -> None:
        rerun = self._task(journal.task)
        self._compare_published(journal, rerun, closed)
        rerun.commit(journal, closed)

    def _task(self, number: int) -> _Rerun:
        if number not in self.tasks:
            self.tasks[number] = _Rerun(number, self._settings, self._catalogue, self._new_state(), self._recording)
        return self.tasks[number]

    def _trust(self, journal: JournalRecord, previous: TaskRecord) -> None:
        """Check the seal of the record and its place in the chain, and only then what it says of its build."""
        if checksum_of(journal) != journal.checksum:
            raise _Different(
                "this journal record was changed after it was written: its checksum does not hold", journal
            )
        if journal.sequence > previous.sequence + 1:
            missing = f"{previous.sequence + 1} to {journal.sequence - 1}"
            raise NotVerifiable(f"{_place(journal)}: commits {missing} before it are not in the journal (expired?)")
        if journal.sequence <= previous.sequence:
            raise _Different("the journal holds this commit twice: two workers wrote for one task", journal)
        if journal.previous_checksum != previous.journal_checksum:
            raise _Different(
                "this commit does not follow from the one before it: the chain of checksums is broken", journal
            )
        told = (
            ("build", journal.build, self._build, "run the build that made the recording"),
            ("settings", journal.settings_digest, self._settings_digest, "verify with the configuration of that run"),
            ("catalogue", journal.catalogue_digest, self._catalogue_digest, "verify with the catalogue of that run"),
        )
        for name, recorded, own, advice in told:
            if recorded != own:
                raise NotVerifiable(
                    f"{_place(journal)} was made with another {name}: {recorded}; here it is {own}. "
                    f"To verify it, {advice}"
                )

    def _compare_published(self, journal: JournalRecord, rerun: _Rerun, closed: ClosedCommit) -> None:
        for derived in closed.outputs.decisions:
            published = next(rerun.published, None)
            if published is None:
                raise _Different(f"decision {derived.decision_id} was not published", journal, derived.decision_id)
            if _encode(published) != _encode(derived):
                raise _Different(_describe(published, derived), journal, derived.decision_id)

    def _learn(self, journal: JournalRecord, closed: ClosedCommit) -> None:
        for model, offset in journal.model_versions.items():
            if model != family_of(model):
                self._promoted[model] = offset
        for example in closed.outputs.examples:
            self._derived_examples[example.family].add(_encode(example))
        folded = [example for example in closed.outputs.examples if self._logs[example.family] is None]
        self._compare_snapshots(folded, journal)

    def _derive_from_logs(self) -> None:
        for family, log in self._logs.items():
            if log is None:
                continue
            recorded = OrderFreeDigest()
            challengers = self._challengers(family)
            for expected, (offset, example) in enumerate(log):
                if expected == 0 and offset > 0:
                    self.notes.append(
                        f"the examples of {family} before {offset} have expired: its models were not derived"
                    )
                    break
                recorded.add(_encode(example))
                if (snapshot := self._trainers.fold_at(offset, example)) is not None:
                    self._compare_snapshot(snapshot.family, offset, snapshot.data, None)
                due = (expected + 1) % self._settings.learner.snapshot_examples == 0
                for model, (spec, learner) in challengers.items():
                    learner.learn(offset, example)
                    if due and self._is_of(spec, model, offset):
                        self._compare_snapshot(model, offset, learner.snapshot(), None)
            else:
                if recorded != self._derived_examples[family]:
                    raise _Different(f"the examples of {family} in the log are not those that the tasks published")

    def _challengers(self, family: Family) -> dict[str, tuple[ChallengerSpec, Learner]]:
        """Return the learners of the challengers of a family that were in force, as one of their snapshots says."""
        learners = {}
        for model, offset in self._promoted.items():
            data = self._recording.snapshot(model, offset) if family_of(model) == family else None
            spec = decode_snapshot(data, self._settings, self._catalogue).challenger if data is not None else None
            if spec is not None:
                learners[model] = (spec, learner_of(spec, self._settings, self._catalogue))
        return learners

    def _is_of(self, spec: ChallengerSpec, model: str, offset: int) -> bool:
        """Return whether a snapshot was kept and is of the same challenger: one of its name may have learned before."""
        data = self._recording.snapshot(model, offset)
        return data is not None and decode_snapshot(data, self._settings, self._catalogue).challenger == spec

    def _compare_snapshots(self, examples: list[TrainingExample], journal: JournalRecord | None) -> None:
        for snapshot in self._trainers.fold(examples):
            self._compare_snapshot(snapshot.family, snapshot.offset, snapshot.data, journal)

    def _compare_snapshot(self, model: str, offset: int, data: bytes, journal: JournalRecord | None) -> None:
        recorded = self._recording.snapshot(model, offset)
        if recorded is None:
            return  # expired, or never taken: only those in force are needed, and they were
        if recorded != data:
            raise _Different(f"the snapshot {model}@{offset} does not follow from its examples", journal)
        self.snapshots += 1

    def _count(self, closed: ClosedCommit) -> None:
        self.commits += 1
        self.decisions += len(closed.outputs.decisions)
        self.examples += len(closed.outputs.examples)
        self._n_inputs += sum(run.count for run in closed.journal.runs)
        if self._progress is not None:
            self._progress(self._n_inputs)


def _compare_commits(journal: JournalRecord, closed: ClosedCommit) -> None:
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
            raise _Different(f"{words} ({said}; inputs {_inputs_of(journal)})", journal)
    if derived.checksum != journal.checksum:
        raise _Different("its journal record differs from the one derived", journal)


def _place(journal: JournalRecord) -> str:
    return f"task {journal.task}, commit {journal.sequence}"


def _inputs_of(journal: JournalRecord) -> str:
    spans = (
        f"{topic}[{journal.task}] {first} to {journal.next_offsets.get(topic, first) - 1}"
        for topic, first in sorted(journal.first_offsets.items())
    )
    return ", ".join(spans) or "none"


def _describe(published: NextBestAction, derived: NextBestAction) -> str:
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
