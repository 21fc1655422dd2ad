"""The task that publishes the calls of one message as a message each, on the queue that it came from.

A message settles as a whole, and tasks do not: each call needs a message of its own. If a worker dies or SQS
fails half-way, the message is delivered again, and the calls are published again under the same ids.
"""

from collections.abc import Sequence
from typing import Any

from celery.exceptions import Reject

from pipeline.publisher.batches import batch
from pipeline.telemetry import log_fields, log_lines
from pipeline.telemetry.delivery_info import queue_of

logger = log_lines.logger(__name__)

SPLIT = "claimcheck.split"
"""Name of the task."""


def split(self: Any, calls: Sequence[Sequence[Any]]) -> None:
    """Publish calls: each is ``[task_id, task, args, kwargs, headers]``.

    Raises:
        celery.exceptions.Reject: not all were published; SQS delivers the message again, or moves it to the
            dead-letter queue.
    """
    queue = queue_of(self.request.delivery_info)
    group = (self.request.properties or {}).get("MessageGroupId")
    options = {"queue": queue, **({"MessageGroupId": group} if group else {})}
    try:
        with batch():
            for task_id, name, args, kwargs, headers in calls:
                self.app.send_task(name, args, kwargs, task_id=task_id, headers=headers, **options)
    except Exception as exc:
        fields = log_fields.of_message(self.request, queue)
        logger.warning("calls not published, message given back: %s", type(exc).__name__, extra=fields)
        raise Reject(exc, requeue=True) from exc


def register(app: Any) -> None:
    """Register the task with an app. Whatever ends it, its message is not lost: it is given back."""
    kept = {"acks_on_failure": False, "acks_on_timeout": False, "reject_on_worker_lost": True}
    app.task(name=SPLIT, bind=True, acks_late=True, ignore_result=True, shared=False, lazy=False, **kept)(
        split
    )
