"""Quotas of AWS as rates of tasks: where each one bites, and what to do. Most are raised on request."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.scale.model import PROCESSES, Point, Workload
from pipeline.aws.limits import SQS_IN_FLIGHT_COUNT

SMALL = Workload("1 KB, 50 ms", 0.05, 0)
LARGE = Workload("300 KB, 50 ms", 0.05, 300_000)
PACKED = Workload("300 KB in packs of ten, 50 ms", 0.05, 300_000, pack=10)
SLOW = Workload("1 KB, 60 s", 60.0, 0)
WORKLOADS = (SMALL, LARGE, PACKED)

GIGABIT_BYTES = 125_000_000
MESSAGE_BYTES = 2_000
"""A claim with its headers."""
FLUSH_SECONDS = 60
"""How often a process sends its metrics."""


@dataclass(frozen=True)
class Limit:
    """One quota."""

    name: str
    workload: Workload
    demand: Callable[[Point], float]
    """What tasks at a rate need of it."""
    quota: float
    unit: str
    remedy: str

    @property
    def rate(self) -> float:
        """Return the tasks a second from which on it bites; demand grows with the rate."""
        low, high = 0.0, 10_000_000.0
        while high - low > high / 10_000:
            middle = (low + high) / 2
            low, high = (
                (low, middle) if self.demand(Point(self.workload, middle)) > self.quota else (middle, high)
            )
        return high


def _calls(operation: str) -> Callable[[Point], float]:
    return lambda point: point.rate * point.workload.calls()[operation]


def _processes_with_metrics(point: Point) -> float:
    return point.workers * (PROCESSES + 1) / FLUSH_SECONDS


def _payload_bytes(point: Point) -> float:
    return point.rate * 2 * point.workload.payload_bytes


LIMITS: Sequence[Limit] = (
    Limit("SQS FIFO, one message a call", SMALL, lambda point: point.rate, 300, "calls a second",
          "high throughput mode, and a message group for each thing whose order matters"),
    Limit("SQS FIFO, ten messages a call", SMALL, lambda point: point.rate, 3_000, "messages a second",
          "the same; only sends have ten here, because receives and deletes keep the order"),
    Limit("S3 writes, one partition", LARGE, _calls("PutObject"), 3_500, "PUTs a second",
          "nothing: keys begin with hash digits, so S3 splits the prefix while the rate grows; or pack"),
    Limit("KMS without bucket keys", LARGE, lambda point: 2 * point.rate, 10_000, "requests a second",
          "turn the bucket key on, as deploy/ does"),
    Limit("S3 reads, one partition", LARGE, _calls("GetObject"), 5_500, "GETs a second",
          "as for writes"),
    Limit("NAT gateway", LARGE, _payload_bytes, 100 * GIGABIT_BYTES, "bytes a second",
          "a gateway endpoint for S3, which is free and has no limit"),
    Limit("SQS messages in flight, tasks of 50 ms", SMALL, lambda point: point.in_flight, SQS_IN_FLIGHT_COUNT,
          "messages of a queue", "several queues"),
    Limit("SQS messages in flight, tasks of 60 s", SLOW, lambda point: point.in_flight, SQS_IN_FLIGHT_COUNT,
          "messages of a queue", "worker_prefetch_multiplier=1: a quarter of them; then several queues"),
    Limit("CloudWatch, tasks of 50 ms", SMALL, _processes_with_metrics, 500, "PutMetricData a second",
          "the sink EMF or OpenTelemetry"),
    Limit("CloudWatch, tasks of 60 s", SLOW, _processes_with_metrics, 500, "PutMetricData a second",
          "the sink EMF or OpenTelemetry, or the pool threads: one process a worker"),
    Limit("S3 writes in packs, one partition", PACKED, _calls("PutObject"), 3_500, "PUTs a second",
          "nothing, as above"),
    Limit("SNS, one message a task (events, doors)", SMALL, lambda point: point.rate, 30_000,
          "messages a second", "ask for more; regions start between 300 and 30,000"),
    Limit("SQS endpoint of a VPC, one zone", SMALL, lambda point: point.rate * 3 * MESSAGE_BYTES,
          100 * GIGABIT_BYTES, "bytes a second", "one endpoint in each zone"),
)  # fmt: skip
