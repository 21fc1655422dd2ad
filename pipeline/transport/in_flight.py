"""Messages in flight in this process: delivered, and not yet settled or returned to the queue."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic
from typing import Any

from pipeline.aws.limits import SQS_BATCH_COUNT
from pipeline.transport.message import Message

UNREAD = Message.__new__(Message)
"""Placeholder for a message that has arrived and is not parsed yet."""


@dataclass(eq=False)
class Delivery:
    """One message in flight."""

    tag: str
    """Kombu's delivery tag, which is the receipt handle too."""
    message: Message
    receipt_handle: str
    queue: str | None
    queue_url: str
    client: Any
    """boto3's client for that queue; safe for any thread."""
    visibility_seconds: int
    """Visibility timeout that each extension sets."""
    hidden_seconds: int
    """Visibility timeout with which it was received."""
    received: float = field(default_factory=monotonic)
    extend_at: float = field(init=False)
    expires: float = field(init=False)
    """When its visibility timeout ends unless it is extended; on the monotonic clock."""
    returned_seconds: int | None = None
    """Visibility timeout with which it was returned to the queue; ``None`` until then."""

    def __post_init__(self) -> None:
        self.extended(self.received, self.hidden_seconds)

    def extended(self, since: float, seconds: int) -> None:
        """Note that SQS hides the message for ``seconds`` from ``since`` on."""
        self.expires = since + seconds
        soonest = min(seconds, self.visibility_seconds)
        self.extend_at = since + soonest / 3 if soonest else math.inf


class InFlight:
    """Register of deliveries by tag. Every method is one step, so any thread may call it.

    Args:
        clock: the time, in seconds, that all deliveries here are measured with.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self._deliveries: dict[str, Delivery] = {}

    def add(self, delivery: Delivery) -> None:
        """Add a delivery."""
        self._deliveries[delivery.tag] = delivery

    def get(self, tag: str) -> Delivery | None:
        """Return a delivery, or ``None`` if it is not in flight."""
        return self._deliveries.get(tag)

    def pop(self, tag: str) -> Delivery | None:
        """Remove a delivery, which ends its extensions, and return it."""
        return self._deliveries.pop(tag, None)

    def is_late(self, delivery: Delivery) -> bool:
        """Return whether SQS may have delivered a message again by now. A delete has no effect then.

        "If you use an old receipt handle, the request will succeed, but the message might not be deleted."
        Source: SQS API Reference, DeleteMessage.
        """
        return delivery.expires <= self.clock()

    def __iter__(self) -> Iterator[Delivery]:
        return iter(list(self._deliveries.values()))

    def __len__(self) -> int:
        return len(self._deliveries)


def batches(deliveries: Iterable[Delivery]) -> Iterator[list[Delivery]]:
    """Yield lists of at most ten deliveries of one queue each."""
    by_queue: dict[str, list[Delivery]] = {}
    for delivery in deliveries:
        by_queue.setdefault(delivery.queue_url, []).append(delivery)
    for of_queue in by_queue.values():
        rest = iter(of_queue)
        while batch := list(islice(rest, SQS_BATCH_COUNT)):
            yield batch


def entries(receipt_handles: Iterable[str], **parameters: Any) -> list[dict[str, Any]]:
    """Return the entries of a batch call, with the same parameters in each; an id is a place in the batch."""
    return [
        {"Id": str(place), "ReceiptHandle": handle, **parameters}
        for place, handle in enumerate(receipt_handles)
    ]


def failures(batch: list[Delivery], answer: dict[str, Any]) -> dict[str, str]:
    """Return the code of every entry that is not confirmed, by receipt handle.

    An entry that the answer does not mention counts as failed.
    """
    confirmed = {each["Id"] for each in answer.get("Successful", ())}
    codes = {each["Id"]: str(each.get("Code", "an error")) for each in answer.get("Failed", ())}
    return {
        delivery.receipt_handle: codes.get(str(place), "no answer")
        for place, delivery in enumerate(batch)
        if str(place) not in confirmed
    }
