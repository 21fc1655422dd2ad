"""Estimates the cost of the app's requests while ``pipeline top`` runs, as a range.

Prices and arithmetic are those of docs/explanation/costs.md: list prices of us-east-1, in US dollars. Not
included: chunks beyond a message's first, calls saved by batches, empty receives of idle workers, retries and
redeliveries, remote control, metrics, storage. The range exists because it is not visible from outside
whether a task's arguments were offloaded: the lower end assumes all inline, the upper end all offloaded.
"""

from dataclasses import dataclass
from typing import Self

SQS_REQUEST = 0.40 / 1_000_000
S3_PUT = 0.005 / 1_000
S3_GET = 0.0004 / 1_000
S3_LIST = 0.005 / 1_000
"""A page of a listing costs as much as a PUT. Source: https://aws.amazon.com/s3/pricing/"""


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """US dollars since the command started."""

    basis: str
    """What was counted: tasks or messages."""
    inline: float
    """Cost if no task was offloaded."""
    offloaded: float
    """Cost if all tasks were offloaded."""
    own_requests: float
    """Cost of the command's own requests."""

    @classmethod
    def of_tasks(cls, started: int, own_requests: float) -> Self:
        """Return the cost of started tasks: a send, a receive and a delete each."""
        inline = started * 3 * SQS_REQUEST
        return cls(f"{started:,} tasks started", inline, inline + started * (S3_PUT + S3_GET), own_requests)

    @classmethod
    def of_messages(cls, arrived: int, gone: int, own_requests: float) -> Self:
        """Return the minimum cost if backlogs grew by ``arrived`` and shrank by ``gone``."""
        inline = (arrived + 2 * gone) * SQS_REQUEST
        basis = f"{arrived:,} messages sent and {gone:,} deleted, at least"
        return cls(basis, inline, inline + arrived * S3_PUT + gone * S3_GET, own_requests)


def of_requests(sqs_calls: int, pages: int) -> float:
    """Return the cost of SQS requests and listing pages, in US dollars."""
    return sqs_calls * SQS_REQUEST + pages * S3_LIST
