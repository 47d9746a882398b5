"""The limit on rejected records: by share of the latest ones and by length of run."""

import pytest

from consumer.core.intake import Rejection
from consumer.core.merge import MergeRecord
from consumer.kafka.dead_letters import DeadLetterLimit, TooManyRejected, dead_letter
from consumer.kafka.worker_settings import DeadLetterSettings

BAD = Rejection("wrong_type", "price", "`price` is not a number")


class Stream:
    """The records of one topic of task 3, and the limit that counts them."""

    def __init__(self, let_through: int = 0, **settings: float) -> None:
        self._limit = DeadLetterLimit(DeadLetterSettings(**settings), 3, {"clickstream": let_through})  # type: ignore[arg-type]
        self._offset = 0

    def bad(self, n: int = 1, why: Rejection = BAD) -> None:
        """Reject the next `n` records."""
        for _ in range(n):
            record = MergeRecord("clickstream", self._offset, 123, b"ann", b"secret", why)
            self._offset += 1
            self._limit.rejected(record, why)

    def good(self, n: int) -> None:
        """Accept the next `n` records."""
        self._offset += n
        self._limit.accepted(n)


def test_a_run_up_to_the_limit_is_allowed_and_one_more_is_not() -> None:
    """The message says which limit it was."""
    stream = Stream(max_run_records=3, max_share=1.0)
    stream.bad(3)
    with pytest.raises(TooManyRejected, match=r"4 records in a row"):
        stream.bad()


def test_an_accepted_record_ends_a_run() -> None:
    """Bad records here and there are not a burst."""
    stream = Stream(max_run_records=2, max_share=1.0)
    for _ in range(50):
        stream.bad(2)
        stream.good(1)
    stream.bad(2)
    with pytest.raises(TooManyRejected, match="3 records in a row"):
        stream.bad()


def test_a_share_of_the_window_is_allowed_and_what_is_older_is_forgotten() -> None:
    """Ten of a hundred may be rejected, for ever; eleven may not."""
    stream = Stream(window_records=100, max_share=0.1, min_rejected=5)
    for _ in range(200):
        stream.good(9)
        stream.bad()
    with pytest.raises(TooManyRejected, match="11 of the latest 100 records"):
        stream.bad()


def test_a_stream_that_is_bad_from_the_beginning_is_a_burst_at_once() -> None:
    """The share is of what was seen: nobody waits for a full window of rejections."""
    stream = Stream()
    stream.bad(49)
    with pytest.raises(TooManyRejected, match="50 of the latest 50 records"):
        stream.bad()


def test_a_few_bad_records_among_the_first_are_no_burst() -> None:
    """Before so many are rejected that it is no chance, their share says nothing: one of one is everything."""
    stream = Stream()
    for _ in range(49):
        stream.bad()
        stream.good(3)
    stream.good(400)
    stream.bad(5)


def test_the_message_names_the_first_record_of_the_burst_and_the_ways_on_and_nobody() -> None:
    """Place, reason, field, what to do about that reason, and the command that goes on."""
    stream = Stream(max_run_records=10)
    stream.good(1_000)
    stream.bad(9, Rejection("wrong_partition", "key", "`key` is on partition 3 and belongs on 1"))
    with pytest.raises(TooManyRejected) as stopped:
        stream.bad(2)
    said = str(stopped.value)
    assert "clickstream[3] offset 1000, wrong_partition, field key" in said
    assert "murmur2_random" in said
    assert "wrong_type" in said
    assert "nextbest dead-letters skip clickstream 3" in said
    assert "ann" not in said
    assert "secret" not in said


def test_records_that_are_let_through_are_not_counted() -> None:
    """Up to the offset that was said, and no further."""
    stream = Stream(let_through=1_000)
    stream.bad(1_049)
    with pytest.raises(TooManyRejected):
        stream.bad()


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
