"""The worker: one thread, one loop, from the first poll to the last commit."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from confluent_kafka import Consumer, Message

from clients import log
from clients.errors import PARTITION_EOF
from clients.messages import poll_batch
from consumer.core.shared import Core
from consumer.kafka.assignment import Assignment
from consumer.kafka.checkpoint import Checkpoint
from consumer.kafka.clocks import Clocks
from consumer.kafka.cluster.log_reader import raise_or_log
from consumer.kafka.failures import CannotGoOn, Stopping
from consumer.kafka.input_reader import InputReader
from consumer.kafka.models.follower import KnowledgeFollower
from consumer.kafka.models.trainer import Trainer
from consumer.kafka.observer import Observer
from consumer.kafka.product_letters import TASK as PRODUCTS_TASK
from consumer.kafka.product_letters import ProductLetters
from consumer.kafka.state.restore import Restorer
from consumer.kafka.task_runner import TaskRunner
from consumer.kafka.transactions import TransactionAborted, Transactions
from consumer.kafka.worker_settings import WorkerSettings
from schemas.topics import EVENT_TOPICS, EventTopic
from schemas.units import Seconds, in_seconds

State = Literal["starting", "loading knowledge", "joining", "restoring", "running", "stopping", "stopped"]

_IDLE_POLL_S: Final = Seconds(0.1)
_WAITING_POLL_S: Final = Seconds(0.01)  # records wait for those of another topic
_LAG_EVERY_S = 2.0
_ABORT_PAUSE_S = 0.2
_TRAINER_CLOSE_S: Final = Seconds(2.0)


class WorkerStatus:
    """What health checks may ask of a worker, from another thread: plain attributes, each written by the loop alone."""

    def __init__(self) -> None:
        self.state: State = "starting"
        self.looped_at_s = 0.0  # on the loop's clock: a sign of life, each time around

    @property
    def ready(self) -> bool:
        """Return whether knowledge is loaded and every task that this worker has is restored."""
        return self.state == "running"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the loop turns, put together by `run.py`."""

    consumer: Consumer
    assignment: Assignment
    inputs: InputReader
    transactions: Transactions
    checkpoint: Checkpoint
    restorer: Restorer
    follower: KnowledgeFollower
    products: ProductLetters
    trainer: Trainer | None


class Worker:
    """One worker. `run` returns when `stop` says so, after a last commit."""

    def __init__(
        self,
        settings: WorkerSettings,
        core: Core,
        parts: Parts,
        *,
        observer: Observer,
        status: WorkerStatus,
        clocks: Clocks,
        stop: Callable[[], bool],
        let_through: Mapping[int, Mapping[str, int]],
    ) -> None:
        """`let_through`: task → logical topic → offset before which rejected records are no reason to stop."""
        self._settings = settings
        self._let_through = let_through
        self._core = core
        self._consumer = parts.consumer
        self._assignment = parts.assignment
        self._inputs = parts.inputs
        self._transactions = parts.transactions
        self._checkpoint = parts.checkpoint
        self._restorer = parts.restorer
        self._follower = parts.follower
        self._products = parts.products
        self._trainer = parts.trainer
        self._observer = observer
        self._status = status
        self._clock_ms = clocks.ms
        self._clock_s = clocks.s
        self._stop = stop

        self._last_budget_s = in_seconds(settings.last_commit_budget_ms)
        self._tasks: dict[int, TaskRunner] = {}
        self._suspended: dict[int, TaskRunner] = {}
        self._paused: set[tuple[int, EventTopic]] = set()
        self._uncommitted = 0
        self._more_to_process = False
        self._committed_at_s = self._clock_s()
        self._aborts_in_a_row = 0
        self._fed_at_s: dict[int, float] = {}  # when each task last had something to do
        self._lag_at_s = 0.0

    # The loop

    def run(self) -> None:
        """Work until asked to stop. Raises CannotGoOn, or TooManyRejected, with everything uncommitted dropped."""
        try:
            self._start()
            while not self._stop():
                self._read()
                self._restore_next()
                self._process()
                self._heartbeat()
                if self._commit_is_due():
                    self._judge_products()
                    self._commit(self._tasks.values())
                    self._adopt()
                    self._learn()
                elif not self._uncommitted:
                    self._learn()
                self._tell_lag()
            self._status.state = "stopping"
            self._commit(self._tasks.values(), last=True)
        except Stopping:
            pass  # while it was loading or restoring: nothing is uncommitted
        finally:
            self._close()

    def _start(self) -> None:
        self._transactions.start()
        self._status.state = "loading knowledge"
        self._follower.load(in_seconds(self._settings.restore_timeout_ms))
        self._observer.adopted(self._core.knowledge.versions())
        self._status.state = "joining"
        self._assignment.subscribe(self._on_revoked, self._on_lost)
        if self._trainer is not None:
            self._trainer.start()

    # Reading

    def _read(self) -> None:
        """Poll once; queue what came."""
        messages = poll_batch(self._consumer, self._settings.batch_records, self._poll_timeout_s())
        for message in messages:
            error = message.error()
            if error is None:
                self._take(message)
            elif error.code() == PARTITION_EOF:
                self._note_end(message)
            else:
                raise_or_log(error)
        if messages:
            self._pause_full_queues()

    def _poll_timeout_s(self) -> Seconds:
        if self._assignment.unrestored or self._more_to_process:
            return Seconds(0.0)
        if any(task.waits for task in self._tasks.values()):
            return _WAITING_POLL_S
        if not self._uncommitted:
            return _IDLE_POLL_S
        due_s = self._committed_at_s + in_seconds(self._settings.commit_interval_ms) - self._clock_s()
        return Seconds(min(max(due_s, 0.0), _IDLE_POLL_S))

    def _take(self, message: Message) -> None:
        task = self._tasks.get(message.partition() or 0)
        if task is None:
            return  # fetched before the partition went to another worker, or before its task is restored
        topic = self._assignment.topics[message.topic() or ""]
        task.take(self._inputs.record(topic, message))

    def _note_end(self, message: Message) -> None:
        task = self._tasks.get(message.partition() or 0)
        if task is not None:
            task.end_reached(self._assignment.topics[message.topic() or ""], message.offset() or 0)

    def _pause_full_queues(self) -> None:
        limit = self._settings.queued_records
        for number, task in self._tasks.items():
            for topic in EVENT_TOPICS:
                if task.queued(topic) > limit and (number, topic) not in self._paused:
                    self._assignment.pause(number, topic)
                    self._paused.add((number, topic))

    def _resume_drained_queues(self) -> None:
        for number, topic in list(self._paused):
            if self._tasks[number].queued(topic) <= self._settings.queued_records // 2:
                self._assignment.resume(number, topic)
                self._paused.discard((number, topic))

    # Restoring

    def _restore_next(self) -> None:
        """Restore one task that was assigned, and let its partitions be fetched."""
        if self._assignment.numbers is None:
            return
        if not self._assignment.unrestored:
            self._close_suspended()
            self._status.state = "running"
            return
        self._status.state = "restoring"
        began_s = self._clock_s()
        number = self._assignment.unrestored[0]
        kept = self._suspended.pop(number, None)
        restored = self._restorer.restore(number, self._consumer, kept.state if kept is not None else None)
        if kept is not None and restored.n_records == 0 and restored.state is kept.state:
            task = kept  # nobody committed to it meanwhile: the customers that it keeps are those of the changelog
            task.resume()
        else:
            task = TaskRunner(
                number, self._core, restored, self._settings, let_through=self._let_through.get(number, {})
            )
        self._assignment.unrestored.pop(0)
        self._tasks[number] = task
        self._fed_at_s[number] = self._clock_s()
        if number == PRODUCTS_TASK:
            self._products.start(task.products_judged)
        self._assignment.start(number, task.next_to_take)
        seconds = self._clock_s() - began_s
        self._observer.restored(number, restored.n_records, len(restored.state), seconds)

    def _close_suspended(self) -> None:
        for number, task in self._suspended.items():
            task.close()
            self._observer.stopped(number)
        self._suspended.clear()

    # Processing

    def _process(self) -> None:
        """Process a batch of each task, up to the size of a commit."""
        began_s, n_before = self._clock_s(), self._uncommitted
        now_ms = self._clock_ms()
        self._more_to_process = False
        for number, task in list(self._tasks.items()):
            at_most = min(self._settings.batch_records, self._settings.commit_records - self._uncommitted)
            n = task.process(at_most, now_ms, began_s)
            if n:
                self._uncommitted += n
                self._fed_at_s[number] = began_s
                self._more_to_process |= n == at_most
                self._tasks[number] = self._tasks.pop(number)  # the next commit has room for the others first
        if self._uncommitted > n_before:
            self._observer.processed(self._uncommitted - n_before, self._clock_s() - began_s)
        if self._paused:
            self._resume_drained_queues()

    def _heartbeat(self) -> None:
        """Let stream time follow the clock where a task has been silent, so that its timers fire."""
        if not self._settings.heartbeat_ms:
            return
        now_s = self._clock_s()
        # An event may be stamped up to max_ahead before the clock that stamped it: stay behind by as much.
        now_ms = self._clock_ms()
        stream_time_ms = now_ms - self._core.settings.time.max_ahead_ms
        for number, task in self._tasks.items():
            silent = now_s - self._fed_at_s[number] >= in_seconds(self._settings.heartbeat_ms)
            if silent and task.heartbeat(stream_time_ms, now_ms):
                self._fed_at_s[number] = now_s

    # Committing

    def _commit_is_due(self) -> bool:
        if self._uncommitted >= self._settings.commit_records:
            return True
        return self._clock_s() - self._committed_at_s >= in_seconds(self._settings.commit_interval_ms)

    def _judge_products(self) -> None:
        """Put product records that cannot be read into the commit of the task that has them."""
        task = self._tasks.get(PRODUCTS_TASK)
        if task is not None and (task.has_work or not task.waits):
            task.take_products(self._products.read(in_seconds(self._settings.learn_budget_ms)))

    def _commit(self, tasks: Collection[TaskRunner], *, last: bool = False) -> None:
        """Commit all work of `tasks`; where that is aborted, go back to the commit before.

        `last`: these tasks are about to leave, so there is less time, and nothing to read on.
        """
        for task in tasks:
            task.note_passed()
        working = [task for task in tasks if task.has_work]
        began_s = self._clock_s()
        try:
            if working:
                committed = self._checkpoint.commit(working, self._last_budget_s if last else None)
                self._observer.committed(committed, self._clock_s() - began_s)
                self._observer.mended(self._inputs.take_mended())
                self._aborts_in_a_row = 0
        except TransactionAborted as aborted:
            self._observer.aborted(str(aborted))
            self._go_back(working, str(aborted), read_on=not last)
        self._uncommitted = 0
        self._committed_at_s = self._clock_s()

    def _go_back(self, tasks: Collection[TaskRunner], why: str, *, read_on: bool) -> None:
        """Close dirty: drop what is uncommitted, and read on from the committed offsets."""
        self._aborts_in_a_row += 1
        if self._aborts_in_a_row > self._settings.max_aborts:
            raise CannotGoOn(
                f"{self._aborts_in_a_row} commits in a row were aborted, the latest for this reason: {why}. Nothing is "
                "lost. Where brokers are slow or away, start again once they are well (nextbest check), with a longer "
                "kafka.transaction_timeout_ms; where a record was refused, see the sizes that the topic and "
                "topics.max_record_bytes allow; smaller commits come with a lower worker.commit_records"
            )
        for task in tasks:
            offsets = task.roll_back()
            if task.partition == PRODUCTS_TASK:
                self._products.start(task.products_judged)
            if read_on:
                self._assignment.seek(task.partition, offsets)
        time.sleep(_ABORT_PAUSE_S)

    def _adopt(self) -> None:
        """Take up new knowledge: no commit is open now."""
        if self._settings.mode != "frozen" and self._follower.adopt(in_seconds(self._settings.learn_budget_ms)):
            self._observer.adopted(self._core.knowledge.versions())

    def _learn(self) -> None:
        if self._trainer is not None:
            self._trainer.learn(in_seconds(self._settings.learn_budget_ms))

    def _tell_lag(self) -> None:
        if self._clock_s() - self._lag_at_s < _LAG_EVERY_S:
            return
        self._lag_at_s = self._clock_s()
        for number, task in self._tasks.items():
            for topic in EVENT_TOPICS:
                lag = self._assignment.lag(number, topic, task.next_to_take[topic] - task.queued(topic))
                if lag is not None:
                    self._observer.lag(topic, number, lag)
        self._observer.came_round()

    # Rebalances: called within a poll, when everything read before was taken in

    def _on_revoked(self) -> None:
        """Commit while the partitions are still ours, then hold the tasks until it is known where they go."""
        self._observer.rebalanced("revoked", tuple(self._tasks))
        self._commit(self._tasks.values(), last=True)
        for task in self._tasks.values():
            task.suspend()
        self._suspended |= self._tasks
        self._forget_tasks()

    def _on_lost(self) -> None:
        """Drop everything uncommitted: another worker may have the partitions already."""
        self._observer.rebalanced("lost", tuple(self._tasks))
        self._suspended |= self._tasks
        self._forget_tasks()
        self._close_suspended()

    def _forget_tasks(self) -> None:
        self._tasks = {}
        self._products.stop()
        self._paused.clear()
        self._uncommitted = 0
        if self._status.state != "stopping":
            self._status.state = "joining"

    # Ending

    def _close(self) -> None:
        """Leave the groups and close the stores; whatever is uncommitted is dropped."""
        self._status.state = "stopping"
        self._drop_uncommitted()
        self._consumer.close()
        if self._trainer is not None:
            self._trainer.close(_TRAINER_CLOSE_S)
        for task in (*self._tasks.values(), *self._suspended.values()):
            task.close()
        self._tasks, self._suspended = {}, {}
        self._restorer.close()
        self._follower.close()
        self._products.stop()
        self._status.state = "stopped"
        log.info("the worker has stopped")

    def _drop_uncommitted(self) -> None:
        """Make sure that leaving the group, which calls `_on_revoked`, commits nothing more."""
        for task in self._tasks.values():
            if task.has_work:
                task.roll_back()
