"""Channel hooks for fanout exchanges (events, remote control, broadcasts), over SNS.

Celery's event exchange is a topic exchange, and other processes cannot see its bindings. Here it is a fanout
exchange: every listener receives every event. Celery does the same for Redis.
Source: kombu 5.7.0, ``transport/SQS/__init__.py`` (``_put_fanout``); celery 5.7.0, ``events/event.py``.
"""

from collections.abc import Mapping
from typing import Any

from kombu.exceptions import KombuError, OperationalError
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps
from kombu.utils.objects import cached_property

from pipeline.aws.limits import SQS_FIFO_SUFFIX
from pipeline.telemetry import log_lines
from pipeline.transport import addressing
from pipeline.transport.answers import NotRoutedError
from pipeline.transport.fanout import mailbox
from pipeline.transport.fanout.events import Event
from pipeline.transport.fanout.listeners import Listeners
from pipeline.transport.fanout.topics import Topic
from pipeline.transport.fanout.warn_once import warn_once
from pipeline.transport.send.collecting import is_publishing_task
from pipeline.transport.send.publishing import PublishingChannel
from pipeline.transport.sqs_errors import ABSENT, FAILURES, code, meaning_of

logger = log_lines.logger(__name__)

EVENT_EXCHANGE = "celeryev"
"""Celery's default ``event_exchange``; another one is named in the transport option of that name."""
REPLY_ADDRESSES = 100
"""How many URLs of reply queues are cached."""


def fans_out(options: Mapping[str, Any]) -> bool:
    """Say whether a connection with these transport options uses topics.

    The option ``supports_fanout`` decides. Without it they do, except where queues are predefined and
    exchanges are not: there nobody may make a topic.
    """
    may_create = not options.get("predefined_queues") or bool(options.get("predefined_exchanges"))
    return bool(options.get("supports_fanout", may_create))


class FanoutChannel(PublishingChannel):
    """Publishes to every listener of a fanout exchange, and routes replies to the process that asked."""

    def __init__(self, connection: Any, **options: Any) -> None:
        # Kept here as well, because a closed channel has no connection any more.
        self._listeners: Listeners = connection.listeners
        super().__init__(connection, **options)

    @cached_property
    def supports_fanout(self) -> bool:
        """Whether exchanges may be of type fanout."""
        return fans_out(self.transport_options)

    @cached_property
    def event_exchange(self) -> str:
        """The exchange that Celery publishes events to."""
        return str(self.transport_options.get("event_exchange", EVENT_EXCHANGE))

    def exchange_declare(
        self,
        exchange: str | None = None,
        type: str = "direct",  # noqa: A002 - Kombu's name
        *args: Any,
        **options: Any,
    ) -> None:
        """Declare an exchange; that of events is a fanout."""
        if exchange == self.event_exchange and self.supports_fanout:
            type = "fanout"  # noqa: A001
        super().exchange_declare(exchange, type, *args, **options)

    def topic(self, exchange: str) -> Topic:
        """Return the topic of a fanout exchange, without creating it in SNS.

        Raises:
            UndefinedExchangeException: exchanges are predefined, and this one is not.
        """
        client = self.fanout.get_client(exchange)
        topics: dict[str, Topic] = self.connection.topics
        if exchange not in topics:
            name = self.entity_name(self.queue_name_prefix + exchange)
            topics[exchange] = Topic(name, client, self.predefined_exchanges.get(exchange, {}).get("arn", ""))
        topics[exchange].client = client  # its credentials may have been renewed
        return topics[exchange]

    def _put_fanout(self, exchange: str, message: dict[str, Any], routing_key: str, **kwargs: Any) -> None:
        properties = message.get("properties", {})
        if exchange.endswith(SQS_FIFO_SUFFIX) or properties.get("message_attributes"):
            super()._put_fanout(exchange, message, routing_key, **kwargs)
        elif exchange == self.event_exchange:
            self._put_event(exchange, message)
        else:
            self._publish_to_all(exchange, message)

    def _put_event(self, exchange: str, message: dict[str, Any]) -> None:
        """Add an event to the outbox. Never raises: a lost event must not fail a task."""
        properties = message["properties"]
        if message.get("content-type") == "application/json" and properties.get("body_encoding") == "base64":
            body = bytes_to_str(self.decode_body(message["body"], "base64"))
            message = {**message, "body": body, "properties": {**properties, "body_encoding": "utf-8"}}
        try:
            self.connection.outbox.add(Event(self.topic(exchange), message))
        except (*FAILURES, KombuError) as exc:
            warn_once("events not published", exc)

    def _publish_to_all(self, exchange: str, message: dict[str, Any]) -> None:
        try:
            self.topic(exchange).publish(dumps(message))
        except FAILURES as exc:
            raise OperationalError(
                f"not published to exchange {exchange}: SNS answered {code(exc)}; allow sns:CreateTopic and "
                "sns:Publish there, or name its topic in predefined_exchanges"
            ) from exc

    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> Any:
        if mailbox.is_reply_exchange(exchange):
            return mailbox.reply_queues(exchange, routing_key)
        found = super()._lookup(exchange, routing_key, default)
        if not found and is_publishing_task() and exchange != self.event_exchange:
            raise NotRoutedError(
                f"task not sent: no queue is known here to be bound to exchange {exchange} for routing key "
                f"{routing_key}; name the queue, or bind it with declare="
            )
        return found

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:
        if not mailbox.is_reply_queue(queue):
            super()._put(queue, message, **kwargs)
            return
        try:
            super()._put(queue, message, **kwargs)
        except FAILURES as exc:
            self.connection.reply_urls.pop(queue, None)
            if meaning_of(exc) is not ABSENT:  # else whoever asked has gone
                warn_once("reply not sent", exc)

    def canonical_queue_name(self, queue_name: str) -> str:
        """Return SQS's name of a queue."""
        listener = self._listeners.get(queue_name)
        if listener is not None and listener.name:
            return listener.name
        if not mailbox.is_reply_queue(queue_name):
            return str(super().canonical_queue_name(queue_name))
        if self.predefined_queues:
            return str(super().canonical_queue_name(mailbox.reply_exchange(queue_name)))
        return self.listener_name(queue_name)

    def listener_name(self, queue: str) -> str:
        """Return the name by which others know a listener's queue."""
        return addressing.listener_name(self.queue_name_prefix, self.entity_name(queue))

    def _new_queue(self, queue: str, **declaration: Any) -> Any:
        listener = self._listeners.get(queue)
        if listener is not None:
            return listener.url
        if mailbox.is_reply_queue(queue):
            return self._reply_url(queue)
        return super()._new_queue(queue, **declaration)

    def _reply_url(self, queue: str) -> str:
        """Return the URL of a reply queue. Its owner creates it; this process never does."""
        name, urls = self.canonical_queue_name(queue), self.connection.reply_urls
        if self.predefined_queues:
            return str(self._resolve_queue_url(mailbox.reply_exchange(queue)))
        if queue not in urls:
            if len(urls) >= REPLY_ADDRESSES:
                urls.clear()
            urls[queue] = self.sqs().get_queue_url(QueueName=name)["QueueUrl"]
        return str(urls[queue])
