"""The loop: in each period read the queues, decide, and start or stop workers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from time import monotonic, sleep
from typing import TYPE_CHECKING

import boto3

from tasks.demo.checks import WAITING
from tasks.demo.processes import DemoError
from tasks.demo.scaling.fleet import Fleet
from tasks.demo.scaling.load import Load
from tasks.demo.scaling.shipped import Scaling
from tasks.demo.scaling.tracking import Reading, TargetTracking
from tasks.demo.scaling.watching import Watching

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

TIMEOUT_SECONDS = 150
"""How long the whole may take."""


@dataclass(slots=True)
class Line:
    """A queue in one period."""

    queue: str
    seconds: float
    waiting: int
    hidden: int
    ready: int
    """Workers that take messages."""
    wanted: int
    sent: int


@dataclass(slots=True)
class Loop:
    """All queues, until their load is over and no worker is left."""

    fleet: Fleet
    loads: list[Load]
    watching: Watching
    scaling: Scaling
    period_seconds: float
    sqs: "SQSClient" = field(default_factory=lambda: boto3.client("sqs"))
    lines: list[Line] = field(default_factory=list)

    def run(self, show: Callable[[list[Line]], None]) -> None:
        """Scale until nothing is left to do.

        Raises:
            DemoError: a worker has ended on its own, or it took too long.
        """
        policies = {load.queue: TargetTracking(self.scaling) for load in self.loads}
        begun = monotonic()
        for period in count(1):
            now = [self._step(load, policies[load.queue], monotonic() - begun) for load in self.loads]
            self.lines += now
            show(now)
            self._watch()
            if self._is_over(now):
                return
            if monotonic() - begun > TIMEOUT_SECONDS:
                raise DemoError(f"workers were still there after {TIMEOUT_SECONDS} s")
            sleep(max(begun + period * self.period_seconds - monotonic(), 0))

    def peak(self, queue: str) -> int:
        """Return the most workers of a queue that took messages at the same time."""
        return max(line.ready for line in self.lines if line.queue == queue)

    def _step(self, load: Load, policy: TargetTracking, seconds: float) -> Line:
        self._send(load)
        waiting, hidden = _messages(self.sqs, load.queue)
        ready = len(self.fleet.ready(load.queue))
        reading = Reading(waiting, hidden, ready * self.scaling.concurrency or None)
        wanted = policy.wanted(reading, len(self.fleet.running(load.queue)))
        self.fleet.scale(load.queue, wanted)
        return Line(load.queue, seconds, waiting, hidden, ready, wanted, len(load.sent))

    def _send(self, load: Load) -> None:
        waiting, _ = _messages(self.sqs, load.queue)
        if self.watching.is_over:
            load.trickle(waiting)
        else:
            load.peak(self.period_seconds, waiting)

    def _watch(self) -> None:
        """Let ``top`` and Flower look as soon as all workers of all queues take messages."""
        ready = [each for load in self.loads for each in self.fleet.ready(load.queue)]
        if not self.watching.has_begun and len(ready) == self.scaling.max_workers * len(self.loads):
            self.watching.start({each.name for each in ready})

    def _is_over(self, lines: list[Line]) -> bool:
        is_done = all(load.is_over for load in self.loads) and not any(line.wanted for line in lines)
        return is_done and not self.fleet.stopping()


def _messages(sqs: "SQSClient", queue: str) -> tuple[int, int]:
    """Return how many messages wait, and how many are in flight."""
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(WAITING))["Attributes"]
    waiting, hidden, _ = (int(found[state]) for state in WAITING)
    return waiting, hidden
