"""What requests cost: calls, bytes and dollars."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from benchmarks.harness.prices import BILLED_BYTES, is_sqs
from benchmarks.proxy.requests import Request

ONCE = ("CreateQueue", "CreateBucket", "ListQueues", "GetQueue", "SetQueue", "HeadBucket", "TagQueue")
"""Operations at a start, or once a minute: they do not grow with tasks, and are not counted for them."""


@dataclass
class Counts:
    """Sums over requests that were answered."""

    calls: Counter[str] = field(default_factory=Counter)
    """By operation."""
    billed: Counter[str] = field(default_factory=Counter)
    """Requests as AWS bills them."""
    wire_bytes: int = 0
    """Both ways, HTTP heads included."""
    received: list[float] = field(default_factory=list)
    """When each message left SQS, in seconds of the system's monotonic clock, in order."""

    @classmethod
    def of(cls, requests: Sequence[Request]) -> Self:
        """Count requests that passed a proxy."""
        counts = cls()
        for each in requests:
            if each.answered_at is not None:
                counts._add(each, each.answered_at)
        counts.received.sort()
        return counts

    def _add(self, request: Request, answered_at: float) -> None:
        self.calls[request.operation] += 1
        largest = max(request.sent_bytes, request.answered_bytes)
        self.billed[request.operation] += -(-largest // BILLED_BYTES) if is_sqs(request.operation) else 1
        self.wire_bytes += request.sent_bytes + request.answered_bytes
        self.received += [answered_at] * request.received


def grows_with_tasks(operation: str) -> bool:
    """Return whether an operation is one that tasks cause."""
    return not operation.startswith(ONCE)
