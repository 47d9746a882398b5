"""The configuration: what there is to set, where values come from, and what is said of a wrong one."""

from consumer.config.config import Config
from consumer.config.load import ConfigError, load_config, load_config_and_origins

__all__ = ["Config", "ConfigError", "load_config", "load_config_and_origins"]
