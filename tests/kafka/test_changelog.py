"""Keys of the changelog."""

import pytest

from consumer.kafka.state.changelog import TASK_KEY, changelog_records, customer_id_of, key_of


@pytest.mark.parametrize("customer_id", ["c1", "\x00task", "\x00", "\x00\x00task", "müller", "a\x00task"])
def test_no_customer_id_takes_the_place_of_the_task_and_each_is_found_again(customer_id: str) -> None:
    """Also one that someone chose with the task's own key in mind."""
    assert key_of(customer_id) != TASK_KEY
    assert customer_id_of(key_of(customer_id)) == customer_id


def test_the_tasks_record_comes_last() -> None:
    """Its offset stands for the whole commit."""
    records = list(changelog_records({"a": b"1", "b": None}, b"task"))
    assert records == [(b"a", b"1"), (b"b", None), (TASK_KEY, b"task")]
