"""Returns the message of a task with an ETA to SQS until then, so that no worker keeps it.

SQS hides a message for at most 12 hours, and counts each delivery. A message is hidden until its ETA if that
is near enough. If it is not, or if the message was delivered before or would be a dead letter at its next
delivery, the message *hops*: it is sent again with a new count, and the old one is deleted once the new one
is there.
"""

from typing import Any

from pipeline.aws.limits import SQS_FIFO_SUFFIX, SQS_VISIBILITY_LIMIT_SECONDS
from pipeline.telemetry import log_lines
from pipeline.transport.delay import remaining_seconds
from pipeline.worker.republish import is_broadcast, republish_message

logger = log_lines.logger(__name__)

TIMER_SECONDS = 10
"""Longest wait that the worker's own timer keeps. Below it, an SQS call saves nothing."""

HIDDEN_SECONDS = SQS_VISIBILITY_LIMIT_SECONDS - 300
"""Longest time to hide a message: 5 minutes less than SQS allows, as a margin."""


def postpone(app: Any, message: Any, timer_seconds: float = TIMER_SECONDS) -> bool:
    """Return a message to SQS until its ETA, and return whether that was done. Never raises.

    Runs in the worker's main process, for messages of our SQS transport; Celery's timer keeps all others.
    It also keeps those of FIFO queues, where a message that is published again loses its place, and
    broadcasts, whose queues keep a message for a minute.

    Args:
        app: the Celery app.
        message: not acknowledged yet.
        timer_seconds: longest wait that the timer keeps.
    """
    remaining = remaining_seconds(message.headers)
    queue = message.delivery_info.get("sqs_queue", "")
    if remaining <= timer_seconds or not queue or queue.endswith(SQS_FIFO_SUFFIX) or is_broadcast(message):
        return False
    if remaining <= HIDDEN_SECONDS and message.receive_count == 1 and not message.is_dead_next:
        return bool(message.hide(int(remaining)))
    return _republish(app, message)


def _republish(app: Any, message: Any) -> bool:
    try:
        republish_message(app, message, message.headers)
    except Exception:
        # It stays in the worker, which extends its visibility timeout.
        logger.exception("message not postponed", extra={"task_id": message.headers.get("id")})
        return False
    message.settles_later = True
    message.ack_log_error(logger, (Exception,))
    return True
