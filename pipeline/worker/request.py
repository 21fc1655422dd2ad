"""Follows one delivery to its end, in the worker's main process.

``Task.Request`` is Celery's seam there: it acknowledges, rejects, and hears of success, failure, retry,
revocation and time-outs. This mixin goes in front of whatever class a task names there.
Source: celery 5.7.0, ``worker/request.py`` (``Request``, ``create_request_cls``).
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionWithTraceback
from celery import signals
from celery.exceptions import Reject
from kombu.utils.objects import cached_property

from pipeline import links
from pipeline.deferred import deferred_in
from pipeline.errors import PipelineError
from pipeline.worker.releaser import Releaser

if TYPE_CHECKING:
    from celery.worker.request import Request
else:
    Request = object  # what stands in front of a class is not one of its kind

logger = logging.getLogger(__name__)


RESENT = "claimcheck-resent"
RESEND_LIMIT = 20
"""How often a message is sent again before its task is recorded as failed: as SQS's maxReceiveCount does
for messages that it still has. Each time the store was asked for ``store_retry_seconds``."""


class RequestMixin(Request):
    """Hands payloads to the releaser when, and only when, their task will not run again."""

    releaser: Releaser
    on_success: Callable[..., None]

    def __init__(self, message: Any, **options: Any) -> None:
        super().__init__(message, **options)
        self._rejected = False
        self._over = False
        # Celery makes a subclass per task whose on_success calls nothing above it, and takes the bound
        # method from the instance: this is the only place to stand in between.
        self._report_success = self.on_success
        self.on_success = self._succeeded

    def _succeeded(self, *args: Any, **kwargs: Any) -> None:
        self._report_success(*args, **kwargs)
        self._end()

    def on_failure(
        self,
        exc_info: Any,
        send_failed_event: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        return_ok: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        """Handle failure, retry, rejection, ignore, termination and a lost worker: all come here."""
        reject = _rehydration_failure(exc_info)
        if reject is None:
            super().on_failure(exc_info, send_failed_event, return_ok)
        elif not reject.requeue:
            self._fail(reject.reason, exc_info)
        elif self.acknowledged:
            self._send_again(reject.reason, exc_info)
        else:
            self.reject(requeue=True)
        self._end()

    def on_timeout(self, soft: bool, timeout: float) -> None:  # noqa: FBT001 - Celery's signature
        """Handle a time limit; the hard one ends the execution."""
        super().on_timeout(soft, timeout)
        if not soft:
            self._end()

    def _announce_revoked(self, *args: Any, **kwargs: Any) -> None:
        super()._announce_revoked(*args, **kwargs)
        self._end()

    def info(self, safe: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 - Celery's signature
        """Describe the task for ``inspect``; arguments as their representation: main does not read them."""
        facts: dict[str, Any] = super().info(safe=safe or deferred_in(self._payload) is not None)
        return facts

    def reject(self, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - Celery's signature
        """Give the message back: it will be delivered again or dead-lettered, so its payload stays."""
        self._rejected = self._rejected or not self.acknowledged
        super().reject(requeue)

    def _end(self) -> None:
        deferred = deferred_in(self._payload)
        if self._over or self._rejected or deferred is None or deferred.claim is None:
            return
        self._over = True
        self.releaser.ended(self._message, deferred.claim)

    def _fail(self, error: PipelineError, exc_info: Any) -> None:
        """Record why the task cannot run, and reject its message towards the dead-letter queue.

        As Celery does for a ``Reject``, but with the error itself as the result, so that
        ``AsyncResult.get()`` raises it.
        """
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
        logger.error("task refused: %s", error, extra={"task_id": self.id, "task_name": self.name})
        self.reject(requeue=False)

    def _send_again(self, error: PipelineError, exc_info: Any) -> None:
        """Send the same message once more: with early acknowledgement the first one is already gone."""
        headers = self._message.headers
        sent = headers.get(RESENT, 0)
        if sent >= RESEND_LIMIT:
            self._fail(error, exc_info)
            return
        self._rejected = True
        info = self._message.delivery_info
        with self._app.producer_or_acquire() as producer:
            producer.publish(
                self._message.body,
                exchange=info.get("exchange") or "",
                routing_key=info["routing_key"],
                content_type=self._message.content_type,
                content_encoding=self._message.content_encoding,
                headers={**headers, RESENT: sent + 1},
                correlation_id=self.correlation_id,
                reply_to=self.reply_to,
                retry=True,
            )

    @cached_property
    def _context(self) -> Any:
        """The task's context, as the result backend wants it when a failure is reported from here."""
        self._attach_links()
        return super()._context

    def _attach_links(self) -> None:
        """Complete signatures that were too big to travel: the only read of the store outside a task.

        It happens when a task with such links is revoked, lost or timed out; see ``links.py``.
        """
        embed = self._payload[2]
        deferred = deferred_in(self._payload)
        if deferred is None or not links.is_bare(embed):
            return
        try:
            deferred.load()
        except PipelineError as exc:
            embed["errbacks"] = None  # an errback without its arguments must not be called
            logger.error(  # noqa: TRY400 - the sentence says all
                "errbacks not called: %s", exc, extra={"task_id": self.id, "task_name": self.name}
            )


def _rehydration_failure(exc_info: Any) -> Reject | None:
    """Return the ``Reject`` that a deferred body raised, or ``None`` for any other outcome of a task."""
    exc = exc_info.exception
    if isinstance(exc, ExceptionWithTraceback):
        exc = exc.exc
    ours = isinstance(exc, Reject) and isinstance(exc.reason, PipelineError)
    return exc if ours else None
