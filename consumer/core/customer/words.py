"""Free text that is remembered: short as it is, long as its beginning and a digest."""

from consumer.core.hashing import name_of

LONGEST_WORD = 64  # characters
_DIGEST_DIGITS = 16


def remembered(word: str) -> str:
    """Return `word`, or of one over LONGEST_WORD its beginning and a digest: bounded, readable, and still its own."""
    if len(word) <= LONGEST_WORD:
        return word
    return f"{word[: LONGEST_WORD - 1 - _DIGEST_DIGITS]}~{name_of(word)[:_DIGEST_DIGITS]}"
