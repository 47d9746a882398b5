"""The configuration: where values come from, what is refused and in which words, and its reference."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consumer.config import Config, ConfigError, load_config, load_config_and_origins
from consumer.config.keys import KEYS, Key
from consumer.config.reference import reference
from consumer.config.toml import shown
from consumer.core.settings import CoreSettings

DOCS = Path(__file__).parents[1] / "docs" / "configuration.md"


def written(folder: Path, text: str) -> Path:
    """Return a configuration file with `text` in it."""
    file = folder / "nextbest.toml"
    file.write_text(text, encoding="utf-8")
    return file


def problems(file: Path | None, environment: dict[str, str]) -> str:
    """Return what is said about a configuration that can't be used."""
    with pytest.raises(ConfigError) as raised:
        load_config(file, environment)
    return str(raised.value)


def test_without_anything_the_defaults_are_in_force() -> None:
    """An empty configuration is a valid one, and that of the core is the core's own."""
    config = load_config(None, {})
    assert config == Config()
    assert config.core_settings() == CoreSettings()


def test_the_file_goes_over_the_defaults_and_the_environment_over_the_file(tmp_path: Path) -> None:
    """Three layers, key by key."""
    file = written(tmp_path, "[churn]\nhorizon_days = 30\ntick_days = 3\n[topics.retention]\nsessions_days = 5.0")
    config = load_config(file, {"NEXTBEST_CHURN__TICK_DAYS": "2", "NEXTBEST_LOGGING__JSON": "true"})
    assert (config.churn.horizon_days, config.churn.tick_days, config.churn.hazard_days) == (30.0, 2.0, 7.0)
    assert config.topics.retention.sessions_days == 5.0
    assert config.logging.json is True
    assert config.core_settings().churn == config.churn


def test_the_file_may_be_named_in_the_environment(tmp_path: Path) -> None:
    """NEXTBEST_CONFIG is for containers, whose command line stays as it is."""
    file = written(tmp_path, "[http]\nport = 1")
    assert load_config(None, {"NEXTBEST_CONFIG": str(file)}).http.port == 1


def test_it_is_known_where_each_value_came_from(tmp_path: Path) -> None:
    """Defaults are not among them."""
    file = written(tmp_path, "[churn]\nhorizon_days = 30")
    _, origins = load_config_and_origins(file, {"NEXTBEST_POLICY__SEED": "x"})
    assert origins["churn.horizon_days"] == str(file)
    assert origins["policy.seed"] == "environment variable NEXTBEST_POLICY__SEED"
    assert "churn.tick_days" not in origins


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[churn]\nhorizon_day = 3", "churn.horizon_day (FILE): no such key. Did you mean churn.horizon_days?"),
        ("horizon_days = 3", "horizon_days (FILE): no such key. Did you mean churn.horizon_days?"),
        ("[chrun]\nhorizon_days = 3", "chrun (FILE): no such key. Did you mean churn?"),
        ("[churn]\nhorizon_days = 'soon'", 'churn.horizon_days = "soon" (FILE): is not a number (default: 90.0)'),
        ("churn = 3", "churn (FILE): is a section, not a single value: write [churn] and its keys below"),
        ("format = 'xml'", "format = \"xml\" (FILE): should be 'json' or 'avro' (default: \"json\")"),
        ("[http]\nport = 1.5", "http.port = 1.5 (FILE): is not a whole number (default: 8642)"),
        ("[http]\nport = 70000", "http.port = 70000 (FILE): must be at least 0 and at most 65535 (default: 8642)"),
        ("[worker]\ncommit_records = -1", "worker.commit_records = -1 (FILE): must be at least 1 (default: 20000)"),
        ("[kafka]\nconnect_timeout_ms = 0", "kafka.connect_timeout_ms = 0 (FILE): must be at least 1"),
        ("[worker]\nheartbeat_ms = -5", "worker.heartbeat_ms = -5 (FILE): must be at least 0 (default: 0)"),
        (
            "[policy]\ndefault_time_zone = 'Berlin'",
            'policy.default_time_zone = "Berlin" (FILE): is not the IANA name of a time zone, such as "Europe/Berlin"',
        ),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place_and_what_to_do(tmp_path: Path, text: str, words: str) -> None:
    """Key, value, origin, what is wrong, and the default or the key that was meant."""
    file = written(tmp_path, text)
    assert words.replace("FILE", str(file)) in problems(file, {})


def outside(key: Key) -> list[float]:
    """Return numbers just beyond the ends of a key's range, and one that is no number."""
    is_whole = isinstance(key.default, int)
    step = 1 if is_whole else 1e-3
    allowed: Any = key.allowed
    ends = [(allowed.gt, 0), (allowed.ge, -step), (allowed.lt, 0), (allowed.le, step)]
    return [end + by for end, by in ends if end is not None] + ([] if is_whole else [float("nan")])


@pytest.mark.parametrize(
    "key", [key for key in KEYS.values() if type(key.default) in {int, float}], ids=lambda k: k.path[-1]
)
def test_every_number_has_a_range_that_holds_in_a_file_and_in_code(tmp_path: Path, key: Key) -> None:
    """Just beyond either end it is refused by name, by the loader and by the constructor of its section."""
    assert key.allowed is not None
    *path, name = key.path
    section: Any = Config()
    for each in path:
        section = getattr(section, each)
    for value in outside(key):
        file = written(tmp_path, f"[{'.'.join(path)}]\n{name} = {value}")
        assert f"{'.'.join(key.path)} = {value} ({file}): must be " in problems(file, {})
        with pytest.raises(ValueError, match=f"{name} is .*; it must be "):
            replace(section, **{name: value})


def test_a_mistake_in_the_environment_names_the_variable() -> None:
    """The key alone would leave one searching in the file."""
    said = problems(None, {"NEXTBEST_HTTP__PORT": "abc"})
    assert 'http.port = "abc" (environment variable NEXTBEST_HTTP__PORT): is not a whole number' in said


def test_an_unknown_variable_is_an_error() -> None:
    """A misspelt variable must not go unnoticed; one of other programs is none of our business."""
    said = problems(None, {"NEXTBEST_HTPP__PORT": "1", "OTHER_HTTP__PORT": "1"})
    assert "NEXTBEST_HTPP__PORT: no such setting. Did you mean NEXTBEST_HTTP__PORT?" in said
    assert "OTHER" not in said


def test_all_problems_are_said_at_once(tmp_path: Path) -> None:
    """Nobody should have to start five times to find five mistakes."""
    file = written(tmp_path, "[churn]\nhorizon_day = 1\n[state]\ncontacts = 'x'")
    said = problems(file, {"NEXTBEST_NONSENSE": "1", "NEXTBEST_TIME__SESSION_GAP_MS": "-5"})
    assert "4 problems" in said
    assert "time.session_gap_ms = -5 (environment variable NEXTBEST_TIME__SESSION_GAP_MS): must be at least 1" in said


def test_every_key_says_what_it_means() -> None:
    """No cell of the reference is left empty."""
    assert [line for line in reference().splitlines() if line.endswith("|  |")] == []


def test_a_file_that_is_not_there_or_no_toml_is_said_so(tmp_path: Path) -> None:
    """Neither shows a stack trace of the parser."""
    assert "does not exist" in problems(tmp_path / "none.toml", {})
    assert "is not valid TOML" in problems(written(tmp_path, "a = = 1"), {})


def test_librdkafka_properties_are_passed_through_from_file_and_environment(tmp_path: Path) -> None:
    """In a variable the dots of a property are underscores."""
    file = written(tmp_path, '[kafka.properties]\n"security.protocol" = "SSL"\n"socket.keepalive.enable" = true')
    config = load_config(file, {"NEXTBEST_KAFKA__PROPERTIES__SASL_PASSWORD": "s3cret"})
    assert dict(config.kafka.properties) == {
        "security.protocol": "SSL",
        "socket.keepalive.enable": True,
        "sasl.password": "s3cret",
    }


def test_passwords_are_neither_shown_nor_quoted_in_errors(tmp_path: Path) -> None:
    """What is passed through may be a secret."""
    file = written(tmp_path, '[kafka.properties]\n"sasl.password" = ["s3cret"]')
    assert "s3cret" not in problems(file, {})
    config = load_config(None, {"NEXTBEST_KAFKA__PROPERTIES": '{"sasl.password": "s3cret"}'})
    assert "s3cret" not in shown(config)
    assert "s3cret" not in repr(config)


def test_an_empty_value_means_not_set(tmp_path: Path) -> None:
    """TOML has no null, and state in memory is asked for by no folder at all."""
    file = written(tmp_path, '[worker]\nstate_dir = ""')
    assert load_config(file, {}).worker.state_dir is None
    assert load_config(None, {"NEXTBEST_WORKER__STATE_DIR": ""}).worker.state_dir is None


def test_what_is_shown_can_be_read_back(tmp_path: Path) -> None:
    """`nextbest config show` prints a file that gives the same configuration."""
    config = load_config(None, {"NEXTBEST_CHURN__HORIZON_DAYS": "45", "NEXTBEST_KAFKA__INSTANCE_ID": "worker-0"})
    assert load_config(written(tmp_path, shown(config)), {}) == config


def test_every_key_is_documented() -> None:
    """The reference in docs/configuration.md is the one that the program prints."""
    assert reference() in DOCS.read_text(encoding="utf-8"), "run: make docs"


def test_challengers_are_read_as_an_array_of_tables_and_shown_so(tmp_path: Path) -> None:
    """With parameters of any depth; what is shown can be read back."""
    file = tmp_path / "nextbest.toml"
    file.write_text(
        '[[challengers]]\nname = "faster"\nparameters = { learning_rate = 0.2 }\n'
        '[[challengers]]\nname = "ftrl"\nmodel = "linear_model.LogisticRegression"\n'
        'parameters = { optimizer = { class = "optim.FTRLProximal", alpha = 0.1 } }\n',
        encoding="utf-8",
    )
    config = load_config(file, {})
    assert [each.name for each in config.challengers] == ["faster", "ftrl"]
    assert config.challengers[1].parameters["optimizer"] == {"class": "optim.FTRLProximal", "alpha": 0.1}
    again = tmp_path / "shown.toml"
    again.write_text(shown(config), encoding="utf-8")
    assert load_config(again, {}) == config


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[challengers]]\nname = "A b"', "`name` is 'A b'; it takes 1 to 40 lower-case letters"),
        ('[[challengers]]\nmodel = "built-in"', r"challengers\.0\.name .*: is missing"),
        (
            '[[challengers]]\nname = "a"\nmodell = "x"',
            r"no such key\. Keys of \[\[challengers\]\]: name, family, model",
        ),
        ('[[challengers]]\nname = "a"\n[[challengers]]\nname = "a"', "two challengers are named a"),
        ('[[challengers]]\nname = "a"\nfamily = "policy"', "'churn'"),
    ],
)
def test_a_mistake_in_a_challenger_is_named(tmp_path: Path, text: str, words: str) -> None:
    """Which of them, and what to write instead."""
    file = tmp_path / "nextbest.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        load_config(file, {})
