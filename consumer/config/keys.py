"""The keys that there are to set, read off the dataclasses: a key is a path such as ("topics", "retention", "days")."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from annotated_types import Interval

from consumer.config.config import Config
from consumer.core.settings import ranges_of

KeyPath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its field, its type, and the range of its number if it has one."""

    path: KeyPath
    field: Field[Any]
    kind: Any
    allowed: Interval | None

    @property
    def default(self) -> Any:
        """Return the default, or MISSING."""
        factory = self.field.default_factory
        return self.field.default if factory is MISSING else factory()

    @property
    def is_mapping(self) -> bool:
        """Return whether it takes a table of keys that are not ours, such as librdkafka's properties."""
        return get_origin(self.kind) is Mapping

    @property
    def entries(self) -> type | None:
        """Return the dataclass that an array of tables holds, as [[challengers]]; None for any other key."""
        kind = next(iter(get_args(self.kind)), None)
        return kind if isinstance(kind, type) and is_dataclass(kind) else None


def keys_of(section: type, before: KeyPath = ()) -> Iterator[Key]:
    """Yield each key of a section and of those in it, sections after the single values of the same level."""
    kinds, ranges = get_type_hints(section), ranges_of(section)
    for each in fields(section):
        if not is_dataclass(kinds[each.name]):
            yield Key((*before, each.name), each, kinds[each.name], ranges.get(each.name))
    for each in fields(section):
        if is_dataclass(kinds[each.name]):
            yield from keys_of(kinds[each.name], (*before, each.name))


KEYS: Mapping[KeyPath, Key] = {key.path: key for key in keys_of(Config)}


def key_around(path: KeyPath) -> Key | None:
    """Return the key that holds `path`: itself, or one above it that takes a table or an array; None if none does."""
    return next((KEYS[path[:n]] for n in range(1, len(path) + 1) if path[:n] in KEYS), None)
