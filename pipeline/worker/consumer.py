"""Validates each message before Celery makes a task of it, and rejects what is not a task.

Celery's own consumer acknowledges what it cannot decode, and some unexpected messages end it. This mixin
precedes the consumer class that the worker would use. Runs in the worker's main process.
Source: celery 5.7.0, ``worker/consumer/consumer.py`` and ``worker/strategy.py``.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from celery import signals
from celery.worker.state import active_requests, reserved_requests, scheduled_requests
from kombu.asynchronous import set_event_loop

from pipeline.metrics.recorder import Recorder
from pipeline.metrics.table import MESSAGES_REJECTED, MESSAGES_WITHOUT_TASK
from pipeline.telemetry import log_lines
from pipeline.transport import Message, Transport
from pipeline.worker.eta import TIMER_SECONDS, postpone
from pipeline.worker.republish import label
from pipeline.worker.validation import drop_hiding_headers, examine, make_ids_texts

if TYPE_CHECKING:
    from celery.worker.consumer import Consumer
else:
    Consumer = object  # a mixin is not a subclass

logger = log_lines.logger(__name__)

NOT_VALID = "task not run, its message is not valid, and %s: %s"


class ConsumerMixin(Consumer):
    """Rejects messages that are not tasks, and returns those whose ETA is far to SQS."""

    recorder: Recorder
    timer_seconds: float = TIMER_SECONDS
    """Longest wait for an ETA that is not left to SQS."""

    def connect(self) -> Any:
        """Connect, also after a lost connection; with our SQS transport, count what it reports."""
        connection = super().connect()
        if isinstance(connection.transport, Transport):
            connection.transport.recorder = self.recorder
            connection.transport.spare_slots = self._spare_slots
        return connection

    def _spare_slots(self) -> int:
        """Return how many prefetch slots are there beyond one for each process of the pool."""
        count: int = self.initial_prefetch_count
        multiplier: int = max(self.prefetch_multiplier, 1)
        return count - count // multiplier

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Any], None]:
        """Return what is called with each message."""
        handle = super().create_task_handler(*args, **options)

        def on_task_received(message: Any) -> None:
            if getattr(message, "is_empty", False):
                self._delete_empty(message)
                return
            if fault := examine(message).fault:
                self._reject(message, fault)
                signals.task_rejected.send(sender=self, message=message, exc=None)
                return
            make_ids_texts(message)
            drop_hiding_headers(message)
            keep = partial(self.call_soon, self._handle, handle, message)
            if not postpone(self.app, message, keep, self.timer_seconds):
                self._handle(handle, message)

        return on_task_received

    def _handle(self, handle: Callable[[Any], None], message: Any) -> None:
        try:
            handle(message)
        except (*self.connection_errors, *self.channel_errors):
            raise
        except Exception as exc:  # noqa: BLE001 - it would end the worker, and the next that gets the message
            self.on_unprocessed(message, exc)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Reject a message that cannot be read, towards the dead-letter queue; Celery would delete it."""
        # The error's own text may quote the message.
        self._reject(message, getattr(message, "fault", "") or type(exc).__name__)

    def on_unprocessed(self, message: Any, exc: Exception) -> None:
        """Reject a message whose task did not get to the pool, whatever was raised on the way."""
        if message.acknowledged:
            logger.error(
                "handling of a message failed after it was acknowledged or rejected: %s",
                type(exc).__name__,
                extra=_log_fields(message),
            )
        else:
            self.on_decode_error(message, exc)

    def _reject(self, message: Any, why: str) -> None:
        self._mark_rejected(message)
        logger.error(NOT_VALID, _outcome(message), why, extra=_log_fields(message))
        message.reject_log_error(logger, self.connection_errors)

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:  # noqa: ARG002 - it is not shown
        """Reject a task that is not registered here; a newer worker may have it."""
        self._mark_rejected(message)
        logger.error(
            "task not run, it is not registered in this worker, and %s; import its module here, or route "
            "it elsewhere",
            _outcome(message),
            extra=_log_fields(message),
        )
        super().on_unknown_task(_placeholder(message), message, exc)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:  # noqa: ARG002 - it is not shown
        """Reject a task whose message contradicts itself."""
        self._mark_rejected(message)
        logger.error(NOT_VALID, _outcome(message), exc, extra=_log_fields(message))
        super().on_invalid_task(_placeholder(message), message, exc)

    def _delete_empty(self, message: Any) -> None:
        """Delete a message in which its door has found nothing to do."""
        self.recorder.record(MESSAGES_WITHOUT_TASK, queue=label(message))
        logger.info("message deleted, it holds nothing for a task", extra=_log_fields(message))
        message.settles_later = True
        message.ack_log_error(logger, self.connection_errors)

    def _mark_rejected(self, message: Any) -> None:
        message.is_rejected = True  # our SQS transport deletes no such message
        self.recorder.record(MESSAGES_REJECTED, queue=label(message))

    def on_close(self) -> None:
        """Return to SQS what no pool has started: Celery drops it here, and the heartbeat would hide it."""
        waiting = {*scheduled_requests, *(set(reserved_requests) - set(active_requests))}
        super().on_close()
        # A task that was registered after this worker's start has Celery's own Request.
        given_back = [it.message for it in waiting if getattr(it, "give_back", bool)()]
        for channel in {message.channel for message in given_back}:
            # All at once: a call for each would take longer than a worker is given to stop.
            channel.give_back([it.delivery_tag for it in given_back if it.channel is channel])

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Keep the messages that a pool has started: they can be settled without the old connection.

        The next channel receives through the event loop that Kombu names. Celery resets the worker's, which
        makes Kombu forget it, and names it again only when a worker starts: without that nothing is received.
        Source: celery 5.7.0, ``worker/loops.py`` (``asynloop``), ``worker/components.py`` (``Hub.create``);
        kombu 5.7.0, ``asynchronous/hub.py`` (``Hub._close``), ``transport/SQS/__init__.py``.
        """
        if self.hub is not None:
            set_event_loop(self.hub)
        if not self.app.conf.worker_cancel_long_running_tasks_on_connection_loss:
            for channel in {request.message.channel for request in tuple(active_requests)}:
                getattr(channel, "keep_started", bool)()
        super().on_connection_error_after_connected(exc)


def _outcome(message: Any) -> str:
    """Return what happens to a rejected message, as a sentence for the log."""
    if isinstance(message, Message):
        return "its message goes back to the queue, towards its dead-letter queue"
    return "its message is rejected, which deletes it on most brokers"


def _log_fields(message: Any) -> dict[str, Any]:
    return {
        "queue": label(message),
        "message_id": message.delivery_info.get("sqs_message", {}).get("MessageId"),
        "content_type": message.content_type,
        "task_id": message.headers.get("id"),
        "task_name": message.headers.get("task"),
    }


def _placeholder(message: Any) -> str:
    """Return what Celery logs in place of a body, which holds the task's arguments."""
    return f"<{len(message.body or '')} bytes of {message.content_type}>"
