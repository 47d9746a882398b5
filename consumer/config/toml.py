"""The configuration in force as TOML."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from consumer.config.config import Config
from consumer.config.keys import KEYS, KeyPath


def shown(config: Config) -> str:
    """Return the configuration in force as TOML, without what may hold passwords."""
    lines: list[str] = []
    section: KeyPath = ()
    values = asdict(config)
    for path, key in KEYS.items():
        if path[:-1] != section:
            section = path[:-1]
            lines += ["", f"[{'.'.join(section)}]"]
        value: Any = values
        for name in path:
            value = value[name]
        if key.entries:
            continue
        if not key.field.repr:
            lines.append(f"# {path[-1]}: {len(value)} set, not shown")
        elif value is None:
            lines.append(f"# {path[-1]} is not set")
        else:
            lines.append(f"{path[-1]} = {toml(value)}")
    for path, key in KEYS.items():
        for entry in values[path[0]] if key.entries else ():
            lines += ["", f"[[{path[0]}]]", *(f"{name} = {toml(value)}" for name, value in entry.items())]
    return "\n".join(lines) + "\n"


def toml(value: Any) -> str:
    """Return one value as TOML has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "not set"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_toml_key(key)} = {toml(each)}" for key, each in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(str(value))


def _toml_key(key: str) -> str:
    return key if re.fullmatch("[A-Za-z0-9_-]+", key) else json.dumps(key)
