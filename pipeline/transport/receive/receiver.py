"""The channel's part in receiving: it goes on, whatever SQS and the network do.

Kombu's own connection turns a server error or a lost connection into an empty *list*, which its channel asks
for ``get``, and any other refusal into a plain ``Exception``. Both leave the event loop: "Unrecoverable
error", and the worker ends, with every task that runs in it. Where there is no event loop, as with gevent and
eventlet, so does a refusal.
Source: kombu 5.7.0, ``asynchronous/aws/connection.py`` (``_on_list_ready``), ``transport/SQS/__init__.py``
(``_on_messages_ready``, ``_get_bulk``); seen on workers whose connections were refused.
"""

import json
import random
from collections.abc import Callable, Mapping
from queue import Empty
from time import sleep
from typing import Any

from botocore.exceptions import ClientError
from kombu.asynchronous import get_event_loop
from kombu.asynchronous.aws.sqs.connection import AsyncSQSConnection
from kombu.utils.objects import cached_property

from pipeline.aws.limits import SQS_FIFO_SUFFIX
from pipeline.aws.session import renew
from pipeline.telemetry import log_lines
from pipeline.transport.addressing import LISTENER
from pipeline.transport.clients import short_timeout_client
from pipeline.transport.fanout.listening import ListeningChannel
from pipeline.transport.receive.curl import Client, Connection
from pipeline.transport.sqs_errors import ABSENT, FAILURES, code, is_expired, meaning_of

logger = log_lines.logger(__name__)

PAUSE_SECONDS = 0.2
PAUSE_LIMIT_SECONDS = 10.0
"""First and longest pause between two attempts to receive while SQS does not answer."""


class Setbacks:
    """Counts how often in a row nothing could be received, queue by queue."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, queue: str, status: object, what: str) -> None:
        """Count a failure, and log what it was."""
        attempt = self._counts[queue] = self._counts.get(queue, 0) + 1
        fields = {"queue": queue, "status": status, "attempt": attempt}
        logger.warning("nothing received: %s, attempt %d", what, attempt, extra=fields)

    def clear(self, queue: str) -> None:
        """Note that SQS has answered."""
        self._counts.pop(queue, None)

    def pause_seconds(self, queue: str) -> float:
        """How long to wait before asking again: 0 after an answer, longer with each failure after it."""
        if queue not in self._counts:
            return 0.0
        longest = min(PAUSE_SECONDS * 2 ** min(self._counts[queue], 10), PAUSE_LIMIT_SECONDS)
        return random.uniform(longest / 2, longest)  # noqa: S311 - no secret


class Receiver(AsyncSQSConnection):
    """Kombu's asynchronous connection to SQS, where no answer means no messages. Used by the event loop.

    Args:
        connection: Kombu's, whose settings it takes.
        channel: whose messages it receives.
        setbacks: where failures are counted.
    """

    def __init__(
        self, connection: AsyncSQSConnection, channel: "ReceivingChannel", setbacks: Setbacks
    ) -> None:
        super().__init__(
            sqs_connection=connection.sqs_connection,
            region=channel.region,
            http_client=Client.of(channel.hub or get_event_loop()),
            message_system_attribute_names=connection.message_system_attribute_names,
            message_attribute_names=connection.message_attribute_names,
        )
        self._channel = channel
        self._setbacks = setbacks
        self._asked: tuple[str, int] = "", 0

    def receive_message(
        self, queue: str, *args: Any, wait_time_seconds: int | None = None, **options: Any
    ) -> Any:
        """Ask for messages, and wait for the answer a little longer than SQS waits for messages."""
        self._asked = queue, wait_time_seconds or 0
        options["wait_time_seconds"] = wait_time_seconds
        return super().receive_message(queue, *args, **options)

    def get_http_connection(self) -> Connection:
        """Return what one request is made with."""
        queue, wait_seconds = self._asked
        return Connection(wait_seconds, lambda: self._channel.has_left(queue), self._httpclient)

    def _on_list_ready(self, parent: Any, markers: Any, operation: str, response: Any) -> Mapping[str, Any]:
        try:
            answer = super()._on_list_ready(parent, markers, operation, response)
        except Exception as exc:  # noqa: BLE001 - Kombu raises nothing more precise
            answer = exc
        if isinstance(answer, Mapping):
            self._setbacks.clear(parent)
            return answer
        refusal = _code_of(response)
        if is_expired(refusal):
            renew(self.sqs_connection)
        self._setbacks.add(parent, response.status, f"SQS answered {refusal or response.status}")
        return {}


def _code_of(response: Any) -> str:
    """Return the code of an answer that Kombu does not read; an empty text if there is none."""
    try:
        answer = json.loads(response.read())
    except (TypeError, ValueError):
        return ""
    return str(answer.get("__type", "")).rpartition("#")[2] if isinstance(answer, dict) else ""


def _count(queue: str, wanted: int) -> int:
    """Return how many messages to ask for: of a FIFO queue, one.

    SQS shows none of a message group while another one of it is hidden, but for those of the same answer. So
    an answer with one message leaves the order to SQS: the next one of a group comes when this one is deleted
    or shown again, to whatever worker. Source: SQS Developer Guide, "FIFO queue delivery logic".
    """
    return 1 if queue.endswith(SQS_FIFO_SUFFIX) else wanted


class RefusedError(Empty):
    """SQS refused to say what is on a queue: for who waits for messages there are none."""

    def __init__(self, refusal: ClientError) -> None:
        super().__init__(code(refusal))
        self.refusal = refusal


class ReceivingChannel(ListeningChannel):
    """Asks again after a pause, in the event loop and without one."""

    @cached_property
    def _setbacks(self) -> Setbacks:
        return Setbacks()

    def asynsqs(self, queue: str | None = None) -> Any:
        """Return what the event loop receives a queue's messages with; by SQS's name."""
        connection = super().asynsqs(queue)
        if type(connection) is not AsyncSQSConnection:  # ours already, or made otherwise
            return connection
        receiver = Receiver(connection, self, self._setbacks)
        if queue is not None and self.predefined_queues:
            self._predefined_queue_async_clients[queue] = receiver
        else:
            self._asynsqs = receiver  # type: ignore[assignment]
        return receiver

    def has_left(self, queue: str) -> bool:
        """Say whether messages that a queue, by SQS's name, still delivers would stay hidden in vain."""
        return not self._consumers and LISTENER not in queue

    def _get_async(self, queue: str, count: int = 1, callback: Callable[[int], Any] | None = None) -> Any:
        """Ask in the event loop; what cannot even be signed, without credentials, counts as not answered."""
        try:
            return super()._get_async(queue, _count(queue, count), callback)
        except FAILURES as exc:
            self._setbacks.add(self.canonical_queue_name(queue), code(exc), code(exc))
            return callback and callback(0)  # which schedules the queue again: _loop1

    def _release_messages(self, queue: str, qname: str, messages: list[Any]) -> None:
        """Let SQS show messages at once that arrived when nobody consumed any more. Never raises."""
        if LISTENER in self.canonical_queue_name(qname):
            return  # it goes with its listener
        logger.info("messages given back: they came after the last consumer", extra={"queue": qname})
        entries = [
            {"Id": str(place), "ReceiptHandle": it["ReceiptHandle"], "VisibilityTimeout": 0}
            for place, it in enumerate(messages)
        ]
        try:
            client = short_timeout_client(self.sqs(queue=self.canonical_queue_name(qname)))
            client.change_message_visibility_batch(QueueUrl=queue, Entries=entries)
        except FAILURES as exc:
            fields = {"queue": qname, "code": code(exc)}
            logger.warning("messages not given back, they come after their visibility timeout", extra=fields)

    def _loop1(self, queue: str, messages_fetched: int | None = None) -> None:
        if self.closed:
            return
        if pause := self._setbacks.pause_seconds(self.canonical_queue_name(queue)):
            self.hub.call_later(pause, self._schedule_queue, queue)  # type: ignore[union-attr]
        else:
            super()._loop1(queue, messages_fetched)

    def _receive_message(
        self, queue: str, max_number_of_messages: int = 1, wait_time_seconds: int | None = None
    ) -> Any:
        try:
            answer = super()._receive_message(queue, _count(queue, max_number_of_messages), wait_time_seconds)
        except ClientError as exc:
            if self._listeners.get(queue) is not None or meaning_of(exc) is ABSENT:
                raise
            raise RefusedError(exc) from exc
        self._setbacks.clear(queue)
        return answer

    def _get(self, queue: str, timeout: float | None = None) -> Any:  # noqa: ARG002 - Kombu's signature
        """Get one message; raise SQS's error if it declined."""
        try:
            return super()._get(queue)
        except RefusedError as exc:
            raise exc.refusal from None

    def _get_bulk(self, queue: str, *args: Any, **kwargs: Any) -> Any:
        """Receive without an event loop; a worker that is refused something waits, and asks again."""
        try:
            return super()._get_bulk(queue, *args, **kwargs)
        except RefusedError as exc:
            refusal = code(exc.refusal)
            self._setbacks.add(queue, refusal, f"SQS answered {refusal}")
            pause = self._setbacks.pause_seconds(queue)
            sleep(pause if self._timeout is None else min(pause, self._timeout))
            raise
