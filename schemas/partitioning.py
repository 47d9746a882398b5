"""Which partition a key belongs on: murmur2, as Java's default partitioner and librdkafka's ``murmur2_random`` have it.

Sources: ``Utils.murmur2`` and ``BuiltInPartitioner.partitionForKey`` in Apache Kafka's clients; ``rdmurmur2.c`` in
librdkafka. Only keyed records are covered: a record without a key has no partition of its own.
"""

from functools import lru_cache
from struct import unpack_from
from typing import Final

MAX_CACHED_KEYS: Final = 65_536

_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFF_FFFF


def murmur2(data: bytes) -> int:
    """The unsigned 32-bit murmur2 hash of `data`. Java prints the same bits as a signed number."""
    length = len(data)
    n_words = length >> 2
    h = _SEED ^ length
    for word in unpack_from(f"<{n_words}I", data):
        k = (word * _M) & _MASK
        k = ((k ^ (k >> 24)) * _M) & _MASK
        h = ((h * _M) & _MASK) ^ k
    if length & 3:
        h = ((h ^ int.from_bytes(data[n_words << 2 :], "little")) * _M) & _MASK
    h = ((h ^ (h >> 13)) * _M) & _MASK
    return h ^ (h >> 15)


@lru_cache(maxsize=MAX_CACHED_KEYS)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition, of `partitions`, that a record with this key belongs on."""
    return (murmur2(key) & 0x7FFF_FFFF) % partitions
