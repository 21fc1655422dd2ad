"""A queue and its workers over a day, second by second."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from benchmarks.scaling.loads import HOUR_SECONDS
from tasks.demo.scaling.tracking import Reading

MINUTE_SECONDS = 60
REPORT_SECONDS = 60.2
"""Between two reports of a worker's slots: its flushes drift against CloudWatch's minutes."""
AWAKE_SECONDS = 6 * HOUR_SECONDS
"""SQS stops its metrics of a queue that nobody has used for so long."""
WAKING_SECONDS = 15 * MINUTE_SECONDS
"""And needs up to so long to begin again."""


class Policy(Protocol):
    """Decides how many workers there are."""

    @property
    def period_seconds(self) -> int:
        """How often it decides."""

    @property
    def delay_seconds(self) -> int:
        """How old the numbers are by which it decides."""

    @property
    def start_seconds(self) -> int:
        """How long it takes from a decision to a worker that takes messages."""

    @property
    def asked_seconds(self) -> int:
        """How often something asks SQS for the queue, even if there is no worker."""

    def wanted(self, reading: Reading, workers: int) -> int:
        """Return how many workers there should be."""


@dataclass
class Worker:
    """One container."""

    ready: float
    """When it takes messages."""
    stopped: float = np.inf
    """When it was told to stop."""

    def reports(self, begin: float, end: float) -> int:
        """Return how often it reports its slots between two times."""
        first = self.ready + REPORT_SECONDS
        end = min(end, self.stopped)
        return max(_count(end - first) - _count(begin - first), 0)


def _count(seconds: float) -> int:
    return max(int(np.ceil(seconds / REPORT_SECONDS)), 0)


@dataclass
class Day:
    """What happened: a number for each second."""

    arrived: np.ndarray
    waiting: np.ndarray
    workers: np.ndarray
    """Those that are paid for."""
    begun: np.ndarray
    """Tasks that have begun, added up."""

    @property
    def worker_hours(self) -> float:
        """Hours of all workers together."""
        return float(self.workers.sum()) / HOUR_SECONDS

    def wait_seconds(self, share: float) -> float:
        """Return how long tasks wait at most, but for a share of them."""
        total = np.cumsum(self.arrived)
        taken = np.searchsorted(self.begun, np.arange(1, total[-1] + 1))
        came = np.searchsorted(total, np.arange(1, total[-1] + 1))
        return float(np.quantile(np.maximum(taken - came, 0), share))


@dataclass
class Simulation:
    """A queue under a policy.

    Args:
        arrived: tasks that arrive in each second.
        service_seconds: how long a task takes, on average.
        slots: tasks that a worker runs at once.
        policy: decides how many workers there are.
    """

    arrived: np.ndarray
    service_seconds: float
    slots: int
    policy: Policy
    _workers: list[Worker] = field(default_factory=list)
    _wanted: int = 0
    _messages: int = 0
    _used: float = 0.0
    """When the queue was last in use."""
    _metrics_from: float = 0.0

    def run(self, seed: int = 1) -> Day:
        """Simulate, and return what happened."""
        dice, length = np.random.default_rng(seed), len(self.arrived)
        waiting, running, workers, ended = (np.zeros(length, int) for _ in range(4))
        for now in range(length):
            slots = self.slots * self._serving(now)
            self._messages += int(self.arrived[now])
            # A task that is shorter than the step runs for a part of it.
            running[now] = min(round(self._messages * min(self.service_seconds, 1)), slots)
            waiting[now] = max(self._messages - slots, 0)
            ended[now] = min(dice.poisson(min(self._messages, slots) / self.service_seconds), self._messages)
            self._messages -= ended[now]
            workers[now] = self._paid(now)
            self._watch(now)
            if now and now % self.policy.period_seconds == 0:
                seen = max(now - self.policy.delay_seconds, 0)
                self._decide(now, waiting[seen], running[seen])
        begun = np.maximum(np.cumsum(ended), np.cumsum(ended) - ended + running)
        return Day(self.arrived, waiting, workers, begun)

    def _serving(self, now: float) -> int:
        """Return how many workers run tasks; one that stops finishes what it runs."""
        return sum(each.ready <= now < each.stopped + self.service_seconds for each in self._workers)

    def _paid(self, now: float) -> int:
        self._workers = [each for each in self._workers if now <= each.stopped + self.service_seconds]
        return len(self._workers)

    def _watch(self, now: float) -> None:
        if self._messages or self._workers:
            if min(now - self._used, self.policy.asked_seconds) > AWAKE_SECONDS:
                self._metrics_from = now + WAKING_SECONDS
            self._used = now

    def _decide(self, now: float, waiting: int, running: int) -> None:
        reports = sum(each.reports(now - MINUTE_SECONDS, now) for each in self._workers)
        if now < self._metrics_from:
            reading = Reading(None, None, None)
        else:
            reading = Reading(int(waiting), int(running), reports * self.slots or None)
        wanted = self.policy.wanted(reading, self._wanted)
        for _ in range(wanted - self._wanted):
            self._workers.append(Worker(now + self.policy.start_seconds))
        self._stop(self._wanted - wanted, now)
        self._wanted = wanted

    def _stop(self, count: int, now: float) -> None:
        """Stop the newest."""
        going = [each for each in reversed(self._workers) if each.stopped == np.inf]
        for each in going[: max(count, 0)]:
            each.stopped = now
