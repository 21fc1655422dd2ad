"""Fanout exchanges (events, remote control, broadcasts): each is a topic of SNS.

Celery's event exchange is a topic exchange, and other processes cannot see its bindings. Here it is a fanout
exchange: every listener receives every event. Celery does the same for Redis.
Source: kombu 5.7.0, ``transport/SQS/__init__.py`` (``_put_fanout``); celery 5.7.0, ``events/event.py``.
"""

from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kombu.exceptions import KombuError, OperationalError
from kombu.utils.json import dumps

from pipeline.transport.addressing import Names
from pipeline.transport.fanout.events import Event, Outbox
from pipeline.transport.fanout.topics import Topic
from pipeline.transport.fanout.warn_once import warn_once
from pipeline.transport.sqs_errors import FAILURES, code

EVENT_EXCHANGE = "celeryev"
"""Celery's default ``event_exchange``; another one is named in the transport option of that name."""


def fans_out(options: Mapping[str, Any]) -> bool:
    """Return whether a connection with these transport options uses topics.

    The option ``supports_fanout`` decides. Without it they do, except where queues are predefined and
    exchanges are not: a process may not create topics there.
    """
    may_create = not options.get("predefined_queues") or bool(options.get("predefined_exchanges"))
    return bool(options.get("supports_fanout", may_create))


@dataclass(eq=False)
class Exchanges:
    """Publishes to the fanout exchanges of one connection."""

    options: Mapping[str, Any]
    """The transport options."""
    names: Names
    topics: dict[str, Topic]
    """The connection's topics, by exchange."""
    outbox: Outbox
    client_of: Callable[[str], Any]
    """Returns the SNS client for an exchange."""

    def is_for_events(self, exchange: str | None) -> bool:
        """Return whether Celery publishes events to an exchange."""
        return exchange == str(self.options.get("event_exchange", EVENT_EXCHANGE))

    def topic(self, exchange: str) -> Topic:
        """Return the topic of a fanout exchange, without creating it in SNS.

        Raises:
            UndefinedExchangeException: exchanges are predefined, and this one is not.
        """
        client = self.client_of(exchange)
        if exchange not in self.topics:
            predefined = self.options.get("predefined_exchanges", {}).get(exchange, {})
            self.topics[exchange] = Topic(self.names.of(exchange), client, predefined.get("arn", ""))
        self.topics[exchange].client = client  # its credentials may have been renewed
        return self.topics[exchange]

    def publish(self, exchange: str, message: dict[str, Any]) -> None:
        """Publish a message to every listener of an exchange; an event waits in the outbox for others.

        Raises:
            OperationalError: a message that is no event was not published.
        """
        if self.is_for_events(exchange):
            self._add_event(exchange, message)
        else:
            self._publish_now(exchange, message)

    def _add_event(self, exchange: str, message: dict[str, Any]) -> None:
        """Add an event to the outbox. Never raises: a lost event must not fail a task."""
        properties = message["properties"]
        if message.get("content-type") == "application/json" and properties.get("body_encoding") == "base64":
            body = b64decode(message["body"]).decode()
            message = {**message, "body": body, "properties": {**properties, "body_encoding": "utf-8"}}
        try:
            self.outbox.add(Event(self.topic(exchange), message))
        except (*FAILURES, KombuError) as exc:
            warn_once("events not published", exc)

    def _publish_now(self, exchange: str, message: dict[str, Any]) -> None:
        try:
            self.topic(exchange).publish(dumps(message))
        except FAILURES as exc:
            raise OperationalError(
                f"not published to exchange {exchange}: SNS answered {code(exc)}; allow sns:CreateTopic and "
                "sns:Publish there, or name its topic in predefined_exchanges"
            ) from exc
