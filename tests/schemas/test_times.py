"""Event times that can only be in another unit are refused, and the message says which."""

import orjson
import pytest

from schemas.codec import Decoder
from schemas.errors import InvalidRecord
from schemas.times import EARLIEST_MS, LATEST_MS, milliseconds_of

AT_MS = 1_700_000_000_000


def event(occurred_at: object) -> bytes:
    """A click at that time."""
    return orjson.dumps({"event_id": "e", "customer_id": "c", "kind": "login", "occurred_at": occurred_at})


@pytest.mark.parametrize(
    ("time", "words"),
    [
        (1_700_000_000, "it looks like seconds"),
        (1_700_000_000.25, "it looks like seconds"),
        ("1700000000", "it looks like seconds"),
        (AT_MS * 1_000, "it looks like microseconds"),
        (AT_MS * 1_000_000, "it looks like nanoseconds"),
        (19_675, "it looks like days"),
        (20_231_114, "it looks like a date written in digits"),
        (20_231_114_221_320, "it looks like a date written in digits"),
        (0, "it looks like a time that was never set"),
        (-1, "expected epoch milliseconds"),
        (631_152_000_000, "expected epoch milliseconds"),  # 1990
        (253_402_300_799_000, "expected epoch milliseconds"),  # 9999
        (2**64 - 1, "expected epoch milliseconds"),
    ],
)
def test_an_implausible_time_is_refused_with_the_unit_that_it_looks_like(time: object, words: str) -> None:
    """Seconds would be a day in January 1970, where nobody shopped."""
    with pytest.raises(InvalidRecord, match="years 2000 to 2099") as caught:
        Decoder().decode("clickstream", event(time))
    assert (caught.value.reason, caught.value.field) == ("out_of_range", "occurred_at")
    assert words in caught.value.message


@pytest.mark.parametrize("time", [EARLIEST_MS, AT_MS, LATEST_MS])
def test_times_of_a_century_are_taken(time: int) -> None:
    """From the first millisecond of 2000 to the last of 2099."""
    assert Decoder().decode("clickstream", event(time)).occurred_at == time


def test_the_bounds_are_the_years_that_they_are_named_after() -> None:
    """Told in ISO 8601 they are easier to check."""
    assert milliseconds_of("2000-01-01T00:00:00Z") == EARLIEST_MS
    assert milliseconds_of("2100-01-01T00:00:00Z") == LATEST_MS + 1


def test_a_text_is_a_time_where_it_says_its_offset() -> None:
    """To the millisecond, in whichever zone; all else is none."""
    assert milliseconds_of("2023-11-14T22:13:20.123456+00:00") == AT_MS + 123
    assert milliseconds_of("2023-11-14T17:13:20-05:00") == AT_MS
    for text in ("2023-11-14T22:13:20", "2023-11-14", "yesterday", "", "1700000000000"):
        assert milliseconds_of(text) is None
