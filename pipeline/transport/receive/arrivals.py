"""Registers messages as in flight when they arrive, before Kombu dispatches them.

SQS sends up to ten messages in one answer, and Kombu dispatches them one by one. Where a task runs before the
next message is dispatched (the pool solo; gevent and eventlet with all greenlets busy), the others would get
no heartbeat: SQS would deliver them to another worker as well, and they would run twice.
Source: kombu 5.7.0, ``transport/SQS`` (``_on_messages_ready``, ``_get_bulk``); seen on solo and gevent.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pipeline.telemetry import log_lines
from pipeline.telemetry.delivery_info import QUEUE_NAME
from pipeline.transport.heartbeat import Heartbeat
from pipeline.transport.in_flight import UNREAD, Delivery, InFlight
from pipeline.transport.inspection import Inspection
from pipeline.transport.receive.dispatch_times import DispatchTimes

logger = log_lines.logger(__name__)


@dataclass(eq=False)
class Arrivals:
    """The messages of one channel that have arrived and that no consumer has taken yet."""

    in_flight: InFlight
    heartbeat: Heartbeat
    inspection: Inspection
    dispatch_times: DispatchTimes
    options: Mapping[str, Any]
    """The transport options."""
    visibility_seconds: int
    """Visibility timeout of the transport options, or its default."""
    client_of: Callable[[str | None], Any]
    """Returns the SQS client for a queue, by Kombu's name."""
    _untaken: dict[str, Delivery] | None = field(default=None, init=False)

    def earliest(self, asked: float) -> float:
        """Return the earliest time at which the answer to a request may have arrived that is read now."""
        return self.dispatch_times.earliest_arrival(asked)

    def is_late(self, queue: str, url: str, since: float) -> bool:
        """Return whether an answer was unread for longer than the visibility timeout of its messages."""
        age = self.in_flight.clock() - since
        if age < self._hidden_seconds(url):
            return False
        logger.warning("messages left to others: they were unread for %d s", age, extra={"queue": queue})
        return True

    @contextmanager
    def dispatching(self) -> Iterator[None]:
        """Dispatch what arrives, in the event loop, which is blocked in this ``with`` block."""
        with self.dispatch_times.blocked(), self.receiving():
            yield

    @contextmanager
    def receiving(self) -> Iterator[None]:
        """Keep what arrives in this ``with`` block in flight; after it, only what a consumer has taken."""
        self._untaken = {}
        try:
            yield
        finally:
            for tag in self._untaken:
                self.in_flight.pop(tag)
            self._untaken = None

    def add(self, messages: list[Any], queue: str, url: str, since: float | None = None) -> None:
        """Register messages that have arrived, now or ``since`` then; nothing outside of a ``with`` block."""
        if self._untaken is None:
            return
        since = self.in_flight.clock() if since is None else since
        for each in messages:
            handle = each["ReceiptHandle"]
            self._untaken[handle] = self._register(handle, handle, queue, url, since)

    def take(self, message: Any, tag: str) -> None:
        """Keep a message in flight until it settles or is returned: a consumer has it now."""
        info = getattr(message, "delivery_info", None)
        if not isinstance(info, dict) or "sqs_message" not in info:
            return
        delivery = (self._untaken or {}).pop(tag, None)
        if delivery is None:
            queue, url = info.get(QUEUE_NAME) or info.get("routing_key"), info["sqs_queue"]
            handle = info["sqs_message"]["ReceiptHandle"]
            delivery = self._register(tag, handle, queue, url, self.in_flight.clock())
        delivery.message = message

    def _register(self, tag: str, handle: str, queue: str | None, url: str, since: float) -> Delivery:
        hidden = self._hidden_seconds(url)
        is_chosen = self.options.get("visibility_timeout") not in {None, ""}
        seconds = self.visibility_seconds if is_chosen else hidden
        delivery = Delivery(tag, UNREAD, handle, queue, url, self.client_of(queue), seconds, hidden, since)
        self.in_flight.add(delivery)
        if self.options.get("visibility_heartbeat", True):
            self.heartbeat.start()
        return delivery

    def _hidden_seconds(self, url: str) -> int:
        return self.inspection.hidden_seconds(url, self.visibility_seconds)
