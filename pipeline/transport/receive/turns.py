"""The channel's part in holding: a message is ours from its arrival on, not only once its turn has come.

SQS sends up to ten messages in one answer, and Kombu hands them on one by one. Where a task runs before the
next message is looked at (the pool solo; gevent and eventlet with all greenlets busy) the others would wait
without a heartbeat, be shown to others, and run twice.
Source: kombu 5.7.0, ``transport/SQS`` (``_on_messages_ready``, ``_get_bulk``); seen on solo and gevent.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from pipeline.telemetry import log_lines
from pipeline.telemetry.delivery_info import QUEUE_NAME
from pipeline.transport.heartbeat import Heartbeat
from pipeline.transport.in_flight import UNREAD, Delivery, Held
from pipeline.transport.receive.receiver import ReceivingChannel

logger = log_lines.logger(__name__)

SAME_TURN_SECONDS = 0.002
"""Answers dispatched within this time arrived together."""
LATE_SECONDS = 0.5
"""An answer read within this time after the event loop was blocked may have arrived while it was."""


class Turns:
    """Tracks when the event loop was last blocked dispatching messages. The pool solo runs tasks then."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._begun = self._ended = -math.inf

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Note that the event loop is blocked in this ``with`` block."""
        now = self._clock()
        if now - self._ended > SAME_TURN_SECONDS:
            self._begun = now
        try:
            yield
        finally:
            self._ended = self._clock()

    def arrival(self, asked: float) -> float:
        """Return the earliest time at which an answer that is read now may have arrived."""
        now = self._clock()
        return max(self._begun, asked) if now - self._ended < LATE_SECONDS else now


class HoldingChannel(ReceivingChannel):
    """Holds what it receives until it settles, is given back, or cannot be handed on."""

    def __init__(self, connection: Any, **options: Any) -> None:
        # Kept here as well, because a closed channel has no connection any more.
        self._held: Held = connection.held
        self._heartbeat: Heartbeat = connection.heartbeat
        self._turns: Turns = connection.turns
        self._arrivals: dict[str, Delivery] | None = None
        self._asked: dict[str, float] = {}
        super().__init__(connection, **options)

    def hold(self, message: Any, delivery_tag: str) -> None:
        """Hold a delivery until it settles or is given back."""
        info = getattr(message, "delivery_info", None)
        if not isinstance(info, dict) or "sqs_message" not in info:
            return
        delivery = (self._arrivals or {}).pop(delivery_tag, None)
        if delivery is None:
            queue, url = info.get(QUEUE_NAME) or info.get("routing_key"), info["sqs_queue"]
            handle = info["sqs_message"]["ReceiptHandle"]
            delivery = self._take(delivery_tag, handle, queue, url, self._held.clock())
        delivery.message = message

    def _take(self, tag: str, handle: str, queue: str | None, url: str, since: float) -> Delivery:
        hidden = self.connection.inspection.hidden_seconds(url, self.visibility_timeout)
        is_chosen = self.transport_options.get("visibility_timeout") not in {None, ""}
        seconds = self.visibility_timeout if is_chosen else hidden
        delivery = Delivery(tag, UNREAD, handle, queue, url, self._client(queue), seconds, hidden, since)
        self._held.add(delivery)
        if self.transport_options.get("visibility_heartbeat", True):
            self._heartbeat.start()
        return delivery

    def _client(self, queue: str | None) -> Any:
        return self.sqs(queue=self.canonical_queue_name(queue) if queue else None)

    def _get_async(self, queue: str, *args: Any, **kwargs: Any) -> Any:
        self._asked[queue] = self._held.clock()
        return super()._get_async(queue, *args, **kwargs)

    def _on_messages_ready(self, queue: str, qname: str, messages: Any) -> Any:
        """Hand on what the event loop has received; ``queue`` is its URL."""
        found = messages.get("Messages") or []
        if self.closed:
            if found:
                self._release_messages(queue, qname, found)
            return 0
        since = self._turns.arrival(self._asked.get(qname, self._held.clock()))
        if found and self._is_late(qname, queue, since):
            return len(found)  # and ask again at once: SQS shows them to whoever asks
        with self._turns.busy(), self._arriving():
            self._arrive(found, qname, queue, since)
            return super()._on_messages_ready(queue, qname, messages)

    def _is_late(self, queue: str, url: str, since: float) -> bool:
        """Say whether others may have what an answer brings: it lay unread for longer than SQS hides it."""
        hidden = self.connection.inspection.hidden_seconds(url, self.visibility_timeout)
        age = self._held.clock() - since
        if queue in self._noack_queues or age < hidden:
            return False
        logger.warning("messages left to others: they were unread for %d s", age, extra={"queue": queue})
        return True

    def _get_bulk(self, queue: str, *args: Any, **kwargs: Any) -> Any:
        with self._arriving():
            return super()._get_bulk(queue, *args, **kwargs)

    def _messages_to_python(self, messages: list[Any], queue: str) -> Any:
        if self._arrivals is not None:
            self._arrive(messages, queue, self._new_queue(queue), self._held.clock())
        return super()._messages_to_python(messages, queue)

    @contextmanager
    def _arriving(self) -> Iterator[None]:
        """Hold what arrives in this block, but not for longer unless somebody takes it."""
        self._arrivals = {}
        try:
            yield
        finally:
            for tag in self._arrivals:
                self._held.pop(tag)
            self._arrivals = None

    def _arrive(self, messages: list[Any], queue: str, url: str, since: float) -> None:
        is_consumed = queue in self.connection._callbacks  # noqa: SLF001 - else Kombu gives it back
        if self._arrivals is None or not is_consumed or queue in self._noack_queues:
            return
        for each in messages:
            handle = each["ReceiptHandle"]
            self._arrivals[handle] = self._take(handle, handle, queue, url, since)
