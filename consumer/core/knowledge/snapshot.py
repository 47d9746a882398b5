"""Model snapshots: plain data with everything that says whether it may be used.

A snapshot is a function of (build, settings, log prefix). It carries its format, River's version, a digest of the
settings that change its meaning, the offset of the last example in it and a checksum. Nothing is ever unpickled.
"""

from zlib import crc32

import msgspec
from river.__version__ import __version__ as river_version

from consumer.core.catalogue import Catalogue
from consumer.core.churn.churn import ChurnState
from consumer.core.churn.churn import model_meaning as churn_meaning
from consumer.core.customer.segment_learner import SegmentState
from consumer.core.hashing import name_of
from consumer.core.learning.drift import DriftState
from consumer.core.learning.linear import LinearState
from consumer.core.preference import audience
from consumer.core.preference.audience_model import AudienceState
from consumer.core.preference.basket import BASKET_FEATURES
from consumer.core.preference.rank_features import RANK_FEATURES
from consumer.core.reward.model import RewardState, model_meaning
from consumer.core.settings import CoreSettings
from schemas.records import Family

SNAPSHOT_FORMAT = 1
_CHECKSUM_BYTES = 4


class ChallengerSpec(msgspec.Struct, frozen=True):
    """Which challenger a snapshot is of: its name, and the learner's settings in which it differs."""

    name: str
    parameters: dict[str, float]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One model; exactly one of `churn`, `preference` and `policy` is set."""

    format: int = SNAPSHOT_FORMAT
    river_version: str
    family: Family
    offset: int  # of the last example in it; -1 before the first
    meaning: str  # digest of what changes the meaning of its numbers
    churn: ChurnState | None = None
    preference: LinearState | None = None
    policy: RewardState | None = None
    basket: LinearState | None = None  # with `preference`
    audience: AudienceState | None = None  # with `preference`
    segments: SegmentState | None = None  # with `churn`
    drift: DriftState | None = None  # with `churn`
    challenger: ChallengerSpec | None = None  # None: the family's own model

    @property
    def model(self) -> str:
        """Return the name of the model: that of the family, or of one of its challengers."""
        return model_name(self.family, self.challenger.name if self.challenger is not None else None)


class RefusedSnapshot(Exception):
    """A snapshot that this build cannot use; the message says why and what to do."""


_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decoder = msgspec.msgpack.Decoder(Snapshot)
_REBUILD = "run `nextbest models rebuild` to learn it anew from the training examples"


def model_name(family: Family, challenger: str | None = None) -> str:
    """Return the name under which a model is recorded: ``churn``, or ``churn.NAME`` of a challenger."""
    return family if challenger is None else f"{family}.{challenger}"


def family_of(model: str) -> str:
    """Return the family of a model's name."""
    return model.partition(".")[0]


def meaning_of(family: Family, settings: CoreSettings, catalogue: Catalogue) -> str:
    """Return a digest of the settings without which the numbers in a model of `family` mean something else."""
    if family == "churn":
        return churn_meaning(settings.churn)
    if family == "preference":
        return name_of(*RANK_FEATURES, *BASKET_FEATURES, audience.feature_set(settings.audience))
    return name_of(model_meaning(catalogue), repr(float(settings.policy.outcome_days)))


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """Return checksum and packed snapshot."""
    body = _encode(snapshot)
    return crc32(body).to_bytes(_CHECKSUM_BYTES, "big") + body


def decode_snapshot(data: bytes, settings: CoreSettings, catalogue: Catalogue) -> Snapshot:
    """Return the snapshot in `data`; raise RefusedSnapshot where it is damaged, of another format or meaning."""
    body = memoryview(data)[_CHECKSUM_BYTES:]
    if crc32(body) != int.from_bytes(data[:_CHECKSUM_BYTES], "big"):
        raise RefusedSnapshot(f"a model snapshot is damaged: its checksum does not hold; {_REBUILD}")
    try:
        snapshot = _decoder.decode(body)
    except msgspec.DecodeError as error:
        raise RefusedSnapshot(f"a model snapshot cannot be read ({error}); {_REBUILD}") from error
    if snapshot.format != SNAPSHOT_FORMAT:
        raise RefusedSnapshot(
            f"the {snapshot.family} model has format {snapshot.format}, this build reads {SNAPSHOT_FORMAT}; {_REBUILD}"
        )
    if snapshot.river_version != river_version:
        raise RefusedSnapshot(
            f"the {snapshot.model} model was learned with River {snapshot.river_version}, this build has "
            f"{river_version}, whose numbers may differ; {_REBUILD}"
        )
    if snapshot.meaning != meaning_of(snapshot.family, settings, catalogue):
        raise RefusedSnapshot(
            f"the {snapshot.model} model was learned under other settings or another catalogue; {_REBUILD}"
        )
    return snapshot
