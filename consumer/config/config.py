"""Everything that can be configured, put together from the sections that stand beside the code that uses them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Interval

from consumer.bridge.settings import BridgeSettings
from consumer.core.settings import (
    AudienceSettings,
    ChallengerSettings,
    ChurnSettings,
    CoreSettings,
    CurrencySettings,
    LearnerSettings,
    PolicySettings,
    PreferenceSettings,
    PrivacySettings,
    Section,
    SomeMs,
    StateSettings,
    TimeSettings,
    ZeroMsOrMore,
)
from consumer.kafka.cluster.cluster_settings import KafkaSettings, TopicSettings
from consumer.kafka.worker_settings import WorkerSettings
from schemas.units import Ms


@dataclass(frozen=True, slots=True)
class HttpSettings(Section):
    """The port of /livez, /readyz and /metrics. They are not protected: open them to your own network alone."""

    host: str = "127.0.0.1"  # "0.0.0.0" to be reached from other machines
    port: Annotated[int, Interval(ge=0, le=65_535)] = 8642  # 0 takes any free one
    stuck_after_ms: SomeMs = Ms(60_000)  # /livez fails when the loop has not come round for longer


@dataclass(frozen=True, slots=True)
class LoggingSettings(Section):
    """What goes to standard error, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"  # and above
    json: bool = False  # one JSON object a line instead of key=value
    summary_every_ms: ZeroMsOrMore = Ms(60_000)  # a line with events, decisions, rejections and lag; 0: none


@dataclass(frozen=True, slots=True)
class Config(Section):
    """Everything that can be configured. The sections up to `learner` change what is computed; see CoreSettings."""

    format: Literal["json", "avro"] = "json"  # of what is written; both are read
    catalogue: Path | None = None  # TOML file of channels and actions; the one that comes along when not given
    time: TimeSettings = field(default_factory=TimeSettings)
    state: StateSettings = field(default_factory=StateSettings)
    churn: ChurnSettings = field(default_factory=ChurnSettings)
    preference: PreferenceSettings = field(default_factory=PreferenceSettings)
    audience: AudienceSettings = field(default_factory=AudienceSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    currencies: CurrencySettings = field(default_factory=CurrencySettings)
    learner: LearnerSettings = field(default_factory=LearnerSettings)
    challengers: tuple[ChallengerSettings, ...] = ()  # as [[challengers]], each with a name of its own
    inputs: Mapping[str, Any] = field(default_factory=dict)  # a shop's own records, as [inputs.NAME]: see inputs.md
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    topics: TopicSettings = field(default_factory=TopicSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    bridge: BridgeSettings = field(default_factory=BridgeSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    logging: LoggingSettings = field(default_factory=LoggingSettings)

    def check_together(self) -> None:
        """Raise ValueError where two challengers have one name."""
        names = [each.name for each in self.challengers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two challengers are named {twice[0]}: each needs a `name` of its own")

    def core_settings(self) -> CoreSettings:
        """Return the settings that change what the core computes."""
        return CoreSettings(**{each.name: getattr(self, each.name) for each in fields(CoreSettings)})
