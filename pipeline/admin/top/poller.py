"""Polls one source at an interval, on its own thread.

A listing that takes a minute, or an SQS that does not answer, delays no other number of ``pipeline top``, and
Ctrl-C works at once.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")

STOP_SECONDS, CLOSE_SECONDS = 0.3, 3.0
"""How long ``stop`` waits for a request under way, and for ``close``, which deletes the reply queue."""


@dataclass
class Poller(Generic[T]):
    """Calls a function at an interval on a daemon thread; keeps the last answer and the last error.

    Args:
        ask: the function; may raise any error.
        every_seconds: pause between two calls.
        close: called by the thread when it ends.
    """

    ask: Callable[[], T]
    every_seconds: float
    close: Callable[[], None] | None = None
    answer: T | None = None
    error: str | None = None
    """Error of the last call, if it failed."""
    answered: float | None = None
    """Time of the answer on the monotonic clock."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _polled: threading.Event = field(default_factory=threading.Event)
    _closing: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="claimcheck-top", daemon=True)
        self._thread.start()

    def wait_for_first(self, seconds: float | None) -> bool:
        """Wait for the first answer or error, and return whether there is one."""
        return self._polled.wait(seconds)

    def stop(self) -> None:
        """Stop the thread, and wait a little: longer for ``close`` than for a request under way."""
        self._stop.set()
        self._thread.join(STOP_SECONDS)
        if self._closing.is_set():
            self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._poll_once()
            self._stop.wait(self.every_seconds)
        self._closing.set()
        if self.close:
            self.close()

    def _poll_once(self) -> None:
        try:
            self.answer, self.error, self.answered = self.ask(), None, monotonic()
        except Exception as exc:  # noqa: BLE001 - Kombu, boto3 and stores raise many; the error is shown, and polling goes on
            self.error = str(exc) or type(exc).__name__
        self._polled.set()
