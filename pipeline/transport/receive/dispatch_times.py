"""When the event loop was blocked. An answer of SQS that is read afterwards may have arrived before it."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

SAME_TURN_SECONDS = 0.002
"""Answers dispatched within this time arrived together."""
LATE_SECONDS = 0.5
"""An answer read within this time after the event loop was blocked may have arrived while it was."""


class DispatchTimes:
    """Tracks when the event loop was last blocked dispatching messages. The pool solo runs tasks then.

    Args:
        clock: returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._begun = self._ended = -math.inf

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """Note that the event loop is blocked in this ``with`` block."""
        now = self._clock()
        if now - self._ended > SAME_TURN_SECONDS:
            self._begun = now
        try:
            yield
        finally:
            self._ended = self._clock()

    def earliest_arrival(self, asked: float) -> float:
        """Return the earliest time at which an answer that is read now may have arrived.

        Args:
            asked: when the request was sent.
        """
        now = self._clock()
        return max(self._begun, asked) if now - self._ended < LATE_SECONDS else now
