"""What can be read of a purchase when some of its lines can't: it is a fact, whatever is odd about a line."""

import math
from typing import Any, Final, TypeGuard

import msgspec

from schemas.events import MAX_ORDER_LINES, Money, OrderLine
from schemas.explain_invalid import explain
from schemas.mending import Mend, MendWord, fields_of, mend_fields, mend_value

_OPTIONAL: Final = frozenset(field.name for field in fields_of(OrderLine) if field.optional)
_FACTORS: Final = {"quantity": 1, "measure": 1, "unit_price": 0}  # of a line's money, and what they are where absent


def mend_lines(tree: dict[str, Any], found: list[Mend]) -> dict[str, Any]:
    """A copy of a purchase with its usable lines alone; `tree` has been through `mend_fields`.

    What was done is added to `found`. Where the purchase names no amount, and there was money in the lines left out, it
    is given one, because what was paid is a fact as well. Without a usable line and without an amount the lines stay as
    they are, so that the purchase is rejected for what is wrong with them.
    """
    given = tree.get("lines", [])
    mends: list[Mend] = []
    lines = _mended(given if isinstance(given, list) else [given], mends)
    tree = dict(tree)
    if tree.get("kind") == "refund":
        lines = _without_sign(tree, lines, mends)
    usable, left_out = _sorted_out(lines, mends)
    has_amount = _is_money(tree.get("amount"))
    if left_out and not usable and not has_amount and tree.get("kind") != "payment_failed":
        return tree
    tree["lines"] = usable
    if usable and "amount" in tree and not has_amount and not _is_negative(tree["amount"]):
        del tree["amount"]
        mends.append(Mend("unreadable_field", "amount"))
    if "amount" not in tree and (beside := sum(map(_money, left_out))):
        tree["amount"] = max(0.0, sum(map(_money, usable)) + beside)
    found += mends
    return tree


def _mended(lines: list[Any], mends: list[Mend]) -> list[Any]:
    """The lines with their fields mended; those over the limit are not worth it."""
    within = [
        mend_fields(OrderLine, line, mends, "lines[].") if isinstance(line, dict) else line
        for line in lines[:MAX_ORDER_LINES]
    ]
    return within + lines[MAX_ORDER_LINES:]


def _without_sign(tree: dict[str, Any], lines: list[Any], mends: list[Mend]) -> list[Any]:
    """The lines of a refund, and its amount, without minus signs: where all have them, they only say that it is one."""
    if _is_negative(tree.get("amount")):
        tree["amount"] = -tree["amount"]
        mends.append(Mend("negative_refund", "amount"))
    if any(_money(line) > 0 for line in lines):
        return lines
    return [_line_without_sign(line, mends) if isinstance(line, dict) else line for line in lines]


def _line_without_sign(line: dict[str, Any], mends: list[Mend]) -> dict[str, Any]:
    negative = [name for name in ("quantity", "unit_price") if _is_negative(line.get(name))]
    mends += [Mend("negative_refund", f"lines[].{name}") for name in negative]
    return line | {name: -line[name] for name in negative}


def _sorted_out(lines: list[Any], mends: list[Mend]) -> tuple[list[dict[str, Any]], list[Any]]:
    """The usable lines, and the others."""
    usable, left_out = [], lines[MAX_ORDER_LINES:]
    mends += [Mend("too_many_lines", "lines")] * len(left_out)
    for line in lines[:MAX_ORDER_LINES]:
        what = _why_left_out(line)
        kept = _readable(line, mends) if what is None else None
        if kept is not None:
            usable.append(kept)
        else:
            left_out.append(line)
            mends.append(Mend(what or "unreadable_line", "lines"))
    return usable, left_out


def _why_left_out(line: Any) -> MendWord | None:
    if not isinstance(line, dict):
        return "unreadable_line"
    quantity = line.get("quantity")
    if _is_number(quantity) and quantity == 0:
        return "removed_line"
    return "negative_line" if _is_negative(quantity) or _is_negative(line.get("unit_price")) else None


def _readable(line: dict[str, Any], mends: list[Mend]) -> dict[str, Any] | None:
    """A line without the optional fields that can't be read; None where it can't be read at all."""
    quantity = line.get("quantity")
    if isinstance(quantity, float) and math.isfinite(quantity) and "measure" not in line:
        line = line | {"quantity": 1, "measure": quantity}
        mends.append(Mend("fraction", "lines[].quantity"))
    while True:
        try:
            msgspec.convert(line, OrderLine)
        except msgspec.ValidationError as error:
            field = explain(error, OrderLine, line).field
            if field not in _OPTIONAL:
                return None
            line = {name: value for name, value in line.items() if name != field}
            mends.append(Mend("unreadable_field", f"lines[].{field}"))
        else:
            return line


def _money(line: Any) -> float:
    """What a line comes to, negative for a coupon; 0 where that can't be read."""
    if not isinstance(line, dict):
        return 0.0
    money = 1.0
    for name, absent in _FACTORS.items():
        factor = mend_value("number", line.get(name))[1]
        factor = absent if factor is None else factor
        if not _is_number(factor):
            return 0.0
        money *= factor
    return money


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_negative(value: Any) -> TypeGuard[float]:
    return _is_number(value) and value < 0


def _is_money(value: Any) -> bool:
    try:
        msgspec.convert(value, Money)
    except msgspec.ValidationError:
        return False
    return True
