"""Returns messages to their queue: at once, after a chosen time, or after a backoff with jitter.

SQS has no call for that. A message is visible again after the visibility timeout that is set last.
Source: SQS API Reference, ChangeMessageVisibility.
"""

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pipeline.telemetry import log_lines
from pipeline.transport.envelope import receive_count
from pipeline.transport.in_flight import Delivery, InFlight, batches, entries
from pipeline.transport.sqs_errors import FAILURES, code

logger = log_lines.logger(__name__)

FLOOR_SECONDS = 1
STEP_SECONDS = 10
LIMIT_SECONDS = 900
"""Defaults of the transport options ``redelivery_{floor,step,limit}_seconds``."""


def redelivery_seconds(sqs_message: Mapping[str, Any], options: Mapping[str, Any]) -> int:
    """Return a random time up to ``step`` after the first delivery, twice that after the second, and so on.

    Args:
        sqs_message: as received, with its ApproximateReceiveCount; without one it counts as the first.
        options: the transport options.
    """
    floor = int(options.get("redelivery_floor_seconds", FLOOR_SECONDS))
    step = int(options.get("redelivery_step_seconds", STEP_SECONDS))
    limit = int(options.get("redelivery_limit_seconds", LIMIT_SECONDS))
    longest = min(step * 2 ** min(receive_count(sqs_message) - 1, 20), limit)
    return random.randint(floor, max(longest, floor))  # noqa: S311 - no secret


def return_to_queue(delivery: Delivery) -> bool:
    """Make a message visible again after ``returned_seconds``, and return whether SQS confirmed that.

    Never raises: without the call the message is visible again after its visibility timeout.
    """
    try:
        delivery.client.change_message_visibility(
            QueueUrl=delivery.queue_url,
            ReceiptHandle=delivery.receipt_handle,
            VisibilityTimeout=delivery.returned_seconds,
        )
    except FAILURES as exc:
        logger.warning(
            "message not given back, it comes after its visibility timeout",
            extra={"queue": delivery.queue, "code": code(exc)},
        )
        return False
    return True


def return_at_once(
    queue: str | None, url: str, receipt_handles: Iterable[str], new_client: Callable[[], Any]
) -> bool:
    """Make up to ten messages of one queue visible at once, and return whether SQS answered. Never raises.

    Args:
        queue: Kombu's name.
        url: the queue's.
        receipt_handles: of the messages.
        new_client: returns the client to use.
    """
    try:
        new_client().change_message_visibility_batch(
            QueueUrl=url, Entries=entries(receipt_handles, VisibilityTimeout=0)
        )
    except FAILURES as exc:
        fields = {"queue": queue, "code": code(exc)}
        logger.warning("messages not given back, they come after their visibility timeout", extra=fields)
        return False
    return True


@dataclass(eq=False)
class Returns:
    """Returns the messages of one channel that are in flight. Works after the channel has closed."""

    in_flight: InFlight
    options: Mapping[str, Any]
    """The transport options."""
    short_timeout_client: Callable[[Any], Any]
    """Copies a client, with short timeouts."""
    keeps_started: bool = False
    """Whether messages that a pool has started stay in flight when the channel closes.

    SQS has no connections: a receipt handle is valid until the message's visibility timeout ends. A task that
    runs while a worker reconnects can still be acknowledged, and need not run twice."""

    def with_backoff(self, delivery: Delivery | None) -> None:
        """Return a message that is no longer in flight, after a time that grows with its deliveries."""
        if delivery is not None:
            sqs_message = delivery.message.delivery_info["sqs_message"]
            delivery.returned_seconds = redelivery_seconds(sqs_message, self.options)
            return_to_queue(delivery)

    def after(self, tag: str, seconds: int) -> bool:
        """Return a message after some seconds. ``False`` if SQS does not confirm that: it stays in flight."""
        delivery = self.in_flight.get(tag)
        if delivery is None or delivery.message.is_dead_next:
            return False
        delivery.returned_seconds = seconds
        if not return_to_queue(delivery):
            delivery.returned_seconds = None
            return False
        self.in_flight.pop(tag)
        return True

    def at_once(self, tags: Iterable[str]) -> None:
        """Return messages at once, for other workers. Never raises, and never takes long.

        A worker that stops, or reconnects, does not wait for a network that is down. The first failure is the
        last call; the messages that are left are visible again after their visibility timeout.
        """
        returned = [delivery for tag in tags if (delivery := self._pop(tag)) is not None]
        new_client = cache(self.short_timeout_client)
        for batch in batches(returned):
            if not self._return(batch, new_client):
                break

    @staticmethod
    def _return(batch: list[Delivery], new_client: Callable[[Any], Any]) -> bool:
        first = batch[0]
        for delivery in batch:
            delivery.returned_seconds = 0
        handles = [it.receipt_handle for it in batch]
        return return_at_once(first.queue, first.queue_url, handles, lambda: new_client(first.client))

    def _pop(self, tag: str) -> Delivery | None:
        delivery = self.in_flight.get(tag)
        if delivery is not None and delivery.message.started and self.keeps_started:
            return None
        return self.in_flight.pop(tag)
