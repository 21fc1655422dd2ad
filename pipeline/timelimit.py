"""A soft time limit that comes before a task has begun is heard, whatever runs just then.

Celery raises ``SoftTimeLimitExceeded`` wherever the process happens to be: in botocore, which takes any
exception for a failure of the network and asks again; in a parser, where it looks like broken data; in a
result backend. It comes once, and who swallows it lets the task run without a limit. So while a payload is
brought back, the limit is an exception that ``except Exception`` lets through, and is remembered besides:
ormsgpack forgets whatever its hook raises. Source: billiard 4.3.2, ``pool.py``; botocore 1.44.5,
``httpsession.py``.
"""

import signal
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from celery.exceptions import SoftTimeLimitExceeded

T = TypeVar("T")

_SIGNAL = getattr(signal, "SIGUSR1", None)
"""What tells a child of the prefork pool that its time is up. Other pools have none, nor has Windows."""


class _TimeIsUp(BaseException):
    """The limit, for as long as nobody may mistake it for anything else."""


def heeded(call: Callable[[], T]) -> T:
    """Call, and return or raise what comes of it; or raise the soft time limit that came meanwhile.

    Not a context manager: one that is interrupted as it is left would let out what nobody expects.

    Raises:
        SoftTimeLimitExceeded: the time is up, whatever ``call`` made of it.
    """
    usual = _usual()
    if usual is None:
        return call()
    came: list[SoftTimeLimitExceeded] = []
    try:
        try:
            signal.signal(_SIGNAL, _hearing(usual, came))  # type: ignore[arg-type] # there is one
            found = call()
        finally:
            signal.signal(_SIGNAL, usual)  # type: ignore[arg-type]
    except (_TimeIsUp, Exception):
        if not came:
            raise
    if came:
        raise came[0]
    return found


def _usual() -> Callable[..., Any] | None:
    """Return billiard's handler, if it is in place and this thread is the one that it interrupts."""
    if _SIGNAL is None or threading.current_thread() is not threading.main_thread():
        return None
    handler = signal.getsignal(_SIGNAL)
    is_billiards = getattr(handler, "__module__", "") == "billiard.pool"
    return handler if callable(handler) and is_billiards else None


def _hearing(usual: Callable[..., Any], came: list[SoftTimeLimitExceeded]) -> Callable[..., None]:
    """Return a handler that hears one limit and puts the usual one back, so that nothing is left of it."""

    def hear(number: int, frame: Any) -> None:
        signal.signal(number, usual)
        try:
            usual(number, frame)
        except SoftTimeLimitExceeded as exc:
            came.append(exc)
            raise _TimeIsUp from exc

    return hear
