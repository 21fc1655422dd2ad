"""Handles tasks whose pool process was lost while they ran: killed, out of memory, or ended by itself.

Part of :class:`~pipeline.worker.request.RequestMixin`, in the worker's main process. Celery gives such a
message back (``task_reject_on_worker_lost``), as the next process may run it. A task that kills each of
them would end in the dead-letter queue without a result, so the last delivery records one.
Source: celery 5.7.0, ``worker/request.py`` (``on_failure``, ``_retry_worker_lost``).
"""

from typing import Any

from celery import signals
from celery.exceptions import Reject, Retry, WorkerLostError
from celery.worker import state

from pipeline.claimcheck.claim import is_young
from pipeline.deferred.body import deferred_in
from pipeline.results import RESULT, ResultMeta
from pipeline.telemetry import log_lines
from pipeline.worker.celery_fixes.hidden_results import NOT_SHOWN
from pipeline.worker.rejection import RejectionMixin, error_of
from pipeline.worker.republish import next_attempt, republish_message

logger = log_lines.logger(__name__)


class LostChildMixin(RejectionMixin):
    """Handles a ``WorkerLostError``."""

    def _is_lost_for_good(self, exc_info: Any) -> bool:
        """Return whether a process was lost on the last delivery that SQS allows.

        A cold shutdown ends the processes itself, so it does not count.
        """
        return bool(
            isinstance(error_of(exc_info), WorkerLostError)
            and self.task.acks_late
            and self.task.reject_on_worker_lost
            and not self.task.retry_on_worker_lost
            and getattr(self._message, "is_dead_next", False)  # our SQS transport's
            and not state.should_terminate
            and not self._success_was_stored()
        )

    def _success_was_stored(self) -> Any:
        """Return what the result backend keeps of a task that has succeeded, or ``False``.

        Celery takes the result from it, to show the beginning. One that is in the store stays there: this
        process reads no payload, and a read that fails would run the task again.
        """
        meta = super()._success_was_stored()
        return {RESULT: NOT_SHOWN} if isinstance(meta, ResultMeta) else meta

    def _record_loss(self, exc_info: Any) -> None:
        """Record the failure, call errbacks, and reject the message towards the dead-letter queue."""
        error = WorkerLostError(
            f"delivered {self._message.receive_count} times without an end [task={self.name}, id={self.id}]: "
            f"it probably kills its worker; the last time: {error_of(exc_info)}; "
            "find the cause before you redrive it"
        )
        self._reject_unrun(Reject(error, requeue=False), exc_info)

    def _retry_worker_lost(self, exc: Any, exc_info: Any) -> bool:
        """Retry a task whose child was lost (``retry_on_worker_lost``), and say whether that was done.

        Celery would call the task anew, and for that read and store its payload in this process. The message
        that is here does as well, as one attempt more.
        """
        deferred = deferred_in(self._payload)
        delay_seconds = self.task.default_retry_delay or 0
        if deferred is None or (deferred.claim and not is_young(deferred.claim, delay_seconds)):
            return bool(super()._retry_worker_lost(exc, exc_info))
        reason = Retry(exc=exc, when=delay_seconds)
        try:
            republish_message(self._app, self._message, next_attempt(self._message.headers, reason.when))
        except Exception:
            logger.exception("task not retried, though its process was lost", extra=self._log_fields())
            return False
        self._rejected = True  # its payload is the retry's now
        self._report_retry(reason, exc_info)
        return True

    def _report_retry(self, reason: Retry, exc_info: Any) -> None:
        """Report a retry to result backend, monitors and signals, as Celery does if a child was lost."""
        task, context = self.task, self._context
        if self.store_errors:
            with self._recording():
                task.backend.mark_as_retry(self.id, reason.exc, exc_info.traceback, request=context)
        if task.acks_late:
            self.acknowledge()
        self.send_event("task-retried", exception=repr(reason.exc), traceback=exc_info.traceback)
        task.request_stack.push(context)
        try:
            task.on_retry(reason.exc, self.id, self.args, self.kwargs, exc_info)
            signals.task_retry.send(sender=task, request=context, reason=reason, einfo=exc_info)
        finally:
            task.request_stack.pop()
        logger.info("task retried: %s", reason, extra=self._log_fields())


def recorded_loss(app: Any, task_id: str) -> str:
    """Return what a worker has recorded of a task that was lost for good; empty if it has not.

    One read of the result backend, in any process. Never raises.
    """
    try:
        result = app.backend.get_task_meta(task_id)["result"]
    except Exception:  # noqa: BLE001 - no backend, or one that does not answer: then nobody knows
        return ""
    return str(result) if isinstance(result, WorkerLostError) else ""
