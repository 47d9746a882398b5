"""Schemas by id from a schema registry (`mock://` gives one in memory), and registering our own."""

import json
import threading
from collections.abc import Mapping
from typing import Any

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError

from clients import log
from clients.properties import Properties
from consumer.kafka.failures import RegistryUnavailable

_NOT_FOUND = 404


class SchemaSource:
    """Schemas of one registry, by id. An id means the same schema for ever, so each is asked for once.

    Ids that the registry does not know are remembered as well, up to `max_unknown_ids`, so that a burst of bad records
    does not become a burst of requests; `forget_unknown` asks anew. May be used by several threads.
    """

    def __init__(
        self,
        url: str,
        properties: Properties | None = None,
        client: SchemaRegistryClient | None = None,
        max_unknown_ids: int = 1_000,
    ) -> None:
        # A mock:// client is a registry of its own: whoever is to share it is handed the client.
        self._client = client or SchemaRegistryClient.new_client({"url": url} | dict(properties or {}))
        self._max_unknown_ids = max_unknown_ids
        self._schemas: dict[int, dict[str, Any]] = {}
        self._unknown: set[int] = set()
        self._lock = threading.Lock()

    def schema_by_id(self, schema_id: int) -> dict[str, Any]:
        """Return the Avro schema of an id; raise KeyError for an unknown one, RegistryUnavailable without an answer."""
        schema = self._schemas.get(schema_id)
        if schema is not None:
            return schema
        with self._lock:
            if schema_id in self._unknown:
                raise KeyError(schema_id)
            if schema_id not in self._schemas:
                self._schemas[schema_id] = self._ask(schema_id)
            return self._schemas[schema_id]

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

    def forget_unknown(self) -> None:
        """Ask again for ids that were not known: a producer may have registered them since."""
        with self._lock:
            self._unknown.clear()

    def _ask(self, schema_id: int) -> dict[str, Any]:
        try:
            schema = self._client.get_schema(schema_id)
        except SchemaRegistryError as error:
            if error.http_status_code != _NOT_FOUND:
                raise RegistryUnavailable(f"the schema registry does not give schema {schema_id}: {error}") from error
            if len(self._unknown) >= self._max_unknown_ids:
                self._unknown.clear()
            self._unknown.add(schema_id)
            raise KeyError(schema_id) from error
        except Exception as error:
            raise RegistryUnavailable(f"the schema registry does not answer: {error}") from error
        if schema.schema_type not in (None, "AVRO") or schema.schema_str is None:
            log.warning("schema %d is of type %s; only AVRO is read", schema_id, schema.schema_type)
            raise KeyError(schema_id)
        parsed: dict[str, Any] = json.loads(schema.schema_str)
        return parsed
