"""Schemas by id from a schema registry (`mock://` gives one in memory), and registering our own."""

import json
import threading
from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError

from clients.properties import Properties
from consumer.kafka.clocks import monotonic_s
from consumer.kafka.failures import RegistryUnavailable
from schemas.avro_schemas import OtherSchemaType
from schemas.units import Seconds
from schemas.writer_schema import with_references

ASK_AGAIN_S = 10.0
MAX_UNKNOWN_IDS = 1_000
_NOT_FOUND = 404
_AVRO = (None, "AVRO")


class SchemaSource:
    """Schemas of one registry, by id. An id means the same schema for ever, so each is asked for once.

    For an id that the registry does not know, or knows for a schema of another type, it is asked again after
    ASK_AGAIN_S: the schema may have been registered since. Until then that answer stands, so that a burst of bad
    records does not become a burst of requests; no more than MAX_UNKNOWN_IDS are remembered. No answer at all is not
    remembered: whoever needs one waits. May be used by several threads.
    """

    def __init__(
        self,
        url: str,
        properties: Properties | None = None,
        client: SchemaRegistryClient | None = None,
        *,
        clock_s: Callable[[], Seconds] = monotonic_s,
    ) -> None:
        # A mock:// client is a registry of its own: whoever is to share it is handed the client.
        self._client = client or SchemaRegistryClient.new_client({"url": url} | dict(properties or {}))
        self._clock_s = clock_s
        self._schemas: dict[int, dict[str, Any]] = {}
        self._without: dict[int, tuple[float, Exception]] = {}  # until when, and why; asked for longest ago first
        self._lock = threading.Lock()

    def schema_by_id(self, schema_id: int) -> dict[str, Any]:
        """Return the Avro schema of an id, with what it refers to.

        Raises KeyError for an unknown id, OtherSchemaType for one of another schema, RegistryUnavailable without an
        answer.
        """
        schema = self._schemas.get(schema_id)
        if schema is not None:
            return schema
        with self._lock:
            until_s, why = self._without.get(schema_id, (-inf, KeyError(schema_id)))
            if self._clock_s() < until_s:
                raise why.with_traceback(None)
            if schema_id not in self._schemas:
                try:
                    self._schemas[schema_id] = self._ask(schema_id)
                except (KeyError, OtherSchemaType) as without:
                    self._note_without(schema_id, without)
                    raise
            return self._schemas[schema_id]

    def _note_without(self, schema_id: int, why: Exception) -> None:
        self._without.pop(schema_id, None)
        self._without[schema_id] = (self._clock_s() + ASK_AGAIN_S, why)
        if len(self._without) > MAX_UNKNOWN_IDS:
            del self._without[next(iter(self._without))]

    def register(self, subject: str, schema: Mapping[str, Any]) -> int:
        """Return the id of `schema` under `subject` (topic name + "-value"), registering it where it is new.

        Raises RegistryUnavailable without an answer, ValueError where the registry refuses it as incompatible.
        """
        try:
            return self._client.register_schema(subject, Schema(json.dumps(schema), "AVRO"))
        except SchemaRegistryError as error:
            if error.http_status_code in (409, 422):
                raise ValueError(
                    f"the schema registry refuses the schema of {subject}: {error.error_message}"
                ) from error
            raise RegistryUnavailable(f"the schema registry does not register {subject}: {error}") from error
        except Exception as error:
            raise RegistryUnavailable(f"the schema registry does not answer: {error}") from error

    def _ask(self, schema_id: int) -> dict[str, Any]:
        """Return what the registry has under an id. Raises what `schema_by_id` raises."""
        try:
            schema = self._client.get_schema(schema_id)
            references = self._referred(schema) if schema.schema_type in _AVRO else []
        except SchemaRegistryError as error:
            if error.http_status_code != _NOT_FOUND:
                raise RegistryUnavailable(f"the schema registry does not give schema {schema_id}: {error}") from error
            raise KeyError(schema_id) from None
        except Exception as error:
            raise RegistryUnavailable(f"the schema registry does not answer: {error}") from error
        if schema.schema_type not in _AVRO:
            raise OtherSchemaType(str(schema.schema_type))
        parsed: dict[str, Any] = with_references(_parsed(schema), [_parsed(each) for each in references])
        return parsed

    def _referred(self, schema: Schema) -> list[Schema]:
        """Return the schemas that one refers to, and those that they refer to, each once."""
        found: dict[tuple[str, int], Schema] = {}
        asked_for = list(schema.references or ())
        while asked_for:
            reference = asked_for.pop()
            place = (str(reference.subject), int(reference.version or 0))
            if place not in found:
                # Deleted ones too: what was written while they were there is still to be read.
                found[place] = self._client.get_version(*place, deleted=True).schema
                asked_for += found[place].references or ()
        return list(found.values())


def _parsed(schema: Schema) -> Any:
    try:
        return json.loads(schema.schema_str or "")
    except ValueError:  # the codec says what it says of everything that is no schema
        return None
