"""Tasks with an ETA: their messages return to SQS until then, so that no worker has to keep them.

SQS hides a message for at most 12 hours, and counts each delivery. A message is hidden until its ETA if that
is near enough. If it is not, or if the message was delivered before, the message *hops*: it is sent again
with a new count, and the old one is deleted once the new one is there.
"""

from typing import Any

from pipeline.aws.limits import SQS_FIFO_SUFFIX, SQS_VISIBILITY_LIMIT_SECONDS
from pipeline.telemetry import log_lines
from pipeline.transport.delay import remaining_seconds
from pipeline.worker.republish import is_broadcast, resend

logger = log_lines.logger(__name__)

HELD_SECONDS = 10
"""Longest wait that is left to the worker's own timer: a call of SQS would save nothing."""

HIDDEN_SECONDS = SQS_VISIBILITY_LIMIT_SECONDS - 300
"""Longest that a message is hidden here: 5 minutes less than SQS allows, to be sure."""


def put_off(app: Any, message: Any) -> bool:
    """Give a message back until its ETA, and say whether that was done. Never raises.

    Runs in the worker's main process, for messages of our SQS transport; others Celery keeps in its timer.
    FIFO queues are left to Celery too: a message that is sent again would lose its place. So are broadcasts,
    whose queues keep a message for a minute.
    """
    remaining = remaining_seconds(message.headers)
    queue = message.delivery_info.get("sqs_queue", "")
    if remaining <= HELD_SECONDS or not queue or queue.endswith(SQS_FIFO_SUFFIX) or is_broadcast(message):
        return False
    if remaining <= HIDDEN_SECONDS and message.receive_count == 1:
        return bool(message.hide(int(remaining)))
    return _hop(app, message)


def _hop(app: Any, message: Any) -> bool:
    try:
        resend(app, message, message.headers)
    except Exception:
        # Then it stays in the worker, which extends it: nothing is lost.
        logger.exception("message not put off", extra={"task_id": message.headers.get("id")})
        return False
    message.settles_later = True
    message.ack_log_error(logger, (Exception,))
    return True
