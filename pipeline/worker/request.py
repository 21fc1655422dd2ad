"""Follows one delivery to its end, in the worker's main process.

``Task.Request`` is Celery's seam there: it acknowledges and rejects, and is called on success, failure,
retry, revocation and timeout. This mixin precedes whatever request class a task names.
Source: celery 5.7.0, ``worker/request.py`` (``Request``, ``create_request_cls``).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from celery import states
from kombu.utils.objects import cached_property

from pipeline.claimcheck import ledger
from pipeline.claimcheck.claim import Claim
from pipeline.claimcheck.headers import SEE_ARGS, SHARED
from pipeline.claimcheck.packs import ranges
from pipeline.deferred import child_pipe, signatures
from pipeline.deferred.body import deferred_in
from pipeline.deferred.child_pipe import reuses
from pipeline.errors import PayloadTooLargeError, PipelineError
from pipeline.telemetry import log_lines
from pipeline.telemetry.delivery_info import QUEUE_NAME
from pipeline.worker.celery_fixes.hidden_results import shown
from pipeline.worker.ended import IsNeeded, not_needed
from pipeline.worker.lost_children import LostChildMixin
from pipeline.worker.rejection import hard_time_limit, is_hard_time_limit, rejection
from pipeline.worker.releaser import Releaser
from pipeline.worker.republish import is_shared, origin, sqs_queue

logger = log_lines.logger(__name__)

SHOWN_BYTES = 1_024
"""Most that arguments may take for ``inspect`` to show them: a reply is one message, and Celery's own text of
arguments has that length as well. Source: celery 5.7.0, ``app/amqp.py``, ``argsrepr_maxsize``."""

LAST_EVENTS = frozenset({"task-succeeded", "task-failed", "task-retried"})
"""The last event of an attempt. Monitors show the arguments that it carries."""

UNFINISHED = frozenset({states.RETRY, states.STARTED})
"""States that Celery may store over a SUCCESS."""


class GivenBackError(Exception):
    """Keeps a thread from running a task whose message this worker has given back."""


class RequestMixin(LostChildMixin):
    """Queues a payload for release once its task will not run again, and only then."""

    releaser: Releaser
    on_success: Callable[..., None]

    def __init__(self, message: Any, **options: Any) -> None:
        super().__init__(message, **options)
        self._rejected = False
        self._over = self._is_retried = False
        self._given_back = False
        self._unbegun: bool | None = None
        self._is_recording = self._is_done_with = self._has_succeeded = False
        self._starting = Lock()
        self._delivery_info |= origin(message)
        if hasattr(message, "settles_later"):  # our SQS transport's
            message.settles_later = bool(self.task.acks_late)
        # Celery makes a subclass per task whose on_success calls nothing above it, and takes the bound
        # method from the instance: this is the only place to stand in between.
        self._report_success = self.on_success
        self.on_success = self._succeeded

    def _succeeded(self, *args: Any, **kwargs: Any) -> None:
        self._report_success(*args, **kwargs)
        self._has_succeeded = True
        self._end()

    def on_failure(
        self,
        exc_info: Any,
        send_failed_event: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        return_ok: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        """Handle failure, retry, rejection, ignore, termination and a lost worker: all come here.

        So does a hard time limit on prefork. There ``on_timeout`` comes next and is the end: until then hooks
        may look at the arguments, and the child lives and may publish a retry.
        """
        is_limit = is_hard_time_limit(exc_info) and not return_ok
        with self._ending(goes_on=is_limit), self._recorded_first(here=not return_ok):
            reject = rejection(exc_info)
            if reject is not None:
                self._reject_unrun(reject, exc_info)
            elif self._is_lost_for_good(exc_info):
                self._record_loss(exc_info)
            elif not (is_limit and self._is_rejected_unbegun(exc_info)):
                super().on_failure(exc_info, send_failed_event, return_ok)

    def on_retry(self, exc_info: Any) -> None:
        """Handle a retry: it has what its door deletes at the end, as Celery copies headers."""
        self._is_retried = True
        super().on_retry(exc_info)

    def on_timeout(self, soft: bool, timeout: float) -> None:  # noqa: FBT001 - Celery's signature
        """Handle a time limit; the hard one is the end. Prefork has called ``on_failure``, gevent has not."""
        if soft:
            super().on_timeout(soft, timeout)
            return
        with self._ending():
            if not self._is_rejected_unbegun(hard_time_limit(timeout)):
                super().on_timeout(soft, timeout)

    @contextmanager
    def _ending(self, *, goes_on: bool = False) -> Iterator[None]:
        """End the execution after the block, unless it continues, even if its end could not be recorded.

        A result backend may fail for a moment. A message that is unsettled then returns to the queue, as
        the heartbeat would hide it for hours.
        """
        try:
            yield
        except Exception as exc:
            self.reject(requeue=True)  # does nothing if it was acknowledged or rejected
            if isinstance(exc, MemoryError):  # with which Celery ends the worker
                raise
            logger.exception("end of the task not recorded, message given back", extra=self._log_fields())
        finally:
            if not goes_on:
                self._end()

    @contextmanager
    def _recorded_first(self, *, here: bool) -> Iterator[None]:
        """Delay the acknowledgement until the block ends, if this process records the task's end in it.

        Celery acknowledges first. If recording then fails, the message is deleted and its result is lost.
        """
        self._is_recording = here
        try:
            yield
        finally:
            self._is_recording = False
        if self._is_done_with:
            self.acknowledge()

    def acknowledge(self) -> None:
        """Acknowledge the message, at once or when its end is recorded."""
        if self._is_recording:
            self._is_done_with = True
        else:
            super().acknowledge()

    def _is_rejected_unbegun(self, exc_info: Any) -> bool:
        """Reject a task whose time limit passed while it waited for the store; return whether it did.

        It is decided once, as the task may stop waiting between two reports of one limit.
        """
        if self._unbegun is None:
            self._unbegun = reuses.is_waiting(self.id)
            if self._unbegun:
                self._reject_unrun(self._out_of_time(), exc_info)
        return self._unbegun

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        """Note that a pool runs the task.

        Raises:
            GivenBackError: the message was returned to the queue; a pool of threads then runs nothing.
        """
        with self._starting:
            if self._given_back:
                raise GivenBackError(f"task {self.id} not run: its message was given back to the queue")
            self._message.started = True
        super().on_accepted(pid, time_accepted)

    def give_back(self) -> bool:
        """Keep the task from running, and return whether its message may go to another worker.

        It may not once a pool runs the task. Only our SQS transport supports this.
        """
        with self._starting:
            self._given_back = hasattr(self._message.channel, "give_back") and not self._message.started
        return self._given_back

    def _announce_revoked(self, *args: Any, **kwargs: Any) -> None:
        with self._ending():
            super()._announce_revoked(*args, **kwargs)

    def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002 - Celery's name
        """Send an event without the result's text; the last one carries the rehydration time."""
        if type in LAST_EVENTS and (seconds := reuses.seconds_of(self.id)) is not None:
            what = str(self.argsrepr).removesuffix(">")
            fields.update(args=f"{what}, rehydrated in {seconds:.3f} s>", kwargs=SEE_ARGS)
        if "result" in fields:
            fields["result"] = shown(fields["result"])
        super().send_event(type, **fields)

    def info(self, safe: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 - Celery's signature
        """Describe the task for ``inspect``: its arguments if they are small, or their size and key."""
        deferred = deferred_in(self._payload)
        described: dict[str, Any] = super().info(safe=safe or deferred is not None)
        delivery = described["delivery_info"]
        described["delivery_info"] = {name: delivery[name] for name in delivery if name != QUEUE_NAME}
        inline = deferred.payload if deferred is not None and deferred.claim is None else None
        if deferred and inline and inline.expanded_bytes <= SHOWN_BYTES and not safe:
            described["args"], described["kwargs"] = deferred.stored()
        return described

    def reject(self, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - Celery's signature
        """Reject the message: it will be delivered again or dead-lettered, so its payload stays."""
        self._rejected = self._rejected or not self.acknowledged
        super().reject(requeue)

    def _end(self) -> None:
        deferred = deferred_in(self._payload)
        removes = getattr(self._message, "removes", None)  # a door's, of our SQS transport
        if self._over or self._rejected or (deferred is None and removes is None):
            return
        self._over = True
        if deferred is not None and deferred.claim is not None:
            self._end_payload(deferred.claim)
        if removes is not None and not self._is_retried:
            self.releaser.ended(self._message, removes)
        for share in deferred.shares if deferred is not None else ():
            mark = child_pipe.member_mark(self.request_dict, share.key)
            if not reuses.holds(mark) and ledger.is_ours(self.releaser.claimcheck, share):
                self._end_member(share.key, ledger.member(self.id, self._member_queue))

    def _end_payload(self, claim: Claim) -> None:
        if is_shared(self._message):
            if self._message.headers.get(SHARED):  # the payload has a ledger
                self._end_counted(claim)
            return
        attempt = self.request_dict.get("retries") or 0
        if reuses.holds(child_pipe.mark(self.id, attempt, claim.key)):
            return
        if claim.offset is not None:
            self._end_counted(claim)
            return
        self.releaser.ended(self._message, claim, self._is_needed())

    def _end_counted(self, claim: Claim) -> None:
        if self.releaser.claimcheck.owns(claim):
            member = ranges.member(claim, self.id, self._member_queue)
            self._end_member(claim.key, member, in_pack=claim.offset is not None)

    def _end_member(self, key: str, member: bytes, *, in_pack: bool = False) -> None:
        self.releaser.member_ended(self._message, key, member, self._is_needed(), in_pack=in_pack)

    def _is_needed(self) -> IsNeeded:
        """Return what decides later whether another attempt needs the payload."""
        may_be = self.request_dict.get("retries") and self._has_succeeded and not self.ignore_result
        return self._is_retried_again if may_be else not_needed

    def _is_retried_again(self) -> bool:
        """Return whether the result backend takes a retry that succeeded for one that is to come, or runs.

        A first attempt that ran twice, as SQS delivered it twice, has published two retries with one payload.
        Celery keeps a SUCCESS that it finds when it stores RETRY or STARTED, but one that is stored just
        after it looked is lost. The other retry will store it again, for which it needs the payload.
        Source: celery 5.7.0, ``backends/base.py`` (``KeyValueStoreBackend._store_result``). Nobody but the
        producer can look up a result of ``rpc://`` (``worker/request.py``, ``_success_was_stored``).
        """
        backend = self.task.backend
        try:
            meta = {} if backend.as_uri() == "rpc://" else backend.get_task_meta(self.id, cache=False)
        except Exception:  # noqa: BLE001 - no backend, or one that does not answer: then nobody waits for it
            return False
        return meta.get("status") in UNFINISHED

    @property
    def _member_queue(self) -> str:
        """The queue that a member is counted for, if its message went to several."""
        return sqs_queue(self._message) if is_shared(self._message) else ""

    @cached_property
    def _context(self) -> Any:
        """The task's context, as the result backend wants it when a failure is reported from here."""
        self._attach_links()
        return super()._context

    def _attach_links(self) -> None:
        """Complete signatures whose arguments are in the payload: the only read of one outside a task.

        It happens when a task with such links is revoked, lost or timed out; see ``deferred/signatures.py``.
        A payload in the message is read only if it is small: no message makes this process decode much.
        """
        embed = self._payload[2]
        deferred = deferred_in(self._payload)
        if deferred is None or not signatures.is_bare(embed):
            return
        try:
            if deferred.claim is None and not deferred.is_small:
                raise PayloadTooLargeError(
                    f"their arguments are among {deferred!r}, too many for this process"
                )
            deferred.load()
        except PipelineError as exc:
            embed["errbacks"] = None  # an errback without its arguments must not be called
            logger.error(  # noqa: TRY400 - the sentence says all
                "errbacks not called: %s", exc, extra=self._log_fields()
            )
