"""Small tools for logs of records."""

from hashlib import blake2b


class OrderFreeDigest:
    """A digest of a collection of byte strings, whatever their order; equal strings count as often as they come.

    The sum of their digests modulo 2^256: enough to find accidents and edits, in constant memory.
    """

    def __init__(self) -> None:
        self._sum = 0
        self.n = 0

    def add(self, data: bytes) -> None:
        """Add one byte string."""
        self._sum = (self._sum + int.from_bytes(blake2b(data, digest_size=32).digest(), "big")) % (1 << 256)
        self.n += 1

    def __eq__(self, other: object) -> bool:
        """Say whether both hold the same byte strings."""
        return isinstance(other, OrderFreeDigest) and (self._sum, self.n) == (other._sum, other.n)

    __hash__ = None  # type: ignore[assignment]  # it changes
