"""The channel that Kombu sees: its hooks for the life of a message after it was sent, each once.

Consume, receive, acknowledge or reject, close; ``sending_channel.py`` has the hooks before that. The work is
done by parts that are no channels. "Acknowledged" means here that SQS has confirmed the delete. Stock Kombu
says so even when a receipt handle has expired or SQS answered with an error; a payload that is released then
is lost. Source: kombu 5.7.0, ``transport/SQS/__init__.py`` (``Channel``), ``transport/virtual/base.py``.
"""

from collections.abc import Callable, Iterable
from typing import Any

from kombu.asynchronous import get_event_loop
from kombu.asynchronous.aws.sqs.connection import AsyncSQSConnection
from kombu.transport.SQS import Channel as SQSChannel

from pipeline.telemetry import log_lines
from pipeline.transport import foreign
from pipeline.transport.addressing import LISTENER
from pipeline.transport.envelope import Envelope, received
from pipeline.transport.errors import NotSettledError
from pipeline.transport.fanout import mailbox
from pipeline.transport.fanout.listening import PAUSE_SECONDS
from pipeline.transport.hops import Hop
from pipeline.transport.in_flight import Delivery
from pipeline.transport.message import Message
from pipeline.transport.qos import QoS
from pipeline.transport.receive import receiver
from pipeline.transport.receive.arrivals import Arrivals
from pipeline.transport.receive.asking import Asking
from pipeline.transport.redelivery import Returns, return_at_once
from pipeline.transport.sending_channel import SendingChannel
from pipeline.transport.settling import delete_rejected, delete_unacknowledged, settle_now
from pipeline.transport.sqs_errors import FAILURES, code

logger = log_lines.logger(__name__)

FLUSH_SECONDS = 10.0
"""How long a channel that closes waits for acknowledgements to settle. The others are delivered again."""


class Channel(SendingChannel):
    """An SQS channel that keeps messages in flight until they have settled or are returned."""

    QoS = QoS
    Message = Message

    def __init__(self, connection: Any, **options: Any) -> None:
        super().__init__(connection, **options)
        self._timeout: float | None = None
        self._in_flight, self._settler = connection.in_flight, connection.settler
        self._failures = receiver.ReceiveFailures()
        self._returns = Returns(self._in_flight, self.transport_options, self._new_release_client)
        self.asking = Asking(self, connection.in_flight.clock)
        self.arrivals = Arrivals(
            in_flight=self._in_flight,
            heartbeat=connection.heartbeat,
            inspection=connection.inspection,
            dispatch_times=connection.dispatch_times,
            options=self.transport_options,
            visibility_seconds=self.visibility_timeout,
            client_of=self._client,
        )

    # Consume

    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **kwargs: Any) -> Any:  # noqa: FBT001
        """Consume; the first time, read the queue's visibility timeout and redrive policy."""
        if not no_ack:
            name, url = self.canonical_queue_name(queue), self._new_queue(queue)
            self._transport.inspection.read(self.sqs(queue=name), name, url)
        return super().basic_consume(queue, no_ack, *args, **kwargs)

    def basic_cancel(self, consumer_tag: str) -> None:
        """Cancel a consumer. A listener ends with it, except for the one that waits for replies."""
        queue = self._tag_to_queue.get(consumer_tag)
        super().basic_cancel(consumer_tag)
        if queue and not mailbox.is_reply_queue(queue):
            self._listening.end(queue)

    def after_reply_message_received(self, queue: str) -> None:
        """Keep the reply queue of this connection for the next question."""
        if not queue.startswith(self._transport.reply_id):
            super().after_reply_message_received(queue)

    # Receive in the event loop

    def asynsqs(self, queue: str | None = None) -> Any:
        """Return what the event loop receives a queue's messages with; by SQS's name."""
        connection = super().asynsqs(queue)
        if type(connection) is not AsyncSQSConnection:  # ours already, or made otherwise
            return connection
        made = receiver.Receiver(connection, self.hub or get_event_loop(), self._failures, self._must_read)
        if queue is not None and self.predefined_queues:
            self._predefined_queue_async_clients[queue] = made
        else:
            self._asynsqs = made  # type: ignore[assignment]
        return made

    def _must_read(self, sqs_name: str) -> bool:
        """Return whether an answer is read after the last consumer was cancelled, to return its messages."""
        return not self._consumers and LISTENER not in sqs_name

    def _schedule_queue(self, queue: str) -> None:
        """Let the event loop ask a queue, except for replies: the caller of remote control waits for them."""
        if queue in self._active_queues and not mailbox.is_reply_queue(queue):
            self.asking.go_on(queue, PAUSE_SECONDS if self._listening.is_pending(queue) else 0.0)

    def _get_async(self, queue: str, count: int = 1, callback: Callable[[int], Any] | None = None) -> Any:
        """Send a request in the event loop; one that cannot be signed, without credentials, fails too."""
        try:
            return super()._get_async(queue, receiver.batch_count(queue, count), callback)
        except FAILURES as exc:
            self._failures.add(self.canonical_queue_name(queue), code(exc), code(exc))
            return callback and callback(0)  # which schedules the queue again: _loop1

    def _loop1(self, queue: str, messages_fetched: int | None = None) -> None:
        if not self.closed:
            pause = self._failures.pause_seconds(self.canonical_queue_name(queue))
            self.asking.go_on_after(queue, pause, messages_fetched or 0)

    def _on_messages_ready(self, queue: str, qname: str, messages: Any) -> Any:
        """Dispatch what the event loop has received; ``queue`` is its URL."""
        found = messages.get("Messages") or []
        if self.closed:
            if found:
                self._release_messages(queue, qname, found)
            return 0
        since = self.arrivals.earliest(self.asking.since(qname))
        if found and qname not in self._noack_queues and self.arrivals.is_late(qname, queue, since):
            return len(found)  # and ask again at once: SQS delivers them again
        with self.arrivals.dispatching():
            self._arrived(found, qname, queue, since)
            return super()._on_messages_ready(queue, qname, messages)

    def _release_messages(self, queue: str, qname: str, messages: list[Any]) -> None:
        """Return messages that arrived after the last consumer was cancelled. Never raises."""
        if LISTENER in self.canonical_queue_name(qname):
            return  # they are deleted with their queue
        logger.info("messages given back: they came after the last consumer", extra={"queue": qname})
        handles = [each["ReceiptHandle"] for each in messages]
        return_at_once(qname, queue, handles, lambda: self._new_release_client(self._client(qname)))

    # Receive without an event loop

    def drain_events(self, timeout: float | None = None, *args: Any, **kwargs: Any) -> Any:
        """Wait for messages; for replies, no longer than the timeout."""
        self._timeout = timeout
        self.asking.wait(timeout)
        return super().drain_events(timeout, *args, **kwargs)

    def _get_bulk(self, queue: str, *args: Any, **kwargs: Any) -> Any:
        pausing = self._failures.pausing(queue, self._timeout)
        with self.arrivals.receiving(), pausing, self._listening.waiting(queue):
            return super()._get_bulk(queue, *args, **kwargs)

    def _get(self, queue: str, timeout: float | None = None) -> Any:  # noqa: ARG002 - Kombu's signature
        try:
            return super()._get(queue)
        except receiver.NotReceivedError as exc:
            raise exc.error from None

    def _receive_message(
        self, queue: str, max_number_of_messages: int = 1, wait_time_seconds: int | None = None
    ) -> Any:
        listener = self._listeners.get(queue)
        if listener is not None:
            answer = self._listening.receive(listener, self.wait_time_seconds, self._timeout)
        else:
            with receiver.reporting_errors():
                count = receiver.batch_count(queue, max_number_of_messages)
                answer = super()._receive_message(queue, count, wait_time_seconds)
        self._failures.clear(queue)
        return answer

    def _messages_to_python(self, messages: list[Any], queue: str) -> Any:
        self._arrived(messages, queue, self._new_queue(queue))
        return super()._messages_to_python(messages, queue)

    # Receive, in either way

    def _arrived(self, messages: list[Any], queue: str, url: str, since: float | None = None) -> None:
        """Register messages that a consumer will acknowledge, and delete those that none will."""
        if queue not in self._noack_queues:
            if queue in self.connection._callbacks:  # noqa: SLF001 - else Kombu returns them
                self.arrivals.add(messages, queue, url, since)
        elif messages and not self._listening.expires(queue):
            delete_unacknowledged(self._client(queue), url, messages)

    def _delete_message(self, queue_name: str, message: Any) -> None:
        """Do nothing: :meth:`_arrived` has deleted it."""

    def _message_to_python(self, message: dict[str, Any], queue_name: str, q_url: str) -> Envelope:
        """Unpack a message, whatever was sent; runs in the event loop, and never raises."""
        try:
            translated = foreign.unpacked(self, message, queue_name, q_url)
            envelope = translated or super()._message_to_python(message, queue_name, q_url)
        except Exception:  # noqa: BLE001 - JSON of a thousand brackets, properties that are a number …
            envelope = {}
        limit = self._transport.inspection.max_receive_count(q_url)
        return received(envelope, message, queue_name, q_url, limit)

    # Acknowledge, reject or return

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        """Delete a message, now or with others, and free its prefetch slot in either case.

        Raises:
            NotSettledError: SQS has not confirmed; Celery logs it, and SQS delivers the message again.
        """
        delivery = self._in_flight.get(delivery_tag)
        try:
            if delivery is None and self.closed:
                raise NotSettledError("message not settled: its channel closed, and returned it to the queue")
            if delivery is None:
                return
            if delivery.message.settles_later is True:
                delivery.message.settling = True
                self._settler.add(delivery)
            else:
                settle_now(delivery, self._client(delivery.queue), self._in_flight)
        finally:
            self.free_slot(delivery_tag)

    def free_slot(self, delivery_tag: str) -> None:
        """Free the prefetch slot of a message."""
        # Not super().basic_ack, which would delete the message. Its parent frees the prefetch slot.
        super(SQSChannel, self).basic_ack(delivery_tag)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002
        """Return a message, or give it up.

        SQS moves it to the dead-letter queue once it was received often enough, so what is given up is
        returned until then. Without a dead-letter queue it is deleted, as Kombu does. A channel that was
        closed while its task ran no longer knows queues, and returns the message in both cases.
        """
        if self.closed:
            self._returns.with_backoff(self._in_flight.pop(delivery_tag))
            return
        delivery = None if requeue else self._in_flight.pop(delivery_tag)
        if delivery is None:
            super().basic_reject(delivery_tag, requeue=requeue)
            return
        try:
            self._give_up(delivery)
        finally:
            super(SQSChannel, self).basic_reject(delivery_tag)  # without the delete

    def _give_up(self, delivery: Delivery) -> None:
        name = self.canonical_queue_name(delivery.queue) if delivery.queue else None
        if delivery.message.is_rejected or self._has_redrive_policy(name, delivery.queue_url):
            self._returns.with_backoff(delivery)
        elif not self.qos.is_backoff_task(delivery.tag):  # of Kombu's backoff policy, which needs it
            delete_rejected(delivery)

    def _has_redrive_policy(self, queue: str | None, queue_url: str) -> bool:
        """Return whether a queue has one, or may have one: then a rejected message must not be deleted."""
        try:
            return bool(super()._has_redrive_policy(queue, queue_url))
        except FAILURES as exc:
            fields = {"queue": queue, "code": code(exc)}
            logger.warning("redrive policy not read, so what was rejected stays", extra=fields)
            return True

    def _restore(self, message: Any, *args: Any) -> None:
        """Return a message that was rejected to its queue, after a backoff."""
        delivery = self._in_flight.pop(message.delivery_tag)
        if delivery is None:
            super()._restore(message, *args)
        else:
            self._returns.with_backoff(delivery)

    def hide(self, delivery_tag: str, seconds: int) -> bool:
        """Return a message after some seconds; if SQS does not confirm that, it stays in flight here."""
        is_returned = self._returns.after(delivery_tag, seconds)
        if is_returned:
            self.free_slot(delivery_tag)
        return is_returned

    def hop(self, delivery_tag: str, hop: Hop) -> bool:
        """Send a message again, and then delete it and free its slot; ``False`` if it is not in flight."""
        delivery = self._in_flight.get(delivery_tag)
        if delivery is not None:
            self._settler.add(delivery, hop)
        return delivery is not None

    def give_back(self, tags: Iterable[str]) -> None:
        """Return messages at once, for other workers. Never raises, and never takes long."""
        self._returns.at_once(tags)

    # Close

    def keep_started(self) -> None:
        """Keep in flight what a pool has started, although the channel will close; see :class:`Returns`."""
        self._returns.keeps_started = True

    def close(self) -> None:
        """Settle what is acknowledged, return what is not, and close."""
        if not self.closed and not self._settler.flush(FLUSH_SECONDS):
            logger.warning("closed before every acknowledgement had settled")
        super().close()
