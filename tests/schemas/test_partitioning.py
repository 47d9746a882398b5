"""Keys land where Java's and librdkafka's producers put them."""

import pytest

from schemas.partitioning import murmur2, partition_of


@pytest.mark.parametrize(
    ("key", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_equals_the_hash_of_the_java_client(key: bytes, signed: int) -> None:
    """The vectors of Kafka's own tests (clients, UtilsTest), which print the 32 bits as a signed number."""
    assert murmur2(key) == signed % 2**32


def test_the_partition_is_the_positive_hash_modulo_the_partitions() -> None:
    """The sign bit is masked off, not negated: that differs for half of all keys."""
    assert partition_of(b"21", 7) == (-973932308 & 0x7FFFFFFF) % 7
    assert partition_of(b"abc", 7) == 479470107 % 7


def test_any_length_of_key_has_a_partition() -> None:
    """Keys of no, odd and great length stay in range."""
    for length in (*range(20), 10_000):
        assert 0 <= partition_of(b"\xff" * length, 3) < 3
