"""The reference of all keys, from the dataclasses and the comments beside their fields."""

import inspect
import io
import tokenize
from dataclasses import MISSING, fields, is_dataclass
from typing import Literal, get_args, get_origin

from consumer.config.config import Config
from consumer.config.keys import Key, KeyPath, keys_of
from consumer.config.toml import toml
from consumer.core.settings import range_in_words


def reference(section: type = Config, before: KeyPath = (), *, in_array: bool = False) -> str:
    """Return the reference of all keys in Markdown, as docs/configuration.md has it."""
    title = ".".join(before)
    heading = f"`[[{title}]]`" if in_array else f"`[{title}]`" if title else "Top level"
    summary = " ".join((inspect.getdoc(section) or "").split("\n\n")[0].split())
    keys = [key for key in keys_of(section, before) if key.path[:-1] == before]
    lines = [f"### {heading}", "", summary, ""]
    if keys:
        comments = comments_of(section)
        lines += ["| key | default | range | meaning |", "|---|---|---|---|"]
        lines += [_row(key, comments.get(key.path[-1], "")) for key in keys]
    parts = ["\n".join(lines).rstrip() + "\n"]
    kinds = {each.name: each.type for each in fields(section)}
    by_name = {key.path[-1]: key for key in keys}
    for name, kind in kinds.items():
        if isinstance(kind, type) and is_dataclass(kind):
            parts.append(reference(kind, (*before, name)))
        elif entries := by_name[name].entries:
            parts.append(reference(entries, (*before, name), in_array=True))
    return "\n".join(parts)


def _row(key: Key, meaning: str) -> str:
    default = "needed" if key.default is MISSING else f"`{toml(key.default)}`"
    return f"| `{key.path[-1]}` | {default} | {_allowed(key)} | {meaning} |"


def _allowed(key: Key) -> str:
    if key.allowed is not None:
        return range_in_words(key.allowed)
    return ", ".join(map(toml, get_args(key.kind))) if get_origin(key.kind) is Literal else ""


def comments_of(section: type) -> dict[str, str]:
    """Return what the source says beside each field of a dataclass."""
    found: dict[str, str] = {}
    name = None
    for token in tokenize.generate_tokens(io.StringIO(inspect.cleandoc(inspect.getsource(section))).readline):
        if token.type == tokenize.NAME and token.line.lstrip().startswith(f"{token.string}:"):
            name = token.string
        elif token.type == tokenize.COMMENT and name is not None:
            found.setdefault(name, token.string.lstrip("# "))
    return found
