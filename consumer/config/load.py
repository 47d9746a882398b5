"""Where values come from: the defaults, over them a TOML file, over that `NEXTBEST_*` environment variables.

`load_config` checks everything at once and raises ConfigError with every problem it found, each with the key, the
value, where the value came from and what to do. docs/configuration.md lists all keys.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from consumer.config.config import Config
from consumer.config.keys import KEYS, KeyPath, key_around
from consumer.config.problems import explain, listed, unknown_zone

ENV_PREFIX = "NEXTBEST_"
CONFIG_VARIABLE = "NEXTBEST_CONFIG"
# of the same prefix, but no settings: where the file is, and what the tests are told
NOT_SETTINGS = frozenset({CONFIG_VARIABLE, "NEXTBEST_REQUIRE_KAFKA", "NEXTBEST_TEST_BOOTSTRAP"})


class ConfigError(Exception):
    """The configuration can't be used; the message lists every problem."""


def load_config(file: Path | None, environment: Mapping[str, str]) -> Config:
    """Return the checked configuration of `file` (else of the file named in NEXTBEST_CONFIG) and the environment.

    Paths in it are taken from the working directory. Raises ConfigError with every problem found.
    """
    return load_config_and_origins(file, environment)[0]


def load_config_and_origins(file: Path | None, environment: Mapping[str, str]) -> tuple[Config, dict[str, str]]:
    """Return the configuration, and for each key that is not left at its default where its value came from."""
    named_by = "the path given to --config"
    if file is None and environment.get(CONFIG_VARIABLE):
        file, named_by = Path(environment[CONFIG_VARIABLE]), f"the path in {CONFIG_VARIABLE}"
    values: dict[str, Any] = _read_file(file, named_by) if file is not None else {}
    origins: dict[KeyPath, str] = {path: str(file) for path in _paths_of(values)}
    problems = _lay_environment_over(values, origins, environment)
    _unset_empty(values)
    problems += unknown_zone(values, origins)
    try:
        config = TypeAdapter(Config).validate_python(values)
    except ValidationError as error:
        problems += [explain(details, origins) for details in error.errors(include_url=False)]
    else:
        if not problems:
            return config, {".".join(path): origin for path, origin in origins.items()}
    raise ConfigError(listed(problems))


def _read_file(file: Path, named_by: str) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"configuration file {file} does not exist: check {named_by}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration file {file} can't be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"configuration file {file} is not valid TOML: {error}") from None


def _paths_of(values: Mapping[str, Any], before: KeyPath = ()) -> Iterator[KeyPath]:
    for key, value in values.items():
        yield (*before, key)
        if isinstance(value, Mapping):
            yield from _paths_of(value, (*before, key))


def _lay_environment_over(
    values: dict[str, Any], origins: dict[KeyPath, str], environment: Mapping[str, str]
) -> list[str]:
    """Put what the environment says into `values`; return what is wrong with it."""
    problems = []
    for variable in sorted(environment):
        if not variable.startswith(ENV_PREFIX) or variable in NOT_SETTINGS:
            continue
        path = tuple(variable.removeprefix(ENV_PREFIX).lower().split("__"))
        if path[0] not in {each.name for each in fields(Config)} or (len(path) == 1 and path not in KEYS):
            problems.append(_unknown_variable(variable, path))
            continue
        key = key_around(path)
        if key is not None and key.is_mapping and path != key.path:
            # a librdkafka property: its dots are underscores in the variable
            path = (*key.path, "_".join(path[len(key.path) :]).replace("_", "."))
        table: Any = values
        for name in path[:-1]:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                break
        if not isinstance(table, dict):
            problems.append(f"environment variable {variable}: `{name}` is not a section in {origins.get(path[:1])}")
            continue
        table[path[-1]] = _parsed(environment[variable], path)
        origins[path] = f"environment variable {variable}"
    return problems


def _unset_empty(values: dict[str, Any]) -> None:
    """Take an empty value for "not set" where a key need not be set: TOML and variables know no other way to say so."""
    for path, key in KEYS.items():
        table: Any = values
        for name in path[:-1]:
            table = table.get(name) if isinstance(table, dict) else None
        if isinstance(table, dict) and table.get(path[-1]) == "" and NoneType in get_args(key.kind):
            table[path[-1]] = None


def _parsed(text: str, path: KeyPath) -> Any:
    """Return the text as it is, or what it holds where the key takes a table, or an array of them, given as JSON."""
    key = KEYS.get(path)
    if key is None or not (key.is_mapping or key.entries) or text.lstrip()[:1] not in {"{", "["}:
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text  # refused by the validation, which says what is wanted


def _unknown_variable(variable: str, path: KeyPath) -> str:
    close = get_close_matches(".".join(path), map(".".join, KEYS), n=1, cutoff=0.6)
    hint = f" Did you mean {ENV_PREFIX}{close[0].upper().replace('.', '__')}?" if close else ""
    return (
        f"environment variable {variable}: no such setting.{hint} Sections and keys are separated by two underscores."
    )
