"""The configuration: defaults, over them a TOML file, over that `NEXTBEST_*` environment variables.

`load_config` checks everything at once and raises ConfigError with every problem it found, each with the key, the
value, where the value came from and what to do. docs/configuration.md lists all keys.
"""

import inspect
import io
import json
import os
import re
import tokenize
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from consumer.core.decision.gates import is_zone
from consumer.core.settings import (
    AudienceSettings,
    ChallengerSettings,
    ChurnSettings,
    CoreSettings,
    LearnerSettings,
    PolicySettings,
    PreferenceSettings,
    PrivacySettings,
    StateSettings,
    TimeSettings,
)
from consumer.kafka.cluster.cluster_settings import KafkaSettings, TopicSettings
from consumer.kafka.worker_settings import WorkerSettings

ENV_PREFIX = "NEXTBEST_"
CONFIG_VARIABLE = "NEXTBEST_CONFIG"
# of the same prefix, but no settings: where the file is, and what the tests are told
NOT_SETTINGS = frozenset({CONFIG_VARIABLE, "NEXTBEST_REQUIRE_KAFKA", "NEXTBEST_TEST_BOOTSTRAP"})

_STRICT = {"extra": "forbid"}


class ConfigError(Exception):
    """The configuration can't be used; the message lists every problem."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """The port of /livez, /readyz and /metrics. They are not protected: open them to your own network alone."""

    __pydantic_config__ = _STRICT
    host: str = "127.0.0.1"  # "0.0.0.0" to be reached from other machines
    port: int = 8642  # 0 takes any free one
    stuck_after_ms: int = 60_000  # /livez fails when the loop has not come round for longer

    def __post_init__(self) -> None:
        if self.port > 65_535:
            raise ValueError("`port` must be at most 65535")


@dataclass(frozen=True, slots=True)
class LoggingSettings:
    """What goes to standard error, and how."""

    __pydantic_config__ = _STRICT
    level: Literal["debug", "info", "warning", "error"] = "info"  # and above: "debug", "info", "warning" or "error"
    json: bool = False  # one JSON object a line instead of key=value


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be configured. The sections up to `learner` change what is computed; see CoreSettings."""

    __pydantic_config__ = _STRICT
    format: Literal["json", "avro"] = "json"  # "json" or "avro": of what is written; both are read
    catalogue: Path | None = None  # TOML file of channels and actions; the one that comes along when not given
    time: TimeSettings = field(default_factory=TimeSettings)
    state: StateSettings = field(default_factory=StateSettings)
    churn: ChurnSettings = field(default_factory=ChurnSettings)
    preference: PreferenceSettings = field(default_factory=PreferenceSettings)
    audience: AudienceSettings = field(default_factory=AudienceSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    learner: LearnerSettings = field(default_factory=LearnerSettings)
    challengers: tuple[ChallengerSettings, ...] = ()  # as [[challengers]], each with a name of its own
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    topics: TopicSettings = field(default_factory=TopicSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    logging: LoggingSettings = field(default_factory=LoggingSettings)

    def __post_init__(self) -> None:
        names = [each.name for each in self.challengers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two challengers are named {twice[0]}: each needs a `name` of its own")

    def core_settings(self) -> CoreSettings:
        """Return the settings that change what the core computes."""
        return CoreSettings(**{each.name: getattr(self, each.name) for each in fields(CoreSettings)})


Path_ = tuple[str, ...]


def load_config(file: Path | None = None, environment: Mapping[str, str] | None = None) -> Config:
    """Return the checked configuration of `file` (else of the file named in NEXTBEST_CONFIG) and the environment.

    Paths in it are taken from the working directory. Raises ConfigError with every problem found.
    """
    return load_config_and_origins(file, environment)[0]


def load_config_and_origins(
    file: Path | None = None, environment: Mapping[str, str] | None = None
) -> tuple[Config, dict[str, str]]:
    """Return the configuration, and for each key that is not left at its default where its value came from."""
    environment = os.environ if environment is None else environment
    named_by = "the path given to --config"
    if file is None and environment.get(CONFIG_VARIABLE):
        file, named_by = Path(environment[CONFIG_VARIABLE]), f"the path in {CONFIG_VARIABLE}"
    values: dict[str, Any] = _read_file(file, named_by) if file is not None else {}
    origins: dict[Path_, str] = {path: str(file) for path in _paths_of(values)}
    problems = _lay_environment_over(values, origins, environment)
    _unset_empty(values)
    try:
        config = TypeAdapter(Config).validate_python(values)
    except ValidationError as error:
        problems += [_explain(details, origins) for details in error.errors(include_url=False)]
        problems += _out_of_range(values, origins) + _unknown_zone(values, origins)
        raise ConfigError(_listed(list(dict.fromkeys(problems)))) from None
    problems += _out_of_range(asdict(config), origins) + _unknown_zone(asdict(config), origins)
    if problems:
        raise ConfigError(_listed(problems))
    return config, {".".join(path): origin for path, origin in origins.items()}


def _read_file(file: Path, named_by: str) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"configuration file {file} does not exist: check {named_by}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration file {file} can't be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"configuration file {file} is not valid TOML: {error}") from None


def _paths_of(values: Mapping[str, Any], before: Path_ = ()) -> Iterator[Path_]:
    for key, value in values.items():
        yield (*before, key)
        if isinstance(value, Mapping):
            yield from _paths_of(value, (*before, key))


def _lay_environment_over(
    values: dict[str, Any], origins: dict[Path_, str], environment: Mapping[str, str]
) -> list[str]:
    """Put what the environment says into `values`; return what is wrong with it."""
    problems = []
    for variable in sorted(environment):
        if not variable.startswith(ENV_PREFIX) or variable in NOT_SETTINGS:
            continue
        path = tuple(variable.removeprefix(ENV_PREFIX).lower().split("__"))
        kind = _field_type(path[:1]) if path else None
        if path[0] not in {each.name for each in fields(Config)} or (len(path) == 1 and is_dataclass(kind)):
            problems.append(_unknown_variable(variable, path))
            continue
        if len(path) > 2 and _is_mapping(path[:2]):  # a librdkafka property: its dots are underscores in the variable
            path = (*path[:2], "_".join(path[2:]).replace("_", "."))
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
    for path, _ in all_fields():
        table: Any = values
        for name in path[:-1]:
            table = table.get(name) if isinstance(table, dict) else None
        if isinstance(table, dict) and table.get(path[-1]) == "" and NoneType in get_args(_field_type(path)):
            table[path[-1]] = None


def _parsed(text: str, path: Path_) -> Any:
    """Return the text as it is, or what it holds where the key takes a table given as JSON."""
    if (_is_mapping(path) and text.lstrip().startswith("{")) or (_entries_of(path) and text.lstrip().startswith("[")):
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text  # refused by the validation, which says what is wanted
    return text


def _unknown_variable(variable: str, path: Path_) -> str:
    names = [".".join(known) for known, _ in all_fields()]
    close = get_close_matches(".".join(path), names, n=1, cutoff=0.6)
    hint = f" Did you mean {ENV_PREFIX}{close[0].upper().replace('.', '__')}?" if close else ""
    return (
        f"environment variable {variable}: no such setting.{hint} Sections and keys are separated by two underscores."
    )


_ADVICE = {
    "int_parsing": "is not a whole number",
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "float_parsing": "is not a number",
    "float_type": "is not a number",
    "bool_parsing": "is neither true nor false",
    "bool_type": "is neither true nor false",
    "string_type": "is not text: put it in quotes",
    "path_type": "is not a path: put it in quotes",
}


def _explain(details: ErrorDetails, origins: Mapping[Path_, str]) -> str:
    """Return one problem in words: key, value, origin, what is wrong, what to do."""
    path = tuple(str(part) for part in details["loc"] if part not in {"str", "int", "float", "bool", "path"})
    name = ".".join(path) or "configuration"
    origin = _origin(path, origins)
    kind = details["type"]
    if kind in {"unexpected_keyword_argument", "extra_forbidden"}:
        return f"{name} ({origin}): no such key.{_did_you_mean(path)}"
    if kind in {"dataclass_type", "mapping_type", "dict_type"}:
        return f"{name} ({origin}): is a section, not a single value: write [{name}] and its keys below"
    if _is_mapping(path[:-1]):
        return f"{name} ({origin}): is neither text, a number, true nor false"
    if kind == "missing":
        return f"{name} ({origin}): is missing, and has no default"
    if kind == "value_error":
        return f"{name} ({origin}): {details['ctx']['error']}"
    value = "" if _is_secret(path) else f" = {json.dumps(details['input'], default=str)}"
    advice = _ADVICE.get(kind)
    if advice is None:
        message = details["msg"]
        advice = message.removeprefix("Input ")
    default = default_of(path)
    example = "" if default in {None, MISSING, ""} or _is_secret(path) else f" (default: {_toml(default)})"
    return f"{name}{value} ({origin}): {advice}{example}"


def _origin(path: Path_, origins: Mapping[Path_, str]) -> str:
    """Return where a value came from; of a section, where its values came from."""
    for n in range(len(path), 1, -1):
        if path[:n] in origins:
            return origins[path[:n]]
    inner = sorted({origin for known, origin in origins.items() if known[: len(path)] == path})
    return " and ".join(inner) or origins.get(path[:1], "defaults")


# Numbers that may be 0; all others have to be above it, and none may be below.
_MAY_BE_ZERO = frozenset(
    {
        *("port", "exploration", "exploration_growth", "action_budget_price", "fatigue_cost", "l2", "late_by_ms"),
        *("max_ahead_ms", "sample_share", "hold_out_share", "caused_weight", "min_compaction_lag_ms", "risk_threshold"),
        *("decide_every_ms", "nothing_floor", "propensity_floor", "heartbeat_ms", "drift_delta"),
        *("basket_sample_share", "explore_share", "explore_items"),
    }
)
_SHARES = ("_share", "_floor", "_ratio", "_threshold", "_weight")


def _out_of_range(values: Mapping[str, Any], origins: Mapping[Path_, str]) -> list[str]:
    """Return what is wrong with numbers of `values`, checked or not. What is no number is not looked at."""
    problems = []
    for path, _ in all_fields():
        value: Any = values
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, str) and _field_type(path) in {int, float}:  # from the environment
            with suppress(ValueError):
                value = _field_type(path)(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        where = f"{'.'.join(path)} = {value} ({_origin(path, origins)})"
        if not isfinite(value) or value < 0 or (value == 0 and path[-1] not in _MAY_BE_ZERO):
            least = "0 or more" if path[-1] in _MAY_BE_ZERO else "more than 0"
            problems.append(f"{where}: must be {least} (default: {_toml(default_of(path))})")
        elif path[-1].endswith(_SHARES) and value > 1:
            problems.append(f"{where}: is a share and must be at most 1 (default: {_toml(default_of(path))})")
    return problems


def _unknown_zone(values: Mapping[str, Any], origins: Mapping[Path_, str]) -> list[str]:
    """Return what is wrong with the default time zone: the core takes one that it does not know for UTC."""
    path = ("policy", "default_time_zone")
    section = values.get("policy")
    name = section.get(path[1]) if isinstance(section, Mapping) else None
    if not isinstance(name, str) or is_zone(name):
        return []
    where = f"{'.'.join(path)} = {json.dumps(name)} ({_origin(path, origins)})"
    return [f'{where}: is not the IANA name of a time zone, such as "Europe/Berlin" (default: "UTC")']


def _did_you_mean(path: Path_) -> str:
    if entries := _entries_of(path[:1]):
        return f" Keys of [[{path[0]}]]: {', '.join(each.name for each in fields(entries))}."
    known = [".".join(names) for names, _ in all_fields()]
    same_section = [each for each in known if each.rpartition(".")[0] == ".".join(path[:-1])]
    by_name = {each.rpartition(".")[2]: each for each in reversed(same_section)}
    if len(path) == 1:
        by_name |= {each.name: each.name for each in fields(Config)}
    close = get_close_matches(path[-1], by_name, n=1, cutoff=0.6)
    if close:
        return f" Did you mean {by_name[close[0]]}?"
    elsewhere = [each for each in known if each.rpartition(".")[2] == path[-1]]
    if elsewhere:
        return f" Did you mean {elsewhere[0]}?"
    if len(path) == 1:
        return f" Keys and sections: {', '.join(each.name for each in fields(Config))}."
    return f" Keys of [{'.'.join(path[:-1])}]: {', '.join(by_name)}."


def _listed(problems: list[str]) -> str:
    head = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
    return "\n".join([f"the configuration has {head}:", *(f"  - {problem}" for problem in problems)])


# ---- what there is to configure, from the dataclasses themselves


def all_fields(cls: type = Config, before: Path_ = ()) -> Iterator[tuple[Path_, "Field[Any]"]]:
    """Yield each key with its dataclass field, sections after the single values of the same level."""
    hints = get_type_hints(cls)
    for each in fields(cls):
        if not is_dataclass(hints[each.name]):
            yield (*before, each.name), each
    for each in fields(cls):
        if is_dataclass(hints[each.name]):
            yield from all_fields(hints[each.name], (*before, each.name))


def _field_type(path: Path_) -> Any:
    """Return the annotated type of a key or section, or None where there is none."""
    cls: Any = Config
    for name in path:
        cls = get_type_hints(cls).get(name) if is_dataclass(cls) else None
    return getattr(cls, "__supertype__", cls)  # of a unit: the number that it is


def _entries_of(path: Path_) -> type | None:
    """Return the dataclass that an array of tables holds, as [[challengers]]; None for any other key."""
    kind = get_args(_field_type(path))[:1] if path else ()
    return kind[0] if kind and is_dataclass(kind[0]) and isinstance(kind[0], type) else None


def _is_mapping(path: Path_) -> bool:
    return getattr(_field_type(path), "__origin__", None) is Mapping or _origin_is_mapping(_field_type(path))


def _origin_is_mapping(kind: Any) -> bool:
    origin = getattr(kind, "__origin__", None)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _is_secret(path: Path_) -> bool:
    """Return whether the value may be a password: fields that say ``repr=False``, and all in them."""
    return any(path[: len(known)] == known and not each.repr for known, each in all_fields())


def default_of(path: Path_) -> Any:
    """Return the default of a key, or MISSING."""
    for known, each in all_fields():
        if known == path:
            return each.default_factory() if each.default_factory is not MISSING else each.default
    return MISSING


def comments_of(cls: type) -> dict[str, str]:
    """Return what the source says beside each field of a dataclass."""
    found: dict[str, str] = {}
    name = None
    for token in tokenize.generate_tokens(io.StringIO(inspect.cleandoc(inspect.getsource(cls))).readline):
        if token.type == tokenize.NAME and token.line.lstrip().startswith(f"{token.string}:"):
            name = token.string
        elif token.type == tokenize.COMMENT and name is not None:
            found.setdefault(name, token.string.lstrip("# "))
    return found


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "not set"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        return (
            "{}"
            if not value
            else f"{{ {', '.join(f'{_toml_key(key)} = {_toml(each)}' for key, each in value.items())} }}"
        )
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(str(value))


def _toml_key(key: str) -> str:
    return key if re.fullmatch("[A-Za-z0-9_-]+", key) else json.dumps(key)


def reference(cls: type = Config, before: Path_ = ()) -> str:
    """Return the reference of all keys in Markdown, as docs/configuration.md has it."""
    hints, comments = get_type_hints(cls), comments_of(cls)
    title = ".".join(before)
    heading = f"[[{title}]]" if _entries_of(before) else f"[{title}]"
    lines = [f"### `{heading}`" if title else "### Top level", ""]
    lines += [" ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split()), ""]
    rows = [each for each in fields(cls) if not is_dataclass(hints[each.name])]
    if rows:
        lines += ["| key | default | meaning |", "|---|---|---|"]
    for each in rows:
        default = each.default_factory() if each.default_factory is not MISSING else each.default
        shown_default = "needed" if default is MISSING else f"`{_toml(default)}`"
        lines.append(f"| `{each.name}` | {shown_default} | {comments.get(each.name, '')} |")
    text = "\n".join(lines).rstrip() + "\n"
    inner = [
        reference(inner_cls, (*before, each.name))
        for each in fields(cls)
        if (inner_cls := hints[each.name] if is_dataclass(hints[each.name]) else _entries_of((*before, each.name)))
    ]
    return "\n".join([text, *inner])


def shown(config: Config) -> str:
    """Return the configuration in force as TOML, without what may hold passwords."""
    lines: list[str] = []
    section: Path_ = ()
    values = asdict(config)
    for path, each in all_fields():
        if path[:-1] != section:
            section = path[:-1]
            lines += ["", f"[{'.'.join(section)}]"]
        value: Any = values
        for name in path:
            value = value[name]
        if _entries_of(path):
            continue
        if not each.repr:
            lines.append(f"# {path[-1]}: {len(value)} set, not shown")
        elif value is None:
            lines.append(f"# {path[-1]} is not set")
        else:
            lines.append(f"{path[-1]} = {_toml(value)}")
    for path, _ in all_fields():
        for entry in values[path[0]] if _entries_of(path) else ():
            lines += ["", f"[[{path[0]}]]", *(f"{key} = {_toml(value)}" for key, value in entry.items())]
    return "\n".join(lines) + "\n"
