"""One task of evidence, run again: the same `Task`, with the inputs, modes and knowledge that its journal names."""

from collections.abc import Iterator
from dataclasses import replace

from consumer.core.customer.working_set import CommittedState, WorkingSet
from consumer.core.journal import ClosedCommit, OpenCommit
from consumer.core.knowledge.knowledge import Knowledge
from consumer.core.knowledge.snapshot import RefusedSnapshot, family_of
from consumer.core.merge import MergeRecord
from consumer.core.shared import Core
from consumer.core.step import Reference
from consumer.core.task import Task
from consumer.replay.differences import Different, compare_commits, place
from consumer.replay.evidence import Evidence, NotVerifiable
from consumer.replay.judged import Judged
from schemas.records import JournalRecord


def _reference_of(journal: JournalRecord) -> Reference | None:
    """Return what the age of events was measured by; None where that was stream time."""
    if journal.reference_time is None or journal.aged_before is None:
        return None
    return Reference(journal.reference_time, journal.aged_before)


class Rerun:
    """One task, run again with knowledge of its own: its journal may be ahead of those of the others, or behind."""

    def __init__(self, number: int, core: Core, state: CommittedState, evidence: Evidence) -> None:
        self.task = Task(number, core.unlearned(), WorkingSet(state))
        self.published = evidence.decisions(number)
        self._evidence = evidence
        self._inputs: dict[str, Iterator[MergeRecord]] = {}
        self._judged: Judged  # of the commit that was run last
        self._asked_for_products = False  # a registry, which may have answered otherwise then

    def close(self, journal: JournalRecord) -> ClosedCommit:
        """Run one commit again; nothing is committed yet."""
        task = self.task
        self._learn_up_to(journal)
        if task.core.grants != journal.grants:
            task.core = replace(task.core, grants=journal.grants)
        self._judged = Judged(journal)
        commit = task.open(journal.mode, _reference_of(journal))
        for run in journal.runs:
            if run.advance_to is not None:
                commit.advance_to(run.advance_to)
            elif run.topic is not None:
                self._feed(commit, journal, run.topic, run.count)
        # Beyond the last record: markers of transactions. Should a record lie there after all, `_feed` finds it.
        commit.pass_to(
            {topic: at for topic, at in journal.next_offsets.items() if at > commit.next_offsets.get(topic, 0)}
        )
        return commit.close()

    def compare(self, journal: JournalRecord, closed: ClosedCommit) -> None:
        """Compare the commit that was run last with its journal record.

        Raises Different, and NotVerifiable where it is not known what the run rejected or how it read products.
        """
        try:
            compare_commits(journal, closed)
        except Different as error:
            if self._judged.unsure:
                but = "it rejected more records than its journal record names, and whether it could read the others"
            elif error.derived and self._asked_for_products:
                but = "products written with a schema registry were known to it, and how it read them"
            else:
                raise
            raise NotVerifiable(f"{error}; but {but} depends on what the schema registry answered then") from error

    def _feed(self, commit: OpenCommit, journal: JournalRecord, topic: str, count: int) -> None:
        if topic not in self._inputs:
            self._inputs[topic] = self._evidence.inputs(journal.task, topic, journal.first_offsets.get(topic, 0))
        for _ in range(count):
            record = next(self._inputs[topic], None)
            if record is None:
                raise Different(f"the inputs of {topic} end before those that were processed", journal)
            if record.offset < commit.next_offsets.get(topic, 0):
                raise Different(f"{topic}[{journal.task}] {record.offset} was passed over as if it were none", journal)
            commit.process(self._judged.as_in_the_run(record))

    def _learn_up_to(self, journal: JournalRecord) -> None:
        """Bring knowledge to where it was in this commit: exactly there, also where that is back."""
        knowledge = self.task.core.knowledge
        if (
            journal.sessions_offset < knowledge.sessions_offset
            or journal.products_offset < knowledge.products_offset
            or set(map(family_of, knowledge.model_versions)) - set(map(family_of, journal.model_versions))
        ):
            self.task.core = self.task.core.unlearned()
            knowledge = self.task.core.knowledge
        for model, offset in journal.model_versions.items():
            if offset != knowledge.model_versions.get(model):
                self._adopt(knowledge, journal, model, offset)
        for each in self._evidence.products(knowledge.products_offset, journal.products_offset):
            knowledge.apply_product(each.offset, each.item_id, each.product)
            self._asked_for_products |= each.asks_registry
        for offset, session in self._evidence.sessions(knowledge.sessions_offset, journal.sessions_offset):
            knowledge.fold_session(offset, session)
        if (knowledge.sessions_offset, knowledge.products_offset) != (journal.sessions_offset, journal.products_offset):
            raise Different(
                f"the journal names sessions up to {journal.sessions_offset} and products up to "
                f"{journal.products_offset}; recorded are {knowledge.sessions_offset} and {knowledge.products_offset}",
                journal,
            )

    def _adopt(self, knowledge: Knowledge, journal: JournalRecord, model: str, offset: int) -> None:
        snapshot = self._evidence.snapshot(model, offset)
        if snapshot is None:
            raise NotVerifiable(
                f"{place(journal)}: the {model} model in force had learned up to example {offset}; "
                "this snapshot is not among those kept"
            )
        try:
            knowledge.adopt(snapshot, force=True)
        except RefusedSnapshot as error:
            raise Different(f"the snapshot {model}@{offset} cannot be read: {error}", journal) from error
