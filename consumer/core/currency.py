"""Money of other currencies: converted by the rates that are configured, or kept apart, never added up.

The shop's currency is the catalogue's; an event that names none is in it, and so is every event where the catalogue
names none.
"""

from collections.abc import Mapping
from string import ascii_uppercase

_APART = "apart:"
_CODE_LENGTH = 3
OTHER = "other"  # what is no code


class Exchange:
    """What money of another currency is worth in the shop's. Codes are the same in capitals and in small letters."""

    def __init__(self, own: str, rates: Mapping[str, float]) -> None:
        self._own = own.strip().upper()
        self._rates = {code.upper(): rate for code, rate in rates.items()}

    def rate(self, currency: str | None) -> float | None:
        """Return what one unit of `currency` is worth; None where no rate is known."""
        if not currency or not self._own:
            return 1.0
        code = currency.strip().upper()
        return 1.0 if not code or code == self._own else self._rates.get(code)


def is_code(text: str) -> bool:
    """Return whether `text` has the form of an ISO 4217 code: three letters."""
    return len(text) == _CODE_LENGTH and all(letter in ascii_uppercase for letter in text.upper())


def apart(currency: str) -> str:
    """Return the name under which a task counts an event whose money it keeps apart."""
    code = currency.strip().upper()
    return _APART + (code if is_code(code) else OTHER)


def kept_apart(counters: Mapping[str, int]) -> dict[str, int]:
    """Return how many events had money in a currency without a rate, by its code, out of what a task counted."""
    return {name.removeprefix(_APART): n for name, n in sorted(counters.items()) if name.startswith(_APART)}
