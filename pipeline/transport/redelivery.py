"""How long a returned message stays hidden: longer with each delivery, with jitter."""

import random
from collections.abc import Mapping
from typing import Any

from pipeline.telemetry import log_lines
from pipeline.transport.envelope import receive_count
from pipeline.transport.in_flight import Delivery, entries
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
    """Let SQS show a message again after ``returned_seconds``, and return whether SQS confirmed that.

    Never raises: the message comes back in any case.
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


def return_batch(batch: list[Delivery], client: Any) -> bool:
    """Let SQS show up to ten messages of one queue again at once, and say whether it answered."""
    wanted = [{**entry, "VisibilityTimeout": 0} for entry in entries(batch)]
    for delivery in batch:
        delivery.returned_seconds = 0
    try:
        client.change_message_visibility_batch(QueueUrl=batch[0].queue_url, Entries=wanted)
    except FAILURES as exc:
        logger.warning("messages not given back", extra={"queue": batch[0].queue, "code": code(exc)})
        return False
    return True
