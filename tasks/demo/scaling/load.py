"""The load: more tasks than a worker can run, and when all workers have been seen, a trickle."""

import os
from dataclasses import dataclass, field
from math import ceil

from tasks.demo.scaling.tracking import LOW_PERIODS
from tasks.demo.scaling.waiting import wait

RATE = 6
"""Tasks a second at first, twice as many as a worker with two slots runs."""
BACKLOG = 40
"""Messages that wait at most: a machine that is slow has less to do."""
TRICKLE_PERIODS = LOW_PERIODS + 2
"""How long a task in each period follows, once no message waits: workers stop between tasks."""


@dataclass(slots=True)
class Load:
    """The tasks of one queue."""

    queue: str
    argument: bytes
    sent: list[str] = field(default_factory=list)
    """Ids of the tasks."""
    trickled: int = 0

    @property
    def is_over(self) -> bool:
        """Whether the last task was sent."""
        return self.trickled >= TRICKLE_PERIODS

    def peak(self, seconds: float, waiting: int) -> None:
        """Send the tasks of so many seconds, as far as the backlog has room for them."""
        for _ in range(min(ceil(RATE * seconds), BACKLOG - waiting)):
            self._send()

    def trickle(self, waiting: int) -> None:
        """Send one task, unless messages wait or the load is over."""
        if not waiting and not self.is_over:
            self._send()
            self.trickled += 1

    def _send(self) -> None:
        self.sent.append(wait.apply_async((self.argument,), queue=self.queue).id)


def loads() -> list[Load]:
    """Return the load of each queue: one has small arguments, the other large ones, which are offloaded."""
    import tasks.app  # noqa: F401, PLC0415 - reads the environment when it is imported

    return [Load("default", b"small"), Load("bulk", os.urandom(300_000))]
