"""Verification: derive every decision of a run again, bit for bit, and say what came of it.

Each commit is run again with the inputs, the merge order, the mode and the knowledge that its journal record names.
Then everything that the commit left behind must be equal.
The order of the checks matters: a record of the journal is trusted only once its checksum and its place in the chain
hold, for else a damaged record could pass for one of another build.
"""

from collections.abc import Callable
from typing import Literal

import msgspec

from consumer.core.customer.working_set import CommittedState
from consumer.core.journal import ClosedCommit, TaskRecord, checksum_of
from consumer.core.shared import Core
from consumer.replay.differences import Different, describe, place
from consumer.replay.evidence import Damaged, Evidence, NotVerifiable
from consumer.replay.relearn import Relearned
from consumer.replay.rerun import Rerun
from schemas.records import JournalRecord

VerdictKind = Literal["same", "different", "not_verifiable"]
EXIT_CODES: dict[VerdictKind, int] = {"same": 0, "different": 1, "not_verifiable": 3}

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


def verify(
    evidence: Evidence,
    core: Core,
    new_state: Callable[[], CommittedState],
    progress: Callable[[int], None] = lambda _: None,
) -> Verdict:
    """Derive everything in `evidence` again from the beginning and compare.

    `core` holds the settings and the catalogue of that run, and the fingerprint of the build that runs now. `new_state`
    makes an empty committed state for each task. `progress` is told the number of input records done after each
    commit. No exception says what was found; the verdict does.
    """
    problems = tuple(evidence.problems())
    run = _Verification(evidence, core, new_state, progress)
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
    except Different as error:
        kind, message = "different", str(error)
        task, sequence, decision_id = error.task, error.sequence, error.decision_id
        if decision_id is None and (found := run.find_decision()) is not None:
            decision_id = found.decision_id
            details.append(str(found))
    except (Damaged, NotVerifiable) as error:
        kind, message = "different" if isinstance(error, Damaged) else "not_verifiable", str(error)
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
    derived = (run.commits, run.decisions, run.examples, run.snapshots)
    return Verdict(kind, message, task, sequence, decision_id, tuple(details), *derived)


class _Verification:
    """All tasks of a run, run again side by side in the order of the journal."""

    def __init__(
        self,
        evidence: Evidence,
        core: Core,
        new_state: Callable[[], CommittedState],
        progress: Callable[[int], None],
    ) -> None:
        self._evidence = evidence
        self._core = core
        self._new_state = new_state
        self._progress = progress
        self._journal = evidence.journal()
        self._models = Relearned(evidence, core.settings, core.catalogue)
        self._open: tuple[JournalRecord, ClosedCommit] | None = None  # derived, and not found equal yet
        self._n_inputs = 0
        self.tasks: dict[int, Rerun] = {}
        self.at: tuple[int | None, int | None] = (None, None)
        self.commits = self.decisions = self.examples = 0

    def derive(self) -> None:
        """Derive and compare everything; raise at the first difference."""
        for journal in self._journal:
            self.at = (journal.task, journal.sequence)
            rerun = self._task(journal.task)
            self._trust(journal, rerun.task.record)
            closed = rerun.close(journal)
            self._open = (journal, closed)
            rerun.compare(journal, closed)
            self._compare_published(journal, rerun, closed)
            rerun.task.committed(closed)
            self._open = None
            self._learn(journal, closed)
            self._count(closed)
        if not self.commits:
            raise NotVerifiable("the journal holds no commit: there is nothing to derive")
        for number, rerun in self.tasks.items():
            extra = next(rerun.published, None)
            if extra is not None:
                raise Different(
                    f"task {number} published decision {extra.decision_id}, which no commit made",
                    decision_id=extra.decision_id,
                )
        difference = self._models.take_logs()
        if difference is not None:
            raise Different(difference)

    @property
    def snapshots(self) -> int:
        """Return how many model snapshots were derived again and are the same."""
        return self._models.snapshots

    @property
    def notes(self) -> list[str]:
        """Return what was not derived, in words."""
        return self._models.notes

    def find_decision(self) -> Different | None:
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
        except Different as error:
            return error if error.decision_id is not None else None
        except Exception:  # noqa: BLE001 - what is known to be damaged may fail in any way; the difference is known already
            return None
        return None

    def _search_commit(self, journal: JournalRecord, closed: ClosedCommit) -> None:
        rerun = self._task(journal.task)
        self._compare_published(journal, rerun, closed)
        rerun.task.committed(closed)

    def _task(self, number: int) -> Rerun:
        if number not in self.tasks:
            self.tasks[number] = Rerun(number, self._core, self._new_state(), self._evidence)
        return self.tasks[number]

    def _trust(self, journal: JournalRecord, previous: TaskRecord) -> None:
        """Check the seal of the record and its place in the chain, and only then what it says of its build."""
        if checksum_of(journal) != journal.checksum:
            raise Different("this journal record was changed after it was written: its checksum does not hold", journal)
        if journal.sequence > previous.sequence + 1:
            missing = f"{previous.sequence + 1} to {journal.sequence - 1}"
            raise NotVerifiable(f"{place(journal)}: commits {missing} before it are not in the journal (expired?)")
        if journal.sequence <= previous.sequence:
            raise Different("the journal holds this commit twice: two workers wrote for one task", journal)
        if journal.previous_checksum != previous.journal_checksum:
            raise Different(
                "this commit does not follow from the one before it: the chain of checksums is broken", journal
            )
        core = self._core
        told = (
            ("build", journal.build, core.build, "run the build that decided"),
            ("settings", journal.settings_digest, core.settings_digest, "verify with the configuration of that run"),
            ("catalogue", journal.catalogue_digest, core.catalogue_digest, "verify with the catalogue of that run"),
        )
        for name, recorded, own, advice in told:
            if recorded != own:
                raise NotVerifiable(
                    f"{place(journal)} was made with another {name}: {recorded}; here it is {own}. "
                    f"To verify it, {advice}"
                )

    def _compare_published(self, journal: JournalRecord, rerun: Rerun, closed: ClosedCommit) -> None:
        for derived in closed.outputs.decisions:
            published = next(rerun.published, None)
            if published is None:
                raise Different(f"decision {derived.decision_id} was not published", journal, derived.decision_id)
            if _encode(published) != _encode(derived):
                raise Different(describe(published, derived), journal, derived.decision_id)

    def _learn(self, journal: JournalRecord, closed: ClosedCommit) -> None:
        difference = self._models.take_commit(journal.model_versions, closed.outputs.examples)
        if difference is not None:
            raise Different(difference, journal)

    def _count(self, closed: ClosedCommit) -> None:
        self.commits += 1
        self.decisions += len(closed.outputs.decisions)
        self.examples += len(closed.outputs.examples)
        self._n_inputs += sum(run.count for run in closed.journal.runs)
        self._progress(self._n_inputs)
