"""What is added to a message before Kombu sends it."""

from typing import Any

from pipeline.aws.limits import SQS_FIFO_SUFFIX
from pipeline.claimcheck.headers import SHARED
from pipeline.transport.addressing import deduplication_id
from pipeline.transport.delay import delay_seconds
from pipeline.transport.send.collecting import parcel_of


def mark_shared(message: dict[str, Any], queues_count: int | None) -> None:
    """Mark a task in its headers if several queues receive a copy of it; ``None``: it is unknown how many.

    A retry has the headers of the attempt before it, so an old mark is removed.

    Raises:
        StoreError: its payload was not stored, or the ledger of that not made.
    """
    headers = message["headers"]
    headers.pop(SHARED, None)
    parcel = parcel_of(message)
    if queues_count is None:
        headers[SHARED] = 0
        if parcel is not None:
            parcel.store_first()
    elif queues_count > 1:
        has_ledger = parcel is not None and parcel.publication.share(queues_count)
        headers[SHARED] = queues_count if has_ledger else 0


def address(queue: str, message: dict[str, Any], kept_seconds: int) -> None:
    """Add the deduplication id, for a FIFO queue, or the delay until the ETA, for any other.

    Args:
        queue: Kombu's name.
        message: to be sent.
        kept_seconds: longest wait for an ETA that is left to the worker.
    """
    properties = message.setdefault("properties", {})
    if queue.endswith(SQS_FIFO_SUFFIX):
        if content := deduplication_id(message):  # else Kombu's own, a random one
            properties.setdefault("MessageDeduplicationId", content)
    elif delay := delay_seconds(message.get("headers"), kept_seconds):
        properties.setdefault("DelaySeconds", delay)
