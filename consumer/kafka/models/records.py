"""What stands in the models topic beside snapshots: promotions, which say what is in force, and scores, for people.

The key tells them apart: ``churn@1200`` and ``churn.NAME@1200`` are snapshots, ``promotion@churn`` and
``score@churn.NAME@1200`` are JSON.
"""

from typing import Literal

import msgspec

from consumer.measure.prequential import Figures
from schemas.records import Family

Kind = Literal["snapshot", "promotion", "score"]
PROMOTIONS_FORMAT = 1
MAX_BEHIND = 10


class ModelsRecord(msgspec.Struct, frozen=True):
    """A record of the models topic that has to outlive retention, as it stands there."""

    key: bytes  # of a snapshot: name of the model@offset of the last example in it
    data: bytes
    published_ms: int = 0  # the broker's time of the newest copy

    @property
    def offset(self) -> int:
        """Return the offset of the last example in a snapshot; raise UnreadableRecord where the key tells none."""
        try:
            return int(self.key.rpartition(b"@")[2])
        except ValueError:
            key = self.key.decode(errors="replace")
            raise UnreadableRecord(f"a snapshot with the key {key!r}: expected MODEL@OFFSET") from None


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """Which model of a family is in force from here on. Of several, the one with the latest `at_ms` holds."""

    format: int = PROMOTIONS_FORMAT
    family: Family
    model: str  # the family's own, by the family's name, or ``churn.NAME``
    offset: int  # of the last example in its snapshot when it was put in force; newer snapshots of it follow
    behind: tuple[str, ...]  # what was in force before, the latest last: where rollbacks lead
    at_ms: int  # epoch milliseconds
    why: str  # in the words of whoever did it
    known_ms: int = 0  # event time of the latest label learned by then: predictions made later are the model's


class Judged(msgspec.Struct, frozen=True):
    """Figures of one model on one head's rows."""

    all: Figures
    recent: Figures


class Comparison(msgspec.Struct, frozen=True):
    """A model, and the one in force at the time, on the same rows."""

    own: Judged
    in_force: Judged


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """How good a model is, prequentially, on the examples that its trainer has folded in since it began."""

    model: str
    kind: str  # "built-in", or the River class
    promotable: bool  # it has a plain-data form
    offset: int  # of the last example in it
    from_offset: int  # of the first example that was judged
    examples: int  # since then
    heads: dict[str, Comparison]
    failed: str | None = None  # why it learns no more, until its trainer starts again


class UnreadableRecord(Exception):
    """A promotion or score that this build cannot read; the message says why."""


_promotions = msgspec.json.Decoder(Promotion)
_scores = msgspec.json.Decoder(Score)


def kind_of(key: bytes) -> tuple[Kind, str]:
    """Return what a record of the models topic is, and the model or family that it is about."""
    first, _, rest = key.decode(errors="replace").partition("@")
    if first == "promotion":
        return "promotion", rest
    if first == "score":
        return "score", rest.partition("@")[0]
    return "snapshot", first


def encode_promotion(promotion: Promotion) -> tuple[bytes, bytes]:
    """Return key and value."""
    return f"promotion@{promotion.family}".encode(), msgspec.json.encode(promotion)


def decode_promotion(data: bytes) -> Promotion:
    """Return the promotion in `data`; raise UnreadableRecord where it is none of this format."""
    try:
        promotion = _promotions.decode(data)
    except msgspec.DecodeError as error:
        raise UnreadableRecord(f"a promotion in the models topic can't be read: {error}") from error
    if promotion.format != PROMOTIONS_FORMAT:
        raise UnreadableRecord(
            f"a promotion in the models topic has format {promotion.format}, this build reads {PROMOTIONS_FORMAT}"
        )
    return promotion


def encode_score(score: Score) -> tuple[bytes, bytes]:
    """Return key and value."""
    return f"score@{score.model}@{score.offset}".encode(), msgspec.json.encode(score)


def decode_score(data: bytes) -> Score:
    """Return the score in `data`; raise UnreadableRecord where it is none."""
    try:
        return _scores.decode(data)
    except msgspec.DecodeError as error:
        raise UnreadableRecord(f"a score in the models topic can't be read: {error}") from error
