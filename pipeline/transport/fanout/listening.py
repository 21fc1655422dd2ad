"""The channel's part in hearing what is said to all.

A queue that is declared to end with its consumer, and bound to a fanout exchange, becomes a listener; so does
a queue that somebody waits for replies on. All of them are consumed without acknowledgement.
Source: kombu 5.7.0, ``transport/virtual/base.py`` (``queue_declare``, ``queue_bind``, ``drain_events``),
``transport/SQS/__init__.py``, ``pidbox.py``.
"""

import math
from functools import partial
from queue import Empty
from time import sleep
from typing import Any

from amqp.protocol import queue_declare_ok_t
from kombu.exceptions import KombuError, OperationalError
from kombu.transport.base import to_rabbitmq_queue_arguments
from kombu.transport.SQS import Channel as SQSChannel
from kombu.transport.SQS.exceptions import UndefinedQueueException
from kombu.utils.objects import cached_property

from pipeline.aws.limits import SQS_BATCH_COUNT
from pipeline.transport import addressing
from pipeline.transport.clients import short_timeout_client
from pipeline.transport.fanout import mailbox
from pipeline.transport.fanout.channel import FanoutChannel
from pipeline.transport.fanout.events import Audience
from pipeline.transport.fanout.listeners import Clients, Listener, retention_seconds
from pipeline.transport.fanout.warn_once import warn_once
from pipeline.transport.sqs_errors import ABSENT, FAILURES, code, meaning_of

PAUSE_SECONDS = 2.0
"""How often a worker looks whether its mailbox could be made by now."""
NEW_QUEUE_SECONDS = 1.0
"""How long one must wait before a new queue may be used. Source: SQS API Reference, CreateQueue."""


class ListeningChannel(FanoutChannel):
    """Makes, reads and removes the queues of listeners."""

    _timeout: float | None = None

    def prepare_queue_arguments(self, arguments: Any, **options: Any) -> Any:
        """Return the arguments of a queue to be declared, with how long it keeps messages among them."""
        return to_rabbitmq_queue_arguments(arguments or {}, **options)

    def queue_declare(self, queue: str | None = None, passive: bool = False, **declaration: Any) -> Any:  # noqa: FBT001, FBT002 - Kombu's signature
        """Declare a queue; one that ends with its consumer is made when it is known what it is for."""
        if queue is None or passive or not self.supports_fanout or not addressing.ends(declaration):
            return super().queue_declare(queue, passive, **declaration)
        self.connection.declared[queue] = declaration
        return queue_declare_ok_t(queue, 0, 0)

    def queue_bind(
        self, queue: str, exchange: str | None = None, routing_key: str = "", *args: Any, **options: Any
    ) -> None:
        """Bind a queue; here listeners are made."""
        super().queue_bind(queue, exchange, routing_key, *args, **options)
        declared: dict[str, Any] = self.connection.declared
        if queue in declared and exchange and self._is_said_to_all(queue, exchange):
            self._listen(queue, exchange, declared.pop(queue))

    def _is_said_to_all(self, queue: str, exchange: str) -> bool:
        return mailbox.is_reply_queue(queue) or self._exchange_is_fanout(exchange)

    def _queue_bind(self, exchange: str, routing_key: str, pattern: Any, queue: str) -> None:
        if queue not in self.connection.declared and self._listeners.get(queue) is None:
            super()._queue_bind(exchange, routing_key, pattern, queue)

    def _subscribe_queue_to_fanout_exchange_if_required(self, queue_name: str) -> None:
        if self._listeners.get(queue_name) is None:
            super()._subscribe_queue_to_fanout_exchange_if_required(queue_name)

    def _new_queue(self, queue: str, **declaration: Any) -> Any:
        declared = self.connection.declared.pop(queue, None)
        return super()._new_queue(queue, **(declaration or declared or {}))

    def _listen(self, queue: str, exchange: str, declaration: dict[str, Any]) -> None:
        """Make a listener.

        Raises:
            OperationalError: its queue could not be made. A worker's mailbox waits until it can instead.
        """
        if (listener := self._listeners.get(queue)) is not None:
            return
        try:
            listener = self._new_listener(queue, exchange, declaration)
            if mailbox.is_mailbox(queue):
                self._listeners.add(listener)
            if not listener.is_given:
                listener.open()
                sleep(NEW_QUEUE_SECONDS if mailbox.is_reply_queue(queue) else 0)
        except (*FAILURES, KombuError) as exc:
            self._not_made(queue, exc)
        else:
            self._listeners.add(listener)

    @staticmethod
    def _not_made(queue: str, exc: Exception) -> None:
        if mailbox.is_mailbox(queue):
            warn_once("remote control does not work", exc)
            return
        raise OperationalError(
            f"nobody can listen on queue {queue}: AWS answered {code(exc)}; "
            "allow what docs/operate/monitoring.md says, or predefine topics and queues"
        ) from exc

    def _new_listener(self, queue: str, exchange: str, declaration: dict[str, Any]) -> Listener:
        is_reply = mailbox.is_reply_queue(queue)
        topic = None if is_reply else self.topic(exchange)
        ttl = (declaration.get("arguments") or {}).get("x-message-ttl", 0)
        listener = Listener(
            queue=queue,
            new_name=partial(self._new_name, queue, is_known=is_reply),
            sqs=None if self.predefined_queues else self.sqs(),
            topic=topic,
            retention_seconds=retention_seconds(ttl / 1_000),
            tags=self.transport_options.get("queue_tags") or {},
            short_timeout_clients=self._short_timeout_clients,
        )
        return self._given(listener, exchange) if self.predefined_queues else listener

    def _new_name(self, queue: str, *, is_known: bool) -> str:
        if is_known:
            return self.listener_name(queue)
        return addressing.listener_name(self.queue_name_prefix, self.entity_name(queue), is_new=True)

    def _given(self, listener: Listener, exchange: str) -> Listener:
        """Return the listener on the queue that is predefined for it, by its own name or its exchange's."""
        for name in (listener.queue, exchange):
            listener.name = str(SQSChannel.canonical_queue_name(self, name))
            if listener.name in self.predefined_queues:
                listener.url = self.predefined_queues[listener.name]["url"]
                listener.sqs, listener.is_given = self.sqs(queue=listener.name), True
                return listener
        raise UndefinedQueueException(f"{listener.queue} is not in predefined_queues, nor is {exchange}")

    @cached_property
    def _short_timeout_clients(self) -> Clients:
        """Return clients that wait for nothing, made now: a closed channel cannot say any more who we are."""
        if self.predefined_queues:
            return _no_clients
        access = (self.region, self.conninfo.userid, self.conninfo.password)
        sns = self._new_boto_client("sns", *access, config=self.release_client_config)
        sqs = short_timeout_client(self.sqs(), self.release_client_config)
        return lambda: (sqs, sns)

    def basic_cancel(self, consumer_tag: str) -> None:
        """Consume no more. A listener ends with that, but for the one that waits for replies."""
        queue = self._tag_to_queue.get(consumer_tag)
        super().basic_cancel(consumer_tag)
        if queue and not mailbox.is_reply_queue(queue):
            self._end(queue)

    def _end(self, queue: str) -> bool:
        listener = self._listeners.get(queue)
        if listener is None or listener.is_given:
            return listener is not None
        self._listeners.pop(queue)
        self.state.queue_bindings_delete(queue)
        listener.remove()
        return True

    def _delete(self, queue: str, *args: Any, **kwargs: Any) -> None:
        if not self._end(queue):
            super()._delete(queue, *args, **kwargs)

    def after_reply_message_received(self, queue: str) -> None:
        """Keep the reply queue of this connection for the next question."""
        if not queue.startswith(self.connection.reply_id):
            super().after_reply_message_received(queue)

    def drain_events(self, timeout: float | None = None, *args: Any, **kwargs: Any) -> Any:
        """Wait for messages; for replies not longer than asked to."""
        self._timeout = timeout
        return super().drain_events(timeout, *args, **kwargs)

    def _get_bulk(self, queue: str, *args: Any, **kwargs: Any) -> Any:
        listener = self._listeners.get(queue)
        if listener is not None and not listener.url:
            sleep(PAUSE_SECONDS)
            raise Empty
        try:
            return super()._get_bulk(queue, *args, **kwargs)
        except FAILURES as exc:
            if listener is None or not self._goes_on(queue, exc):
                raise
            raise Empty from exc

    def _goes_on(self, queue: str, exc: Exception) -> bool:
        """Say whether to wait until a listener's queue is there again."""
        if mailbox.is_reply_queue(queue) and meaning_of(exc) is ABSENT:
            self._end(queue)
            self.connection.new_reply_id()
        if not mailbox.is_mailbox(queue):
            return False
        warn_once("nothing received for remote control", exc)
        sleep(PAUSE_SECONDS)
        return True

    def _receive_message(
        self, queue: str, max_number_of_messages: int = 1, wait_time_seconds: int | None = None
    ) -> Any:
        listener = self._listeners.get(queue)
        if listener is None:
            return super()._receive_message(queue, max_number_of_messages, wait_time_seconds)
        seconds = self.wait_time_seconds
        if mailbox.is_reply_queue(queue) and self._timeout is not None:
            seconds = min(seconds, max(math.ceil(self._timeout), 1))
        return listener.sqs.receive_message(
            QueueUrl=listener.url, MaxNumberOfMessages=SQS_BATCH_COUNT, WaitTimeSeconds=seconds
        )

    def _schedule_queue(self, queue: str) -> None:
        """Let the event loop ask a queue, but not for replies: whoever asked waits for them."""
        if mailbox.is_reply_queue(queue):
            return
        listener = self._listeners.get(queue)
        if listener is not None and not listener.url and queue in self._active_queues:
            self.hub.call_later(PAUSE_SECONDS, self._schedule_queue, queue)  # type: ignore[union-attr]
        else:
            super()._schedule_queue(queue)

    def _messages_to_python(self, messages: list[Any], queue: str) -> Any:
        self._forget(queue, messages)
        return super()._messages_to_python(messages, queue)

    def _on_messages_ready(self, queue: str, qname: str, messages: Any) -> Any:
        self._forget(qname, messages.get("Messages") or [])
        return super()._on_messages_ready(queue, qname, messages)

    def _forget(self, queue: str, messages: list[Any]) -> None:
        """Delete what nobody will acknowledge, in one call, unless the queue forgets it by itself."""
        if not messages or queue not in self._noack_queues:
            return
        if mailbox.is_mailbox(queue):
            Audience.expect()
        listener = self._listeners.get(queue)
        if listener is not None and listener.forgets:
            return
        entries = [
            {"Id": str(place), "ReceiptHandle": it["ReceiptHandle"]} for place, it in enumerate(messages)
        ]
        client = self.sqs(queue=self.canonical_queue_name(queue))
        try:
            client.delete_message_batch(QueueUrl=self._new_queue(queue), Entries=entries)
        except FAILURES as exc:
            warn_once("messages without acknowledgement not deleted", exc)

    def _delete_message(self, queue_name: str, message: Any) -> None:
        """Do nothing: :meth:`_forget` has done it."""


def _no_clients() -> tuple[None, None]:
    """A queue that an operator has made is not removed."""
    return None, None
