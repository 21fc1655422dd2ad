"""What Kombu sees: its channel and transport, where "acknowledged" means that SQS has confirmed the delete.

Stock Kombu says so even when a receipt handle had expired or SQS answered with an error, so nobody knows
whether the message will be redelivered; a payload released then is lost.
Source: kombu 5.7.0, ``transport/SQS/__init__.py``, ``Channel.basic_ack``.
"""

from collections.abc import Callable, Iterable
from functools import cache, partial
from time import monotonic
from typing import Any, ClassVar

from botocore.exceptions import ClientError
from kombu.transport import SQS
from kombu.transport.SQS import Channel as SQSChannel
from kombu.utils.uuid import uuid

from pipeline.metrics import HEARTBEAT_FAILURES, MESSAGES_UNSETTLED, Metric, Recorder
from pipeline.telemetry import log_lines
from pipeline.transport.answers import DeleteDeniedError, NotSettledError
from pipeline.transport.envelope import LIMIT, Envelope, receive_count, received
from pipeline.transport.fanout.channel import fans_out
from pipeline.transport.fanout.events import GATHER_SECONDS, Outbox
from pipeline.transport.fanout.listeners import Listeners
from pipeline.transport.fanout.topics import Topic
from pipeline.transport.heartbeat import Heartbeat
from pipeline.transport.in_flight import Delivery, Held, batches
from pipeline.transport.inspection import Inspection
from pipeline.transport.message import Message
from pipeline.transport.receive.turns import HoldingChannel, Turns
from pipeline.transport.redelivery import redelivery_seconds, return_batch, return_to_queue
from pipeline.transport.settling import Settler
from pipeline.transport.sqs_errors import DENIED, FAILURES, code, meaning_of

logger = log_lines.logger(__name__)

FLUSH_SECONDS = 10.0
"""How long a channel that is closed waits for acknowledgements to settle. Those that do not are delivered
again; a worker that is shut down must not wait for SQS for ever."""


class QoS(SQS.QoS):
    """Hands every message that a consumer receives to the channel."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Take a delivery."""
        super().append(message, delivery_tag)
        self.channel.hold(message, delivery_tag)

    def restore_unacked(self) -> list[Any]:
        """Give back what a channel that closes has not settled."""
        if self.channel.closed:
            self._flush()
            self.channel.give_back(list(self._delivered))
            self._delivered.clear()
        errors: list[Any] = super().restore_unacked()
        return errors


class Channel(HoldingChannel):
    """An SQS channel that holds messages until they have settled, and returns those that will not."""

    QoS = QoS
    Message = Message

    def __init__(self, connection: Any, **options: Any) -> None:
        # Kept here as well, because a closed channel has no connection any more.
        self._settler: Settler = connection.settler
        self._keeps_started = False
        super().__init__(connection, **options)

    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **kwargs: Any) -> Any:  # noqa: FBT001
        """Consume; the first time, ask how long the queue hides a message and where its dead letters go."""
        if not no_ack:
            name, url = self.canonical_queue_name(queue), self._new_queue(queue)
            self.connection.inspection.look(self.sqs(queue=name), name, url)
        return super().basic_consume(queue, no_ack, *args, **kwargs)

    def _message_to_python(self, message: dict[str, Any], queue_name: str, q_url: str) -> Envelope:
        """Unpack a message, whatever was sent; runs in the event loop, and never raises."""
        try:
            envelope = super()._message_to_python(message, queue_name, q_url)
        except Exception:  # noqa: BLE001 - JSON of a thousand brackets, properties that are a number …
            envelope = {}
        envelope = received(envelope, message, queue_name, q_url)
        # As Kombu's Redis says it; Celery's worker_deduplicate_successful_tasks asks.
        info = envelope["properties"]["delivery_info"]
        info["redelivered"] = receive_count(message) > 1
        info[LIMIT] = self.connection.inspection.max_receive_count(q_url)
        return envelope

    def _purge(self, queue: str) -> int:
        """Delete what waits, and return SQS's approximate count of it, which Kombu adds up ten times."""
        count: int = self._size(queue)
        client = self.sqs(queue=self.canonical_queue_name(queue))
        client.purge_queue(QueueUrl=self._new_queue(queue))
        return count

    def keep_started(self) -> None:
        """Go on holding what a pool has taken on, although the channel will close: it can still be settled.

        SQS knows no connections. A receipt handle works until the message's visibility timeout, so a task
        that runs while a worker connects anew need not run twice.
        """
        self._keeps_started = True

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        """Delete a message, now or with others, and forget the delivery either way.

        Raises:
            NotSettledError: SQS refused; Celery logs it, and SQS delivers the message again.
        """
        delivery = self._held.get(delivery_tag)
        try:
            if delivery is None:
                self._check_open()
            elif delivery.message.settles_later is True:
                delivery.message.settling = True
                self._settler.add(delivery)
            else:
                self._settle(delivery)
        finally:
            # Not super().basic_ack, which is the one replaced here: its parent frees the prefetch slot.
            super(SQSChannel, self).basic_ack(delivery_tag)

    def _check_open(self) -> None:
        if self.closed:
            raise NotSettledError(
                "message not settled: its channel was closed, and gave it back to the queue"
            )

    def _settle(self, delivery: Delivery) -> None:
        try:
            self._client(delivery.queue).delete_message(
                QueueUrl=delivery.queue_url, ReceiptHandle=delivery.receipt_handle
            )
        except ClientError as exc:
            refusal = DeleteDeniedError if meaning_of(exc) is DENIED else NotSettledError
            raise refusal(
                f"message not settled [queue={delivery.queue}]: SQS answered {code(exc)} to DeleteMessage; "
                "it will be delivered again, and its payload stays"
            ) from exc
        finally:
            self._held.pop(delivery.tag)
        if self._held.is_late(delivery):
            raise NotSettledError(
                f"message not settled [queue={delivery.queue}]: its visibility timeout was over before SQS "
                "answered DeleteMessage; it may be delivered again, and its payload stays"
            )

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002
        """Give a message back, or up; in neither case is it extended any more.

        What is given up goes to the dead-letter queue once it was received often enough, so it is given
        back until then. Without such a queue it is deleted, as Kombu does. A channel that was closed while
        its task ran knows nothing of queues any more, and gives back in both cases.
        """
        if self.closed:
            self._return(self._held.pop(delivery_tag))
            return
        delivery = None if requeue else self._held.pop(delivery_tag)
        if delivery is None:
            super().basic_reject(delivery_tag, requeue=requeue)
            return
        try:
            self._give_up(delivery)
        finally:
            super(SQSChannel, self).basic_reject(delivery_tag)  # without the delete

    def _give_up(self, delivery: Delivery) -> None:
        if self._is_kept(delivery):
            self._return(delivery)
        elif not self.qos.is_backoff_task(delivery.tag):  # of Kombu's backoff policy, which needs it
            self._discard(delivery)

    def _discard(self, delivery: Delivery) -> None:
        """Delete a message. Kombu would look for its queue by the routing key that the sender wrote."""
        try:
            delivery.client.delete_message(QueueUrl=delivery.queue_url, ReceiptHandle=delivery.receipt_handle)
        except FAILURES as exc:
            fields = {"queue": delivery.queue, "code": code(exc)}
            logger.warning("rejected message not deleted, it will be delivered again", extra=fields)

    def _is_kept(self, delivery: Delivery) -> bool:
        """Say whether a message is not to be deleted. It is not if SQS cannot be asked: it comes again."""
        name = self.canonical_queue_name(delivery.queue) if delivery.queue else None
        try:
            return delivery.message.is_rejected or self._has_redrive_policy(name, delivery.queue_url)
        except FAILURES as exc:
            fields = {"queue": delivery.queue, "code": code(exc)}
            logger.warning("redrive policy not read, so what was rejected stays", extra=fields)
            return True

    def _restore(self, message: Any, *args: Any) -> None:
        """Return a message that was rejected to its queue, after a while."""
        delivery = self._held.pop(message.delivery_tag)
        if delivery is None:
            super()._restore(message, *args)
        else:
            self._return(delivery)

    def _return(self, delivery: Delivery | None) -> None:
        if delivery is not None:
            received = delivery.message.delivery_info["sqs_message"]
            delivery.returned_seconds = redelivery_seconds(received, self.transport_options)
            return_to_queue(delivery)

    def hide(self, delivery_tag: str, seconds: int) -> bool:
        """Give a message back for some seconds; if SQS does not agree, go on holding it."""
        delivery = self._held.get(delivery_tag)
        if delivery is None or delivery.message.is_dead_next:
            return False
        delivery.returned_seconds = seconds
        if not return_to_queue(delivery):
            delivery.returned_seconds = None
            return False
        self._held.pop(delivery_tag)
        super(SQSChannel, self).basic_ack(delivery_tag)  # as above: it frees the prefetch slot
        return True

    def give_back(self, tags: Iterable[str]) -> None:
        """Let SQS show what was not settled to others at once. Never raises, and never takes long.

        A worker that stops, or looks for a connection, does not wait for a network that is gone: the first
        failure is the last call, and what is left comes after its visibility timeout.
        """
        held = [delivery for tag in tags if (delivery := self._let_go(tag)) is not None]
        new_client = cache(self._new_release_client)
        try:
            for batch in batches(held):
                if not return_batch(batch, new_client(batch[0].client)):
                    break
        except FAILURES as exc:  # no credentials for a client
            logger.warning("messages not given back", extra={"queue": held[0].queue, "code": code(exc)})

    def _let_go(self, tag: str) -> Delivery | None:
        delivery = self._held.get(tag)
        if delivery is not None and delivery.message.started and self._keeps_started:
            return None
        return self._held.pop(tag)

    def close(self) -> None:
        """Settle what is acknowledged, give back what is not, and close."""
        if not self.closed and not self._settler.flush(FLUSH_SECONDS):
            logger.warning("closed before every acknowledgement had settled")
        super().close()


class Transport(SQS.Transport):
    """Kombu's SQS transport with our channel. What is held belongs to it, as do the threads."""

    Channel = Channel
    connection_errors = (*SQS.Transport.connection_errors, NotSettledError)  # type: ignore[assignment]
    """Celery logs these when an acknowledgement fails, and goes on."""

    clock: ClassVar[Callable[[], float]] = staticmethod(monotonic)
    """The time, in seconds, that visibility is measured with."""

    recorder: Recorder | None = None
    """Counts messages that will never settle and extensions that failed. Each worker sets its own on the
    transport that it consumes with; nothing is counted elsewhere."""

    def __init__(self, client: Any, **options: Any) -> None:
        super().__init__(client, **options)
        self.held = Held(type(self).clock)
        self.settler = Settler(self.held, partial(self._count, MESSAGES_UNSETTLED))
        self.heartbeat = Heartbeat(self.held, partial(self._count, HEARTBEAT_FAILURES))
        self.inspection = Inspection()
        self.turns = Turns(type(self).clock)
        self.outbox = Outbox(float(client.transport_options.get("event_gather_seconds", GATHER_SECONDS)))
        self.listeners = Listeners()
        self.topics: dict[str, Topic] = {}
        self.declared: dict[str, dict[str, Any]] = {}
        self.reply_urls: dict[str, str] = {}
        self.new_reply_id()
        if fans_out(client.transport_options):  # which is how Celery knows that there is remote control
            self.implements = self.implements.extend(exchange_type=frozenset(["direct", "topic", "fanout"]))

    def _count(self, metric: Metric, queue: str, _code: str) -> None:
        if self.recorder is not None:
            self.recorder.record(metric, queue=queue)

    def new_reply_id(self) -> None:
        """Name anew the queue that replies to this connection's questions go to."""
        self.reply_id = uuid()

    def close_connection(self, connection: Any) -> None:
        """Publish what waits, end what listens, close every channel, and extend nothing any more."""
        self.outbox.close()
        self.listeners.close()
        super().close_connection(connection)
        self.heartbeat.close()
