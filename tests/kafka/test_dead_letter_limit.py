"""The limit on rejected records: by share of the latest ones and by length of run."""

import pytest

from consumer.core.intake import Rejection
from consumer.core.merge import MergeRecord
from consumer.kafka.dead_letters import DeadLetterLimit, TooManyRejected, dead_letter
from consumer.kafka.worker_settings import DeadLetterSettings

BAD = Rejection("wrong_type", "price", "`price` is not a number")


def test_a_run_up_to_the_limit_is_allowed_and_one_more_is_not() -> None:
    """The message says which limit it was and what the latest reason is."""
    limit = DeadLetterLimit(DeadLetterSettings(max_run_records=3, window_records=1_000, max_share=1.0))
    for _ in range(3):
        limit.rejected(BAD)
    with pytest.raises(TooManyRejected, match=r"4 records in a row .*wrong_type"):
        limit.rejected(BAD)


def test_an_accepted_record_ends_a_run() -> None:
    """Bad records here and there are not a burst."""
    limit = DeadLetterLimit(DeadLetterSettings(max_run_records=2, window_records=1_000, max_share=1.0))
    for _ in range(50):
        limit.rejected(BAD)
        limit.rejected(BAD)
        limit.accepted(1)


def test_a_share_of_the_window_is_allowed_and_what_is_older_is_forgotten() -> None:
    """Ten of a hundred may be rejected, for ever; eleven may not."""
    limit = DeadLetterLimit(DeadLetterSettings(max_run_records=1_000, window_records=100, max_share=0.1))
    for _ in range(200):
        limit.accepted(9)
        limit.rejected(BAD)
    with pytest.raises(TooManyRejected, match="11 of the latest 100 records"):
        limit.rejected(BAD)


def test_the_first_record_of_all_may_be_bad() -> None:
    """One of one is no burst: the share is of the window, not of what was seen so far."""
    DeadLetterLimit(DeadLetterSettings()).rejected(BAD)


def test_a_dead_letter_keeps_bytes_and_headers_up_to_the_limit_and_a_digest_beyond() -> None:
    """Where the value is left out, its size and digest and the coordinates are still there."""
    record = MergeRecord("purchases", 7, 123, b"key", b"x" * 10, BAD, (("trace", b"\xff"), ("empty", None)))
    small, large = dead_letter(2, record, BAD, 10), dead_letter(2, record, BAD, 9)
    assert small.value == b"x" * 10
    assert large.value is None
    for letter in (small, large):
        assert letter.headers == record.headers
        assert (letter.origin.topic, letter.origin.partition, letter.origin.offset) == ("purchases", 2, 7)
        assert (letter.value_size_bytes, len(letter.value_sha256)) == (10, 64)
