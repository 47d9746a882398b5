"""Records of the changelog: each customer under the customer id, and the task's own record under a key of its own."""

from collections.abc import Iterator, Mapping

TASK_KEY = b"\x00task"
_ESCAPE = b"\x00"


def key_of(customer_id: str) -> bytes:
    """Return the changelog key of a customer; no customer id, however odd, gives `TASK_KEY`."""
    key = customer_id.encode()
    return _ESCAPE + key if key.startswith(_ESCAPE) else key


def customer_id_of(key: bytes) -> str:
    """Return the customer id behind a changelog key other than `TASK_KEY`."""
    return key.removeprefix(_ESCAPE).decode()


def changelog_records(changes: Mapping[str, bytes | None], task_record: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield (key, value) of one commit: the customers in the order of `changes`, the task's record last.

    The offset of that last one is all that a commit needs to know about where its records went.
    """
    for customer_id, record in changes.items():
        yield key_of(customer_id), record
    yield TASK_KEY, task_record
