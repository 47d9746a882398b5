"""The commit: everything that the open commits of all tasks have to write, in one Kafka transaction.

docs/semantics.md has the table of what happens when it fails at each step.
"""

from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import KafkaError, Message, TopicPartition

from consumer.core.journal import ClosedCommit, encode_task_record
from consumer.kafka.cluster.cluster import Cluster
from consumer.kafka.dead_letters import dead_letter
from consumer.kafka.observer import CommittedTask
from consumer.kafka.state.changelog import changelog_records
from consumer.kafka.task_runner import TaskRunner
from consumer.kafka.transactions import TransactionAborted, Transactions
from schemas.codec import Encoder
from schemas.records import FAMILIES
from schemas.topics import EVENT_TOPICS, Topic
from schemas.units import Seconds

_FAMILY_PARTITION = {family: partition for partition, family in enumerate(FAMILIES)}


class Checkpoint:
    """Commits tasks. `group_metadata` is called for each commit: what it returns ages with each rebalance."""

    def __init__(
        self,
        transactions: Transactions,
        encoder: Encoder,
        cluster: Cluster,
        *,
        group_metadata: Callable[[], Any],
        max_dead_value_bytes: int,
    ) -> None:
        self._transactions = transactions
        self._encode = encoder.encode
        self._cluster = cluster
        self._group_metadata = group_metadata
        self._max_dead_value_bytes = max_dead_value_bytes
        self._changelog_offsets: dict[int, int] = {}  # partition → next to read after the latest delivered record

    def commit(self, runners: Sequence[TaskRunner], budget_s: Seconds | None = None) -> list[CommittedTask]:
        """Commit the work of `runners`, within `budget_s` where that is given; return what was committed of each.

        1. Close the open commits: outputs, changed customers, journal record.
        2. Begin a transaction.
        3. Produce decisions, examples, sessions, dead letters, journal, changelog.
        4. Flush, so that the offset of each task's last changelog record is known.
        5. Add the input offsets, with the group's generation: a former owner of the partitions fails here.
        6. Commit the transaction. From here on it has happened.
        7. Write each local store: changes, task record and changelog offset, in a transaction of its own.

        Raises TransactionAborted where nothing of it happened (the caller rolls back), CannotGoOn where this process
        cannot know or cannot go on.
        """
        closed = [(runner, runner.close_commit()) for runner in runners]
        transactions = self._transactions
        transactions.begin(budget_s)
        for runner, commit in closed:
            self._produce(runner, commit)
        transactions.flush()
        self._check_delivered(runners)
        transactions.commit(self._input_offsets(closed), self._group_metadata())
        return [runner.committed(commit, self._changelog_offsets[runner.partition]) for runner, commit in closed]

    def _produce(self, runner: TaskRunner, commit: ClosedCommit) -> None:
        task, outputs, write = runner.partition, commit.outputs, self._write
        for decision in outputs.decisions:
            write("next-best-actions", decision, decision.customer_id.encode(), task)
        for example in outputs.examples:
            write("training-examples", example, example.family.encode(), _FAMILY_PARTITION[example.family])
        for session in outputs.sessions:
            write("sessions", session, session.session_id.encode(), 0)
        for record, rejection in runner.rejected:
            letter = dead_letter(task, record, rejection, self._max_dead_value_bytes)
            write("dead-letters", letter, letter.key, task)
        write("journal", commit.journal, str(task).encode(), task)

        changelog, produce = self._cluster.topics.name("customer-state"), self._transactions.produce
        self._changelog_offsets.pop(task, None)
        *customers, last = changelog_records(commit.changes, encode_task_record(commit.task_record))
        for key, value in customers:
            produce(changelog, value, key, task)
        produce(changelog, last[1], last[0], task, delivered=self._delivered)

    def _write(self, topic: Topic, record: Any, key: bytes | None, partition: int) -> None:
        self._transactions.produce(self._cluster.topics.name(topic), self._encode(topic, record), key, partition)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        """Note where the task's record went: the last one of its commit in that partition."""
        partition, offset = message.partition(), message.offset()
        if error is None and partition is not None and offset is not None:
            self._changelog_offsets[partition] = offset + 1

    def _check_delivered(self, runners: Sequence[TaskRunner]) -> None:
        if any(runner.partition not in self._changelog_offsets for runner in runners):
            self._transactions.abort()
            raise TransactionAborted("the changelog was not delivered")

    def _input_offsets(self, closed: Sequence[tuple[TaskRunner, ClosedCommit]]) -> list[TopicPartition]:
        return [
            self._cluster.place(topic, runner.partition, offsets[topic])
            for runner, commit in closed
            for offsets in (runner.offsets_to_commit(commit),)
            for topic in EVENT_TOPICS
        ]
