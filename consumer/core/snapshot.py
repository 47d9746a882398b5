"""Model snapshots: plain data with everything that says whether it may be used.

A snapshot is a function of (build, settings, log prefix). It carries its format, River's version, a digest of the
settings that change its meaning, the offset of the last example in it and a checksum. Nothing is ever unpickled.
"""

from zlib import crc32

import msgspec

from consumer.core.catalogue import Catalogue
from consumer.core.churn import ChurnState, feature_set
from consumer.core.hashing import name_of
from consumer.core.linear import LinearState
from consumer.core.policy import RewardState, model_meaning
from consumer.core.preference import RANK_FEATURES
from consumer.core.settings import CoreSettings
from schemas.records import Family

SNAPSHOT_FORMAT = 1
_CHECKSUM_BYTES = 4


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


class RefusedSnapshot(Exception):
    """A snapshot that this build cannot use; the message says why and what to do."""


_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decoder = msgspec.msgpack.Decoder(Snapshot)
_REBUILD = "run `nextbest models rebuild` to learn it anew from the training examples"


def meaning_of(family: Family, settings: CoreSettings, catalogue: Catalogue) -> str:
    """Return a digest of the settings without which the numbers in a model of `family` mean something else."""
    if family == "churn":
        return feature_set(settings.churn)
    if family == "preference":
        return name_of(*RANK_FEATURES)
    return name_of(model_meaning(catalogue), repr(settings.policy.outcome_days))


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
    if snapshot.meaning != meaning_of(snapshot.family, settings, catalogue):
        raise RefusedSnapshot(
            f"the {snapshot.family} model was learned under other settings or another catalogue; {_REBUILD}"
        )
    return snapshot
