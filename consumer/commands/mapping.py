"""How a file is read: its format, or which mapping of the configuration. Producers and the replay are handed it."""

import logging
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from consumer.commands.codecs import schema_source_of
from consumer.commands.errors import CommandError
from schemas.topics import EVENT_TOPICS

if TYPE_CHECKING:
    from consumer.config import Config
    from consumer.inputs.mapper import Mapper
    from producers.readers.reader import Reader
    from schemas.codec import Decoder

log = logging.getLogger("nextbest")

FormatOption = Annotated[
    str | None, typer.Option("--format", help="Format of the file; recognised by its beginning when not given.")
]
InputOption = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="NAME",
        help="The mapping [inputs.NAME] to read it by; without it the one whose `files` match the name.",
    ),
]


@dataclass(frozen=True, slots=True)
class FileForm:
    """How a file is read. `sections` are those of the mappings that this takes, to read it alike a second time."""

    name: str
    reader: "str | Reader"
    sections: dict[str, Any] = field(default_factory=dict)


def form_of_file(path: Path, format_name: str | None, input_name: str | None, config: "Config") -> FileForm:
    """Return how a file is read: by the format or mapping that is named, by the mapping that is for it, or as it is.

    Raises CommandError.
    """
    existing(path)
    if input_name is not None and format_name is not None:
        raise CommandError("--format is for recordings, --input for a shop's own records: give one of them")
    if input_name is None and format_name is None:
        input_name = input_for(path, config)
    if input_name is not None:
        return mapped_form(input_name, dict(config.inputs), config)
    name = format_of(path, format_name)
    topics = [section for section in config.inputs.values() if section.get("topics")]
    if name == "container" and topics:
        return mapped_form(None, dict(config.inputs), config)
    return FileForm(name, name)


def existing(path: Path) -> Path:
    """Return the path of a file that can be read more than once and has something in it. Raises CommandError."""
    if not path.exists():
        raise CommandError(f"{path} does not exist")
    if path.is_fifo():
        raise CommandError(f"{path} is a pipe, and it is read more than once: write it to a file first")
    if path.is_file() and path.stat().st_size == 0:
        raise CommandError(f"{path}: the file is empty")
    return path


def format_of(path: Path, name: str | None) -> str:
    """Return the checked name of the format of a file."""
    from producers.readers import READERS, beginning_of, detect_format

    if name is not None and name not in READERS:
        raise CommandError(f"there is no format {name!r}; there are {', '.join(READERS)}")
    found = detect_format(existing(path))
    if name is None and found is None:
        raise CommandError(
            f"{path}: the format is not recognised, the file begins with {beginning_of(path)!r}; name the format with "
            f"--format ({', '.join(READERS)}), or say what its records are: `nextbest inputs init --like …`"
        )
    return name or found or ""


def input_for(path: Path, config: "Config") -> str | None:
    """Return the input of which a pattern in `files` matches the name of the file; None where none does.

    Raises CommandError where several do.
    """
    name = path.name.lower()
    matching = [
        each
        for each, section in config.inputs.items()
        if any(fnmatchcase(name, pattern.lower()) for pattern in section.get("files", []))
    ]
    if len(matching) > 1:
        raise CommandError(f"{path.name} is a file of the inputs {' and '.join(matching)}: say which with --input")
    return matching[0] if matching else None


def mapped_form(input_name: str | None, sections: dict[str, Any], config: "Config") -> FileForm:
    """Return how a file of the input `input_name`, or a recording of topics that are mapped, is read."""
    from producers.readers.mapped import mapped_reader

    if input_name is not None and input_name not in sections:
        raise CommandError(f"there is no [inputs.{input_name}] in the configuration{_instead(sections)}")
    mappers = mappers_of(sections, config)
    by_topic = {
        topic: mapper
        for mapper in mappers.values()
        for name in mapper.mapping.topics
        for topic in (name, name.removeprefix(config.topics.prefix))
    }
    reader = mapped_reader(mappers[input_name] if input_name is not None else None, by_topic)
    return FileForm(reader.name, reader, sections)


def mapper_named(input_name: str, config: "Config") -> "Mapper":
    """Return the mapping of one section, to be tried: nothing is mended. Raises CommandError where there is none."""
    if input_name not in config.inputs:
        raise CommandError(f"there is no [inputs.{input_name}] in the configuration{_instead(config.inputs)}")
    return mappers_of({input_name: config.inputs[input_name]}, config, strict=True)[input_name]


def mappers_of(sections: MappingOf[str, Any], config: "Config", *, strict: bool = False) -> "dict[str, Mapper]":
    """Return the mapping of each section, ready for records."""
    from consumer.inputs.configure import mapping_of
    from consumer.inputs.mapper import Mapper

    source = schema_source_of(config)
    largest = config.topics.max_record_bytes
    return {
        name: Mapper(mapping_of(name, section), source, max_value_bytes=largest, strict=strict)
        for name, section in sections.items()
    }


def live_decoder(decoder: "Decoder", config: "Config") -> "Decoder":
    """Return what a worker reads its input topics with: `decoder`, or one that maps those that an input is for.

    A worker reads the canonical topics, so it is their names that an input has to have; what the others hold is brought
    there by the bridge, and a line says so. Raises CommandError for a mapping that a worker can't use.
    """
    from consumer.inputs.mapper import MappedDecoder

    logical = {config.topics.name(topic): topic for topic in EVENT_TOPICS}
    by_topic: dict[str, Mapper] = {}
    for name, mapper in mappers_of(config.inputs, config).items():
        for topic in mapper.mapping.topics:
            if topic not in logical:
                log.info("[inputs.%s] %s is no topic that a worker reads: run `nextbest bridge` beside it", name, topic)
                continue
            if mapper.mapping.uses_envelope:
                raise CommandError(
                    f"[inputs.{name}] maps the key or the time of records, which a worker can't: {topic}"
                )
            if logical[topic] in by_topic:
                other = by_topic[logical[topic]].name
                raise CommandError(f"{topic} is a topic of the inputs {other} and {name}: it can be of one alone")
            by_topic[logical[topic]] = mapper
    if not by_topic:
        return decoder
    return MappedDecoder(by_topic, schema_source_of(config), config.topics.max_record_bytes)


def bridge_mappers(config: "Config") -> "dict[str, Mapper]":
    """Return what the bridge reads: source topic → its mapping. Topics that a worker reads itself are left to it.

    Raises CommandError where nothing is left to bridge, or a topic is not to be read.
    """
    from schemas.topics import TOPICS

    workers_own = {config.topics.name(topic) for topic in ("clickstream", "purchases", "privacy")}
    ours = {config.topics.name(topic) for topic in TOPICS} - workers_own
    by_topic: dict[str, Mapper] = {}
    for name, mapper in mappers_of(config.inputs, config).items():
        for topic in mapper.mapping.topics:
            if topic in workers_own:
                log.info("[inputs.%s] %s is read by `nextbest run` itself, not by the bridge", name, topic)
            elif topic in ours:
                raise CommandError(f"[inputs.{name}] {topic} is a topic of nextbest's own, and can't be an input")
            elif topic in by_topic:
                raise CommandError(
                    f"{topic} is a topic of the inputs {by_topic[topic].name} and {name}: name it in one"
                )
            else:
                by_topic[topic] = mapper
    if not by_topic:
        raise CommandError(
            "there is nothing to bridge: name a topic of your own in `topics` of an [inputs.NAME]; those that workers "
            f"read ({', '.join(sorted(workers_own))}) are mapped by `nextbest run` itself"
        )
    return by_topic


def _instead(sections: MappingOf[str, Any]) -> str:
    if sections:
        return f"; there are {', '.join(sections)}"
    return ": name a file that has one with --config, or begin with `nextbest inputs init --like …`"
