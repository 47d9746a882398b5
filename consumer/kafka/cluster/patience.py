"""Waiting for a schema registry that does not answer: that is not the fault of any record."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from clients import log
from consumer.kafka.failures import CannotGoOn, RegistryUnavailable

Result = TypeVar("Result")

_ASK_AGAIN_S: Final = 1.0
_ASK_TIMES: Final = 60


def with_patience(read: Callable[[], Result], stop: Callable[[], bool]) -> Result:
    """Return what `read` returns, reading again for about a minute while the registry is away.

    Raises CannotGoOn where it stays away, or `stop` says so meanwhile.
    """
    for asked in range(1, _ASK_TIMES + 1):
        try:
            return read()
        except RegistryUnavailable as unavailable:
            if asked == _ASK_TIMES or stop():
                raise CannotGoOn(
                    f"{unavailable}; the worker has waited {asked - 1} s for it. Nothing was rejected for that: once "
                    "the registry of kafka.schema_registry_url answers again, start the worker, and it reads on"
                ) from unavailable
            log.warning("waiting: %s", unavailable)
            time.sleep(_ASK_AGAIN_S)
    raise AssertionError  # the loop returns or raises
