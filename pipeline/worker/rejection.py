"""Rejects a task that could not run: its payload could not be read, or the same call is in progress.

The task function has not started, so this is not a failure of the task. The message returns to the queue,
or goes to the dead-letter queue. Part of :class:`~pipeline.worker.request.RequestMixin`, in the worker's
main process.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from celery import signals, states
from celery.exceptions import Reject, TimeLimitExceeded
from celery.worker.state import task_ready

from pipeline.aws.limits import SQS_VISIBILITY_LIMIT_SECONDS
from pipeline.deferred.body import deferred_in
from pipeline.deferred.soft_time_limit import out_of_time
from pipeline.errors import PipelineError, RevokedWhileWaitingError
from pipeline.telemetry import log_fields, log_lines
from pipeline.telemetry.delivery_info import queue_of
from pipeline.transport import certainly_not_sent
from pipeline.worker.republish import republish_message, with_eta
from pipeline.worker.validation import REPUBLISHED

if TYPE_CHECKING:
    from celery.worker.request import Request
else:
    Request = object  # what stands in front of a class is not one of its kind

logger = log_lines.logger(__name__)

REPUBLISH_LIMIT = 20
"""How often a message is published again before its task is recorded as failed. It limits what SQS's
maxReceiveCount limits for messages that SQS still has. Each attempt retries the store for
``store_retry_seconds``."""

HIDDEN_SECONDS = SQS_VISIBILITY_LIMIT_SECONDS - 300
"""Longest time to hide a message: 5 minutes less than SQS allows, as a margin."""

IN_PROGRESS_SECONDS = 10
"""Longest ETA of a message that is published again because its call is in progress."""

SOON = 2
"""How many deliveries of a message return at once while its call is in progress. Later ones wait until that
call must have ended."""


class RejectionMixin(Request):
    """Handles a ``Reject`` that a deferred body or ``@idempotent`` has raised."""

    _rejected: bool

    def _reject_unrun(self, reject: Reject, exc_info: Any) -> None:
        """Handle a task that did not run: record it as failed, publish it again, or return its message."""
        if isinstance(reject.reason, RevokedWhileWaitingError):
            self._announce_revoked("revoked", terminated=False, signum=None, expired=False)
            return
        task_ready(self)
        if not reject.requeue:
            self._fail(reject.reason, exc_info)
        elif self.acknowledged:
            self._republish(reject.reason, exc_info)
        elif not self._hide_while_in_progress(reject.reason):
            self.reject(requeue=True)

    def _out_of_time(self) -> Reject:
        """Return the rejection of a task whose time limit passed while it waited for the store."""
        error = out_of_time(f"task not begun [{deferred_in(self._payload)!r}]", "hard")
        logger.warning("task given back: %s", error, extra=self._log_fields())
        return Reject(error, requeue=True)

    def _hide_while_in_progress(self, error: PipelineError) -> bool:
        """Hide the message until the delivery that runs now must have ended. Only SQS can.

        The first deliveries are not hidden, as the other one mostly is about to end.
        """
        seconds = getattr(error, "free_in_seconds", 0.0)
        if seconds and getattr(self._message, "receive_count", 0) > SOON:
            self._rejected = self._message.hide(min(math.ceil(seconds), HIDDEN_SECONDS))
            self.acknowledged = self._rejected  # it is not ours any more, to be cancelled with its process
        return self._rejected

    def _fail(self, error: Exception, exc_info: Any) -> None:
        """Record why the task cannot run, and reject its message towards the dead-letter queue.

        As Celery does for a ``Reject``, but with the error itself as the result, so that
        ``AsyncResult.get()`` raises it.
        """
        with self._recording():
            if self._is_due():
                self.task.backend.mark_as_failure(
                    self.id, error, request=self._context, store_result=self.store_errors
                )
        signals.task_failure.send(
            sender=self.task,
            task_id=self.id,
            exception=error,
            args=self.args,
            kwargs=self.kwargs,
            traceback=exc_info.traceback,
            einfo=exc_info,
        )
        self.send_event("task-failed", exception=repr(error), traceback=exc_info.traceback)
        logger.error("task rejected: %s", error, extra=self._log_fields())
        self.reject(requeue=False)

    @contextmanager
    def _recording(self) -> Iterator[None]:
        """Log what a result backend raises; the message does not wait until the backend works again."""
        try:
            yield
        except Exception:
            logger.exception("what became of the task is not recorded", extra=self._log_fields())

    def _is_due(self) -> bool:
        """Return whether this delivery records the failure and calls the errbacks.

        With stored results, the first delivery that fails does. Without, the last one does: an earlier
        receive may have been a postponement or a return to the queue.
        """
        try:
            state = self.task.backend.get_state(self.id)
        except Exception:  # noqa: BLE001 - no backend, or it does not answer
            state = None
        if self.store_errors and state is not None:
            return bool(state != states.FAILURE)
        return self.acknowledged or getattr(self._message, "is_last_delivery", True)  # our SQS transport's

    def _republish(self, error: PipelineError, exc_info: Any) -> None:
        """Publish the same message again: with early acknowledgement the first one is deleted already.

        This repeats until a call in progress has ended. For any other reason it has a limit.
        """
        headers = self._message.headers
        sent, seconds = headers.get(REPUBLISHED) or 0, getattr(error, "free_in_seconds", 0.0)
        if sent >= REPUBLISH_LIMIT:
            self._fail(error, exc_info)
            return
        again = (
            with_eta(headers, min(seconds, IN_PROGRESS_SECONDS))
            if seconds
            else {**headers, REPUBLISHED: sent + 1}
        )
        try:
            republish_message(self._app, self._message, again)
        except Exception as exc:
            logger.exception("message not published again", extra=self._log_fields())
            self._fail(error, exc_info)
            self._rejected = not certainly_not_sent(exc)  # it may have arrived, and then needs its payload
        else:
            self._rejected = True

    def _log_fields(self) -> dict[str, Any]:
        deferred = deferred_in(self._payload)
        about = log_fields.of_message(self.request_dict, queue_of(self.delivery_info))
        return about | log_fields.of_payload(deferred.payload if deferred else None)


def rejection(exc_info: Any) -> Reject | None:
    """Return the ``Reject`` that a deferred body raised, or ``None`` for any other outcome of a task."""
    exc = error_of(exc_info)
    ours = isinstance(exc, Reject) and isinstance(exc.reason, PipelineError)
    return exc if ours else None


def is_hard_time_limit(exc_info: Any) -> bool:
    """Return whether a hard time limit ended the task."""
    return isinstance(error_of(exc_info), TimeLimitExceeded)


def hard_time_limit(seconds: float) -> Any:
    """Return what prefork reports when a hard time limit ends a task; gevent reports nothing."""
    try:
        raise TimeLimitExceeded(seconds)  # noqa: TRY301 - for its traceback
    except TimeLimitExceeded:
        return ExceptionInfo()


def error_of(exc_info: Any) -> BaseException:
    """Return the error in what a pool reports about a task."""
    exc: BaseException = exc_info.exception
    return exc.exc if isinstance(exc, ExceptionWithTraceback) else exc
