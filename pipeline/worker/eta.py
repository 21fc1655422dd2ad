"""Returns the message of a task with an ETA to SQS until then, so that no worker keeps it.

A message that is hidden is in flight, and a queue may have 120,000 of those: then it delivers nothing more.
A delayed message is not in flight, and its delay is 15 minutes at most. So a message *hops* from one delay to
the next: it is sent again, and the old one is deleted once the new one is there. The last minute it is
hidden, as that is one call and not three.
"""

from collections.abc import Callable
from typing import Any

from pipeline.aws.limits import SQS_FIFO_SUFFIX
from pipeline.transport.delay import remaining_seconds
from pipeline.transport.hops import Hop
from pipeline.worker.republish import is_broadcast, message_again

TIMER_SECONDS = 10
"""Longest wait that the worker's own timer keeps. Below it, an SQS call saves nothing."""

HIDE_SECONDS = 60
"""Longest wait for which a message is hidden; of those that wait, few are in flight."""


def postpone(
    app: Any, message: Any, keep: Callable[[], object], timer_seconds: float = TIMER_SECONDS
) -> bool:
    """Return a message to SQS until its ETA, and return whether that is under way. Never raises.

    Runs in the worker's main process, for messages of our SQS transport; Celery's timer keeps all others.
    It also keeps those of FIFO queues, where a message that is published again loses its place, and
    broadcasts, whose queues keep a message for a minute.

    Args:
        app: the Celery app.
        message: not acknowledged yet.
        keep: called if SQS does not take the message again: Celery's timer keeps it then.
        timer_seconds: longest wait that the timer keeps.
    """
    remaining = remaining_seconds(message.headers)
    queue = message.delivery_info.get("sqs_queue", "")
    if remaining <= timer_seconds or not queue or queue.endswith(SQS_FIFO_SUFFIX) or is_broadcast(message):
        return False
    if remaining <= HIDE_SECONDS and message.receive_count == 1 and not message.is_dead_next:
        return bool(message.hide(int(remaining)))
    return bool(message.hop(Hop(lambda: message_again(app, message), keep)))
