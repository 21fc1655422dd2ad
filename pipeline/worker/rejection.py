"""What becomes of a task that could not run: its payload was not to be read, or its call is in progress.

Nothing of it has run, so it is no failure of the task's: the message goes back to the queue, or towards the
dead-letter queue. Part of :class:`~pipeline.worker.request.RequestMixin`, in the worker's main process.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from celery import signals, states
from celery.exceptions import Reject, TimeLimitExceeded
from celery.worker.state import task_ready

from pipeline.deferred.deferred import deferred_in, out_of_time
from pipeline.errors import PipelineError, RevokedWhileWaitingError
from pipeline.telemetry import log_fields, log_lines
from pipeline.transport import refused
from pipeline.worker.eta import HIDDEN_SECONDS
from pipeline.worker.republish import later, resend
from pipeline.worker.validation import RESENT

if TYPE_CHECKING:
    from celery.worker.request import Request
else:
    Request = object  # what stands in front of a class is not one of its kind

logger = log_lines.logger(__name__)

RESEND_LIMIT = 20
"""How often a message is sent again before its task is recorded as failed: as SQS's maxReceiveCount does
for messages that it still has. Each time the store was asked for ``store_retry_seconds``."""

AGAIN_SECONDS = 10
"""How long a message waits that is sent again because its call is in progress, unless that ends sooner."""

SOON = 2
"""So often a message whose call is in progress comes again soon; then, when that call must have ended."""


class RefusalMixin(Request):
    """Deals with a ``Reject`` that a deferred body or ``@idempotent`` has raised."""

    _rejected: bool

    def _refuse(self, reject: Reject, exc_info: Any) -> None:
        """Deal with a task that did not run, as its payload could not be read or its call is in progress."""
        if isinstance(reject.reason, RevokedWhileWaitingError):
            self._announce_revoked("revoked", terminated=False, signum=None, expired=False)
            return
        task_ready(self)
        if not reject.requeue:
            self._fail(reject.reason, exc_info)
        elif self.acknowledged:
            self._send_again(reject.reason, exc_info)
        elif not self._hidden(reject.reason):
            self.reject(requeue=True)

    def _out_of_time(self) -> Reject:
        """Return the refusal of a task whose time was up while it waited for the store: nothing has run."""
        error = out_of_time(f"task not begun [{deferred_in(self._payload)!r}]", "hard")
        logger.warning("task given back: %s", error, extra=self._log_fields())
        return Reject(error, requeue=True)

    def _hidden(self, error: PipelineError) -> bool:
        """Give the message back until the delivery that runs now must have ended; SQS alone can.

        Not the first time: mostly the other one is about to end.
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
        logger.error("task refused: %s", error, extra=self._log_fields())
        self.reject(requeue=False)

    @contextmanager
    def _recording(self) -> Iterator[None]:
        """Log what a result backend raises: the message does not wait for it to be there again."""
        try:
            yield
        except Exception:
            logger.exception("what became of the task is not recorded", extra=self._log_fields())

    def _is_due(self) -> bool:
        """Say whether this is the delivery that records the failure and calls the errbacks.

        Where results are stored, it is unless an earlier one has done so. Where none are, it is the last one:
        that a message was received before says nothing, it may have been put off or given back then.
        """
        try:
            state = self.task.backend.get_state(self.id)
        except Exception:  # noqa: BLE001 - no backend, or one that does not answer: then nobody knows
            state = None
        if self.store_errors and state is not None:
            return bool(state != states.FAILURE)
        return self.acknowledged or getattr(self._message, "is_last_delivery", True)  # our SQS transport's

    def _send_again(self, error: PipelineError, exc_info: Any) -> None:
        """Send the same message once more: with early acknowledgement the first one is already gone.

        For a call that is in progress that goes on until it has ended; for anything else it has a limit.
        """
        headers = self._message.headers
        sent, seconds = headers.get(RESENT) or 0, getattr(error, "free_in_seconds", 0.0)
        if sent >= RESEND_LIMIT:
            self._fail(error, exc_info)
            return
        again = later(headers, min(seconds, AGAIN_SECONDS)) if seconds else {**headers, RESENT: sent + 1}
        try:
            resend(self._app, self._message, again)
        except Exception as exc:
            logger.exception("message not sent again", extra=self._log_fields())
            self._fail(error, exc_info)
            self._rejected = not refused(exc)  # it may be there all the same, and then needs its payload
        else:
            self._rejected = True

    def _log_fields(self) -> dict[str, Any]:
        deferred = deferred_in(self._payload)
        about = log_fields.of_message(self.request_dict, log_fields.queue_of(self.delivery_info))
        return about | log_fields.of_payload(deferred.payload if deferred else None)


def refusal(exc_info: Any) -> Reject | None:
    """Return the ``Reject`` that a deferred body raised, or ``None`` for any other outcome of a task."""
    exc = error_of(exc_info)
    ours = isinstance(exc, Reject) and isinstance(exc.reason, PipelineError)
    return exc if ours else None


def is_hard_time_limit(exc_info: Any) -> bool:
    """Say whether a task was ended by its hard time limit."""
    return isinstance(error_of(exc_info), TimeLimitExceeded)


def hard_time_limit(seconds: float) -> Any:
    """Return what prefork says of a task that was ended by its hard time limit; gevent says nothing."""
    try:
        raise TimeLimitExceeded(seconds)  # noqa: TRY301 - for its traceback
    except TimeLimitExceeded:
        return ExceptionInfo()


def error_of(exc_info: Any) -> BaseException:
    """Return the error itself of what a pool says about a task."""
    exc: BaseException = exc_info.exception
    return exc.exc if isinstance(exc, ExceptionWithTraceback) else exc
