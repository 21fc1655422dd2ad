"""How much time an invocation has left, and what a task may use of it.

::

    soft time limit < hard time limit < end of the invocation <= visibility timeout

Lambda ends a function at its timeout, without a signal, and everything that the process has not sent is lost.
So the last seconds are reserved: to settle messages, release payloads and send metrics. AWS creates no event
source mapping whose queue has a visibility timeout below the function's timeout.
Source: AWS Lambda Developer Guide, "Creating and configuring an Amazon SQS event source mapping".
"""

from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import Any, Self

RESERVED_SECONDS = 3.0
"""Longest time that is reserved at the end of an invocation."""

RESERVED_PART = 0.1
"""Part of a short invocation that is reserved."""

MARGIN_SECONDS = 0.2
"""Time to send metrics and to return, after the messages have settled."""


@dataclass(eq=False)
class Invocation:
    """One call of the function.

    Args:
        remaining_seconds: until Lambda ends the function; infinite outside of Lambda.
    """

    remaining_seconds: float
    ends: float = field(init=False)
    """When its last task must have ended; on the monotonic clock."""
    has_begun: bool = False
    """Whether it has run a task."""

    def __post_init__(self) -> None:
        self._over = monotonic() + self.remaining_seconds
        self.ends = self._over - min(RESERVED_SECONDS, RESERVED_PART * self.remaining_seconds)

    @classmethod
    def of(cls, context: Any) -> Self:
        """Return the invocation that a Lambda context describes; one without a timeout has no end."""
        remaining = getattr(context, "get_remaining_time_in_millis", None)
        return cls(remaining() / 1_000 if remaining is not None else inf)

    @property
    def seconds(self) -> float:
        """Seconds that are left for tasks."""
        return self.ends - monotonic()

    @property
    def seconds_to_finish(self) -> float:
        """Seconds that are left for what follows the tasks."""
        return max(self._over - monotonic() - MARGIN_SECONDS, 0.0)

    def has_time_for(self, limit_seconds: float) -> bool:
        """Return whether a task may begin: its time limit ends before the invocation does.

        The first task always begins, since no later invocation has more time for it.
        """
        if not self.has_begun:
            self.has_begun = True
            return True
        return self.seconds > limit_seconds
