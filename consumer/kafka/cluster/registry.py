"""Schemas by id from a schema registry (`mock://` gives one in memory), and registering our own."""

import json
import threading
from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError

from clients import log
from clients.properties import Properties
from consumer.kafka.clocks import monotonic_s
from consumer.kafka.failures import RegistryUnavailable
from schemas.units import Seconds

ASK_AGAIN_S = 10.0
MAX_UNKNOWN_IDS = 1_000
_NOT_FOUND = 404


class SchemaSource:
    """Schemas of one registry, by id. An id means the same schema for ever, so each is asked for once.

    For an id that the registry does not know it is asked again after ASK_AGAIN_S: the schema may have been registered
    since. Until then the id stays unknown, so that a burst of bad records does not become a burst of requests; no more
    than MAX_UNKNOWN_IDS are remembered. May be used by several threads.
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
        self._unknown_until_s: dict[int, float] = {}  # the one asked for longest ago first
        self._lock = threading.Lock()

    def schema_by_id(self, schema_id: int) -> dict[str, Any]:
        """Return the Avro schema of an id; raise KeyError for an unknown one, RegistryUnavailable without an answer."""
        schema = self._schemas.get(schema_id)
        if schema is not None:
            return schema
        with self._lock:
            if self._clock_s() < self._unknown_until_s.get(schema_id, -inf):
                raise KeyError(schema_id)
            if schema_id not in self._schemas:
                schema = self._ask(schema_id)
                if schema is None:
                    self._note_unknown(schema_id)
                    raise KeyError(schema_id)
                self._schemas[schema_id] = schema
            return self._schemas[schema_id]

    def _note_unknown(self, schema_id: int) -> None:
        unknown = self._unknown_until_s
        unknown.pop(schema_id, None)
        unknown[schema_id] = self._clock_s() + ASK_AGAIN_S
        if len(unknown) > MAX_UNKNOWN_IDS:
            del unknown[next(iter(unknown))]

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

    def _ask(self, schema_id: int) -> dict[str, Any] | None:
        """Return what the registry has under an id; None where that is nothing that can be read."""
        try:
            schema = self._client.get_schema(schema_id)
        except SchemaRegistryError as error:
            if error.http_status_code != _NOT_FOUND:
                raise RegistryUnavailable(f"the schema registry does not give schema {schema_id}: {error}") from error
            return None
        except Exception as error:
            raise RegistryUnavailable(f"the schema registry does not answer: {error}") from error
        if schema.schema_type not in (None, "AVRO") or schema.schema_str is None:
            log.warning("schema %d is of type %s; only AVRO is read", schema_id, schema.schema_type)
            return None
        parsed: dict[str, Any] = json.loads(schema.schema_str)
        return parsed
