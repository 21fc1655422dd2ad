"""What is added to a message before Kombu sends it."""

from typing import Any

from pipeline.aws.limits import SQS_FIFO_SUFFIX
from pipeline.claimcheck.headers import SHARED
from pipeline.transport.addressing import deduplication_id
from pipeline.transport.delay import delay_seconds


def mark_shared(message: dict[str, Any], *, is_shared: bool) -> None:
    """Mark a task in its headers if several queues receive a copy of it.

    A retry has the headers of the attempt before it, so an old mark is removed.
    """
    headers = message["headers"]
    headers.pop(SHARED, None)
    if is_shared:
        headers[SHARED] = True


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
