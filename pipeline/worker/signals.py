"""Records metrics, spans and log lines from Celery's signals.

Which process a signal comes from, read in Celery 5.7.0 and seen on real workers:

- ``task_prerun``, ``task_postrun``, ``task_success``, ``task_retry`` and most ``task_failure``: the
  process that runs the task, that is the pool child on prefork, and the worker's only process, on a
  pool thread or the main one, on threads, gevent and solo (``celery/app/trace.py``).
- ``task_failure`` also in the main process: time limit, lost child, reject without requeue;
  and ``task_retry`` there for a lost child or a cancelled task (``celery/worker/request.py``). The
  running task is then mostly unknown to ``task.request``, and a hard time limit is announced twice.
- ``worker_process_shutdown``: in each prefork child on warm shutdown and at ``maxtasksperchild``,
  and nowhere else, not on threads, gevent and solo (``celery/concurrency/prefork.py``). The main
  process waits for it. ``billiard/pool.py`` then leaves by ``os._exit``: no ``atexit`` in a child.
  A child that exceeds a hard time limit gets SIGTERM, and SIGKILL 0.1 s later
  (``billiard/pool.py``, ``_trywaitkill``): what it had not emitted yet is mostly lost.
- ``worker_shutdown``: in the main process, after the pool has ended and the last acknowledgements
  are sent (``Worker.stop`` in ``celery/worker/worker.py``); not on cold shutdown.
"""

from contextvars import ContextVar
from time import monotonic
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, WeakValueDictionary

from celery import signals, states
from celery.app.task import Task
from celery.exceptions import Ignore, Reject

from pipeline import time_chain, undo
from pipeline.deferred.body import DeferredArgs
from pipeline.deferred.child_pipe import reuses
from pipeline.deferred.payload import Deferred
from pipeline.errors import PipelineError
from pipeline.metrics import Metric
from pipeline.metrics.recorder import Recorder
from pipeline.metrics.table import RUN_SECONDS, TASKS_FAILED, TASKS_RETRIED, TASKS_SUCCEEDED
from pipeline.telemetry import log_fields, log_lines, tracing
from pipeline.telemetry.delivery_info import queue_of

logger = log_lines.logger(__name__)

if TYPE_CHECKING:  # a producer that observes does not need the worker's modules
    from celery.worker.request import Request


_started: ContextVar[tuple[float, ...]] = ContextVar("claimcheck_started", default=())
"""When the tasks under way in this thread or greenlet began; the last is the innermost."""


def observe(recorder: Recorder) -> None:
    """Record every task of this process and its forked children, and flush before they end.

    Call it in the worker's main process before its pool forks; a child that was spawned needs a call of
    its own. Safe to call twice: the last recorder wins. What a handler raises, Celery logs and swallows.
    """
    observer = _Observer(recorder)
    for name in _SIGNALS:
        undo.connect(getattr(signals, name), getattr(observer, name), f"claimcheck.observe.{name}")


_SIGNALS = (
    "task_received",
    "task_prerun",
    "task_postrun",
    "task_success",
    "task_failure",
    "task_retry",
    "worker_process_shutdown",
    "worker_shutdown",
)


class _Observer:
    """One method for each signal, under the signal's name."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._received: WeakValueDictionary[str, Request] = WeakValueDictionary()
        self._failed: WeakSet[Request] = WeakSet()

    def task_received(self, request: "Request", **_: Any) -> None:
        self._received[request.id] = request

    def task_prerun(self, sender: Task, task_id: str, **_: Any) -> None:
        _started.set((*_started.get(), monotonic()))
        if tracing.is_on() and not tracing.broker:
            tracing.note_broker(time_chain.scheme_of(sender.app))
        attributes = {
            "messaging.operation.type": "process",
            "messaging.operation.name": "run",
            "messaging.destination.name": _queue(sender.request),
            "messaging.message.id": task_id,
            "celery.task_name": sender.name,
            "celery.retries": sender.request.retries or 0,
        }
        tracing.begin_run(sender.request, f"run {sender.name}", attributes)

    def task_postrun(
        self, sender: Task, task_id: str, args: Any, state: str, retval: Any = None, **_: Any
    ) -> None:
        tracing.end_run(_error(state, retval), {"celery.state": state})
        if not _started.get():
            return
        *outer, started = _started.get()
        _started.set(tuple(outer))
        deferred = args.deferred if isinstance(args, DeferredArgs) else None
        if deferred is not None and deferred.rehydrated_in is not None:
            reuses.report_seconds(task_id, deferred.rehydrated_in)
        run_seconds = max(monotonic() - started - (deferred.seconds if deferred else 0.0), 0.0)
        # A rejected attempt may not have reached the task function.
        if state != states.REJECTED:
            self._record(RUN_SECONDS, sender, sender.request, run_seconds)
        fields = _fields(sender, task_id, state, deferred)
        if _stopped(retval) is None:
            logger.info("task ran", extra=fields | {"run_seconds": run_seconds})
        else:
            logger.info("task not run", extra=fields)

    def task_success(self, sender: Task, **_: Any) -> None:
        self._record(TASKS_SUCCEEDED, sender, sender.request)

    def task_failure(self, sender: Task, task_id: str, **_: Any) -> None:
        received = self._received.get(task_id)
        if received is not None:
            # A hard time limit comes twice: Request.on_failure, then Request.on_timeout.
            if received in self._failed:
                return
            self._failed.add(received)
        running = sender.request
        known = running if running.id == task_id or received is None else received
        self._record(TASKS_FAILED, sender, known)

    def task_retry(self, sender: Task, request: Any, **_: Any) -> None:
        self._record(TASKS_RETRIED, sender, request)

    def worker_process_shutdown(self, **_: Any) -> None:
        self._recorder.close()
        tracing.flush()

    def worker_shutdown(self, **_: Any) -> None:
        self._recorder.close()

    def _record(self, metric: Metric, task: Task, request: Any, value: float = 1) -> None:
        self._recorder.record(metric, value, queue=_queue(request), task=task.name)


def _fields(task: Task, task_id: str, state: str, deferred: Deferred | None) -> dict[str, Any]:
    """Return the fields of a log line about a task that has ended."""
    return {
        **log_fields.of_message(task.request, _queue(task.request)),
        **log_fields.of_payload(deferred.payload if deferred else None),
        "task_id": task_id,
        "task_name": task.name,
        "state": state,
        "rehydrate_seconds": deferred.rehydrated_in if deferred else None,
    }


def _queue(request: Any) -> str:
    return queue_of(request.delivery_info)


def _error(state: str, outcome: Any) -> BaseException | None:
    """Return why a task has failed, or was given back because its payload could not be read."""
    if state == states.REJECTED:
        return _stopped(outcome)
    return outcome if state == states.FAILURE and isinstance(outcome, BaseException) else None


def _stopped(outcome: Any) -> PipelineError | None:
    """Return our error that kept a task from running, as ``Deferred`` and ``@idempotent`` raise it."""
    reason = outcome.args[0] if isinstance(outcome, (Reject, Ignore)) and outcome.args else None
    return reason if isinstance(reason, PipelineError) else None
