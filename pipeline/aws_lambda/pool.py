"""Celery's pool ``solo``, with time limits: the task runs in this thread, and a signal interrupts it.

A soft limit is raised in the task, as on prefork. A hard limit is raised too, as on gevent, because there is
no other process to kill. The end of the invocation is no limit of the task: it ends the task as the loss of a
worker would, so that ``task_reject_on_worker_lost`` decides whether it runs again. So does what would end a
process of prefork: ``sys.exit``, and any other error that is no ``Exception``.
Source: celery 5.7.0, ``concurrency/base.py`` (``apply_target``), ``concurrency/solo.py``,
``concurrency/gevent.py`` (``apply_timeout``); billiard 4.3.2, ``pool.py`` (``soft_timeout_sighandler``).
"""

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, inf
from time import monotonic, sleep
from typing import Any, Self

from billiard.einfo import ExceptionInfo
from billiard.exceptions import WorkerLostError
from billiard.pool import soft_timeout_sighandler
from celery.concurrency import solo

from pipeline.aws_lambda.invocation import Invocation
from pipeline.worker.eta import TIMER_SECONDS

SOFT_PART = 0.9
"""Part of its time after which a task gets its soft limit at the latest."""

AGAIN_SECONDS = 1.0
"""How often a task that has caught its end is ended again: a bare ``except`` catches everything."""


class HardTimeLimit(BaseException):
    """The task's hard time limit."""


class InvocationEnds(BaseException):
    """Lambda is about to end the function."""


class Timer:
    """Waits for an ETA in place: Celery's has a thread, and Lambda stops threads between invocations."""

    invocation = Invocation(inf)
    """The one under way."""

    def __init__(self, **_: Any) -> None:
        """Take no options: those of Celery are about its thread."""

    def call_at(self, eta: float, call: Callable[..., None], args: tuple[Any, ...] = (), **_: Any) -> None:
        """Call with a request when its ETA has come, on the monotonic clock.

        A message of a FIFO queue whose ETA is far, or beyond the invocation, is returned until then;
        ``worker/eta.py`` has the others.
        """
        request = args[0]
        wait_seconds = max(eta - monotonic(), 0.0)
        if wait_seconds > min(TIMER_SECONDS, self.invocation.seconds):
            request.message.hide(ceil(wait_seconds))
            return
        sleep(wait_seconds)
        call(*args)

    def stop(self) -> None:
        """Do nothing: there is no thread."""


class TaskPool(solo.TaskPool):
    """Runs each task in the thread of the handler."""

    Timer = Timer
    invocation = Invocation(inf)
    """The one under way."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.on_apply = self._apply

    def _apply(  # noqa: PLR0913 - the signature of Celery's pools
        self,
        target: Callable[..., Any],
        args: Any,
        _kwargs: Any,
        *,
        accept_callback: Callable[..., None],
        callback: Callable[..., None],
        error_callback: Callable[..., None],
        timeout_callback: Callable[..., None],
        timeout: float | None,
        soft_timeout: float | None,
        **_: Any,
    ) -> None:
        alarms = _Alarms.of(soft_timeout, timeout, self.invocation.seconds)
        accept_callback(os.getpid(), monotonic())
        try:
            result = _interrupted_by(alarms, target, *args)
        except Exception:
            raise
        except HardTimeLimit:
            timeout_callback(False, timeout)  # noqa: FBT003 - Celery's signature
        except BaseException as exc:  # noqa: BLE001 - whatever would end a process
            error_callback(_lost(exc))
        else:
            callback(result)


def _lost(cause: BaseException) -> ExceptionInfo:
    """Return what prefork reports when a pool process is lost."""
    why = f"the task raised {type(cause).__name__}, which ends a process of a worker"
    if isinstance(cause, InvocationEnds):
        why = (
            "the invocation ends before the task; raise the function's timeout, or give the task a time limit"
        )
    try:
        raise WorkerLostError(why) from cause  # noqa: TRY301 - for its traceback
    except WorkerLostError:
        return ExceptionInfo()


@dataclass(eq=False)
class _Alarms:
    """When the task is interrupted, on the monotonic clock, and by what; ``None`` is the soft limit."""

    due: list[tuple[float, type[BaseException] | None]]

    @classmethod
    def of(cls, soft: float | None, hard: float | None, left: float) -> Self:
        """Return the alarms of a task that begins now.

        A soft limit comes before the invocation ends, so that the task can end itself.
        """
        now = monotonic()
        seconds, error = (hard, HardTimeLimit) if hard and hard <= left else (left, InvocationEnds)
        last = [(now + seconds, error)] if seconds < inf else []
        first = [(now + min(soft, seconds * SOFT_PART), None)] if soft else []
        return cls([*first, *last])

    def set(self) -> None:
        """Set the next one."""
        signal.setitimer(signal.ITIMER_REAL, max(self.due[0][0] - monotonic(), 0.001) if self.due else 0)

    def __call__(self, *_: Any) -> None:
        """Handle SIGALRM."""
        error = self.due.pop(0)[1]
        if error is not None:
            self.due.append((monotonic() + AGAIN_SECONDS, error))
        self.set()
        if error is not None:
            raise error
        signal.raise_signal(signal.SIGUSR1)


def _interrupted_by(alarms: _Alarms, target: Callable[..., Any], *args: Any) -> Any:
    """Call ``target``, and interrupt it. Only the main thread can be: Lambda calls handlers in it."""
    if threading.current_thread() is not threading.main_thread():
        return target(*args)
    before = [
        (number, signal.signal(number, handler))
        for number, handler in ((signal.SIGUSR1, soft_timeout_sighandler), (signal.SIGALRM, alarms))
    ]
    try:
        alarms.set()
        return target(*args)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before:
            signal.signal(number, handler)
