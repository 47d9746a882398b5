"""Reading a log to its end."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from clients.errors import PARTITION_EOF
from consumer.kafka.cluster.log_reader import read_to
from consumer.kafka.failures import CannotGoOn
from schemas.units import Seconds

TEN_SECONDS = Seconds(10.0)


class Fake:
    """A message, and the error of one."""

    def __init__(self, offset: int, code: int | None = None) -> None:
        self._offset, self._code = offset, code

    def topic(self) -> str:
        return "t"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def error(self) -> "Fake | None":
        return None if self._code is None else self

    def code(self) -> int | None:
        return self._code


class FakeConsumer:
    """Hands out one message at a time."""

    def __init__(self, messages: list[Fake]) -> None:
        self._messages = messages

    def poll(self, _: float) -> Fake | None:
        return self._messages.pop(0) if self._messages else None

    def consume(self, *_: Any) -> list[Fake]:
        return []


def reading(messages: list[Fake], clock: Iterator[float]) -> Iterator[Any]:
    """Read up to offset 2, with patience for ten seconds."""
    consumer: Any = FakeConsumer(messages)
    return read_to(
        consumer, {("t", 0): 2}, stop=lambda: False, clock_s=lambda: Seconds(next(clock)), timeout_s=TEN_SECONDS
    )


def test_a_log_that_gives_nothing_is_given_up() -> None:
    """Also after the first records."""
    with pytest.raises(CannotGoOn, match="no progress"):
        list(reading([Fake(0)], iter(map(float, count()))))


def test_time_that_the_caller_takes_with_a_record_is_not_held_against_the_log() -> None:
    """Verify may leave a quiet topic for as long as the busy ones of the same task take."""
    now_s = [0.0]
    messages: Any = FakeConsumer([Fake(0), Fake(1), Fake(2, PARTITION_EOF)])
    read = read_to(
        messages, {("t", 0): 2}, stop=lambda: False, clock_s=lambda: Seconds(now_s[0]), timeout_s=TEN_SECONDS
    )
    offsets = []
    for message in read:
        offsets.append(message.offset())
        now_s[0] += 3_600
    assert offsets == [0, 1]
