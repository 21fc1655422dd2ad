"""A question that is asked again and again, on a thread of its own.

So that nothing waits for anything else: a listing that takes a minute, or an SQS that does not answer, leaves
the other numbers of ``pipeline top`` moving, and Ctrl-C works at once.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")

ASKING_SECONDS, CLOSING_SECONDS = 0.3, 3.0
"""How long the end waits: nobody needs an answer any more, but a reply queue should be removed."""


@dataclass
class Repeated(Generic[T]):
    """Asks again and again on a daemon thread, and keeps the last answer and the last error.

    Args:
        ask: raises whatever it likes.
        every_seconds: pause between two questions.
        close: called by the thread when it ends.
    """

    ask: Callable[[], T]
    every_seconds: float
    close: Callable[[], None] | None = None
    answer: T | None = None
    error: str | None = None
    """Why the last question had no answer."""
    answered: float | None = None
    """When the answer came, on the monotonic clock."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _asked: threading.Event = field(default_factory=threading.Event)
    _closing: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begin to ask."""
        self._thread = threading.Thread(target=self._run, name="claimcheck-top", daemon=True)
        self._thread.start()

    def first(self, seconds: float | None) -> bool:
        """Wait for the first answer or error, and say whether there is one."""
        return self._asked.wait(seconds)

    def stop(self) -> None:
        """Stop asking, and wait a little: longer for what is being closed than for a question under way."""
        self._stop.set()
        self._thread.join(ASKING_SECONDS)
        if self._closing.is_set():
            self._thread.join(CLOSING_SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._ask_once()
            self._stop.wait(self.every_seconds)
        self._closing.set()
        if self.close:
            self.close()

    def _ask_once(self) -> None:
        try:
            self.answer, self.error, self.answered = self.ask(), None, monotonic()
        except Exception as exc:  # noqa: BLE001 - whatever Kombu, boto3 or a store raises is shown, and no end
            self.error = str(exc) or type(exc).__name__
        self._asked.set()
