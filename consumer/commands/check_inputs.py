"""What `nextbest check` finds in the input topics themselves: a sample of each is read as a worker would."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from consumer.commands.mapping import live_decoder, mappers_of
from consumer.commands.produce import connection_of
from consumer.kafka.cluster.check import Finding, Status
from schemas.topics import EVENT_TOPICS, INPUT_TOPICS, InputTopic

if TYPE_CHECKING:
    from consumer.config import Config
    from consumer.inputs.mapper import MappedEvent, Mapper
    from schemas.codec import Decoder
    from schemas.container import Recorded

SAMPLE_RECORDS = 200  # the latest of each topic
_MUCH = 0.01  # rejected: more than that is an error


def input_findings(settings: "Config", decoder: "Decoder") -> Iterator[Finding]:
    """Yield what is found in each input topic, then in the topics that are mapped.

    Raises ClusterAway where no broker answers, RegistryUnavailable where the registry does not.
    """
    from producers.recorder import RecordingFailed

    canonical = {settings.topics.name(topic): topic for topic in INPUT_TOPICS}
    mapped = {
        topic: mapper for mapper in mappers_of(settings.inputs, settings).values() for topic in mapper.mapping.topics
    }
    reads = live_decoder(decoder, settings)
    for name, topic in canonical.items():
        try:
            judged = [(record, _fault(topic, record, reads, settings)) for record in _sample(name, settings).records]
            yield _canonical(name, judged)
        except RecordingFailed as failed:
            yield Finding("error", f"records of {name}", str(failed), "make it with: nextbest topics create")
    for name, mapper in mapped.items():
        try:
            yield _mapped(name, mapper, _sample(name, settings), settings)
        except RecordingFailed as failed:
            advice = f"correct `topics` of [inputs.{mapper.name}]"
            yield Finding("error", f"[inputs.{mapper.name}] {name}", str(failed), advice)


class _Sample(NamedTuple):
    records: "Sequence[Recorded]"
    partitions: int


def _sample(name: str, settings: "Config") -> _Sample:
    from producers.latest import latest_records
    from producers.recorder import partitions_of

    connection = connection_of(settings)
    partitions = len(partitions_of(connection.reach(), [name]))
    return _Sample(latest_records(connection, name, SAMPLE_RECORDS), partitions)


def _fault(topic: InputTopic, record: "Recorded", decoder: "Decoder", settings: "Config") -> tuple[str, str] | None:
    """Return reason and message of a record that a worker would reject."""
    from consumer.core.intake import NO_EVENT, Rejection, read
    from schemas.products import read_product

    if topic == "products":
        fault = read_product(decoder, record.key, record.value).fault
        return None if fault is None else (fault.reason, fault.message)
    event = read(
        decoder,
        topic,
        record.key,
        record.value,
        partition=record.partition,
        partitions=settings.topics.partitions,
        timestamp_ms=record.timestamp_ms,
        max_ahead_ms=settings.time.max_ahead_ms,
    )
    return (event.reason, event.message) if isinstance(event, Rejection) and event.reason != NO_EVENT else None


def _canonical(name: str, judged: "Sequence[tuple[Recorded, tuple[str, str] | None]]") -> Finding:
    from consumer.kafka.remedies import remedy_for

    what, n = f"records of {name}", len(judged)
    if not judged:
        return Finding("ok", what, "it is empty: there is nothing to decode yet")
    rejected: Counter[str] = Counter()
    first: dict[str, str] = {}
    for record, fault in judged:
        if fault is not None:
            rejected[fault[0]] += 1
            first.setdefault(fault[0], f"partition {record.partition} offset {record.offset}: {fault[1]}")
    good = f"{n - rejected.total():,} of the latest {n:,} can be read"
    if not rejected:
        return Finding("ok", what, good)
    worst = rejected.most_common(1)[0][0]
    by_reason = ", ".join(f"{n_of:,} {reason}" for reason, n_of in rejected.most_common())
    status: Status = "error" if rejected.total() > _MUCH * n else "warn"
    return Finding(status, what, f"{good}; rejected: {by_reason} ({first[worst]})", remedy_for(worst))


def _mapped(name: str, mapper: "Mapper", sample: _Sample, settings: "Config") -> Finding:
    """Return which of `run` and `bridge` reads a topic that is mapped, and why."""
    from schemas.errors import InvalidRecord

    what, n = f"[inputs.{mapper.name}] {name}", len(sample.records)
    tried = [(each, mapper.of_value(each.value, each.key, each.timestamp_ms)) for each in sample.records]
    events: list[tuple[Recorded, MappedEvent]] = []
    wrong: list[InvalidRecord] = []
    for record, becomes in tried:
        for each in becomes:
            if isinstance(each, InvalidRecord):
                wrong.append(each)
            else:
                events.append((record, each))
    try_it = f"nextbest inputs try --topic {name} shows what each record becomes"
    if sample.records and not events:
        said = f"no event comes of the latest {n:,} records" + (f": {wrong[0].message}" if wrong else "")
        return Finding("error", what, said, try_it)
    reasons = list(_unlike(name, mapper, sample, settings)) + _misplaced(events, sample.partitions)
    if any(len(becomes) > 1 for _, becomes in tried):
        reasons.append("a record becomes several events")
    if len(topics := sorted({each.topic for _, each in events})) > 1 or topics == ["products"]:
        reasons.append(f"its records become {' and '.join(topics)}")
    found = f"{len(events):,} events of the latest {n:,} records, {len(wrong):,} wrong"
    if not n:
        found = "it is empty, so its keys could not be looked at"
    status: Status = "warn" if len(wrong) > _MUCH * n else "ok"
    needs = f"it needs nextbest bridge: {'; '.join(reasons)}" if reasons else "nextbest run reads it as it is"
    return Finding(status, what, f"{found}; {needs}", try_it if status == "warn" else "")


def _unlike(name: str, mapper: "Mapper", sample: _Sample, settings: "Config") -> Iterator[str]:
    """Yield how a topic and its mapping differ from what a worker reads."""
    names = [settings.topics.name(topic) for topic in EVENT_TOPICS]
    if name not in names:
        yield f"a worker reads topics of the names {', '.join(names)}"
    if sample.partitions != settings.topics.partitions:
        yield f"it has {sample.partitions} partitions, topics.partitions is {settings.topics.partitions}"
    if mapper.mapping.uses_envelope:
        yield "the mapping takes something from the key or the time of a record"


def _misplaced(events: "Sequence[tuple[Recorded, MappedEvent]]", partitions: int) -> list[str]:
    from schemas.partitioning import partition_of

    other_key = sum(record.key != each.key for record, each in events)
    if other_key:
        return [f"{other_key:,} of {len(events):,} events are not keyed by their customer id"]
    elsewhere = sum(record.partition != partition_of(each.key, partitions) for record, each in events)
    if elsewhere:
        return [f"{elsewhere:,} of {len(events):,} events are not on the partition that murmur2 gives their key"]
    return []
