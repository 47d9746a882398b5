"""Taking messages from a consumer, and what they hold."""

from confluent_kafka import Consumer, Message

from schemas.units import Seconds


def poll_batch(consumer: Consumer, at_most: int, timeout_s: Seconds) -> list[Message]:
    """Return up to `at_most` messages as soon as there is one; none after `timeout_s`. Errors come as messages, too.

    `consume(n, timeout)` alone would wait the whole timeout for n of them.
    """
    first = consumer.poll(timeout_s)
    if first is None:
        return []
    return [first, *consumer.consume(at_most - 1, 0)] if at_most > 1 else [first]


def headers_of(message: Message) -> tuple[tuple[str, bytes | None], ...]:
    """Return the headers in their order; a name may stand there more than once."""
    headers = message.headers()
    if not headers:
        return ()
    pairs = headers.items() if isinstance(headers, dict) else headers
    return tuple((name, value.encode() if isinstance(value, str) else value) for name, value in pairs)
