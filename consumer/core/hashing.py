"""The only source of chance in the core: digests. The same words give the same number on every machine and run."""

from hashlib import blake2b


def digest64(*words: str) -> int:
    """Return an unsigned 64-bit number that stands for `words` in their order."""
    return int.from_bytes(blake2b("\x1f".join(words).encode(), digest_size=8).digest(), "big")


def uniform(*words: str) -> float:
    """Return a number in [0, 1) that is a function of `words`."""
    # 53 bits, so that the result can't round up to 1.
    return (digest64(*words) >> 11) / float(1 << 53)


def name_of(*words: str) -> str:
    """Return 32 hexadecimal digits that stand for `words`."""
    return blake2b("\x1f".join(words).encode(), digest_size=16).hexdigest()
