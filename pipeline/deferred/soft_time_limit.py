"""Enforces a soft time limit that expires before the task function has started.

Celery raises ``SoftTimeLimitExceeded`` from a signal handler, in whatever code runs at that moment. botocore
takes any exception for a network failure and retries; a parser takes it for broken data; a result backend
swallows it. The limit is raised once, so a task whose limit was swallowed runs without one. Therefore, while
a payload is rehydrated, the limit is a ``BaseException``, which ``except Exception`` does not catch. It is
also recorded, because ormsgpack drops what its hook raises.
Source: billiard 4.3.2, ``pool.py``; botocore 1.44.5, ``httpsession.py``.
"""

import signal
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from celery.exceptions import SoftTimeLimitExceeded

from pipeline.errors import StoreUnavailableError

T = TypeVar("T")

_SIGNAL = getattr(signal, "SIGUSR1", None)
"""Signal of a soft time limit in a child of the prefork pool. Other pools and Windows have none."""


class _TimeIsUp(BaseException):
    """The soft time limit, while a payload is rehydrated."""


def reraising_soft_limit(call: Callable[[], T]) -> T:
    """Run ``call``; re-raise ``SoftTimeLimitExceeded`` even if ``call`` swallowed it.

    This is no context manager: a signal during its exit would raise outside the ``with`` block.

    Raises:
        SoftTimeLimitExceeded: the limit expired during ``call``.
    """
    usual = _usual_handler()
    if usual is None:
        return call()
    came: list[SoftTimeLimitExceeded] = []
    try:
        try:
            signal.signal(_SIGNAL, _recording(usual, came))  # type: ignore[arg-type] # there is one
            found = call()
        finally:
            signal.signal(_SIGNAL, usual)  # type: ignore[arg-type]
    except (_TimeIsUp, Exception):
        if not came:
            raise
    if came:
        raise came[0]
    return found


def out_of_time(what: str, limit: str) -> StoreUnavailableError:
    """Return the error of a task whose time limit, soft or hard, came before any of it could run."""
    return StoreUnavailableError(
        f"{what}: the task's {limit} time limit came first; if the store works, set the limit above "
        "store_retry_seconds"
    )


def _usual_handler() -> Callable[..., Any] | None:
    """Return billiard's signal handler, if it is installed and this is the thread that it interrupts."""
    if _SIGNAL is None or threading.current_thread() is not threading.main_thread():
        return None
    handler = signal.getsignal(_SIGNAL)
    is_billiards = getattr(handler, "__module__", "") == "billiard.pool"
    return handler if callable(handler) and is_billiards else None


def _recording(usual: Callable[..., Any], came: list[SoftTimeLimitExceeded]) -> Callable[..., None]:
    """Return a handler that records one limit and restores the usual handler."""

    def record(number: int, frame: Any) -> None:
        signal.signal(number, usual)
        try:
            usual(number, frame)
        except SoftTimeLimitExceeded as exc:
            came.append(exc)
            raise _TimeIsUp from exc

    return record
