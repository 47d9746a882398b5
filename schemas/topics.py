"""The topics by their logical names; the real name of each has the prefix of an installation before it."""

from typing import Final, Literal, get_args

EventTopic = Literal["privacy", "purchases", "clickstream"]
InputTopic = Literal[EventTopic, "products"]
KeyedTopic = Literal[EventTopic, "next-best-actions", "dead-letters", "customer-state", "journal"]
Topic = Literal[KeyedTopic, "products", "training-examples", "sessions", "models"]

# Events of customers. Of the same time, they are taken in this order: what is allowed before what is done.
EVENT_TOPICS: Final[tuple[EventTopic, ...]] = get_args(EventTopic)
INPUT_TOPICS: Final[tuple[InputTopic, ...]] = get_args(InputTopic)
# Of the same number of partitions: what is about one customer is on one partition number of all.
CO_PARTITIONED_TOPICS: Final[tuple[KeyedTopic, ...]] = get_args(KeyedTopic)
TOPICS: Final[tuple[Topic, ...]] = get_args(Topic)
