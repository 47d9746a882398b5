"""What is found in a record, as what a field has to be: text, a number, yes or no."""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from math import isfinite
from typing import Any
from uuid import UUID

from schemas.errors import RejectionReason

Convert = Callable[[Any], Any]

_EXACT = 1 << 53  # integers up to here are exact as floating-point numbers
_YES = frozenset({"true", "yes", "y", "1", "t"})
_NO = frozenset({"false", "no", "n", "0", "f"})


class Unusable(Exception):
    """A value can't be what its field has to be. The message says what it is and what to change, never the value."""

    def __init__(self, reason: RejectionReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def type_of(value: Any) -> str:
    """Return the type of a value in words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "text" if value else "an empty text"
    if isinstance(value, int | float | Decimal):
        return "a number"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    return "bytes" if isinstance(value, bytes) else f"a {type(value).__name__}"


def wrong_type(value: Any, expected: str) -> Unusable:
    """Return the error for a value of another type than `expected`, with what to do about it."""
    said = f"is {type_of(value)}, expected {expected}"
    if isinstance(value, list | tuple):
        said += ": put [0] behind the path for its first element, or use `each`"
    elif isinstance(value, dict):
        said += ": the path has to go on to one of its fields"
    return Unusable("wrong_type", said)


def to_text(value: Any) -> str:
    """Return text as it is, a number as it is written in decimal: 12.0 is 12, as ids are."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        raise wrong_type(value, "text or a number")
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < _EXACT else repr(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, date | datetime):
        return value.isoformat()
    raise wrong_type(value, "text or a number")


def to_whole_text(value: Any) -> str:
    """Return an id that was written as a number with a point, such as 13085.0, without it."""
    text = to_text(value)
    whole, point, rest = text.partition(".")
    return whole if point and whole.isdecimal() and not rest.strip("0") else text


def number_reader(decimal: str | None = None, *, whole: bool = False) -> Convert:
    """Return what makes a number of a number, or of a text that holds one.

    `whole` makes 3.0 the integer 3, where a field takes integers. `decimal` is the character before the decimals; with
    it, blanks, signs of currency and the other of "," and "." are left out. Without it, a text must be a number as
    programs write it.
    """
    convert = _to_whole if whole else _to_number
    if decimal is None:
        return convert
    mark = decimal

    def read(value: Any) -> float | int:
        if isinstance(value, str):
            kept = "".join(each for each in value if each.isdecimal() or each in {mark, "-", "+"})
            value = kept.replace(mark, ".") if any(map(str.isdecimal, kept)) else value
        return convert(value)

    return read


def _to_whole(value: Any) -> float | int:
    number = _to_number(value)
    return int(number) if isinstance(number, float) and number.is_integer() and abs(number) < _EXACT else number


def _to_number(value: Any) -> float | int:
    if value.__class__ is float or value.__class__ is int:
        return value  # JSON has no others than finite ones
    if isinstance(value, str):
        number = _parsed(value)
    elif isinstance(value, Decimal):
        number = float(value)
    else:
        raise wrong_type(value, "a number")
    if not isfinite(number):
        raise Unusable("out_of_range", "is no finite number: if it stands for nothing, name it in `none`")
    return number


def _parsed(text: str) -> float:
    try:
        if "_" not in text:
            return float(text)
    except ValueError:
        pass
    raise Unusable("wrong_type", f"is text that is no number{_about_marks(text)}")


def _about_marks(text: str) -> str:
    if not any(map(str.isdecimal, text)):
        return ": if it stands for nothing, name it in `none`"
    mark = "," if text.rfind(",") > text.rfind(".") else "."
    return f': say which character stands before the decimals, as decimal = "{mark}"'


def to_flag(value: Any) -> bool:
    """Return yes or no of true, false, 0, 1, or one of the words for them."""
    if isinstance(value, bool):
        return value
    text = to_text(value).strip().lower()
    if text in _YES:
        return True
    if text in _NO:
        return False
    raise Unusable("wrong_type", f"is {type_of(value)}, expected true or false: say what it means with `table`")
