"""Workers, latency, calls and dollars of tasks at a rate: an M/M/c queue of processes, and shares of calls.

Erlang's formula is exact for this queue. A simulation of single events would add noise and minutes: 100,000
tasks a second are 6 million a minute. Service times are this repository's own measurements.
"""

import math
from dataclasses import dataclass

from benchmarks.harness.prices import dollars

BUSY_SHARE = 0.7
"""Share of its time that a process is busy: what autoscaling keeps."""
ROUND_TRIP_SECONDS = 0.02
MESSAGES_A_CALL = 10
"""Of a worker with 32 slots; docs/explanation/receive.md has the measurement."""
PROCESSES = 8
PREFETCH = 4
MAIN_CPU_SECONDS = 0.0006
"""CPU of a worker's main process for a task: half of the 1.1 ms of a task of 1 KB."""
DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Workload:
    """Tasks of one kind."""

    name: str
    run_seconds: float
    """How long the task itself takes."""
    payload_bytes: int
    """Size of the payload in S3; 0 if it travels in the message."""
    pack: int = 1
    """How many payloads share an object."""

    @property
    def service_seconds(self) -> float:
        """How long a process has the task: it reads the payload, and runs."""
        return self.run_seconds + (ROUND_TRIP_SECONDS + 0.004 if self.payload_bytes else 0.001)

    def calls(self) -> dict[str, float]:
        """Return the calls of one task, by operation."""
        messages = {"SendMessageBatch": 0.1, "ReceiveMessage": 1 / MESSAGES_A_CALL, "DeleteMessageBatch": 0.1}
        objects = {"PutObject": 1 / self.pack, "GetObject": 1.0, "DeleteObjects": 0.01}
        return messages | objects if self.payload_bytes else messages


@dataclass(frozen=True)
class Point:
    """A workload at a rate."""

    workload: Workload
    rate: float
    """Tasks a second."""

    @property
    def load(self) -> float:
        """How many processes are busy on average."""
        return self.rate * self.workload.service_seconds

    @property
    def workers(self) -> int:
        """Workers: as many as have the processes, and whose main processes keep up."""
        main = self.rate * MAIN_CPU_SECONDS
        return math.ceil(max(self.load / PROCESSES, main) / BUSY_SHARE)

    @property
    def processes(self) -> int:
        """Processes that run tasks."""
        return self.workers * PROCESSES

    @property
    def in_flight(self) -> int:
        """Messages in flight: all slots of all workers."""
        return self.processes * PREFETCH

    @property
    def wait_seconds(self) -> float:
        """How long a task waits for a process, on average."""
        share = waiting(self.processes, self.load)
        return share * self.workload.service_seconds / (self.processes - self.load)

    @property
    def latency_seconds(self) -> float:
        """From the call that publishes to the task's code, on average: send, receive, wait, read."""
        reads = self.workload.service_seconds - self.workload.run_seconds
        stores = ROUND_TRIP_SECONDS if self.workload.payload_bytes else 0.0
        return stores + 2 * ROUND_TRIP_SECONDS + self.wait_seconds + reads

    @property
    def dollars_a_day(self) -> float:
        """Requests of SQS and S3."""
        return dollars(self.workload.calls()) * self.rate * DAY_SECONDS / 1_000_000


def waiting(processes: int, load: float) -> float:
    """Return how probable it is that a task waits (Erlang C).

    Args:
        processes: that run tasks.
        load: how many of them are busy on average.
    """
    blocked = 1.0
    for count in range(1, processes + 1):
        blocked = load * blocked / (count + load * blocked)
    return blocked / (1 - load / processes * (1 - blocked))
