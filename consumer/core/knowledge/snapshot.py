"""Snapshots: the models of a family as plain data, with everything that says whether they may be used.

A snapshot is a function of (build, settings, log prefix). It carries its format, River's version, a digest of the
settings that change its meaning, the offset of the last example in it and a checksum. Nothing is ever unpickled.
"""

from typing import Any
from zlib import crc32

import msgspec
from river.__version__ import __version__ as river_version

from consumer.core.catalogue import Catalogue
from consumer.core.knowledge.families import FAMILY_SPECS, Models
from consumer.core.settings import CoreSettings
from schemas.records import Family

SNAPSHOT_FORMAT = 2
_CHECKSUM_BYTES = 4


class ChallengerSpec(msgspec.Struct, frozen=True):
    """Which challenger a snapshot is of: its name, and the learner's settings in which it differs."""

    name: str
    parameters: dict[str, float]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The models of one family, learned up to an offset of its log."""

    format: int = SNAPSHOT_FORMAT
    river_version: str
    offset: int  # of the last example in it; -1 before the first
    meaning: str  # digest of what changes the meaning of its numbers
    models: Models
    challenger: ChallengerSpec | None = None  # None: the family's own model

    @property
    def family(self) -> Family:
        """Return the family whose examples it has learned from."""
        return next(family for family, spec in FAMILY_SPECS.items() if isinstance(self.models, spec.models))

    @property
    def model(self) -> str:
        """Return the name of the model: that of the family, or of one of its challengers."""
        return model_name(self.family, self.challenger.name if self.challenger is not None else None)


class RefusedSnapshot(Exception):
    """A snapshot that this build cannot use; the message says why and what to do."""


class _Header(msgspec.Struct):
    format: int


_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode = msgspec.msgpack.Decoder(Snapshot).decode
_decode_header = msgspec.msgpack.Decoder(_Header).decode
_REBUILD = "run `nextbest models rebuild` to learn it anew from the training examples"


def model_name(family: Family, challenger: str | None = None) -> str:
    """Return the name under which a model is recorded: ``churn``, or ``churn.NAME`` of a challenger."""
    return family if challenger is None else f"{family}.{challenger}"


def family_of(model: str) -> str:
    """Return the family of a model's name."""
    return model.partition(".")[0]


def snapshot_key(model: str, offset: int) -> bytes:
    """Return the key under which the snapshot of `model` with the example at `offset` as its last is published."""
    return f"{model}@{offset}".encode()


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """Return checksum and packed snapshot."""
    body = _encode(snapshot)
    return crc32(body).to_bytes(_CHECKSUM_BYTES, "big") + body


def read_snapshot(data: bytes) -> Snapshot:
    """Return the snapshot in `data`, of this format or an older one, whatever it means.

    Raises RefusedSnapshot where it is damaged, or of a format that this build does not know.
    """
    body = memoryview(data)[_CHECKSUM_BYTES:]
    if crc32(body) != int.from_bytes(data[:_CHECKSUM_BYTES], "big"):
        raise RefusedSnapshot(f"a model snapshot is damaged: its checksum does not hold; {_REBUILD}")
    try:
        written = _decode_header(body).format
        if written == SNAPSHOT_FORMAT:
            return _decode(body)
        if written == 1:
            return msgspec.convert(_from_format_1(msgspec.msgpack.decode(body)), Snapshot)
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError) as error:  # the last three: an older format
        raise RefusedSnapshot(f"a model snapshot cannot be read ({error}); {_REBUILD}") from error
    raise RefusedSnapshot(
        f"a model snapshot has format {written}, this build reads 1 to {SNAPSHOT_FORMAT}: use the build that wrote it, "
        f"or {_REBUILD}"
    )


def decode_snapshot(data: bytes, settings: CoreSettings, catalogue: Catalogue) -> Snapshot:
    """Return the snapshot in `data`; raise RefusedSnapshot where it is damaged, of another format or meaning."""
    snapshot = read_snapshot(data)
    if snapshot.river_version != river_version:
        raise RefusedSnapshot(
            f"the {snapshot.model} model was learned with River {snapshot.river_version}, this build has "
            f"{river_version}, whose numbers may differ; {_REBUILD}"
        )
    if snapshot.meaning != FAMILY_SPECS[snapshot.family].meaning(settings, catalogue):
        raise RefusedSnapshot(
            f"the {snapshot.model} model was learned under other settings or another catalogue; {_REBUILD}"
        )
    return snapshot


def _from_format_1(old: dict[str, Any]) -> dict[str, Any]:
    """Return what a snapshot of format 1 says in format 2.

    The models of all families stood side by side in it, and how many examples a model had learned from stood twice.
    """
    churn = old.get("churn") or {}
    models: dict[str, dict[str, Any]] = {
        "churn": {
            "churn": {
                "heads": {name.replace("_", "-"): churn[name]["model"] for name in churn if name != "season"},
                "season": churn.get("season"),
                "drift": old.get("drift"),
            },
            "segments": old.get("segments"),
        },
        "preference": {
            "next_item": old.get("preference"),
            "basket": old.get("basket"),
            "audience": old.get("audience"),
        },
        "policy": {"reward": (old.get("policy") or {}).get("linear")},
    }
    family = old["family"]
    frame = {name: old.get(name) for name in ("river_version", "offset", "meaning", "challenger")}
    return {**frame, "format": 2, "models": {"family": family, **models.get(family, {})}}
