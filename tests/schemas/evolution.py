"""What schema evolution is judged with."""

import json
from typing import Any

from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse


def incompatibilities(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Why two versions cannot read each other's records, in both directions; empty where they can."""
    found: list[str] = []
    for reader, writer in ((one, other), (other, one)):
        checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
        result = checker.get_compatibility(parse(json.dumps(reader)), parse(json.dumps(writer)))
        if result.compatibility is not SchemaCompatibilityType.compatible:
            found += [str(message) for message in result.messages]
    return found
