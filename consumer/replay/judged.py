"""Records as the run judged them.

Whether an Avro record can be read depends on what a schema registry answers, and it may answer otherwise by now. So the
journal says which records were rejected and why, and that is what counts here.
"""

import msgspec

from consumer.core.intake import Rejection
from consumer.core.merge import MergeRecord
from consumer.replay.evidence import NotVerifiable
from schemas.codec import asks_registry
from schemas.records import JournalRecord

BY_REGISTRY = frozenset({"unknown_schema_id", "unusable_schema"})


class Judged:
    """The judgements of one commit.

    `unsure` tells, afterwards, that a record may have been judged otherwise: one whose schema the registry gives, in a
    commit that rejected more records than its journal record could name.
    """

    def __init__(self, journal: JournalRecord) -> None:
        self._journal = journal
        self._reasons = {
            (each.topic, offset): each.reason
            for each in journal.rejected
            for offset in range(each.offset, each.offset + each.count)
        }
        self.unsure = False

    def as_in_the_run(self, record: MergeRecord) -> MergeRecord:
        """Return `record`, rejected where the registry's answer of then had it so.

        Raises NotVerifiable where the run could read it and today's registry does not let us.
        """
        then = self._reasons.get((record.topic, record.offset))
        now = record.event.reason if isinstance(record.event, Rejection) else None
        if then is None and self._journal.rejected_left_out and asks_registry(record.value):
            self.unsure = True  # also where it can be read now: perhaps it could not be then
            return record
        if then == now:
            return record
        if then in BY_REGISTRY:
            return msgspec.structs.replace(record, event=Rejection(then, None, "by what the registry answered then"))
        if isinstance(record.event, Rejection) and now in BY_REGISTRY:
            raise NotVerifiable(
                f"task {self._journal.task}, commit {self._journal.sequence}: {record.topic}[{self._journal.task}] "
                f"{record.offset} could be read when it was processed, and can't be now: {record.event.message}. "
                "Verify with the schema registry of that run"
            )
        return record
